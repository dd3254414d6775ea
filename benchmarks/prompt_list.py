"""A plugin that has the prompts of a JSON file continued, as they are."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import evalkit
from evalkit import AdapterSpec, DataStore, Instance, Reference, RunSpec, ScenarioSpec


@evalkit.scenario("prompt_list")
class PromptList(evalkit.Scenario):
    """The texts of a JSON list.

    Args:
        path: The file.
    """

    def __init__(self, path: str) -> None:
        self._path = path

    def instances(self, data: DataStore) -> Iterator[Instance]:
        """One per text; what comes after it is known to nobody."""
        for text in json.loads(Path(self._path).read_text(encoding="utf-8")):
            yield Instance(text, (Reference("(none)", ("correct",)),), "test")


@evalkit.run_spec_function("prompt_list")
def prompt_list(path: str, max_tokens: int = 64) -> RunSpec:
    """The texts of a JSON list, continued greedily.

    Args:
        path: The file.
        max_tokens: Longest continuation.
    """
    return RunSpec(
        name="prompt_list",
        scenario_spec=ScenarioSpec(name="prompt_list", args={"path": path}),
        adapter_spec=AdapterSpec(
            method="generation",
            input_prefix="",
            input_suffix="",
            output_prefix="",
            output_suffix="",
            max_train_instances=0,
            num_outputs=1,
            max_tokens=max_tokens,
            temperature=0,
        ),
        metric_specs=evalkit.metric_specs("exact_match"),
    )
