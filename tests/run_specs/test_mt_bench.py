from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from evalkit.errors import UnknownNameError, UsageError
from evalkit.plugins import load_builtins
from evalkit.registry import RUN_SPECS
from evalkit.specs.expanders import increase_temperature, temperature
from evalkit.specs.run_spec import RunSpec

load_builtins()
mt_bench_en, mt_bench_ja = RUN_SPECS.get("mt_bench_en"), RUN_SPECS.get("mt_bench_ja")


def test_fastchats_temperatures_and_lengths() -> None:
    adapter = mt_bench_ja().adapter_spec
    assert (adapter.method, adapter.max_tokens, adapter.temperature) == ("dialogue", 1024, 0.7)
    assert adapter.temperatures == {
        "writing": 0.7,
        "roleplay": 0.7,
        "extraction": 0,
        "math": 0,
        "coding": 0,
        "reasoning": 0,
        "stem": 0.1,
        "humanities": 0.1,
    }
    assert (adapter.instructions, adapter.stop_sequences, adapter.max_train_instances) == ("", (), 0)


def test_temperatures_can_be_set_by_category() -> None:
    spec = mt_bench_ja(temperatures=("writing:0.9", "math:1e-1"))
    assert (spec.adapter_spec.temperatures["writing"], spec.adapter_spec.temperatures["math"]) == (0.9, 0.1)
    assert spec.adapter_spec.temperatures["roleplay"] == 0.7
    own = mt_bench_ja(temperatures=("law:0.3",), questions="./law.jsonl")
    assert own.adapter_spec.temperatures["law"] == 0.3


@pytest.mark.parametrize("wrong", ["writing", "writing:hot", "writing:-1", "writing:nan", "writing:inf", ":"])
def test_what_is_no_temperature(wrong: str) -> None:
    with pytest.raises(UsageError, match="is not category:temperature"):
        mt_bench_en(temperatures=(wrong,))


def test_a_misspelt_category_is_refused() -> None:
    """In Nejumi 3's configs `humanities"` was a key without effect."""
    with pytest.raises(UnknownNameError, match="did you mean 'humanities'"):
        mt_bench_en(temperatures=('humanities":0.1',))
    with pytest.raises(UsageError, match="writing is given twice"):
        mt_bench_en(temperatures=("writing:0.1", "writing:0.2"))


def one(expanded: Iterable[RunSpec]) -> RunSpec:
    (run_spec,) = expanded
    return run_spec


def test_one_temperature_is_that_of_every_category() -> None:
    adapter = one(temperature(mt_bench_ja(), 0.1)).adapter_spec
    assert (adapter.temperature, adapter.temperatures) == (0.1, {})
    warmer = one(increase_temperature(mt_bench_ja(), 0.5)).adapter_spec
    assert (warmer.temperature, warmer.temperatures["math"], warmer.temperatures["writing"]) == (
        1.2,
        0.5,
        1.2,
    )


def test_a_system_message_from_the_entry_or_a_file(tmp_path: Path) -> None:
    assert (
        mt_bench_ja(system_message="Answer in Japanese.").adapter_spec.instructions == "Answer in Japanese."
    )
    path = tmp_path / "system.txt"
    path.write_text("あなたは誠実な助手です。", encoding="utf-8")
    spec = mt_bench_ja(system_message=f"@{path}")
    assert spec.adapter_spec.instructions == "あなたは誠実な助手です。"
    with pytest.raises(UsageError, match="system_message: can't read"):
        mt_bench_ja(system_message=f"@{tmp_path}/none")


def test_choices_are_repetitions() -> None:
    spec = mt_bench_en(choices=3)
    assert (spec.adapter_spec.num_trials, spec.adapter_spec.num_outputs) == (3, 1)
    assert spec.name == "mt_bench_en:choices=3"
    with pytest.raises(UsageError, match="choices=0"):
        mt_bench_en(choices=0)


def test_names_have_what_differs() -> None:
    assert mt_bench_en().name == "mt_bench_en"
    assert mt_bench_ja(testmode=True, question_end=5).name == "mt_bench_ja:question_end=5,testmode=True"
    named = mt_bench_ja(system_message="Be kind.", temperatures=("math:0.5",)).name
    assert "/" not in named
    assert "Be kind" not in named


def test_both_languages_take_the_same_arguments() -> None:
    ja, en = RUN_SPECS.get("mt_bench_ja"), RUN_SPECS.get("mt_bench_en")
    assert ja.__annotations__ == en.__annotations__
    assert (ja.__doc__ or "").partition("Args:")[2].split() == (en.__doc__ or "").partition("Args:")[
        2
    ].split()


def test_the_judge_gets_what_the_entry_says() -> None:
    (judge,) = mt_bench_ja(judgements=2, references="./r.jsonl", reading="fastchat").judge_specs
    assert (judge.name, judge.num_opinions, judge.is_optional, judge.deployments) == ("mt_bench", 2, True, ())
    assert (judge.args["language"], judge.args["references"]) == ("ja", "./r.jsonl")
    assert judge.args["reference_categories"] == ("math", "reasoning", "coding")
    with pytest.raises(UsageError, match="judgements=0"):
        mt_bench_ja(judgements=0)


def test_own_questions_do_not_get_fastchats_references() -> None:
    """Their ids may be the same."""
    assert mt_bench_en(questions="./q.jsonl").judge_specs[0].args["references"] == "none"
    assert mt_bench_en().judge_specs[0].args["references"] == ""
