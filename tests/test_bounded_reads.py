"""Files that users hand in: too large, never ending, no files at all."""

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evalkit.bounded_reads import VARIABLE, copy_limited, limit_bytes, read_bytes, unpacked_limit_bytes
from evalkit.data import rows
from evalkit.data.file import Archive, DataFile
from evalkit.data.store import DataStore
from evalkit.errors import ConfigError, DataError, EvalkitError, UsageError
from evalkit.models.tokenizers.beginning import beginning
from evalkit.models.weights import added_tokens, chat_template, max_length_tokens, read_json, special_tokens
from evalkit.models.yaml_entries import read_entries
from evalkit.runs.options import read_options
from evalkit.specs.conf import read_conf

READERS: dict[str, Callable[[Path], Any]] = {
    "conf": read_conf,
    "models": lambda path: read_entries(path, {}),
    "config": lambda path: read_options(path, {}),
    "model json": read_json,
    "data text": rows.text_of,
    "data csv": lambda path: list(rows.csv_rows(path)),
    "data lines": lambda path: list(rows.json_rows(path, {})),
}


@pytest.mark.parametrize("kind", READERS)
def test_a_fifo_is_refused_and_never_waited_for(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x.json"
    os.mkfifo(path)
    with pytest.raises(EvalkitError, match="it is not a regular file but a FIFO or device"):
        READERS[kind](path)


@pytest.mark.parametrize("kind", READERS)
def test_what_is_larger_than_its_limit_is_one_line_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    path = tmp_path / "x.json"
    path.write_text(json.dumps({"a": "x" * 3000}))
    monkeypatch.setenv(VARIABLE, "0.001")
    with pytest.raises(EvalkitError, match=r"it has .* MB.* are read; set EVALKIT_MAX_FILE_MB to read more"):
        READERS[kind](path)


def test_a_line_that_unpacks_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.jsonl.gz"
    path.write_bytes(gzip.compress(b'"' + b"x" * (20 << 20) + b'"\n'))
    assert path.stat().st_size < 100_000
    monkeypatch.setenv(VARIABLE, "1")
    with pytest.raises(DataError, match=r"it has more than the 1 MB that are read"):
        list(rows.json_rows(path, {}))


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_what_unpacks_to_more_than_the_disk_is_to_take_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Any
) -> None:
    path, content = tmp_path / f"a.{kind}", b"x" * 5000
    if kind == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as zipped:
            zipped.writestr("m", content)
    else:
        with tarfile.open(path, "w:gz") as tar:
            info = tarfile.TarInfo("m")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    monkeypatch.setattr("evalkit.bounded_reads._UNPACKED_BYTES", 1000)
    store = DataStore(cache=tmp_path / "cache")
    file = DataFile("d/m", archive=Archive(f"file://{path}", kind=kind), member="m")
    with pytest.raises(DataError, match="it has more than the"):
        store.path(file)
    assert not (tmp_path / "cache" / "local").exists() or not [
        each for each in (tmp_path / "cache").rglob("*") if each.is_file()
    ]


def test_the_limit_of_archives_is_never_lowered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "1")
    assert (limit_bytes(5), unpacked_limit_bytes()) == (1 << 20, 64 << 30)
    for wrong in ("x", "0", "-1", "nan", "inf"):
        monkeypatch.setenv(VARIABLE, wrong)
        with pytest.raises(UsageError, match="is not a number of MB above 0"):
            limit_bytes(5)


def test_a_file_that_grows_while_it_is_read_ends_at_the_limit(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="it has more than"):
        copy_limited(io.BytesIO(b"x" * 100), io.BytesIO(), 99)
    (tmp_path / "x").write_bytes(b"x" * 100)
    assert len(read_bytes(tmp_path / "x", 100)) == 100


def test_a_pipe_of_the_shell_may_be_a_config_file(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from evalkit.yaml_text import read_text\n"
        "print(read_text(Path(sys.argv[1])))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "/dev/stdin"],
        input="suite: x",
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == "suite: x\n"


ODD: tuple[Any, ...] = (None, 1, "x", [], {}, [1], [None], {"a": 1}, [{"content": 3, "special": True}], True)


@pytest.mark.parametrize("odd", ODD, ids=repr)
def test_odd_values_in_a_model_folder_are_no_traceback(tmp_path: Path, odd: Any) -> None:
    (tmp_path / "tokenizer.json").write_text(json.dumps({"added_tokens": odd, "post_processor": odd}))
    (tmp_path / "config.json").write_text(json.dumps({"text_config": odd, "max_position_embeddings": odd}))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": odd}))
    assert special_tokens(tmp_path) == added_tokens(tmp_path) == beginning(tmp_path / "tokenizer.json") == ()
    assert max_length_tokens(tmp_path) in (None, 1)
    assert chat_template(tmp_path, None) in (None, "x")


def test_deep_json_in_a_model_folder_is_an_error_in_words(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("[" * 100_000)
    with pytest.raises(ConfigError, match=r"config\.json"):
        max_length_tokens(tmp_path)
