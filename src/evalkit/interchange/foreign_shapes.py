"""What the files of other harnesses must look like for their readers here: one place that says no.

Only the fields that a reader uses are here; whatever else a file has is left as it is. Types are strict: a
text is not a number. Counts have an upper limit, since evalkit creates as many objects.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from evalkit.bounded_reads import UnfitFileError
from evalkit.errors import StoreError, UsageError

MAX_DEPTH = 100
"""Levels of objects and lists in a file."""
_SHOWN_PROBLEMS = 3
_SHOWN_PARTS = 8
_LONGEST_VALUE = 40

Count = Annotated[int, Field(ge=0, le=1_000_000_000)]
Number = int | float


class _Shape(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True, protected_namespaces=())


class _HelmObject(_Shape):
    class_name: str
    args: dict[str, Any] | None = None


class _HelmAugmenter(_Shape):
    perturbation_specs: list[_HelmObject] = []


class HelmRunSpec(_Shape):
    """`run_spec.json`; the fields of the adapter spec are checked when ours is made of them."""

    name: str
    scenario_spec: _HelmObject
    adapter_spec: dict[str, Any]
    metric_specs: list[_HelmObject] | None = None
    data_augmenter_spec: _HelmAugmenter | None = None
    groups: list[str] | None = None


class _HelmPerturbation(_Shape):
    name: str
    robustness: bool | None = None
    fairness: bool | None = None
    computed_on: str = "perturbed"
    seed: int | None = None


class _HelmMetricName(_Shape):
    name: str
    split: str | None = None
    sub_split: str | None = None
    perturbation: _HelmPerturbation | None = None


class HelmStat(_Shape):
    """One object of `stats.json`."""

    name: _HelmMetricName
    count: Number | None = None
    mean: Number | None = None


class HelmUnit(_Shape):
    """One object of `per_instance_stats.json`."""

    instance_id: str
    train_trial_index: Count
    perturbation: _HelmPerturbation | None = None
    stats: list[HelmStat]


class _HelmText(_Shape):
    text: str = ""


class _HelmReference(_Shape):
    output: str | _HelmText
    tags: list[str] | None = None


class _HelmInstance(_Shape):
    input: str | _HelmText
    references: list[_HelmReference] | None = None
    split: str | None = None
    sub_split: str | None = None
    id: str
    extra_data: dict[str, Any] | None = None
    perturbation: _HelmPerturbation | None = None


class _HelmMessage(_Shape):
    role: Literal["system", "user", "assistant"]
    content: str


class _HelmRequest(_Shape):
    prompt: str | None = None
    messages: list[_HelmMessage] | None = None
    temperature: Number | None = None
    num_completions: Count | None = None
    top_k_per_token: Count | None = None
    max_tokens: Count | None = None
    stop_sequences: list[str] | None = None
    echo_prompt: bool | None = None
    top_p: Number | None = None
    presence_penalty: Number | None = None
    frequency_penalty: Number | None = None
    random: str | None = None


class _HelmToken(_Shape):
    text: str
    logprob: Number | None = None


class _HelmReason(_Shape):
    reason: str | None = None


class _HelmThinking(_Shape):
    text: str | None = None


class _HelmCompletion(_Shape):
    text: str = ""
    logprob: Number | None = None
    tokens: list[_HelmToken] | None = None
    finish_reason: str | _HelmReason | None = None
    thinking: str | _HelmThinking | None = None


class _HelmResult(_Shape):
    success: bool = False
    completions: list[_HelmCompletion] | None = None


class HelmState(_Shape):
    """One request state of `scenario_state.json`."""

    instance: _HelmInstance
    train_trial_index: Count
    request: _HelmRequest
    result: _HelmResult | None = None
    reference_index: Count | None = None
    request_mode: Literal["original", "calibration"] | None = None
    output_mapping: dict[str, str] | None = None
    num_train_instances: Count | None = None
    prompt_truncated: bool | None = None
    num_conditioning_tokens: Count | None = None


class HelmScenarioState(_Shape):
    """`scenario_state.json`, its states still unchecked."""

    request_states: list[Any]


class LmEvalGeneration(_Shape):
    """How a task of lm-eval samples."""

    until: str | list[str] | None = None
    max_gen_toks: Annotated[Number, Field(ge=0, le=1_000_000_000)] | None = None
    temperature: Annotated[Number, Field(ge=0, le=1e6)] | None = None
    do_sample: bool | None = None


class _LmEvalTask(_Shape):
    output_type: str = "generate_until"
    generation_kwargs: LmEvalGeneration | None = None
    num_fewshot: Count | None = None


class _LmEvalSizes(_Shape):
    original: Count | None = None
    effective: Count | None = None


class LmEvalResults(_Shape):
    """A `results_*.json` since version 0.4."""

    results: dict[str, dict[str, Any]]
    configs: dict[str, _LmEvalTask]
    group_subtasks: dict[str, list[str]] | None = None
    versions: dict[str, Any] | None = None
    shots: dict[str, Count | None] | None = Field(default=None, alias="n-shot")
    samples: dict[str, _LmEvalSizes] | None = Field(default=None, alias="n-samples")
    config: dict[str, Any] | None = None
    model_name: str | None = None


class LmEvalOldResults(_Shape):
    """A `results_*.json` before that, or one of the first Open LLM Leaderboard."""

    results: dict[str, Any]
    versions: dict[str, Any] | None = None
    config_tasks: dict[str, Any] | None = None


_Lists = Annotated[list[list[Any]], Field(min_length=1)]


class LmEvalLine(_Shape):
    """A line of a `samples_*.jsonl`."""

    doc_id: int | str
    filter: str = "none"
    arguments: _Lists | Annotated[dict[str, dict[str, Any]], Field(min_length=1)]
    resps: _Lists


class _InspectSettings(_Shape):
    temperature: Annotated[Number, Field(ge=0, le=1e6)] | None = None
    max_tokens: Count | None = None
    num_choices: Count | None = None
    stop_seqs: list[str] | None = None


class _InspectDataset(_Shape):
    name: str | None = None
    samples: Count | None = None
    sample_ids: list[int | str] | None = None


class _InspectConfig(_Shape):
    epochs: Count | None = None


class _InspectEval(_Shape):
    task: str
    model: str
    task_args: dict[str, Any] | None = None
    dataset: _InspectDataset | None = None
    config: _InspectConfig | None = None
    model_generate_config: _InspectSettings | None = None


class _InspectPlan(_Shape):
    config: _InspectSettings | None = None


class _InspectScorer(_Shape):
    name: str = "score"


class _InspectNumbers(_Shape):
    name: str
    scorer: str | None = None
    reducer: str | None = None
    scored_samples: Count | None = None
    metrics: dict[str, Any] | None = None


class _InspectResults(_Shape):
    scores: list[_InspectNumbers] | None = None
    metrics: dict[str, Any] | None = None
    scorer: _InspectScorer | None = None


class InspectHeader(_Shape):
    """A log of Inspect without its samples."""

    status: str
    eval: _InspectEval
    plan: _InspectPlan | None = None
    results: _InspectResults | None = None


class _InspectPart(_Shape):
    type: str | None = None
    text: str = ""
    reasoning: str = ""


class _InspectMessage(_Shape):
    role: Literal["system", "user", "assistant", "tool"] = "assistant"
    content: str | list[str | _InspectPart] | None = None
    source: str | None = None


class _InspectAsked(_InspectMessage):
    role: Literal["system", "user", "assistant", "tool"]


class _InspectAnswer(_InspectMessage):
    # What someone else said is not an answer of the model.
    role: Literal["assistant"] = "assistant"


class _InspectToken(_Shape):
    token: str
    logprob: Number


class _InspectLogprobs(_Shape):
    content: list[_InspectToken] | None = None


class _InspectChoice(_Shape):
    message: _InspectAnswer
    stop_reason: str | None = None
    logprobs: _InspectLogprobs | None = None


class _InspectUsage(_Shape):
    input_tokens: Count | None = None
    output_tokens: Count | None = None


class _InspectOutput(_Shape):
    model: str | None = None
    choices: list[_InspectChoice] | None = None
    usage: _InspectUsage | None = None


class InspectSample(_Shape):
    """A sample of a log of Inspect."""

    id: int | str
    epoch: Annotated[int, Field(ge=1, le=1_000_000)]
    input: str | list[_InspectAsked]
    choices: list[str] | None = None
    target: str | list[str | Number] | None = None
    messages: list[_InspectAsked] | None = None
    output: _InspectOutput | None = None
    scores: dict[str, dict[str, Any]] | None = None
    metadata: dict[str, Any] | None = None


_QuestionId = int | Annotated[str, Field(min_length=1, max_length=200)]


class FastChatJudgement(_Shape):
    """A line of a judgement file of MT-Bench, grading answers one by one."""

    question_id: _QuestionId
    model: Annotated[str, Field(min_length=1)]
    judge: Annotated[list[str], Field(min_length=2, max_length=2)]
    user_prompt: str = ""
    judgment: str = ""
    score: Annotated[Number, Field(ge=-1, le=1e6)]
    turn: Annotated[int, Field(ge=1, le=2)]


class FastChatQuestion(_Shape):
    """A line of a question file of MT-Bench."""

    question_id: _QuestionId
    category: str
    turns: Annotated[list[str], Field(min_length=1, max_length=2)]


class _FastChatChoice(_Shape):
    turns: Annotated[list[str], Field(min_length=1, max_length=2)]


class FastChatAnswer(_Shape):
    """A line of an answer file of MT-Bench."""

    question_id: _QuestionId
    choices: Annotated[list[_FastChatChoice], Field(min_length=1)]


def check(shape: type[BaseModel], value: Any, place: str) -> None:
    """Refuse a value that has another shape.

    Args:
        shape: What it must look like.
        value: The value.
        place: Where it is, for the message.

    Raises:
        StoreError: It looks otherwise; says which fields do, and what they should be.
    """
    try:
        shape.model_validate(value)
    except ValidationError as error:
        raise StoreError(f"{place}: {what_is_wrong(error)}") from None


def what_is_wrong(error: ValidationError) -> str:
    """The first problems of a validation in words: `eval.task: Input should be a valid string, not 3`."""
    problems = error.errors(include_url=False)
    shown = []
    for one in problems[:_SHOWN_PROBLEMS]:
        place = ".".join(map(shortened, one["loc"][:_SHOWN_PARTS])) or "the whole"
        given = "" if one["type"] == "missing" else f", not {shortened(repr(one['input'])[:200])}"
        shown.append(f"{place}: {one['msg']}{given}")
    if len(problems) > _SHOWN_PROBLEMS:
        shown.append(f"and {len(problems) - _SHOWN_PROBLEMS} more")
    return "; ".join(shown)


@contextmanager
def reading(place: str, harness: str) -> Iterator[None]:
    """Everything that can go wrong with a foreign file is one error that names it.

    Args:
        place: The file, and perhaps what in it is read.
        harness: Whose file it is, for the message.

    Raises:
        StoreError: Something in the file is not as the harness writes it, or it can't be read.
    """
    try:
        yield
    except ValidationError as error:
        raise StoreError(f"{place}: {what_is_wrong(error)}") from None
    except UnfitFileError as error:
        raise StoreError(f"{place} can't be read: {error}") from None
    except OSError as error:
        raise StoreError(f"{error.filename or place}: {error.strerror or error}") from error
    except MemoryError:
        raise UsageError(f"{place} does not fit into the memory of this machine") from None
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        raise StoreError(
            f"{place} is not as {harness} writes it: {type(error).__name__} {shortened(str(error), 300)}"
        ) from error


def is_too_deep(value: Any) -> bool:
    """Whether objects and lists of a value are in more than `MAX_DEPTH` levels."""
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        level = [
            item
            for each in level
            for item in (each.values() if type(each) is dict else each if type(each) is list else ())
            if type(item) is dict or type(item) is list
        ]
        if not level:
            return False
    return True


def shortened(value: Any, longest: int = _LONGEST_VALUE) -> str:
    """A value as a message may have it: its beginning, if it is long."""
    text = str(value)
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
