"""RunSpec: everything that says what one run is, as data.

Frozen, strict, and complete: a run can be repeated from its `run_spec.json` alone. Field names are HELM's.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from evalkit.specs.spec import Spec

SplitName = Literal["train", "valid", "test"]
Pooling = Literal["mean", "median", "majority"]


class ObjectSpec(Spec):
    """A plugin by name, with its arguments (already of the types its signature asks for)."""

    name: str
    args: dict[str, Any] = Field(default_factory=dict)


class ScenarioSpec(ObjectSpec):
    """Which benchmark, with its arguments."""


class MetricSpec(ObjectSpec):
    """Which metric, with its arguments."""


class JudgeSpec(ObjectSpec):
    """Which judge grades the answers, with its arguments, and who plays it.

    Several deployments are a jury; each opinion on a unit is one verdict of one of them.
    """

    deployments: tuple[str, ...] = ()
    """Who judges, each by the name of a deployment; `judge=` in a run entry sets them."""
    label: str = Field(default="", pattern=r"^[A-Za-z0-9_.\-]*$")
    """What the stage, its journal and its scores are called; the judge's own name if left out."""
    num_opinions: int = Field(default=1, ge=1)
    """How often each of them is asked the same."""
    pooling: Pooling = "mean"
    """How several opinions become one score."""
    min_opinions: int | None = Field(default=None, ge=1)
    """How many of them a mean or median needs; None: all."""
    is_optional: bool = False
    """Where an entry names nobody who judges: leave the answers without judgements."""

    @property
    def stage(self) -> str:
        """What the stage, and its journal, are called."""
        return self.label or self.name.replace("/", "_")

    def score_name(self, name: str) -> str:
        """What a score of the judge is called in this run."""
        return f"{self.label}_{name}" if self.label else name


class Substitution(Spec):
    """A regular expression replaced over the whole finished prompt."""

    source: str
    target: str


