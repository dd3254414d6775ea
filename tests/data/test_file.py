from __future__ import annotations

import pytest

from evalkit.data import Archive, DataFile
from evalkit.errors import DataError


@pytest.mark.parametrize(
    "path", ["", "/etc/passwd", "../x", "a/../../x", "a//b", "a/./b", "a\\..\\b", "C:/x", "a/"]
)
def test_path_stays_in_the_data_directory(path: str) -> None:
    with pytest.raises(DataError, match="not the path of a file"):
        DataFile(path)


def test_archive_and_member_go_together() -> None:
    with pytest.raises(DataError, match="set both archive and member"):
        DataFile("a/b", archive=Archive("http://x/y.tar"))
    with pytest.raises(DataError, match="set both archive and member"):
        DataFile("a/b", url="http://x/y", member="z")


def test_source_in_words() -> None:
    assert DataFile("a").source is None
    assert DataFile("a", url="http://x/a").source == "http://x/a"
    assert DataFile("a", archive=Archive("http://x/y.tar"), member="m/a").source == "m/a in http://x/y.tar"
