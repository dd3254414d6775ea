from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

from evalkit.run_specs.legalbench import Subset, legalbench


def test_prompts_are_those_that_legalbench_publishes(shared_dir: Path) -> None:
    folder = shared_dir / "golden" / "helm" / "raw" / "scenarios" / "legalbench"
    lines = (folder / "prompt_construction_settings.json").read_text("utf-8").splitlines()
    _, instructions, _, nouns, _ = map(json.loads, lines)
    assert sorted(get_args(Subset)) == sorted(instructions)
    for subset in get_args(Subset):
        adapter = legalbench(subset).adapter_spec
        assert adapter.instructions == instructions[subset] + "\n"
        assert (adapter.input_prefix, adapter.output_prefix) == ("", f"{nouns[subset]}: ")
        assert adapter.max_train_instances == 5
