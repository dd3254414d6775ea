from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from evalkit.plugins import load_builtins
from evalkit.registry import RUN_SPECS
from evalkit.run_specs.gsm import gsm
from evalkit.run_specs.mmlu import mmlu
from evalkit.specs.fixups import FIX_UPS, fix_up
from tests.specs.conftest import FakeModels

if TYPE_CHECKING:
    from evalkit.specs.run_spec import RunSpec


class Tagged(FakeModels):
    """Every model has these tags."""

    def __init__(self, *tags: str) -> None:
        self._tags = tags

    def tags(self, model: str) -> tuple[str, ...]:
        return self._tags


def asked(run_spec: RunSpec, **changes: Any) -> RunSpec:
    return run_spec.with_adapter(model="lab/model", model_deployment="lab/model", **changes)


def test_without_a_tag_nothing_changes() -> None:
    assert fix_up(asked(gsm()), Tagged("TEXT_MODEL_TAG")) == (asked(gsm()), ())
    assert fix_up(gsm(), Tagged("NO_NEWLINES_TAG")) == (gsm(), ())


def test_each_fix_up_says_which_fields_it_changed() -> None:
    made, applied = fix_up(asked(mmlu("anatomy")), Tagged("NO_NEWLINES_TAG", "NLG_PREFIX_TAG"))
    assert [(a.name, a.fields) for a in applied] == [
        ("no_newlines", ("instance_prefix", "stop_sequences")),
        ("nlg_prefix", ("global_prefix",)),
    ]
    assert made.name.endswith(",stop=hash,global_prefix=nlg")
    assert all(a.because for a in applied)


def test_no_newlines_is_for_two_methods_only() -> None:
    separate = asked(mmlu("anatomy", "multiple_choice_separate_original"))
    assert fix_up(separate, Tagged("NO_NEWLINES_TAG")) == (separate, ())


def test_a_fix_up_that_changes_nothing_is_not_told() -> None:
    run_spec = asked(gsm(), stop_sequences=("###",))
    assert fix_up(run_spec, Tagged("ANTHROPIC_CLAUDE_3_MODEL_TAG")) == (run_spec, ())


@pytest.mark.parametrize(
    ("tag", "changes", "expected"),
    [
        ("BUGGY_TEMP_0_TAG", {"temperature": 0}, {"temperature": 1e-4}),
        ("GOOGLE_GEMINI_PRO_VISION_V1_TAG", {"max_tokens": 1}, {"max_tokens": 2}),
        ("OPEN_FLAMINGO_MODEL_TAG", {}, {"input_prefix": "<|endofchunk|>Q: "}),
        (
            "LLAVA_MODEL_TAG",
            {},
            {"input_prefix": "USER: <image>", "input_suffix": "", "output_prefix": "\nASSISTANT: "},
        ),
        ("IDEFICS_INSTRUCT_MODEL_TAG", {}, {"stop_sequences": ("<end_of_utterance>",)}),
        ("ANTHROPIC_CLAUDE_3_MODEL_TAG", {"stop_sequences": ("\n", "a")}, {"stop_sequences": ("a",)}),
        ("CHATML_MODEL_TAG", {}, {"instructions": "<|im_start|>user\n", "instance_prefix": ""}),
    ],
)
def test_what_they_change(tag: str, changes: dict[str, Any], expected: dict[str, Any]) -> None:
    made, applied = fix_up(asked(gsm(), **changes), Tagged(tag))
    assert len(applied) == 1
    assert {name: getattr(made.adapter_spec, name) for name in expected} == expected
    assert made.name == "gsm"


@pytest.mark.parametrize(
    ("tag", "changes"),
    [("BUGGY_TEMP_0_TAG", {"temperature": 0.5}), ("GOOGLE_GEMINI_PRO_VISION_V1_TAG", {"max_tokens": 5})],
)
def test_some_are_needed_only_for_some_values(tag: str, changes: dict[str, Any]) -> None:
    run_spec = asked(gsm(), **changes)
    assert fix_up(run_spec, Tagged(tag)) == (run_spec, ())


def test_names_are_unique() -> None:
    assert len({fix_up.name for fix_up in FIX_UPS}) == len(FIX_UPS)


def test_a_model_that_fails_at_temperature_0_never_gets_it() -> None:
    run_spec = asked(gsm(), temperature=0.7, temperatures={"math": 0, "stem": 0.1})
    made, (applied,) = fix_up(run_spec, Tagged("BUGGY_TEMP_0_TAG"))
    assert (made.adapter_spec.temperature, applied.fields) == (0.7, ("temperatures",))
    assert made.adapter_spec.temperatures == {"math": 1e-4, "stem": 0.1}


def test_a_conversation_needs_no_marks_in_its_text() -> None:
    load_builtins()
    run_spec = asked(RUN_SPECS.get("mt_bench_en")())
    assert fix_up(run_spec, Tagged("CHATML_MODEL_TAG")) == (run_spec, ())
