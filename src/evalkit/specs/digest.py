"""Digests: what a run is, as opposed to what it is called.

Two runs with equal digests ask the same questions in the same way, and judge and score the answers alike. The
digest has three parts, for requests, judgements and scores. A spec with other metrics has the same first two
parts: it asks nothing again. One with other judges has the same first part: it asks only its judges.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from evalkit.errors import UsageError
from evalkit.specs.run_spec import RunSpec

_JUDGES = "judges"
# What of a judge changes only how its replies are read.
_READING = ("verdict_version", "reading")
_ABSENT: Any = object()
_LONGEST_SHOWN = 60
_METRICS = "metric_specs"
# Fields of the adapter spec that say how much is asked, and change no single request.
_HOW_MUCH = frozenset(("max_eval_instances", "num_train_trials", "num_trials", "eval_splits"))
# Most of what a spec holds; asked first, since every start of a run makes several digests.
_AS_IT_IS = frozenset({str, int, bool, type(None)})
_DIGEST = re.compile(r"[0-9a-f]{64}")
_DIGITS_SHOWN = 8


@dataclass(frozen=True, slots=True)
class RunDigest:
    """The three parts of a run's digest, each a sha256 in hexadecimal.

    Attributes:
        requests: Over everything that changes a request or its answer.
        scores: Over everything that changes only how answers and judgements become scores.
        judgements: Over everything that changes what judges are asked; "" for a run without judges.
    """

    requests: str
    scores: str
    judgements: str = ""

    @property
    def full(self) -> str:
        """One sha256 over all parts that there are."""
        return digest([part for part in (self.requests, self.judgements, self.scores) if part])


def digest(value: Any) -> str:
    """The sha256, in hexadecimal, of the canonical JSON of `value`.

    Raises:
        UsageError: `value` holds something that has no JSON form.
    """
    # A lone surrogate can come from a JSON file; it must hash, not crash.
    return hashlib.sha256(canonical_json(value).encode("utf-8", "surrogatepass")).hexdigest()


def canonical_json(value: Any) -> str:
    """`value` as JSON with sorted keys and no blanks, in which equal numbers look equal (1.0 is `1`).

    Raises:
        UsageError: `value` holds something that has no JSON form.
    """
    return json.dumps(_plain(value), ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def identity(
    run_spec: RunSpec,
    *,
    deployment_identity: Mapping[str, Any],
    data_digest: str | None,
    versions: Mapping[str, int],
    judges: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """What identifies a run, defaults filled in, as plain JSON values: this is what `run_digest` hashes.

    Name and groups are labels and stay out; so do judges and a data augmenter where there are none.

    Args:
        run_spec: The run.
        deployment_identity: What of the deployment changes answers (revision, dtype, chat template, …).
        data_digest: Digest of the benchmark's files; None where it has none.
        versions: Versions of the scenario, the adapter, and the perturbations.
        judges: What identifies each judge (`judge_identity`); its `verdict_version` and `reading` say how
            its replies are read.
    """
    plain: dict[str, Any] = _plain(
        {
            "scenario_spec": run_spec.scenario_spec,
            "adapter_spec": run_spec.adapter_spec,
            "deployment": deployment_identity,
            "data_digest": data_digest,
            "versions": versions,
            "metric_specs": run_spec.metric_specs,
        }
    )
    if run_spec.data_augmenter_spec.perturbation_specs:
        plain["data_augmenter_spec"] = _plain(run_spec.data_augmenter_spec)
    if judges:
        plain[_JUDGES] = _plain(judges)
    return plain


def run_digest(whole: Mapping[str, Any]) -> RunDigest:
    """The digest of a run from its `identity`."""
    scores = {_METRICS: whole[_METRICS]}
    if not (judges := whole.get(_JUDGES)):
        return RunDigest(digest(request_part(whole)), digest(scores))
    # Replies that are read otherwise give other scores, and are not asked for again.
    for name in _READING:
        if any(name in judge for judge in judges):
            scores[name] = [judge.get(name) for judge in judges]
    return RunDigest(digest(request_part(whole)), digest(scores), digest([*map(asked_part, judges)]))


def asked_part(judge: Mapping[str, Any]) -> dict[str, Any]:
    """What of a judge's identity changes its questions, or to whom they go."""
    return {key: part for key, part in judge.items() if key not in _READING}


def request_part(whole: Mapping[str, Any]) -> dict[str, Any]:
    """What of an identity the part `requests` of its digest covers."""
    return {key: part for key, part in whole.items() if key not in (_METRICS, _JUDGES)}


def single_request_digest(whole: Mapping[str, Any]) -> str:
    """A digest over what of an identity can change a single request or its answer.

    Runs for which it is equal may ask for more or fewer instances, splits, train trials or samples; what both
    ask, they ask in the same words. Metrics and judges are not in it either.

    Args:
        whole: An `identity`, or its `request_part`.
    """
    part = request_part(whole)
    if isinstance(adapter_spec := part.get("adapter_spec"), Mapping):
        part["adapter_spec"] = {key: item for key, item in adapter_spec.items() if key not in _HOW_MUCH}
    return digest(part)


