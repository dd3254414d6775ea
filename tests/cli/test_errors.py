"""Every mistake is answered before anything loads: place, remedy, exit code 2."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Call


@pytest.mark.parametrize(
    ("entry", "says", "marked"),
    [
        ("mmlu:subjct=anatomy,model=simple/model1", "did you mean 'subject'", "subjct"),
        ("mmlu:subject=anatmy,model=simple/model1", "did you mean 'anatomy'", "anatmy"),
        ("mmluu:model=simple/model1", "did you mean 'mmlu'", "mmluu"),
        ("gsm:model=simple/modell", "did you mean 'simple/model1'", "model=simple/modell"),
        ("gsm", "--models-to-run", "gsm"),
        ("gsm:model=simple/model1,temperature=hot", "'hot' is not a float", "hot"),
        ("gsm:model=simple/model1,shots=4,shots=5", "given twice", "shots=5"),
        ("gsm:model", "expected key=value", "model"),
        ("gsm:model=text_to_image", "no known model is in it", "model=text_to_image"),
        ("arithmetic:digits=99,model=a/b", "unknown model", "model=a/b"),
        ("arithmetic:shots=1", "no model is named", "arithmetic:shots=1"),
    ],
)
def test_a_mistake_in_an_entry_is_marked(call: Call, entry: str, says: str, marked: str) -> None:
    called = call("run", "-r", entry)
    assert called.code == 2
    assert says in called.err
    shown, carets = called.err.splitlines()[-2:]
    assert shown.strip() == entry
    start = carets.index("^")
    assert shown[start : start + carets.count("^")] == marked
    assert not Path("benchmark_output").exists()


def test_all_mistakes_of_a_conf_file_are_told_at_once(call: Call, tmp_path: Path) -> None:
    (tmp_path / "x.conf").write_text(
        'entries: [\n  {description: "gsm:model=nope/x"}\n  {description: "mmluu:model=simple/model1"}\n]\n'
    )
    called = call("plan", "-c", tmp_path / "x.conf")
    assert called.code == 2
    assert "nope/x" in called.err
    assert "did you mean 'mmlu'" in called.err
    assert "x.conf:2" in called.err
    assert "x.conf:3" in called.err


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("entries: [\n  {descripton: 'x'}\n]", "x.conf:2"),
        ('entries: [\n  {description: "gsm"', "x.conf:2"),
        ("include 'other.conf'", "x.conf:1"),
    ],
)
def test_a_broken_conf_file_is_placed(call: Call, tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "x.conf").write_text(text)
    called = call("plan", "-c", tmp_path / "x.conf")
    assert called.code == 2
    assert says in called.err


def test_a_yaml_typo_is_answered_with_the_right_key(call: Call, tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text(
        "model_deployments:\n  - name: a/b\n    client_spek: {class_name: simple}\n"
    )
    called = call("plan", "-r", "gsm:model=a/b", "--model-deployments", tmp_path / "m.yaml")
    assert called.code == 2
    assert "m.yaml:3" in called.err
    assert "client_spec" in called.err


def test_config_files_are_strict_and_relative_to_themselves(call: Call, tmp_path: Path) -> None:
    folder = tmp_path / "conf"
    folder.mkdir()
    (folder / "plugin.py").write_text(
        "from evalkit import metric\n\n\n@metric('half')\ndef half(gold: str, prediction: str) -> float:\n"
        "    return 0.5\n"
    )
    config = folder / "run.yaml"
    config.write_text(
        "run_entries: simple_mcqa\nmodels_to_run: [evalkit/echo]\n"
        "max_eval_instances: 3\nplugins: [plugin.py]\n"
    )
    called = call("plan", "--json", "--config", config)
    assert called.code == 0, called.err
    assert '"num_requests":3' in called.out
    config.write_text("run_entrys: simple_mcqa\n")
    called = call("plan", "--config", config)
    assert called.code == 2
    assert "did you mean 'run_entries'" in called.err


def test_unknown_kinds_and_names_have_neighbours(call: Call) -> None:
    assert "did you mean 'metric'" in call("list", "metrix").err
    assert "did you mean 'exact_match'" in call("show", "exact_mtch").err
    assert call("summarize", "nowhere").code == 2


def test_nothing_to_run_is_said(call: Call) -> None:
    called = call("run")
    assert called.code == 2
    assert "--run-entries" in called.err


def test_a_value_that_only_the_scenario_can_refuse_marks_the_whole_entry(call: Call) -> None:
    called = call("run", "-r", "arithmetic:digits=99,model=simple/model1")
    assert called.code == 2
    assert "digits=99 is not between 1 and 9" in called.err
    assert called.err.splitlines()[-1].strip() == "^" * len("arithmetic:digits=99,model=simple/model1")
