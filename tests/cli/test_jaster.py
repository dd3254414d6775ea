"""jaster from the command line: built files, and each dataset on twelve made items."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from evalkit.errors import UsageError
from evalkit.run_specs.jaster_datasets import DATASETS
from evalkit.sandbox.execute import require_sandbox
from tests.cli.conftest import Call
from tests.data.jaster_made import MADE
from tests.scenarios.jaster_files import NUM_ITEMS, write_dataset

# Of chABSA's 322 test items 26 name one pair twice, so that `set_f1` of the right answer is below 1. These
# are the first twenty.
TWICE = (0, 1, 12, 13, 34, 41, 53, 54, 68, 85, 87, 102, 119, 128, 172, 177, 195, 211, 245, 265)


def entry(name: str, more: str = "") -> str:
    options = ["items=all", *(["bleu_tokens=char"] if name.endswith("e-to-j") else []), *filter(None, [more])]
    return f"{name}:{','.join(options)}"


@pytest.mark.parametrize("name", sorted(MADE))
def test_absent_datasets_are_built_of_made_upstream_files_run_and_scored(
    call: Call, tmp_path: Path, name: str
) -> None:
    """Twelve items in the upstream's format: built, right answers have full marks, run, scored."""
    MADE[name](tmp_path / "upstream")
    root = tmp_path / "root"
    build = ("data", "build", "jaster", "--data-dir", tmp_path / "upstream", "-o", root, "--dataset", name)
    assert call(*build).code == 0
    if name == "jhumaneval":
        skip_without_sandbox()
    for shots in (0, 4):
        asked = entry(name, f"shots={shots}")
        if name != "jhumaneval":  # its right answers are tests, not programs
            checked = call("validate", "--data-dir", root, "--json", "-r", asked)
            assert checked.code == 0, checked.out + checked.err
            assert json.loads(checked.out)["num_instances"] == NUM_ITEMS
        ran = call("run", "--data-dir", root, "--json", "-r", f"{asked},model=evalkit/echo")
        assert ran.code == 0, ran.out + ran.err
        (headline, *_) = json.loads(ran.out)["rows"]
        assert headline["n"] == NUM_ITEMS


def skip_without_sandbox() -> None:
    try:
        require_sandbox()
    except UsageError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("name", [name for name in DATASETS if name != "jhumaneval"])
def test_each_dataset_runs_and_its_right_answers_get_full_marks(
    call: Call, tmp_path: Path, name: str
) -> None:
    root = write_dataset(tmp_path / "root", name)
    files = len(DATASETS[name].files)
    for shots in (0, 4):
        asked = entry(name, f"shots={shots}")
        checked = call("validate", "--data-dir", root, "--json", "-r", asked)
        assert checked.code == 0, checked.out + checked.err
        assert json.loads(checked.out)["num_instances"] == NUM_ITEMS * files
        ran = call("run", "--data-dir", root, "--json", "-r", f"{asked},model=evalkit/echo")
        assert ran.code == 0, ran.out + ran.err
        (run,) = json.loads(ran.out)["runs"]
        assert run["counts"]["num_answered"] == NUM_ITEMS * files


def test_programs_are_run_against_their_tests(call: Call, tmp_path: Path) -> None:
    skip_without_sandbox()
    root = write_dataset(tmp_path / "root", "jhumaneval")
    for shots in (0, 4):
        ran = call("run", "--data-dir", root, "--json", "-r", f"jhumaneval:shots={shots},model=evalkit/echo")
        assert ran.code == 0, ran.out + ran.err
        rows = json.loads(ran.out)["rows"]
        assert [(row["mean"], row["n"]) for row in rows if row["metric"] == "code_exec"] == [(0.0, 12)]


@pytest.mark.parametrize(("edition", "files"), [("nejumi3", 53), ("nejumi4", 1)])
def test_jmmlu_is_asked_in_three_variants(call: Call, tmp_path: Path, edition: str, files: int) -> None:
    root = write_dataset(tmp_path / "root", "jmmlu")
    asked = f"jmmlu_robustness:edition={edition},items=2,shots=2"
    assert call("validate", "--data-dir", root, "-r", asked).code == 0
    ran = call("run", "--data-dir", root, "--json", "-r", f"{asked},model=evalkit/majority")
    assert ran.code == 0, ran.out + ran.err
    rows = {row["metric"]: row for row in json.loads(ran.out)["rows"]}
    assert rows["variant_robustness"]["n"] == rows["jaster_exact_match"]["n"] == 6 * files
    assert rows["format_failure"]["mean"] + rows["format_control"]["mean"] == 1


