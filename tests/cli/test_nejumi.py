"""`--nejumi-config` on the command line: what is printed, written and kept."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import evalkit
from evalkit.runs.plan import make_plan, open_plan_context
from tests.interchange.nejumi.configs import BASE, MODEL, NEO, data_folder, replaced

DEPLOYMENTS = """\
model_deployments:
  - name: local/m
    client_spec: {class_name: openai, args: {base_url: "http://localhost:1/v1", model: m, mode: completions}}
  - name: local/j
    client_spec: {class_name: openai, args: {base_url: "http://localhost:1/v1", model: j}}
"""
SMALL = """\
testmode: true
model_name: "Mine, the first"
run_llm_jp_eval_ja_few_shots: false
run_llm_jp_eval_en_0_shot: false
run_llm_jp_eval_en_few_shots: false
run_mt_bench_en: false
model: {pretrained_model_name_or_path: MODEL}
llm_jp_eval:
  target_dataset: [jnli, jsts]
  ja: {custom_prompt_template: "{instruction}, {input}\\n答え:"}
mtbench:
  judge_model: local/j
  custom_conv_template: true
  dataset: {ja: {referenceanswer_artifacts_path: "wandb-japan/llm-leaderboard/mtbench_ja_referenceanswer:v0"}}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    data_folder(tmp_path / "data")
    for name in ("jnli", "jsts"):
        samples = [{"input": f"{name} {n}", "output": "neutral" if name == "jnli" else "3"} for n in range(4)]
        jaster = {"instruction": "i", "samples": samples}
        (tmp_path / f"data/1.2.6/evaluation/test/{name}.json").write_text(json.dumps(jaster))
    (tmp_path / "model_deployments.yaml").write_text(DEPLOYMENTS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def evalkit_says(*words: str, stdin: int = subprocess.DEVNULL) -> tuple[int, str, str]:
    """What a command ends with and prints."""
    command = [sys.executable, "-c", "from evalkit.cli import main; main()", *words]
    done = subprocess.run(command, capture_output=True, text=True, stdin=stdin, check=False)
    return done.returncode, done.stdout, done.stderr


def digests(**options: Any) -> dict[str, str]:
    """Run name to digest, of what `plan` makes of the options."""
    context = open_plan_context(evalkit.RunOptions(**options))
    plan = make_plan(context)
    return {run.name: run.digest.full for run in plan.runs if run.digest is not None}


@pytest.mark.parametrize("suffix", [".conf", ".yaml"])
@pytest.mark.parametrize("model", ["local/m", "./weights/mine"])
def test_a_written_conf_file_gives_the_same_digests_by_itself(folder: Path, suffix: str, model: str) -> None:
    (folder / "config.yaml").write_text(replaced(SMALL, ("MODEL", model)), encoding="utf-8")
    if model != "local/m":
        import shutil

        shutil.copytree(Path(evalkit.__file__).parent / "tiny", folder / "weights/mine")
    conf = folder / f"sub/neo{suffix}"
    code, _, said = evalkit_says(
        "plan", "--nejumi-config", "config.yaml", "--data-dir", "data", "--offline", "--to-conf", str(conf)
    )
    assert code in (0, 3), said  # MT-Bench's questions are not here
    name = model if model == "local/m" else "nejumi/mine"
    assert "config.yaml: 3 run entries of the leaderboard 'neo'" in said
    assert f"jnli:testmode=true,shots=0,model={name}  with prompt_template=" in said
    assert f"mt_bench_ja:testmode=true,model={name}+mt-bench-ja,judge=local/j" in said
    options = {"data_dir": Path("data"), "offline": True}
    by_config = digests(nejumi_config=(Path("config.yaml"),), **options)
    assert len(by_config) == 3
    (folder / "model_deployments.yaml").unlink()
    (folder / "config.yaml").unlink()
    assert digests(conf_paths=(conf,), **options) == by_config


def test_the_config_is_kept_with_the_runs(folder: Path) -> None:
    config = replaced(SMALL, ("MODEL", "evalkit/echo"), ("  custom_conv_template: true\n", ""))
    config += "run_mt_bench_ja: false\ngithub_version: mine\n"
    (folder / "config.yaml").write_text(config, encoding="utf-8")
    code, table, said = evalkit_says("run", "--nejumi-config", "config.yaml", "--data-dir", "data", "-q")
    assert code == 0, said
    assert "jnli" in table
    assert "run entries of" not in said
    (kept,) = (folder / "benchmark_output/runs/default").glob("nejumi-*.json")
    record = json.loads(kept.read_text(encoding="utf-8"))
    assert record["settings"]["github_version"] == "mine"
    assert [entry["description"] for entry in record["entries"]] == [
        "jnli:testmode=true,shots=0,model=evalkit/echo",
        "jsts:testmode=true,shots=0,model=evalkit/echo",
    ]
    # Other commands pass the file over.
    assert evalkit_says("summarize")[0] == 0
    assert evalkit_says("verify", "benchmark_output/runs/default")[0] == 0


def test_the_row_has_neos_columns_and_what_is_missing(folder: Path) -> None:
    config = replaced(SMALL, ("MODEL", "evalkit/echo"), ("  custom_conv_template: true\n", ""))
    config = replaced(config, ("[jnli, jsts]", "all"), ("few_shots: false", "few_shots: true"))
    (folder / "config.yaml").write_text(f"{config}run_mt_bench_ja: false\n", encoding="utf-8")
    code, table, said = evalkit_says("run", "--nejumi-config", "config.yaml", "--data-dir", "data", "-q")
    assert code == 3, said  # most datasets are not here
    row = table.partition("Nejumi Neo\n")[2]
    assert "Mine, the first" in row.splitlines()[0]
    cells = {line.split()[0]: line.split()[1:] for line in row.splitlines() if line.split()}
    # NLI is over one of its five datasets, and AVG over that alone: STS does not count in it.
    assert cells["AVG_jaster_ja_0shot"][:2] == ["0.000", "(1/19)"]
    assert cells["NLI_jaster_ja_0shot"][:2] == ["0.000", "(1/5)"]
    assert cells["jnli_jaster_ja_0shot"][0] == "0.000"
    assert cells["kuci_jaster_ja_0shot"] == cells["AVG_jaster_en_4shot"] == cells["AVG_MTbench_ja"] == ["–"]
    assert "leaves are missing (no run)" in said
    # Later, the same row from what is stored.
    code, again, _ = evalkit_says("leaderboard", "neo", "--depth", "all")
    assert cells["NLI_jaster_ja_0shot"] == again.partition("NLI_jaster_ja_0shot")[2].splitlines()[0].split()


def test_mistakes_end_with_2(folder: Path) -> None:
    (folder / "config.yaml").write_text(replaced(NEO, ("testmode:", "testmod:")), encoding="utf-8")
    code, _, said = evalkit_says("run", "--nejumi-config", "config.yaml", "--data-dir", "data")
    assert code == 2
    assert "config.yaml:1: unknown key 'testmod'; did you mean 'testmode'?" in said
    for flags in (("--to-conf", "x.yaml"), ("-s",)):
        code, _, said = evalkit_says("plan", "-r", "jnli:model=evalkit/echo", *flags)
        assert (code, "goes with --nejumi-config" in said) == (2, True)


@pytest.fixture
def pair(folder: Path) -> Path:
    configs = folder / "configs"
    configs.mkdir()
    base = replaced(BASE, ("mtbench: true", "mtbench: false"), ("robustness: true", "robustness: false"))
    (configs / "base_config.yaml").write_text(base)
    (configs / "config-a.yaml").write_text(MODEL)
    (configs / "config-b.yaml").write_text(replaced(MODEL, ("small-7b", "other-7b")))
    return configs


def test_the_models_file_by_name(pair: Path) -> None:
    words = ("plan", "--nejumi-config", "configs/base_config.yaml", "--data-dir", "data", "--offline")
    code, _, said = evalkit_says(*words, "-c", "config-b")
    assert "model=nejumi/other-7b" in said, said
    code, _, said = evalkit_says(*words)
    assert (code, "name the file of a model with -c" in said) == (2, True)
    code, _, said = evalkit_says(*words, "-s")
    assert (code, "name the model's file with -c" in said) == (2, True)


def test_the_models_file_from_a_list(pair: Path) -> None:
    ours, theirs = pty.openpty()
    os.write(ours, b"2\n")
    code, _, said = evalkit_says(
        "plan", "--nejumi-config", "configs", "--data-dir", "data", "--offline", "-s", stdin=theirs
    )
    os.close(theirs)
    os.close(ours)
    assert code == 3, said  # jaster's files are not here
    assert "   1  config-a" in said
    assert "model=nejumi/other-7b" in said


def test_to_conf_replaces_no_file_that_holds_something_else(folder: Path) -> None:
    config = replaced(SMALL, ("MODEL", "local/m"))
    (folder / "config.yaml").write_text(config, encoding="utf-8")
    words = ("plan", "--nejumi-config", "config.yaml", "--data-dir", "data", "--offline", "--to-conf")
    code, _, said = evalkit_says(*words, "config.yaml")
    assert (code, "config.yaml: it is there already, with other content; remove it" in said) == (2, True)
    assert (folder / "config.yaml").read_text(encoding="utf-8") == config
    code, _, said = evalkit_says(*words, "neo.yaml")
    assert "wrote neo.yaml" in said, said
    written = (folder / "neo.yaml").read_bytes()
    assert "wrote neo.yaml" in evalkit_says(*words, "neo.yaml")[2]
    assert (folder / "neo.yaml").read_bytes() == written
