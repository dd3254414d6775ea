"""The Japanese part of M-IFEval, as the Nejumi leaderboard asks it."""

from __future__ import annotations

from typing import Literal

from evalkit.registry import run_spec_function
from evalkit.specs.run_spec import AdapterSpec, MetricSpec, RunSpec, ScenarioSpec


@run_spec_function("m_ifeval_ja")
def m_ifeval_ja(words: Literal["janome", "characters"] = "janome") -> RunSpec:
    """Japanese prompts with instructions such as "answer in hiragana only", answered at length.

    Args:
        words: How words are found: by janome, as the official script does, or by characters, without it.
    """
    is_official = words == "janome"
    return RunSpec(
        name="m_ifeval_ja" if is_official else f"m_ifeval_ja:words={words}",
        scenario_spec=ScenarioSpec(name="m_ifeval_ja"),
        adapter_spec=AdapterSpec(
            method="generation",
            input_prefix="",
            output_prefix="",
            num_outputs=1,
            max_tokens=2048,
            temperature=0.1,
        ),
        metric_specs=(MetricSpec(name="m_ifeval_ja", args={} if is_official else {"words": words}),),
        groups=("m_ifeval_ja",),
    )