def test_jmmlu_in_one_file_runs(call: Call, tmp_path: Path) -> None:
    root = write_dataset(tmp_path / "root", "jmmlu")
    for shots in (0, 4):
        asked = f"jmmlu:edition=nejumi4,shots={shots}"
        checked = call("validate", "--data-dir", root, "--json", "-r", asked)
        assert (checked.code, json.loads(checked.out)["num_instances"]) == (0, NUM_ITEMS)
    (root / "1.2.6/evaluation/test/jmmlu.json").unlink()
    refused = call("run", "--data-dir", root, "-r", "jmmlu:edition=nejumi4,model=evalkit/echo")
    assert (refused.code, "evaluation/test/jmmlu.json" in refused.err) == (3, True)


def test_instructions_in_japanese_run_on_the_real_prompts(call: Call, data_dir: Path) -> None:
    asked = "m_ifeval_ja:words=characters,shots=4,model=evalkit/echo"
    ran = call("run", "--data-dir", data_dir, "--json", "-r", asked)
    assert ran.code == 0, ran.out + ran.err
    rows = {row["metric"]: row for row in json.loads(ran.out)["rows"]}
    assert rows["m_ifeval_ja_instruction_strict"]["n"] == 172
    assert 0 < rows["m_ifeval_ja_instruction_strict"]["mean"] < 1


@pytest.mark.parametrize(("name", "package"), [("alt-j-to-e", "comet"), ("jhumaneval", "pylint")])
def test_metrics_of_further_packages_are_refused_without_them(
    call: Call, tmp_path: Path, name: str, package: str
) -> None:
    if importlib.util.find_spec(package) is not None:
        pytest.skip(f"{package} is installed")
    root = write_dataset(tmp_path / "root", name)
    refused = call("run", "--data-dir", root, "-r", f"{name}:extras=true,model=evalkit/echo")
    assert refused.code == 2, refused.err
    assert f"pip install 'evalkit[{package}]'" in refused.err


def test_examples_without_a_train_split_are_refused_by_its_file(call: Call, tmp_path: Path) -> None:
    root = write_dataset(tmp_path / "root", "jnli", ("test",))
    refused = call("run", "--data-dir", root, "-r", "jnli:shots=4,model=evalkit/echo")
    assert refused.code == 3
    assert f"{root}/1.2.6/evaluation/train/jnli.json" in refused.err
    planned = call("plan", "--data-dir", root, "-r", "jnli:shots=4,model=evalkit/echo")
    assert (planned.code, "train/jnli.json" in planned.err) == (3, True)
    assert call("run", "--data-dir", root, "-r", "jnli:model=evalkit/echo").code == 0


