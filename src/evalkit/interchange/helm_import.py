"""Runs that HELM made, in the layout of its output folder and of its public results."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from evalkit.errors import StoreError, UsageError
from evalkit.instance import Instance, Reference
from evalkit.interchange.foreign_files import ForeignFiles, finite, why_not
from evalkit.interchange.foreign_shapes import (
    HelmRunSpec,
    HelmScenarioState,
    HelmStat,
    HelmState,
    HelmUnit,
    check,
    reading,
)
from evalkit.interchange.helm_names import metrics_from_helm, perturbation_name, scenario_name
from evalkit.interchange.helm_numbers import (
    note_missing_instances,
    note_missing_rows,
    note_missing_scores,
    perturbation_of,
    whole_run_numbers,
)
from evalkit.interchange.helm_stats import BOOKKEEPING
from evalkit.interchange.imported_run import (
    ImportedRun,
    Source,
    UnitKey,
    leftover,
    unit_of,
)
from evalkit.request import Message, Request, RequestState, request_key
from evalkit.response import Completion, Failure, FinishReason, Outcome, Response, Token, Usage
from evalkit.specs.run_spec import AdapterSpec, DataAugmenterSpec, RunSpec

_FINISH: Mapping[str, FinishReason] = {"length": "length", "stop": "stop", "endoftext": "stop"}
_REQUEST_FIELD_NAMES = """
    prompt temperature num_completions top_k_per_token max_tokens stop_sequences echo_prompt top_p
    presence_penalty frequency_penalty random messages
    """
_REQUEST_FIELDS = frozenset(_REQUEST_FIELD_NAMES.split())
# Said by the run spec already, or the same for every text request.
_KNOWN_ELSEWHERE = frozenset(("model", "model_deployment", "embedding"))
# No count of HELM is larger.
_MOST = 1_000_000_000
_COMPARED_PARTS = 8
_LEFT_OF_RESULT = ("embedding", "request_datetime", "error_flags", "batch_size", "batch_request_time")


def find_helm_runs(path: Path) -> list[Path]:
    """The directories of HELM runs below `path`: a run, a suite, or an output folder, in order of name.

    Raises:
        UsageError: There is none.
    """
    if _is_helm_run(path):
        return [path]
    patterns = ("*", "*/*", "runs/*/*", "benchmark_output/runs/*/*")
    found = {each for pattern in patterns for each in path.glob(pattern) if _is_helm_run(each)}
    if not found:
        what = "has no HELM runs (run_spec.json and stats.json)"
        raise UsageError(f"{path} {why_not(path, what)}")
    return sorted(found)


def read_helm_run(path: Path, files: ForeignFiles | None = None) -> ImportedRun:
    """Read one HELM run.

    Without `scenario_state.json` (some published results leave it out) only its numbers can be had.

    Args:
        path: Its directory.
        files: Reads the files, with a limit of their size.

    Raises:
        StoreError: A file is damaged, too large, or not HELM's.
    """
    files = files or ForeignFiles()
    documents = {name: files.read(path / f"{name}.json") for name in ("run_spec", "scenario", "stats")}
    plain, state = documents["run_spec"], files.read(path / "scenario_state.json")
    per_instance = files.read(path / "per_instance_stats.json")
    if plain is None or documents["stats"] is None:
        raise StoreError(f"{path} is not a HELM run: it needs run_spec.json and stats.json")
    documents = {name: document for name, document in documents.items() if document is not None}
    check(HelmRunSpec, plain, f"{path / 'run_spec.json'} is not as HELM writes it")
    _check_each(HelmStat, documents["stats"], path / "stats.json")
    with reading(str(path / "run_spec.json"), "HELM"):
        run_spec, unmapped = _run_spec(plain)
    digest = files.sha256(*(path / f"{name}.json" for name in ("run_spec", "scenario_state", "stats")))
    run = ImportedRun(Source("helm", path.name, str(path), digest), run_spec, documents=documents)
    if unmapped:
        run.leftovers.append(unmapped)
    with reading(str(path), "HELM"):
        _check_each(HelmUnit, per_instance or [], path / "per_instance_stats.json")
        usage = _scores_and_usage(run, per_instance or [])
        if state is not None:
            check(HelmScenarioState, state, f"{path / 'scenario_state.json'} is not as HELM writes it")
            _check_each(HelmState, state["request_states"], path / "scenario_state.json", "request_states.")
            _read_states(run, state["request_states"], usage)
            note_missing_rows(run)
            note_missing_scores(run, documents["stats"])
            _number_units(run)
            note_missing_instances(run, documents["stats"])
        run.whole_run = whole_run_numbers(run, documents["stats"])
    if state is None:
        run.notes.append("no scenario_state.json: evalkit imported only the numbers")
    run.notes += files.notes()
    return run


def _is_helm_run(path: Path) -> bool:
    names = ("run_spec.json", "stats.json")
    return all((path / name).is_file() for name in names) and not (path / "manifest.json").exists()


def _check_each(shape: type[BaseModel], values: Any, path: Path, prefix: str = "") -> None:
    if not isinstance(values, list):
        raise StoreError(f"{path} is not as HELM writes it: it does not hold a list")
    for position, value in enumerate(values):
        check(shape, value, f"{path} is not as HELM writes it: {prefix}{position}")


def _run_spec(plain: Mapping[str, Any]) -> tuple[RunSpec, dict[str, Any] | None]:
    """The run spec, and the fields of HELM's that it has no place for."""
    adapter = {name: value for name, value in plain["adapter_spec"].items() if value is not None}
    known = {name: value for name, value in adapter.items() if name in AdapterSpec.model_fields}
    known.setdefault("model_deployment", known.get("model", ""))
    augmenter = dict(plain.get("data_augmenter_spec") or {})
    augmenter["perturbation_specs"] = [
        {"name": perturbation_name(spec["class_name"]), "args": spec.get("args") or {}}
        for spec in augmenter.get("perturbation_specs", ())
    ]
    kept = {name: value for name, value in augmenter.items() if name in DataAugmenterSpec.model_fields}
    scenario = plain["scenario_spec"]
    run_spec = RunSpec.model_validate(
        {
            "name": plain["name"],
            "scenario_spec": {
                "name": scenario_name(scenario["class_name"]),
                "args": scenario.get("args") or {},
            },
            "adapter_spec": known,
            "metric_specs": metrics_from_helm(plain.get("metric_specs") or ()),
            "data_augmenter_spec": kept,
            "groups": plain.get("groups") or (),
        }
    )
    rest = [(f"adapter_spec.{name}", value) for name, value in adapter.items() if name not in known]
    return run_spec, leftover({}, [*rest, ("annotators", plain.get("annotators"))])


