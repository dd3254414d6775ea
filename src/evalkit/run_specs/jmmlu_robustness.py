"""JMMLU in three variants: does a model mean the same option each time?"""

from __future__ import annotations

from typing import Any, Literal

from evalkit.registry import run_spec_function
from evalkit.run_specs.jaster import FOLDER, Answers, Asked, Form, Items, Split, adapter_spec, max_items
from evalkit.run_specs.jaster_datasets import DATASETS, EXACT_MATCH
from evalkit.specs.run_spec import MetricSpec, RunSpec, ScenarioSpec

_READ_AS = "jmmlu_"  # all three alike; Nejumi 4 reads the answers to the unchanged items in another way
_FORM = r"[A-D]|[$&#@]|[A-D](?: *, *[A-D]){2}"


@run_spec_function("jmmlu_robustness")
def jmmlu_robustness(
    edition: Literal["nejumi3", "nejumi4"] = "nejumi3",
    form: Form = "edition",
    split: Split = "test",
    items: Items = "edition",
    testmode: bool = False,
    answers: Answers = "original",
    folder: str = FOLDER,
) -> RunSpec:
    """JMMLU's items three times: unchanged, with symbols for letters, and asking for the wrong options.

    Args:
        edition: Whose defaults hold: of Nejumi 3, one file for each subject; of Nejumi 4, one file.
        form: The prompt: Alpaca's, one text, or a chat with examples as turns (both editions).
        split: test or dev; of dev the originals evaluate a tenth as many items.
        items: How many items of each file are evaluated, from its beginning; else as the edition does.
        testmode: Evaluate only one item of each file, to try things out.
        answers: How an answer is read: as the original does, with its mistakes mended, or as generated.
        folder: Where train, dev and test are, below the data directory or as a path.
    """
    asked = Asked(
        edition=edition,
        form=form,
        split=split,
        items=items,
        testmode=testmode,
        answers=answers,
        folder=folder,
    )
    dataset = DATASETS["jmmlu"]
    scenario_args: dict[str, Any] = {
        "folder": folder,
        "split": split,
        "max_items": max_items(dataset, asked),
        "shots": 0,
        "in_one_file": edition == "nejumi4",
    }
    read = {"dataset": _READ_AS} | ({} if answers == "original" else {"answers": answers})
    suffix = asked.suffix(without=() if edition == "nejumi4" else ("edition",))
    return RunSpec(
        name=f"jmmlu_robustness:{suffix}" if suffix else "jmmlu_robustness",
        scenario_spec=ScenarioSpec(name="jmmlu_robustness", args=scenario_args),
        adapter_spec=adapter_spec(dataset, asked),
        metric_specs=(
            MetricSpec(name="variant_robustness", args=read),
            MetricSpec(name=f"jaster_{EXACT_MATCH}", args=read),
            MetricSpec(name="format_control", args={**read, "form": _FORM}),
        ),
        groups=("jaster", "jaster_ja", "jmmlu_robustness"),
    )
