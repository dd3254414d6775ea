"""Which directory a run gets, and that its files survive reading back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.errors import StoreError, UsageError
from evalkit.instance import Instance, Reference
from evalkit.results.directory_choice import choose_directory, set_aside
from evalkit.results.manifest import Manifest
from evalkit.results.run_directory import RunDirectory, find_runs, read_lines, write_lines
from evalkit.specs.digest import RunDigest

ONE = RunDigest(requests="a" * 64, scores="b" * 64)
OTHER = RunDigest(requests="c" * 64, scores="b" * 64)
RESCORED = RunDigest(requests="a" * 64, scores="d" * 64)


def start(directory: RunDirectory, digest: RunDigest, identity: dict[str, object]) -> None:
    directory.path.mkdir(parents=True)
    directory.write_manifest(
        Manifest(
            name="r",
            entry="r",
            digest=digest.full,
            request_digest=digest.requests,
            identity=identity,
        )
    )


def test_a_new_run_gets_its_plain_name(tmp_path: Path) -> None:
    choice = choose_directory(tmp_path, "gsm:model=a_b", ONE, {})
    assert choice.directory.path == tmp_path / "gsm:model=a_b"
    assert not choice.exists


def test_the_same_run_finds_its_directory_again(tmp_path: Path) -> None:
    first = choose_directory(tmp_path, "r", ONE, {"k": 1})
    start(first.directory, ONE, {"k": 1})
    again = choose_directory(tmp_path, "r", ONE, {"k": 1})
    assert again.exists
    assert again.directory == first.directory


def test_another_run_of_the_name_is_put_beside_it_and_told_apart(tmp_path: Path) -> None:
    start(choose_directory(tmp_path, "r", ONE, {"k": 1}).directory, ONE, {"k": 1})
    second = choose_directory(tmp_path, "r", OTHER, {"k": 2})
    assert second.directory.path == tmp_path / f"r@{OTHER.full[:8]}"
    assert second.differs == ("k: 1 -> 2",)
    assert not second.is_alike
    start(second.directory, OTHER, {"k": 2})
    again = choose_directory(tmp_path, "r", OTHER, {"k": 2})
    assert again.exists
    assert again.directory == second.directory


def test_a_run_scored_otherwise_is_known_to_ask_the_same(tmp_path: Path) -> None:
    start(choose_directory(tmp_path, "r", ONE, {"k": 1}).directory, ONE, {"k": 1})
    choice = choose_directory(tmp_path, "r", RESCORED, {"k": 1, "metric_specs": ["x"]})
    assert choice.is_alike
    assert not choice.exists
    assert not choice.directory.path.exists()


def test_another_programs_run_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "run_spec.json").write_text("{}")
    assert choose_directory(tmp_path, "r", ONE, {}).directory.path.name == f"r@{ONE.full[:8]}"


def test_long_names_fit_the_file_system_and_stay_distinct(tmp_path: Path) -> None:
    long = "r:" + "ä" * 300
    one = choose_directory(tmp_path, long + "1", ONE, {}).directory.path
    two = choose_directory(tmp_path, long + "2", ONE, {}).directory.path
    assert one != two
    assert len(one.name.encode()) < 240
    one.mkdir()


def test_slashes_do_not_make_folders(tmp_path: Path) -> None:
    assert choose_directory(tmp_path, "a/../b", ONE, {}).directory.path.parent == tmp_path


def test_setting_aside_keeps_everything(tmp_path: Path) -> None:
    directory = choose_directory(tmp_path, "r", ONE, {}).directory
    start(directory, ONE, {})
    target = set_aside(directory)
    assert target is not None
    assert (target / "manifest.json").is_file()
    assert not directory.path.exists()
    with pytest.raises(UsageError, match="no runs"):
        find_runs(tmp_path)


def test_newer_formats_and_damage_are_refused(tmp_path: Path) -> None:
    directory = choose_directory(tmp_path, "r", ONE, {}).directory
    start(directory, ONE, {})
    manifest = directory.manifest()
    assert manifest is not None
    directory.write_manifest(replace(manifest, format=99))
    with pytest.raises(StoreError, match="newer evalkit"):
        directory.manifest()
    (directory.path / "manifest.json").write_text("{")
    with pytest.raises(StoreError, match=r"manifest\.json is damaged"):
        directory.manifest()


def test_runs_are_found_from_any_level(tmp_path: Path) -> None:
    suite = tmp_path / "runs" / "suite"
    start(choose_directory(suite, "r", ONE, {}).directory, ONE, {})
    for place in (tmp_path, tmp_path / "runs", suite, suite / "r"):
        assert [run.path for run in find_runs(place)] == [suite / "r"]


texts = st.text(st.characters(exclude_categories=["Cs"]))
instances = st.builds(
    Instance,
    input=texts,
    references=st.lists(
        st.builds(Reference, texts, st.lists(st.sampled_from(["correct", "x"])).map(tuple)), max_size=3
    ).map(tuple),
    split=st.sampled_from(["valid", "test"]),
    id=texts,
    sub_split=st.none() | texts,
    group=st.none() | texts,
    extra=st.none() | st.dictionaries(texts, st.integers(-9, 9) | texts),
)


@given(st.lists(instances, max_size=4))
def test_instances_survive_writing_and_reading(
    tmp_path_factory: pytest.TempPathFactory, some: list[Instance]
) -> None:
    directory = RunDirectory(tmp_path_factory.mktemp("run"))
    directory.write_instances(some)
    assert directory.instances() == some


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    write_lines(path, [{"a": 1}, {"a": 2}])
    path.write_bytes(path.read_bytes() + b"{oops\n")
    with pytest.raises(StoreError, match=r"x\.jsonl:3 is damaged"):
        list(read_lines(path))
