from __future__ import annotations

from pathlib import Path

from evalkit.data import DataStore
from evalkit.instance import Instance
from evalkit.metrics.m_ifeval import MIfEvalJa
from evalkit.run_specs.m_ifeval import m_ifeval_ja
from evalkit.scenarios.m_ifeval import MIfEvalJaScenario


def instances(data_dir: Path, cache: Path) -> list[Instance]:
    return list(MIfEvalJaScenario().instances(DataStore(mirror=data_dir, cache=cache, offline=True)))


def test_the_real_prompts_have_instructions_of_all_33_kinds(data_dir: Path, tmp_path: Path) -> None:
    found = instances(data_dir, tmp_path)
    kinds = {kind for i in found for kind in (i.extra or {})["instruction_ids"]}
    assert (len(found), len(kinds)) == (172, 33)
    assert all(kind.startswith("ja:") for kind in kinds)
    for words in ("janome", "characters"):
        metric = MIfEvalJa(words=words)
        for instance in found:
            metric.check(instance)


def test_the_run_spec_names_the_way_words_are_found() -> None:
    official, other = m_ifeval_ja(), m_ifeval_ja(words="characters")
    assert (official.name, other.name) == ("m_ifeval_ja", "m_ifeval_ja:words=characters")
    assert [dict(spec.metric_specs[0].args) for spec in (official, other)] == [{}, {"words": "characters"}]
    assert (official.adapter_spec.max_tokens, official.adapter_spec.temperature) == (2048, 0.1)