def test_built_files_run_and_right_answers_get_full_marks(call: Call, data_dir: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    built = call("data", "build", "jaster", "--data-dir", data_dir, "--output", root)
    assert built.code == 0
    assert "train-v1.3.json is missing" in built.out
    names = [
        "jamp janli jnli jsem jsick jcommonsenseqa commonsensemoralja jemhopqa niilc jsquad jsts mawps mgsm",
        "jmmlu mmlu_en jcola-in-domain jcola-out-of-domain",
    ]
    real = " ".join(names).split()
    checked = call("validate", "--data-dir", root, "-r", *real)
    assert checked.code == 0, checked.err
    trained = [
        name for name in real if (root / f"1.2.6/evaluation/train/{DATASETS[name].files[0]}.json").exists()
    ]
    untrained = {"jnli", "jsquad", "mgsm", "jcola-out-of-domain"}
    assert set(real) - set(trained) == untrained
    for name in sorted(untrained):
        refused = call("validate", "--data-dir", root, "-r", f"{name}:shots=4")
        assert (refused.code, f"evaluation/train/{name}.json" in refused.err) == (3, True), refused.err
    checked = call("validate", "--data-dir", root, "-r", *(f"{name}:shots=4" for name in trained))
    assert checked.code == 0, checked.err
    more = ("jmmlu:edition=nejumi4", "jmmlu_robustness:shots=2", "jmmlu_robustness:edition=nejumi4,shots=2")
    checked = call("validate", "--data-dir", root, "-r", *more)
    assert checked.code == 0, checked.err


def test_chabsa_gives_full_marks_but_where_a_pair_stands_twice(
    call: Call, data_dir: Path, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    build = ("data", "build", "jaster", "--data-dir", data_dir, "--output", root, "--dataset", "chabsa")
    assert call(*build).code == 0
    checked = call("validate", "--data-dir", root, "-r", "chabsa:items=all")
    shown = checked.err.count("set_f1 of the right answer is")
    assert (checked.code, shown, "… and 6 more" in checked.err) == (1, 20, True)
    for number in TWICE:
        assert f"chabsa-{number}: set_f1" in checked.err
    assert call("validate", "--data-dir", root, "-r", "chabsa:items=all,answers=corrected").code == 0


def test_a_named_dataset_that_is_not_complete_ends_with_1(call: Call, data_dir: Path, tmp_path: Path) -> None:
    built = call(
        "data", "build", "jaster", "--data-dir", data_dir, "-o", tmp_path / "root", "--dataset", "jnli"
    )
    assert built.code == 1
    assert "jnli-v1.3/train-v1.3.json is missing" in built.out
    assert [path.name for path in (tmp_path / "root").rglob("*.json")] == ["jnli.json"]


def test_wrong_arguments_are_refused(call: Call, tmp_path: Path) -> None:
    wrong = call("data", "build", "jaster", "--data-dir", tmp_path, "-o", tmp_path, "--dataset", "jnly")
    assert (wrong.code, "did you mean 'jnli'" in wrong.err) == (2, True)
    wrong = call("data", "build", "jaster", "--data-dir", tmp_path / "no", "-o", tmp_path)
    assert (wrong.code, "is not a folder" in wrong.err) == (3, True)
    wrong = call("data", "build", "jaster", "--data-dir", tmp_path, "-o", tmp_path, "--version", "../x")
    assert wrong.code == 2


def test_a_run_that_its_data_stopped_is_not_damaged(call: Call, tmp_path: Path) -> None:
    root, out = write_dataset(tmp_path, "jnli"), tmp_path / "out"
    given = ("--data-dir", root, "-o", out, "-q")
    done = call("run", "-r", "jnli:shots=13,model=evalkit/echo", *given)
    assert done.code == 3
    assert "12 items, 13 are to be shown; give shots=12 or fewer" in done.err
    checked = call("verify", out, "--json")
    assert checked.code == 0
    (run,) = json.loads(checked.out)
    (finding,) = run["findings"]
    assert not finding["is_damage"]
    assert finding["problem"].startswith("the run has not begun, since: ")
    assert "shots=12 or fewer" in finding["problem"]
    # A run that has asked something and lost its journal is damaged.
    assert call("run", "-r", "jnli:shots=12,model=evalkit/echo", *given).code == 0
    (out / "runs/default/jnli:max_train_instances=12,model=evalkit_echo/journal.jsonl").unlink()
    assert call("verify", out).code == 1


def test_datasets_are_one_line_each_and_what_is_missing_is_below(call: Call, tmp_path: Path) -> None:
    upstream = tmp_path / "upstream/jamp"
    upstream.mkdir(parents=True)
    rows = "".join(f"p{n}\th{n}\tentailment\n" for n in range(20))
    for name in ("train_all", "test_2"):
        (upstream / f"{name}.tsv").write_text(f"premise\thypothesis\tgold_label\n{rows}")
    given = ("data", "build", "jaster", "--data-dir", upstream.parent, "-o", tmp_path / "root")
    built = call(*given, "--dataset", "jamp", "jmmlu", "jamp", "alt-e-to-j")
    assert built.code == 1
    lines = [" ".join(line.split()) for line in built.out.splitlines()]
    assert lines[:1] + lines[2:6] == [
        "dataset train dev test",
        "jamp 18 2 20",
        "jmmlu (53 files) - - -",
        "jmmlu.json - - -",
        "alt-e-to-j - - -",
    ]
    said = [line.replace(f"{upstream.parent}/", "") for line in lines[6:-1]]
    assert said[0] == (
        "not built: jmmlu (53 files), train and dev and test: jmmlu/abstract_algebra.csv is missing (and 52 "
        "more files are not built)"
    )
    assert said[1] == (
        "not built: jmmlu.json, train and dev and test: jmmlu/abstract_algebra.csv and 52 more are missing"
    )
    assert said[2] == "not built: alt-e-to-j, train: alt/URL-train.txt and 2 more are missing"
    assert len(said) == 5
    assert call(*given, "--dataset", "jamp", "--dataset", "jamp").code == 0
    everything = call(*given)
    assert everything.code == 0
    assert len(everything.out.splitlines()) < 140
