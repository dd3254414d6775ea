"""A run directory, written as HELM's: what `helm-summarize` and `helm-server` read.

    <out>/runs/<suite>/<run name>/
        run_spec.json             with HELM's class names (`helm_names`)
        scenario.json             name and description
        scenario_state.json       every answered request with its instance and result
        per_instance_stats.json   scores and bookkeeping per instance
        stats.json                the same, aggregated HELM's way (`helm_stats`)

HELM knows no failures: a request without an answer is left out, and so is a score that a metric failed to
give; both are counted in the report. Everything is written one item at a time; no step holds a run in memory,
apart from a few numbers per request.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from evalkit.codec import decode_foreign, encode
from evalkit.errors import REMEDY, DamageError, StoreError
from evalkit.execution.journal_index import JournalIndex, read_winners, scan_journal
from evalkit.execution.journal_line import Record
from evalkit.folder_names import folder_of
from evalkit.instance import Instance, PerturbationDescription
from evalkit.interchange.helm_names import metrics_to_helm, perturbation_class, scenario_class
from evalkit.interchange.helm_stats import Aggregation, Context, HelmStat, UnitStats, bookkeeping
from evalkit.interchange.staging import staging
from evalkit.metrics.carried import CARRIED_SCORES
from evalkit.request import Request, RequestState, child_key
from evalkit.response import Completion, Response
from evalkit.results.integrity import require_unchanged, require_whole_journal
from evalkit.results.manifest import Manifest
from evalkit.results.run_directory import RunDirectory, read_lines, write_json
from evalkit.results.units import failed_scores
from evalkit.scoring.unit import likeliest_first
from evalkit.specs.run_spec import RunSpec

_FINISH_REASONS = ("length", "stop", "endoftext", "unknown")
UnitId = tuple[str, int, str | None]
Facts = dict[str, float | None]


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written for a run.

    Attributes:
        num_requests: Answered requests.
        num_left_out: Requests without an answer, which HELM's layout has no place for.
        num_unscored: Instances without scores.
        failed_scores: Single scores that are missing since a metric failed: name to number of instances.
    """

    path: Path
    num_requests: int
    num_left_out: int
    num_unscored: int
    failed_scores: Mapping[str, int] = field(default_factory=dict)


def export_run(directory: RunDirectory, suite_path: Path) -> Exported:
    """Write one run as HELM would have; an earlier export of it is replaced.

    Args:
        directory: The run.
        suite_path: `<out>/runs/<suite>`.

    Raises:
        DamageError: The run is damaged: a file that is read is not as the run left it.
        StoreError: The run has no instances, or the target can't be written.
    """
    manifest = directory.manifest()
    if manifest is None:
        raise DamageError(f"{directory.path} has no manifest.json; {REMEDY}")
    require_unchanged(directory, manifest, ("run_spec.json", "instances.jsonl", "scores.jsonl"))
    run_spec = directory.run_spec()
    instances = {(str(i.id), i.perturbation_label): i for i in directory.instances()}
    name = folder_of(directory.path.resolve().name)
    with staging(suite_path) as folder:
        exported = _write(directory, _sound_index(directory, manifest), run_spec, instances, folder / name)
        # What a kill leaves is in the hidden folder only, and goes with the next export.
        target = suite_path / name
        target.mkdir(exist_ok=True)
        for path in sorted(exported.path.iterdir()):
            path.replace(target / path.name)
    return replace(exported, path=target)


def _sound_index(directory: RunDirectory, manifest: Manifest) -> JournalIndex:
    index = scan_journal(directory.journal_path)
    require_whole_journal(directory, manifest, index)
    return index