def _scores_and_usage(run: ImportedRun, per_instance: Iterable[Mapping[str, Any]]) -> dict[UnitKey, Usage]:
    """Fill in the scores per unit; returns the token counts that stand among them."""
    tokens: dict[UnitKey, Usage] = {}
    num_contradictory = 0
    for row in per_instance:
        described = perturbation_of(row.get("perturbation"))
        label = described.label if described is not None else None
        unit = UnitKey(row["instance_id"], row["train_trial_index"], 0, label)
        means = {stat["name"]["name"]: stat.get("mean") for stat in row["stats"]}
        if "num_prompt_tokens" in means:
            counts = (finite(means.get(f"num_{part}_tokens")) or 0 for part in ("prompt", "completion"))
            tokens[unit] = Usage(*(int(min(max(count, 0), _MOST)) for count in counts))
        if not means:
            continue  # HELM has some for every instance
        scores = run.given.setdefault(unit, {})
        for name, mean in means.items():
            if name not in BOOKKEEPING and (value := finite(mean)) is not None:
                num_contradictory += scores.setdefault(name, value) != value
    if num_contradictory:
        run.notes.append(
            f"per_instance_stats.json gives {num_contradictory} scores twice, with another value; the first "
            "of each counts"
        )
    return tokens


def _read_states(
    run: ImportedRun, states: Iterable[Mapping[str, Any]], usage: Mapping[UnitKey, Usage]
) -> None:
    seen: set[tuple[str, str | None]] = set()
    made = []
    for plain in states:
        instance, rest_of_instance = _instance(plain["instance"])
        copy = (str(instance.id), instance.perturbation_label)
        if copy not in seen:
            seen.add(copy)
            run.instances.append(instance)
        made.append((plain, _request_state(plain, instance), rest_of_instance))
    made = _each_once(run, made)
    totals, taken = Counter(state.key for _, state, _ in made), Counter[str]()
    for plain, state, rest_of_instance in made:
        if totals[state.key] > 1:
            # Parts of one text (language modelling) differ in nothing but their order.
            part, taken[state.key] = taken[state.key], taken[state.key] + 1
            state = replace(state, key=f"{state.key}/w{part:05}")
        unit = UnitKey(state.instance_id, state.trial, 0, state.perturbation)
        outcome, rest_of_result = _outcome(plain.get("result"), usage.get(unit, Usage()))
        run.records.append((state, outcome))
        unmapped = [
            *rest_of_instance,
            ("annotations", plain.get("annotations")),
            *rest_of_result,
            *(
                (f"request.{name}", value)
                for name, value in plain["request"].items()
                if name not in _REQUEST_FIELDS and name not in _KNOWN_ELSEWHERE
            ),
        ]
        if (rest := leftover({"key": state.key}, unmapped)) is not None:
            run.leftovers.append(rest)