def differing_fields(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    """How two identities differ, one line a field, sorted, such as `adapter_spec.temperature: 0 -> 0.7`.

    Metrics are named, as in a run entry, and not taken apart: `metric_specs: exact_match -> f1_score`.
    """
    return list(_differences("", _plain(a), _plain(b)))


def _plain(value: Any) -> Any:
    """`value` as dictionaries, lists, strings, integers where possible, floats, booleans and None."""
    if type(value) in _AS_IT_IS:
        return value
    if isinstance(value, float):
        return _plain_float(value)
    if isinstance(value, dict | Mapping):
        if wrong := [key for key in value if not isinstance(key, str)]:
            raise UsageError(f"only text can be a key in a spec, not {wrong[0]!r}")
        return {key: item if type(item) in _AS_IT_IS else _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [item if type(item) in _AS_IT_IS else _plain(item) for item in value]
    if isinstance(value, BaseModel):
        return _plain(value.model_dump())
    if isinstance(value, str | int):  # of a subtype, such as an enumeration's
        return value
    raise UsageError(f"a {type(value).__name__} can't be part of a spec: {value!r}")


def _plain_float(value: float) -> int | float | str:
    if not math.isfinite(value):
        return str(value)
    # Up to 2**53 every whole float is exactly one integer.
    return int(value) if value.is_integer() and abs(value) <= 2**53 else value


def short_digest(value: str) -> str:
    """The first digits of a sha256; any other text as it is."""
    return value[:_DIGITS_SHOWN] if _DIGEST.fullmatch(value) else value


def _differences(path: str, a: Any, b: Any) -> Iterator[str]:
    if path == _METRICS and isinstance(a, list) and isinstance(b, list):
        if a != b:
            yield f"{path}: {_changed_metrics(a, b)}"
    elif path == _JUDGES and not (isinstance(a, list) and isinstance(b, list) and len(a) == len(b)):
        yield f"{path}: {_judged_by(a)} -> {_judged_by(b)}"
    elif isinstance(a, dict) and isinstance(b, dict):
        for key in sorted(a.keys() | b.keys()):
            yield from _differences(
                f"{path}.{key}" if path else key, a.get(key, _ABSENT), b.get(key, _ABSENT)
            )
    elif isinstance(a, list) and isinstance(b, list):
        for index in range(max(len(a), len(b))):
            yield from _differences(f"{path}.{index}", _item(a, index), _item(b, index))
    elif type(a) is not type(b) or a != b:
        yield f"{path}: {' -> '.join(_shown(a, b))}"


def _changed_metrics(before: Sequence[Any], after: Sequence[Any]) -> str:
    """Which metrics went and which came, with their arguments; all by name where only the order differs."""
    gone = ", ".join(_call(spec) for spec in before if spec not in after)
    came = ", ".join(_call(spec) for spec in after if spec not in before)
    if gone and came:
        return f"{gone} -> {came}"
    if gone or came:
        return f"without {gone}" if gone else f"with {came}"
    return f"{', '.join(map(_call, before))} -> {', '.join(map(_call, after))}"


def _judged_by(judges: Any) -> str:
    """Judges as `rating (a/b, c/d)`, each with who plays it; none where there are none."""
    named = []
    for judge in judges if isinstance(judges, list) else ():
        who = [str(each.get("name")) for each in judge.get("deployments", ())]
        named.append(f"{judge.get('name')} ({', '.join(who)})")
    return ", ".join(named) or "none"


def _call(spec: Any) -> str:
    """A metric as `name`, or `name(argument=value)`; metrics inside one in brackets."""
    if not isinstance(spec, dict) or "name" not in spec:
        return json.dumps(spec, ensure_ascii=False)
    args = spec.get("args") or {}
    inner = args.get(_METRICS)
    parts = [f"{key}={_word(value)}" for key, value in args.items() if key != _METRICS or inner is None]
    if isinstance(inner, list):
        parts.append(f"of {', '.join(map(_call, inner))}")
    return f"{spec['name']}({', '.join(parts)})" if parts else str(spec["name"])


def _word(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _item(values: Sequence[Any], index: int) -> Any:
    return values[index] if index < len(values) else _ABSENT


def _shown(a: Any, b: Any) -> tuple[str, str]:
    """Both values on one line each; long ones cut so that the first difference is in sight."""
    texts = [
        "absent" if value is _ABSENT else json.dumps(value, ensure_ascii=False, sort_keys=True)
        for value in (a, b)
    ]
    if all(isinstance(value, str) and _DIGEST.fullmatch(value) for value in (a, b)):
        return short_digest(a), short_digest(b)
    if max(map(len, texts)) <= _LONGEST_SHOWN:
        return texts[0], texts[1]
    same = next((i for i, (x, y) in enumerate(zip(*texts, strict=False)) if x != y), min(map(len, texts)))
    start = max(0, same - 20)
    first, second = (_excerpt(text, start) for text in texts)
    return first, second


def _excerpt(text: str, start: int) -> str:
    end = start + _LONGEST_SHOWN
    return f"{'…' if start else ''}{text[start:end]}{'…' if end < len(text) else ''}"