def _write(
    directory: RunDirectory,
    index: JournalIndex,
    run_spec: RunSpec,
    instances: Mapping[tuple[str, str | None], Instance],
    target: Path,
) -> Exported:
    """Write HELM's five files into a new folder."""
    target.mkdir()
    write_json(target / "run_spec.json", _run_spec_to_helm(run_spec, directory.path.name))
    write_json(target / "scenario.json", _scenario_to_helm(run_spec))

    facts: dict[UnitId, list[Facts]] = {}
    head = {"adapter_spec": _adapter_to_helm(run_spec)}
    records = read_winners(directory.journal_path, index)
    states = _request_states(records, run_spec, instances, facts, partial(_is_gone_on_from, index))
    _write_array(target / "scenario_state.json", states, head, "request_states")
    aggregation = Aggregation(has_copies=any(label for _, label in instances))
    left_out = _LeftOut()
    units = _units(read_lines(directory.scores_path), instances, facts, left_out)
    _write_array(target / "per_instance_stats.json", _per_instance(units, aggregation))
    _write_array(target / "stats.json", (stat for stat in aggregation.stats() if _is_finite(stat)))
    num_left_out = len(index.failures)
    return Exported(target, len(index.answered), num_left_out, left_out.num_units, left_out.scores)


def _run_spec_to_helm(run_spec: RunSpec, name: str) -> dict[str, Any]:
    # The directory's name, not the spec's: runs of one name must stay apart there too.
    augmenter = run_spec.data_augmenter_spec.model_dump(mode="json")
    augmenter["perturbation_specs"] = [
        {"class_name": perturbation_class(spec["name"]), "args": spec["args"]}
        for spec in augmenter["perturbation_specs"]
    ]
    scenario = run_spec.scenario_spec
    return {
        "name": name,
        "scenario_spec": {"class_name": scenario_class(scenario.name), "args": scenario.args},
        "adapter_spec": _adapter_to_helm(run_spec),
        "metric_specs": metrics_to_helm(run_spec.metric_specs),
        "data_augmenter_spec": augmenter,
        "groups": list(run_spec.groups),
    }


def _adapter_to_helm(run_spec: RunSpec) -> dict[str, Any]:
    plain = run_spec.adapter_spec.model_dump(mode="json")
    return {name: value for name, value in plain.items() if value is not None and name in _ADAPTER_FIELDS}


_ADAPTER_FIELD_NAMES = """
    method global_prefix global_suffix instructions input_prefix input_suffix reference_prefix
    reference_prefix_characters reference_suffix chain_of_thought_prefix chain_of_thought_suffix
    output_prefix output_suffix instance_prefix substitutions max_train_instances max_eval_instances
    num_outputs num_train_trials num_trials sample_train model_deployment model temperature max_tokens
    stop_sequences random multi_label eval_splits output_mapping_pattern
    """
_ADAPTER_FIELDS = frozenset(_ADAPTER_FIELD_NAMES.split())


def _scenario_to_helm(run_spec: RunSpec) -> dict[str, Any]:
    from evalkit.parameters import summary_of
    from evalkit.registry import SCENARIOS

    name = run_spec.scenario_spec.name
    description = summary_of(SCENARIOS.get(name)) if name in SCENARIOS else ""
    return {"name": name, "description": description, "tags": []}


def _request_states(
    records: Iterable[Record],
    run_spec: RunSpec,
    instances: Mapping[tuple[str, str | None], Instance],
    facts: dict[UnitId, list[Facts]],
    is_gone_on_from: Callable[[RequestState], bool],
) -> Iterator[dict[str, Any]]:
    """HELM's request states; on the way, what its bookkeeping needs to know of each request.

    HELM has one answer per instance and reference. Of a conversation that is the last, whose request holds
    the others.
    """
    adapter = run_spec.adapter_spec
    for record in records:
        state, response = record.state, record.outcome
        if not isinstance(response, Response):
            continue
        instance = instances.get((state.instance_id, state.perturbation))
        if instance is None:
            raise StoreError(
                f"the journal has an answer for '{state.key}', which is not an instance of this run"
            )
        unit = (state.instance_id, state.trial, state.perturbation)
        known = _facts(state, response, instance, adapter.num_train_trials)
        if state.reference_index is None and instance.references and response.completions:
            known["max_prob"] = math.exp(likeliest_first(response.completions)[0].logprob or 0.0)
        facts.setdefault(unit, []).append(known)
        if state.turn is not None and is_gone_on_from(state):
            continue
        plain = _state_to_helm(state, response, instance, record.at)
        plain["request"] |= {"model_deployment": adapter.model_deployment, "model": adapter.model}
        yield plain