_Made = tuple[Mapping[str, Any], RequestState, list[tuple[str, Any]]]


def _each_once(run: ImportedRun, made: list[_Made]) -> list[_Made]:
    """The states without exact copies. Others that share a place are parts of one unit.

    So are the parts of one text (language modelling); in other layouts that is worth a note.
    """
    once: dict[str, list[_Made]] = {}
    num_copies = num_shared = 0
    for each in made:
        plain, state, _ = each
        others = once.setdefault(state.key, [])
        if any(other == plain for other, _, _ in others[:_COMPARED_PARTS]):
            num_copies += 1
            continue
        num_shared += bool(others)
        others.append(each)
    if num_copies:
        run.notes.append(f"scenario_state.json has {num_copies} requests twice; each counts once")
    if num_shared and run.run_spec.adapter_spec.method != "language_modeling":
        run.notes.append(
            f"{num_shared} requests of scenario_state.json share instance, trial and reference with an "
            "earlier one, and differ in question or answer: they are kept, and scored as parts of one"
        )
    return [each for parts in once.values() for each in parts]


def _instance(plain: Mapping[str, Any]) -> tuple[Instance, list[tuple[str, Any]]]:
    """The instance, and the fields it has no place for."""
    given = plain["input"]
    references = tuple(
        Reference(_text(reference["output"]), tuple(reference.get("tags") or ()))
        for reference in plain.get("references") or ()
    )
    extra = dict(plain.get("extra_data") or {})
    described = plain.get("perturbation")
    instance = Instance(
        input=_text(given),
        references=references,
        split=plain.get("split") or "test",
        id=plain["id"],
        sub_split=plain.get("sub_split"),
        extra=extra or None,
        perturbation=perturbation_of(described),
    )
    rest: list[tuple[str, Any]] = [
        (name, plain.get(name)) for name in ("contrast_inputs", "contrast_references")
    ]
    if isinstance(given, Mapping):
        rest += [(f"input.{name}", given.get(name)) for name in ("multimedia_content", "messages")]
    return instance, rest


def _text(value: Any) -> str:
    """Inputs and outputs are objects in HELM today, and were texts before."""
    return value if isinstance(value, str) else value.get("text", "")


