"""`evalkit new scenario NAME`: a plugin with its test, ready to run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from evalkit.cli.new_leaderboard import new_leaderboard
from evalkit.cli.output import echo

new_app = typer.Typer(help="Write a plugin or a leaderboard to start from.", no_args_is_help=True)
new_app.command("leaderboard")(new_leaderboard)

_PLUGIN = '''"""{title}: your own benchmark.

    evalkit run --plugin {name}.py --run-entries {name}:model=evalkit/majority
"""

from __future__ import annotations

from collections.abc import Iterator

from evalkit import (
    DataStore,
    Instance,
    Reference,
    RunSpec,
    Scenario,
    ScenarioSpec,
    generation,
    metric,
    metric_specs,
    run_spec_function,
    scenario,
)

QUESTIONS = {{
    "train": [("What is the opposite of up?", "down"), ("What is the opposite of left?", "right")],
    "test": [("What is the opposite of hot?", "cold"), ("What is the opposite of big?", "small")],
}}


@scenario("{name}")
class {class_name}(Scenario):
    """Opposites of common words."""

    def instances(self, data: DataStore) -> Iterator[Instance]:
        """Few-shot examples first, then the questions that are evaluated."""
        for split, pairs in QUESTIONS.items():
            for question, answer in pairs:
                yield Instance(input=question, references=(Reference(answer, ("correct",)),), split=split)


@metric("{name}_starts_right")
def starts_right(gold: str, prediction: str) -> float:
    """1 if the prediction starts with the right answer, whatever the case."""
    return float(prediction.strip().casefold().startswith(gold.casefold()))


@run_spec_function("{name}")
def {name}(shots_first: bool = True) -> RunSpec:
    """{title}.

    Args:
        shots_first: Show the few-shot examples before the question.
    """
    adapter_spec = generation("", "Question", "Answer", max_tokens=10)
    if not shots_first:
        adapter_spec = adapter_spec.model_copy(update={{"max_train_instances": 0}})
    return RunSpec(
        name="{name}" if shots_first else "{name}:shots_first=False",
        scenario_spec=ScenarioSpec(name="{name}"),
        adapter_spec=adapter_spec,
        metric_specs=metric_specs("exact_match", "{name}_starts_right"),
        groups=("{name}",),
    )
'''

_TEST = '''"""Tests of the plugin {name}; run them with `pytest test_{name}.py`."""

from __future__ import annotations

from pathlib import Path

import evalkit
from evalkit.testing import check_scenario

PLUGIN = str(Path(__file__).with_name("{name}.py"))


def test_gold_answers_score_one() -> None:
    """The right answers, fed back as completions, must get full marks."""
    check_scenario("{name}", plugins=[PLUGIN])


def test_runs_and_keeps_its_numbers(tmp_path: Path) -> None:
    """A whole run with a baseline: every instance is answered and scored."""
    (result,) = evalkit.run("{name}:model=evalkit/majority", plugins=[PLUGIN], output_path=tmp_path)
    assert result.status == "complete"
    assert result.counts["num_answered"] == 2
    assert evalkit.load_run(result.path).stat("{name}_starts_right").n == 2
'''


@new_app.callback()
def _group() -> None:
    """Write a plugin or a leaderboard to start from."""


@new_app.command("scenario")
def new_scenario(
    name: Annotated[str, typer.Argument(help="Name of the benchmark: letters, digits, underscores.")],
    directory: Annotated[Path, typer.Option("--directory", help="Where to write the files.")] = Path("."),
) -> None:
    """Write a plugin NAME.py (scenario, metric, run spec) and test_NAME.py, which passes as generated."""
    from evalkit.errors import UsageError
    from evalkit.plugins import load_builtins
    from evalkit.registry import RUN_SPECS

    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise UsageError(
            f"'{name}' is not a valid plugin name; use small letters, digits and underscores, and begin "
            "with a letter"
        )
    load_builtins()
    if name in RUN_SPECS:
        raise UsageError(f"evalkit has a run spec '{name}' already; choose another name")
    files = {
        directory / f"{name}.py": _PLUGIN,
        directory / f"test_{name}.py": _TEST,
    }
    for path in files:
        if path.exists():
            raise UsageError(f"{path} exists; nothing was written")
    directory.mkdir(parents=True, exist_ok=True)
    words = name.split("_")
    fields = {
        "name": name,
        "title": " ".join(words).capitalize(),
        "class_name": "".join(w.capitalize() for w in words),
    }
    for path, template in files.items():
        path.write_text(template.format(**fields), encoding="utf-8")
        echo(f"wrote {path}")
    echo(f"try: evalkit run --plugin {directory / name}.py --run-entries {name}:model=evalkit/majority")