def _is_gone_on_from(index: JournalIndex, state: RequestState) -> bool:
    """Whether a turn of a conversation was followed by another, answered or not."""
    turn = state.turn or 1
    if turn < state.unit_size and state.key not in index.unfinished:
        return True
    return child_key(state.key, turn + 1) in index.failures


def _state_to_helm(state: RequestState, response: Response, instance: Instance, at: float) -> dict[str, Any]:
    plain: dict[str, Any] = {"instance": _instance_to_helm(instance)}
    if state.reference_index is not None:
        plain["reference_index"] = state.reference_index
    if state.request_mode is not None:
        plain["request_mode"] = state.request_mode
    plain["train_trial_index"] = state.trial
    if state.output_mapping is not None:
        plain["output_mapping"] = dict(state.output_mapping)
    plain |= {
        "request": _request_to_helm(state.request),
        "result": {
            "success": True,
            "embedding": [],
            "completions": [_completion_to_helm(c) for c in response.completions],
            "cached": response.cached,
            "request_time": response.latency_s,
            "request_datetime": int(at),
        },
        "num_train_instances": state.num_train_instances,
        "prompt_truncated": state.prompt_truncated,
        "num_conditioning_tokens": state.num_conditioning_tokens,
    }
    return plain


def _request_to_helm(request: Request) -> dict[str, Any]:
    plain: dict[str, Any] = {"embedding": False, "prompt": request.text}
    for name in _REQUEST_FIELDS:
        if (value := getattr(request, name)) is not None:
            plain[name] = value
    if request.messages is not None:
        plain["messages"] = [{"role": m.role, "content": m.content} for m in request.messages]
    return plain


_REQUEST_FIELDS = (
    *("temperature", "num_completions", "top_k_per_token", "max_tokens", "stop_sequences", "echo_prompt"),
    *("top_p", "presence_penalty", "frequency_penalty", "random"),
)


def _completion_to_helm(completion: Completion) -> dict[str, Any]:
    plain: dict[str, Any] = {
        "text": completion.text,
        "logprob": completion.logprob or 0.0,
        "tokens": [{"text": t.text, "logprob": t.logprob or 0.0} for t in completion.tokens or ()],
        "finish_reason": {"reason": completion.finish_reason},
    }
    if completion.thinking is not None:
        plain["thinking"] = {"text": completion.thinking}
    return plain


def _instance_to_helm(instance: Instance) -> dict[str, Any]:
    plain: dict[str, Any] = {
        "input": {"text": instance.input},
        "references": [{"output": {"text": r.text}, "tags": list(r.tags)} for r in instance.references],
        "split": instance.split,
        "id": instance.id,
    }
    if instance.sub_split is not None:
        plain["sub_split"] = instance.sub_split
    if instance.perturbation is not None:
        plain["perturbation"] = perturbation_to_helm(instance.perturbation)
    extra = {name: value for name, value in (instance.extra or {}).items() if name != CARRIED_SCORES}
    if extra:
        plain["extra_data"] = extra
    return plain


def perturbation_to_helm(description: PerturbationDescription) -> dict[str, Any]:
    """HELM's description of a perturbation; the variant's `name=value` pairs are fields of it there."""
    plain: dict[str, Any] = {
        "name": description.name,
        "robustness": description.robustness,
        "fairness": description.fairness,
        "computed_on": "perturbed",
    }
    if description.seed is not None:
        plain["seed"] = description.seed
    for pair in filter(None, description.variant.split(",")):
        name, _, value = pair.partition("=")
        plain[name] = _scalar(value)
    return plain


def _scalar(text: str) -> Any:
    try:
        value = decode_foreign(text.encode("utf-8", "surrogatepass"))
    except ValueError:
        return text
    return text if isinstance(value, float) and not math.isfinite(value) else value