def _request_state(plain: Mapping[str, Any], instance: Instance) -> RequestState:
    given = plain["request"]
    fields = {name: given[name] for name in _REQUEST_FIELDS if given.get(name) is not None}
    fields["stop_sequences"] = tuple(fields.get("stop_sequences", ()))
    if "messages" in fields:
        fields["messages"] = tuple(Message(m["role"], m["content"]) for m in fields["messages"])
    fields.setdefault("prompt", "")
    trial, index, mode = plain["train_trial_index"], plain.get("reference_index"), plain.get("request_mode")
    repetition = given.get("random")
    sample = int(repetition) if isinstance(repetition, str) and repetition.isdigit() else 0
    label = instance.perturbation_label
    return RequestState(
        key=request_key(str(instance.id), trial, sample, index, mode, label),
        instance_id=str(instance.id),
        trial=trial,
        request=Request(**fields),
        sample=sample,
        reference_index=index,
        request_mode=mode,
        output_mapping=plain.get("output_mapping"),
        num_train_instances=plain.get("num_train_instances") or 0,
        prompt_truncated=bool(plain.get("prompt_truncated")),
        perturbation=label,
        num_conditioning_tokens=plain.get("num_conditioning_tokens") or 0,
    )


def _outcome(plain: Mapping[str, Any] | None, usage: Usage) -> tuple[Outcome, list[tuple[str, Any]]]:
    """The answer or failure, and the fields that it has no place for."""
    if plain is None:
        return Failure("missing", "HELM stored no result"), []
    if not plain.get("success", False):
        return Failure("provider_error", str(plain.get("error") or "no reason given")), []
    completions = tuple(_completion(c) for c in plain.get("completions") or ())
    reasons = [_reason(c) for c in plain.get("completions") or ()]
    response = Response(
        completions=completions,
        usage=usage,
        latency_s=finite(plain.get("request_time")) or 0.0,
        cached=bool(plain.get("cached")),
    )
    rest = [(name, plain.get(name)) for name in _LEFT_OF_RESULT]
    odd = [reason for reason in reasons if reason not in ("length", "stop", "unknown", None)]
    media = [c["multimodal_content"] for c in plain.get("completions") or () if c.get("multimodal_content")]
    return response, [*rest, ("finish_reason", odd), ("multimodal_content", media)]


def _completion(plain: Mapping[str, Any]) -> Completion:
    thinking = plain.get("thinking")
    return Completion(
        text=plain.get("text", ""),
        finish_reason=_FINISH.get(_reason(plain) or "", "unknown"),
        logprob=finite(plain.get("logprob")),
        tokens=_tokens(plain.get("tokens") or ()),
        thinking=thinking.get("text") if isinstance(thinking, Mapping) else thinking,
    )


def _tokens(given: Sequence[Mapping[str, Any]]) -> tuple[Token, ...] | None:
    """The tokens; None without any, or if one has no log-probability: only the first may lack it."""
    if not given or any(finite(token.get("logprob")) is None for token in given[1:]):
        return None
    return tuple(Token(token["text"], finite(token.get("logprob")) or 0.0) for token in given)


def _reason(plain: Mapping[str, Any]) -> str | None:
    reason = plain.get("finish_reason")
    return reason.get("reason") if isinstance(reason, Mapping) else reason


def _number_units(run: ImportedRun) -> None:
    """Set how many requests are scored together, now that all are known. Samples share HELM's scores."""
    units = [unit_of(state) for state, _ in run.records]
    sizes = Counter(units)
    run.records = [
        (replace(state, unit_size=sizes[unit]), outcome)
        for unit, (state, outcome) in zip(units, run.records, strict=True)
    ]
    for unit in sizes:
        whole = replace(unit, sample=0)
        if unit.sample and whole in run.given:
            run.given[unit] = run.given[whole]
        elif unit.sample and whole in run.unscored:
            run.unscored.add(unit)