class AdapterSpec(Spec):
    """How instances become requests. Names, defaults and meaning are HELM's."""

    method: str = ""
    """The adapter: `generation`, `multiple_choice_joint`, `multiple_choice_separate_original`, …"""
    global_prefix: str = ""
    """Text before everything else."""
    global_suffix: str = ""
    """Text after everything else."""
    instructions: str = ""
    """Text before the few-shot examples."""
    input_prefix: str = "Input: "
    """Text before each question."""
    input_suffix: str = "\n"
    """Text after each question."""
    reference_prefix: str = "A. "
    """Text before each option; its first letter or digit counts up."""
    reference_prefix_characters: tuple[str, ...] | None = None
    """The option letters, if not A, B, C, …"""
    reference_suffix: str = "\n"
    """Text after each option."""
    chain_of_thought_prefix: str = ""
    """Text before the reasoning of a few-shot example."""
    chain_of_thought_suffix: str = "\n"
    """Text after the reasoning of a few-shot example."""
    output_prefix: str = "Output: "
    """Text before each answer; its trailing blanks are dropped in the question asked."""
    output_suffix: str = "\n"
    """Text after each few-shot answer."""
    instance_prefix: str = "\n"
    """Text between the blocks of a prompt."""
    substitutions: tuple[Substitution, ...] = ()
    """Replacements over the whole prompt, in order."""
    max_train_instances: int = Field(default=5, ge=0)
    """Few-shot examples per prompt."""
    max_eval_instances: int | None = Field(default=None, ge=1)
    """Set the most instances to evaluate, drawn at random; None: all."""
    num_outputs: int = Field(default=5, ge=1)
    """Completions per request; for multiple choice, alternatives per token."""
    num_train_trials: int = Field(default=1, ge=1)
    """Set the number of different draws of few-shot examples."""
    num_trials: int = Field(default=1, ge=1)
    """Set how many times each request is sent."""
    sample_train: bool = True
    """Draw the few-shot examples at random (else the first ones)."""
    model_deployment: str = ""
    """Where the model is served."""
    model: str = ""
    """The model, whoever serves it."""
    temperature: float = Field(default=1, ge=0)
    """Sampling temperature; 0 is greedy."""
    temperatures: dict[str, Annotated[float, Field(ge=0)]] = Field(default={})
    """Temperatures by the instances' sub-split (a category), in place of `temperature`."""
    top_p: float = Field(default=1, gt=0, le=1)
    """Draw from the likeliest tokens that together have this probability; 1: from all."""
    top_k: int = Field(default=0, ge=0)
    """Draw from this many of the likeliest tokens; 0: from all."""
    repetition_penalty: float = Field(default=1, gt=0)
    """What makes tokens less likely that are in the text already; 1: nothing."""
    max_tokens: int = Field(default=100, ge=0)
    """Longest completion, in tokens."""
    stop_sequences: tuple[str, ...] = ()
    """The completion ends before any of these."""
    random: str | None = None
    """Makes otherwise equal requests differ."""
    multi_label: bool = False
    """More than one reference can be right at once."""
    eval_splits: tuple[SplitName, ...] | None = None
    """The splits evaluated; None: valid and test together."""
    output_mapping_pattern: str | None = None
    """A regular expression that finds the option letter in a completion."""
    chat_style: Literal["system", "turns"] | None = None
    """Send a chat: the instructions as system message, with `turns` each few-shot example as two turns, else
    all in one user message. None: one text, as HELM does."""
    expects_thinking: bool = False
    """Completions may begin with thinking: stop sequences end the answer behind it."""
    prompt_template: str = ""
    """For the method `template`: the prompt, with `{instruction}`, `{few_shots}` and `{input}` in it."""
    example_template: str = ""
    """For the method `template`: one few-shot example, with `{input}` and `{output}` in it."""

    @model_serializer(mode="wrap")
    def _as_before(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Fields that came later are left out where they change nothing, so that digests stay as they are."""
        plain: dict[str, Any] = serialize(self)
        for name in _LATER_FIELDS:
            if plain.get(name) == AdapterSpec.model_fields[name].default:
                del plain[name]
        return plain


_LATER_FIELDS = (
    *("temperatures", "top_p", "top_k", "repetition_penalty"),
    *("expects_thinking", "prompt_template", "example_template"),
)


class PerturbationSpec(ObjectSpec):
    """Which perturbation, with its arguments."""


class DataAugmenterSpec(Spec):
    """Which perturbed copies of instances a run has. Names, defaults and meaning are HELM's."""

    perturbation_specs: tuple[PerturbationSpec, ...] = ()
    """The perturbations; each makes one copy of every instance."""
    should_augment_train_instances: bool = False
    """Put perturbed copies into the few-shot pool."""
    should_include_original_train: bool = False
    """Where copies are in the few-shot pool: keep the originals too."""
    should_skip_unchanged_train: bool = False
    """Where copies are in the few-shot pool: leave out those whose input is that of the original."""
    should_augment_eval_instances: bool = False
    """Evaluate perturbed copies."""
    should_include_original_eval: bool = False
    """Where copies are evaluated: evaluate the originals too."""
    should_skip_unchanged_eval: bool = False
    """Where copies are evaluated: leave out those whose input is that of the original."""
    seeds_per_instance: int = Field(default=1, ge=1)
    """Number of copies per instance and perturbation, each from another draw."""


class RunSpec(Spec):
    """One run: a benchmark, asked in one way of one model, scored by some metrics.

    The name is a label (HELM's naming); what identifies a run is its digest (`specs.digest`).
    """

    name: str
    scenario_spec: ScenarioSpec
    adapter_spec: AdapterSpec
    metric_specs: tuple[MetricSpec, ...] = ()
    data_augmenter_spec: DataAugmenterSpec = DataAugmenterSpec()
    groups: tuple[str, ...] = ()
    judge_specs: tuple[JudgeSpec, ...] = ()

    @model_serializer(mode="wrap")
    def _without_no_judges(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """A run without judges is written as before there were any."""
        plain: dict[str, Any] = serialize(self)
        if not plain.get("judge_specs"):
            plain.pop("judge_specs", None)
        return plain

    def with_judges(self, *judge_specs: JudgeSpec) -> RunSpec:
        """A copy with these judges in place of its own."""
        return self.model_copy(update={"judge_specs": judge_specs})

    def with_adapter(self, **changes: Any) -> RunSpec:
        """A copy whose adapter spec has these fields changed (checked like any other value)."""
        adapter = AdapterSpec.model_validate({**self.adapter_spec.model_dump(), **changes})
        return self.model_copy(update={"adapter_spec": adapter})

    def named(self, name: str) -> RunSpec:
        """A copy with another name."""
        return self.model_copy(update={"name": name})


def metric_specs(*names: str) -> tuple[MetricSpec, ...]:
    """Metric specs without arguments, for run-spec functions."""
    return tuple(MetricSpec(name=name) for name in names)