def _facts(state: RequestState, response: Response, instance: Instance, num_train_trials: int) -> Facts:
    """HELM's bookkeeping of one request; None for what HELM counts and evalkit does not measure."""
    usage, completions = response.usage, response.completions
    reason = completions[0].finish_reason if completions else "unknown"
    if reason not in _FINISH_REASONS:
        reason = "unknown"
    facts: Facts = {
        "num_references": len(instance.references),
        "num_train_trials": num_train_trials,
        "num_prompt_tokens": usage.prompt_tokens if usage.is_reported else None,
        "num_completion_tokens": usage.completion_tokens if usage.is_reported else None,
        "num_output_tokens": usage.completion_tokens if usage.is_reported else None,
        "training_co2_cost": None,
        "training_energy_cost": None,
        "inference_runtime": response.latency_s,
        "batch_size": 1,
        **{f"finish_reason_{each}": float(reason == each) for each in _FINISH_REASONS},
        "num_train_instances": state.num_train_instances,
        "prompt_truncated": float(state.prompt_truncated),
    }
    if state.reference_index is None and completions:
        tokens = completions[0].tokens or ()
        facts["logprob"] = math.fsum(t.logprob or 0.0 for t in tokens)
        facts["num_perplexity_tokens"] = len(tokens)
        facts["num_bytes"] = sum(_num_bytes(t.text) for t in tokens)
    return facts


def _num_bytes(token: str) -> int:
    """The bytes of a token; HELM spells what is not a character as `bytes:` and hexadecimal codes."""
    return token.count("\\x") if token.startswith("bytes:") else len(token.encode("utf-8", "surrogatepass"))


@dataclass(slots=True)
class _LeftOut:
    """What HELM's files have no place for: units without scores, and single scores that failed."""

    num_units: int = 0
    scores: Counter[str] = field(default_factory=Counter)


def _units(
    rows: Iterable[Mapping[str, Any]],
    instances: Mapping[tuple[str, str | None], Instance],
    facts: Mapping[UnitId, list[Facts]],
    left_out: _LeftOut,
) -> Iterator[UnitStats]:
    """The stats of each scored unit; HELM has one per train trial, however many samples were drawn.

    A score that failed is not among them, and counted.
    """
    pending: UnitStats | None = None
    for row in rows:
        copy = (row["instance_id"], row.get("perturbation"))
        unit = (copy[0], row.get("trial", 0), copy[1])
        if row["status"] != "scored" or unit not in facts:
            left_out.num_units += 1
            continue
        left_out.scores.update(failed_scores(row).keys())
        scores = {name: HelmStat.of(value) for name, value in row["scores"].items()}
        instance = instances[copy]
        context = _context(instance)
        if pending is not None and (pending.instance_id, pending.trial, pending.context) == (
            *unit[:2],
            context,
        ):
            for name, stat in scores.items():
                pending.stats.setdefault(name, HelmStat()).merge(stat)
            continue
        if pending is not None:
            yield pending
        pending = UnitStats(copy[0], unit[1], context, {**bookkeeping(facts[unit]), **scores})
    if pending is not None:
        yield pending


def _context(instance: Instance) -> Context:
    described = instance.perturbation
    pairs = None if described is None else tuple(perturbation_to_helm(described).items())
    return Context(instance.split, instance.sub_split, pairs)


def _per_instance(units: Iterable[UnitStats], aggregation: Aggregation) -> Iterator[dict[str, Any]]:
    """HELM's `per_instance_stats.json`; on the way, each unit goes into the aggregation."""
    for unit in units:
        aggregation.add(unit)
        plain: dict[str, Any] = {"instance_id": unit.instance_id}
        if unit.context.perturbation is not None:
            plain["perturbation"] = dict(unit.context.perturbation)
        plain["train_trial_index"] = unit.trial
        plain["stats"] = [stat.to_json(name, unit.context) for name, stat in unit.stats.items()]
        yield plain


def _is_finite(stat: Mapping[str, Any]) -> bool:
    return math.isfinite(stat["sum"])


def _write_array(
    path: Path, items: Iterable[Any], head: Mapping[str, Any] | None = None, key: str | None = None
) -> None:
    """Write a JSON array (with `head` and `key`: an object that ends with it), item by item."""
    try:
        with path.open("wb") as file:
            if head is not None:
                file.write(encode(head)[:-1] + b"," + encode(key) + b":")
            separator = b"[\n"
            for item in items:
                file.write(separator + encode(item))
                separator = b",\n"
            file.write(b"[]" if separator == b"[\n" else b"\n]")
            file.write(b"\n" if head is None else b"}\n")
    except OSError as error:
        raise StoreError(f"can't write {path}: {error.strerror}") from error
