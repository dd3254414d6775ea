"""What HELM changes in a prompt because of the model, as a table.

Some models want their prompts otherwise: no line breaks, a mark in front, their vendor's turn markers. HELM
does this by tags of the model, after all expanders and in silence; here `plan` says so. The rules and texts
are HELM's (Apache-2.0).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from evalkit.specs.expanders import increase_max_tokens, stop
from evalkit.specs.expanders_prompt import FOLLOW_THE_FORMAT, READ_THE_EXAMPLES, global_prefix, with_chatml
from evalkit.specs.model_names import ModelNames
from evalkit.specs.run_spec import AdapterSpec, RunSpec

_SMALLEST_TEMPERATURE = 1e-4


@dataclass(frozen=True, slots=True)
class FixUp:
    """A change to the run specs of some models.

    Attributes:
        name: What `plan` calls it.
        because: Why these models need it.
        change: The run spec changed.
        tags: The models it is for, by any of these tags.
        models: The models it is for, by name.
        methods: The adapter methods it is for; empty: all.
        when: Needed only where the adapter spec is so.
    """

    name: str
    because: str
    change: Callable[[RunSpec], RunSpec]
    tags: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    when: Callable[[AdapterSpec], bool] = lambda adapter: True

    def is_for(self, run_spec: RunSpec, tags: tuple[str, ...]) -> bool:
        """Whether the run spec, of a model with these tags, is to be changed."""
        adapter = run_spec.adapter_spec
        return (
            (adapter.model in self.models or not set(self.tags).isdisjoint(tags))
            and (not self.methods or adapter.method in self.methods)
            and self.when(adapter)
        )


@dataclass(frozen=True, slots=True)
class AppliedFixUp:
    """A fix-up that changed a run spec.

    Attributes:
        fields: The fields of the adapter spec that it changed.
    """

    name: str
    because: str
    fields: tuple[str, ...]


def fix_up(run_spec: RunSpec, models: ModelNames) -> tuple[RunSpec, tuple[AppliedFixUp, ...]]:
    """The run spec as its model wants it, and what was changed, in order.

    A run spec without a model is left as it is.
    """
    model = run_spec.adapter_spec.model
    if not model:
        return run_spec, ()
    tags = models.tags(model)
    applied = []
    for rule in FIX_UPS:
        if rule.is_for(run_spec, tags):
            before, run_spec = run_spec, rule.change(run_spec)
            if fields := _changed(before.adapter_spec, run_spec.adapter_spec):
                applied.append(AppliedFixUp(rule.name, rule.because, fields))
    return run_spec, tuple(applied)


def _changed(before: AdapterSpec, after: AdapterSpec) -> tuple[str, ...]:
    names = AdapterSpec.model_fields
    return tuple(name for name in names if getattr(before, name) != getattr(after, name))


def _sets(**fields: Any) -> Callable[[RunSpec], RunSpec]:
    """A change that sets fields of the adapter spec."""
    return lambda run_spec: run_spec.with_adapter(**fields)


def _one(expanded: Iterable[RunSpec]) -> RunSpec:
    """The run spec that an expander gives for a single value."""
    (run_spec,) = expanded
    return run_spec


def _stops_at(value: Any) -> Callable[[RunSpec], RunSpec]:
    """The change of the expander `stop`, with its suffix in the name."""
    return lambda run_spec: _one(stop(run_spec, value))


def _human_turn(run_spec: RunSpec) -> RunSpec:
    cue = run_spec.adapter_spec.output_prefix.strip()
    return run_spec.with_adapter(
        global_prefix=f"\n\nHuman: {READ_THE_EXAMPLES}\n\n",
        global_suffix=f"\n\n{FOLLOW_THE_FORMAT}\n\nAssistant: {cue}",
    )


def _visible_stops(run_spec: RunSpec) -> RunSpec:
    stops = run_spec.adapter_spec.stop_sequences
    return run_spec.with_adapter(stop_sequences=tuple(text for text in stops if text.strip()))


def _above_zero(run_spec: RunSpec) -> RunSpec:
    adapter = run_spec.adapter_spec
    temperatures = {key: value or _SMALLEST_TEMPERATURE for key, value in adapter.temperatures.items()}
    return run_spec.with_adapter(
        temperature=adapter.temperature or _SMALLEST_TEMPERATURE, temperatures=temperatures
    )


def _chunk_mark(run_spec: RunSpec) -> RunSpec:
    return run_spec.with_adapter(input_prefix=f"<|endofchunk|>{run_spec.adapter_spec.input_prefix}")


FIX_UPS: tuple[FixUp, ...] = (
    FixUp(
        "no_newlines",
        "the model writes no line breaks, so blocks and completions end in ###",
        _stops_at("hash"),
        tags=("NO_NEWLINES_TAG",),
        methods=("generation", "multiple_choice_joint"),
    ),
    FixUp(
        "nlg_prefix",
        "the model was trained to continue text after [NLG]",
        lambda run_spec: _one(global_prefix(run_spec, "nlg")),
        tags=("NLG_PREFIX_TAG",),
    ),
    FixUp(
        "chatml",
        "the model was trained on ChatML's turn marks",
        with_chatml,
        tags=("CHATML_MODEL_TAG",),
    ),
    FixUp(
        "claude_1_2",
        "Claude 1 and 2 were asked in Human and Assistant turns, and told to keep to the examples' format",
        _human_turn,
        tags=("ANTHROPIC_CLAUDE_1_MODEL_TAG", "ANTHROPIC_CLAUDE_2_MODEL_TAG"),
    ),
    FixUp(
        "claude_3",
        "the API refuses stop sequences that are blank",
        _visible_stops,
        tags=("ANTHROPIC_CLAUDE_3_MODEL_TAG",),
    ),
    FixUp(
        "gemini_vision_1",
        "the model gives nothing when asked for one token",
        lambda run_spec: _one(increase_max_tokens(run_spec, 1)),
        tags=("GOOGLE_GEMINI_PRO_VISION_V1_TAG",),
        when=lambda adapter: adapter.max_tokens == 1,
    ),
    FixUp(
        "idefics_instruct",
        "the model was trained on User and Assistant turns that end in a mark",
        _sets(
            input_prefix="User: ",
            input_suffix="<end_of_utterance>",
            output_prefix="\nAssistant: ",
            output_suffix="<end_of_utterance>",
            stop_sequences=("<end_of_utterance>",),
        ),
        tags=("IDEFICS_INSTRUCT_MODEL_TAG",),
    ),
    FixUp(
        "llava",
        "the model was trained on USER and ASSISTANT turns",
        _sets(input_prefix="USER: <image>", input_suffix="", output_prefix="\nASSISTANT: ", output_suffix=""),
        tags=("LLAVA_MODEL_TAG",),
    ),
    FixUp(
        "open_flamingo",
        "the model was trained with a mark before each example",
        _chunk_mark,
        tags=("OPEN_FLAMINGO_MODEL_TAG",),
    ),
    FixUp(
        "buggy_temperature_0",
        "the model fails at temperature 0",
        _above_zero,
        tags=("BUGGY_TEMP_0_TAG",),
        when=lambda adapter: 0 in (adapter.temperature, *adapter.temperatures.values()),
    ),
    FixUp(
        "medlm_large",
        "the model's API takes no stop sequences",
        _stops_at("none"),
        models=("google/medlm-large",),
    ),
)
"""All fix-ups in the order in which they are applied."""
