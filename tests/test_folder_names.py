"""Names that are no folder's: each run stays inside its suite, and is found again."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import evalkit
from evalkit.errors import StoreError, UsageError
from evalkit.folder_names import checked_suite, folder_of
from evalkit.interchange.helm_import import read_helm_run
from evalkit.interchange.import_writer import keep_run
from evalkit.results.directory_choice import choose_directory
from evalkit.results.manifest import Manifest
from evalkit.results.run_directory import RunDirectory, find_runs
from evalkit.specs.digest import RunDigest
from tests.interchange.harnesses import helm_run_spec, helm_stat, helm_state, write_helm_run

DIGEST = RunDigest(requests="a" * 64, scores="b" * 64)
ODD = [
    "..",
    ".",
    "",
    "...",
    ".x",
    ".replaced",
    "a/../../b",
    "/etc",
    "a\0b",
    "a\x1b]0;t\x07\n",
    "x" * 400,
    "\u202egnp",
]
BAD_SUITES = [
    "..",
    ".",
    "",
    "../../x",
    "/tmp/x",
    ".hidden",
    "a/b",
    "a\0b",
    "a\nb",
    "a\x1b[2J",
    "x" * 201,
    "\ud83d",
]


@given(st.text(st.characters(codec=None), max_size=300))
def test_every_name_is_one_visible_folder(name: str) -> None:
    folder = folder_of(name)
    assert folder
    assert not folder.startswith(".")
    assert not {"/", "\0", "\n", "\x1b"} & set(folder)
    assert len(folder.encode()) <= 220
    assert Path("suite", folder).parent == Path("suite")


@pytest.mark.parametrize("name", ["gsm:a=b,model=c_d", "mmlu:subject=x@main", "日本 語", "a..b", "x~y", "-"])
def test_names_that_were_folders_stay_so(name: str) -> None:
    assert folder_of(name) == name
    assert checked_suite(name) == name


@pytest.mark.parametrize("name", ODD)
def test_an_imported_run_stays_in_its_suite_and_is_found(tmp_path: Path, name: str) -> None:
    spec = helm_run_spec() | {"name": "plain"}
    states = [helm_state("id0", "?", "a", "a")]
    path = write_helm_run(
        tmp_path / "theirs", states, {("id0", 0): {"exact_match": 1.0}}, [helm_stat("exact_match", 1.0)], spec
    )
    run = read_helm_run(path)
    run.run_spec = run.run_spec.model_copy(update={"name": name})
    suite = tmp_path / "out" / "runs" / "s"
    kept = keep_run(run, suite)
    assert kept.path.parent == suite
    assert [found.path for found in find_runs(tmp_path / "out")] == [kept.path]
    assert [found.path for found in find_runs(suite)] == [kept.path]
    assert keep_run(run, suite).already_there


@pytest.mark.parametrize("suite", BAD_SUITES)
def test_a_suite_that_is_no_folder_below_runs_is_refused(tmp_path: Path, suite: str) -> None:
    with pytest.raises(UsageError, match="can't be the name of a suite"):
        evalkit.plan("simple_mcqa:model=evalkit/random", suite=suite, output_path=tmp_path)


def test_a_suite_of_a_config_file_is_refused_too(tmp_path: Path) -> None:
    from evalkit.runs.options import read_options

    config = tmp_path / "c.yaml"
    config.write_text("suite: ..\n")
    with pytest.raises(UsageError, match="can't be the name of a suite"):
        read_options(config, {})


def _keep(path: Path, digest: RunDigest, name: str) -> RunDirectory:
    path.mkdir(parents=True)
    directory = RunDirectory(path)
    directory.write_manifest(Manifest(name, name, digest.full, digest.requests, {}))
    return directory


def test_a_run_of_an_earlier_version_is_found_under_its_old_folder(tmp_path: Path) -> None:
    old = _keep(tmp_path / "a\nb", DIGEST, "a\nb")
    choice = choose_directory(tmp_path, "a\nb", DIGEST, {})
    assert (choice.exists, choice.directory) == (True, old)


def test_a_run_called_like_anothers_folder_is_not_taken_for_it(tmp_path: Path) -> None:
    other = RunDigest(requests="c" * 64, scores="d" * 64)
    _keep(tmp_path / "r", other, "r")
    name = f"r@{DIGEST.full[:8]}"
    _keep(tmp_path / name, other, name)
    choice = choose_directory(tmp_path, "r", DIGEST, {})
    assert not choice.exists
    assert choice.directory.path == tmp_path / f"r@{DIGEST.full[:16]}"


def test_a_manifest_beside_runs_hides_none_of_them(tmp_path: Path) -> None:
    _keep(tmp_path / "runs" / "s" / "mine", DIGEST, "mine")
    RunDirectory(tmp_path / "runs" / "s").write_manifest(Manifest("x", "x", "0" * 64, "0" * 64, {}))
    assert "mine" in [run.path.name for run in find_runs(tmp_path / "runs" / "s")]


def test_the_working_directory_has_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = _keep(tmp_path / "runs" / "s" / "mine", DIGEST, "mine")
    monkeypatch.chdir(run.path)
    assert [found.path.name for found in find_runs(Path("."))] == ["mine"]
    assert [found.path.parent.name for found in find_runs(Path(".."))] == ["s"]


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("manifest.json", "[1, 2]"),
        ("manifest.json", '{"format": "new"}'),
        ("manifest.json", '{"format": 1, "name": 3}'),
        ("run_spec.json", '{"name": "x"}'),
        ("run_spec.json", "[]"),
        ("stats.json", '{"stats": 1}'),
        ("stats.json", "3"),
    ],
)
def test_a_file_of_another_shape_is_damage(tmp_path: Path, file: str, content: str) -> None:
    directory = RunDirectory(tmp_path)
    (tmp_path / file).write_text(content)
    read = {
        "manifest.json": directory.manifest,
        "run_spec.json": directory.run_spec,
        "stats.json": directory.stats,
    }
    with pytest.raises(StoreError, match=r"is damaged|is not a manifest"):
        read[file]()
