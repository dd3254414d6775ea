"""HELM's own `helm-summarize` and `helm-server` read a suite that evalkit made, and show the same numbers.

    python tests/interop/helm_summarize.py [--venv FOLDER]

From scratch: a virtual environment with the published `crfm-helm`, a suite of offline baselines on generated
benchmarks (two train trials; MMLU and GSM8K too where EVALKIT_DATA_DIR has them), `evalkit export helm`,
`helm-summarize` with a schema for these groups, and a comparison of each cell of its table, mean win rate
and mean score included, with `evalkit summarize --groups`. Then `helm-server` is started, its run list and
one run's predictions are fetched. Exit code 0: all agree. It downloads some hundred MB of packages the first
time, so it is no part of the test suite.

Seen on 21 November 2026 (Python 3.11; crfm-helm 0.5.16 and torch 2.13.0+cpu from PyPI; 80 s in all):
helm-summarize reads the suite without error, 24 cells of 24 agree to 1e-9 (4 models; simple_mcqa, arithmetic,
gsm, mmlu, mean win rate, mean score), and helm-server delivers runs, instances and predictions.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import venv
from pathlib import Path
from typing import Any
from urllib.parse import quote

PACKAGES = ("crfm-helm==0.5.16", "torch==2.13.0")
ENTRIES = ("simple_mcqa", "arithmetic:operation=add", "arithmetic:operation=subtract")
DATA_ENTRIES = ("mmlu:subject=anatomy", "mmlu:subject=virology", "gsm")
MODELS = ("evalkit/majority", "evalkit/random", "evalkit/echo", "simple/model1")
GROUPS = {
    "simple_mcqa": "exact_match",
    "arithmetic": "exact_match",
    "mmlu": "exact_match",
    "gsm": "final_number_exact_match",
}
# How HELM's table calls the one model that it knows too.
SHOWN_BY_HELM = {"simple/model1": "Simple Model 1"}
SUITE, PORT = "interop", 18017
TOLERANCE = 1e-9


def main() -> int:
    """Do it all; the exit code says whether everything agreed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--venv", type=Path, help="keep the environment here, and use it if it is there")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        tools = helm_environment(given.venv or work / "venv")
        board = evaluate(work)
        groups = [name for name in GROUPS if any(row["column"] == name for row in board)]
        summarize(tools, work, groups)
        problems = compare(board, helm_table(work), groups) + serve(tools, work)
    for problem in problems:
        say(f"DIFFERS: {problem}")
    say(f"{len(board)} cells compared, {len(problems)} problems")
    return 1 if problems else 0


def helm_environment(folder: Path) -> Path:
    """The folder of HELM's commands; the environment is made if it is not there."""
    tools = folder / "bin"
    if not (tools / "helm-summarize").exists():
        venv.create(folder, with_pip=True)
        run(tools / "python", "-m", "pip", "install", "--quiet", *PACKAGES)
    return tools


def evaluate(work: Path) -> list[dict[str, Any]]:
    """Make and export the suite; returns the cells of evalkit's own table."""
    entries = ENTRIES + (DATA_ENTRIES if os.environ.get("EVALKIT_DATA_DIR") else ())
    evalkit(
        "run",
        "-r",
        *entries,
        "--models-to-run",
        *MODELS,
        "-m",
        "60",
        "-t",
        "2",
        "-o",
        work,
        "--suite",
        SUITE,
        "-q",
    )
    evalkit("export", "helm", work / "runs" / SUITE, "-o", work / "helm")
    shown = evalkit("summarize", "-o", work, "--suite", SUITE, "--groups", "--format", "json")
    cells: list[dict[str, Any]] = json.loads(shown)["rows"]
    return cells


def summarize(tools: Path, work: Path, groups: list[str]) -> None:
    """Run helm-summarize with a schema that knows these groups."""
    schema = {
        "adapter": [],
        "metrics": [{"name": name, "lower_is_better": False} for name in sorted(set(GROUPS.values()))],
        "perturbations": [],
        "metric_groups": [
            {
                "name": "accuracy",
                "metrics": [{"name": "${main_name}", "split": "${main_split}"}],
                "aggregation_strategies": ["win_rate", "mean"],
            }
        ],
        "run_groups": [
            {"name": "everything", "category": "All", "subgroups": groups},
            *(
                {
                    "name": name,
                    "metric_groups": ["accuracy"],
                    "environment": {"main_name": GROUPS[name], "main_split": "test"},
                }
                for name in groups
            ),
        ],
    }
    path = work / "schema.yaml"
    path.write_text(json.dumps(schema))  # JSON is YAML
    run(tools / "helm-summarize", "-o", work / "helm", "--suite", SUITE, "--schema-path", path)


def helm_table(work: Path) -> dict[tuple[str, str], float]:
    """The cells of HELM's table: (model, group or summary) to value."""
    table = json.loads((work / "helm/runs" / SUITE / "groups/json/everything_accuracy.json").read_text())
    columns = [cell["value"] for cell in table["header"]]
    cells = {}
    for row in table["rows"]:
        for column, cell in zip(columns[1:], row[1:], strict=True):
            if cell.get("value") is not None:
                cells[row[0]["value"], column.partition(" - ")[0].lower()] = float(cell["value"])
    return cells


def compare(
    board: list[dict[str, Any]], theirs: dict[tuple[str, str], float], groups: list[str]
) -> list[str]:
    """What differs, in words."""
    problems = []
    for cell in board:
        model, column = cell["model"], cell["column"]
        found = theirs.get((SHOWN_BY_HELM.get(model, model), column))
        if found is None or abs(found - cell["value"]) > TOLERANCE:
            problems.append(f"{model}, {column}: {cell['value']} here, {found} in HELM")
    if len(theirs) != len(board):
        problems.append(f"{len(board)} cells here, {len(theirs)} in HELM, for {', '.join(groups)}")
    return problems


def serve(tools: Path, work: Path) -> list[str]:
    """Start helm-server and fetch what its pages load; returns what could not be had."""
    server = subprocess.Popen(
        [tools / "helm-server", "-o", work / "helm", "--suite", SUITE, "-p", str(PORT)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    base = f"http://127.0.0.1:{PORT}/benchmark_output/runs/{SUITE}"
    try:
        runs = fetch(f"{base}/runs.json", patience_s=30)
        name = quote(runs[0]["run_spec"]["name"])
        predictions = fetch(f"{base}/{name}/display_predictions.json")
        instances = fetch(f"{base}/{name}/instances.json")
    except OSError as error:
        return [f"helm-server: {error}"]
    finally:
        server.terminate()
        server.wait()
    return [] if runs and predictions and instances else ["helm-server: an empty list of runs or predictions"]


def fetch(url: str, patience_s: float = 0) -> Any:
    """The JSON at a URL of this machine."""
    until = time.monotonic() + patience_s
    while True:
        try:
            with urllib.request.urlopen(url) as answer:
                return json.load(answer)
        except urllib.error.URLError:
            if time.monotonic() >= until:
                raise
            time.sleep(0.5)


def evalkit(*arguments: object) -> str:
    """Run evalkit with the Python that runs this script; returns what it printed."""
    return run(sys.executable, "-c", "from evalkit.cli import main; main()", *arguments)


def run(*command: object) -> str:
    """Run a command to its end; returns what it printed."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{command[0]} failed:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    return done.stdout


def say(text: str) -> None:
    """Print a line."""
    sys.stdout.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main())
