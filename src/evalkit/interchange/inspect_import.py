"""Logs of Inspect (UK AISI's harness): `.eval` files (zip archives of JSON) and the older `.json` ones.

One run per log. A sample is an instance, an epoch a sample of it; the request is the conversation up to the
first generated message. A sample that ended with an error is a failure. Scores are Inspect's, carried over.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evalkit.codec import encode
from evalkit.errors import StoreError, UsageError
from evalkit.instance import CORRECT, Instance, Reference
from evalkit.interchange.foreign_files import ForeignFiles, finite, why_not
from evalkit.interchange.foreign_shapes import InspectHeader, InspectSample, check, reading
from evalkit.interchange.imported_run import ImportedRun, Source, UnitKey, label_part, leftover
from evalkit.interchange.inspect_archive import InspectArchive, is_archive
from evalkit.interchange.inspect_numbers import carry_numbers
from evalkit.request import Message, Request, RequestState, request_key
from evalkit.response import (
    Completion,
    Failure,
    FinishReason,
    Outcome,
    Response,
    Token,
    Usage,
    total_logprob,
)
from evalkit.specs.run_spec import AdapterSpec, RunSpec, ScenarioSpec

# Not `content_filter`: Inspect scores such samples as answers, and its numbers are carried over as they are.
_FINISH: Mapping[str, FinishReason] = {
    "stop": "stop",
    "max_tokens": "length",
    "model_length": "length",
    "tool_calls": "tool_calls",
}
_WORDS = {"C": 1.0, "P": 0.5, "I": 0.0, "N": 0.0}
_YES_AND_NO = {"yes": 1.0, "true": 1.0, "no": 0.0, "false": 0.0}
# What the run directory has of a sample in another form.
_SHOWN_IDS = 5
_KINDS: Mapping[type, str] = {list: "a list", dict: "an object", str: "a text"}
_MAPPED = frozenset(("id", "score", "epoch", "input", "choices", "target", "output", "metadata"))


def find_inspect_logs(path: Path) -> list[Path]:
    """The logs below `path` (a log or a folder of logs), in order of name.

    Raises:
        UsageError: There is none.
    """
    if path.is_file():
        return [path]
    found = sorted([*path.glob("**/*.eval"), *(p for p in path.glob("**/*.json") if _looks_like_a_log(p))])
    if not found:
        what = "has no .eval or .json logs of Inspect"
        raise UsageError(f"{path} {why_not(path, what)}")
    return found


def read_inspect_log(path: Path, files: ForeignFiles | None = None) -> ImportedRun:
    """Read one log.

    Args:
        path: The log.
        files: Reads the files, with a limit of their size.

    Raises:
        StoreError: It is damaged, too large, cut off, or no log of Inspect.
        UsageError: It is compressed with Zstandard and nothing here can read that.
    """
    files = files or ForeignFiles()
    with reading(str(path), "Inspect"):
        if not is_archive(path, files):
            header, samples = _json_log(path, files)
            return _read_log(path, header, samples, files)
        with InspectArchive(path, files) as archive:
            run = _read_log(path, _header(path, archive), _members(archive), files)
            if archive.num_doubled:
                run.notes.append(
                    f"{path.name} has {archive.num_doubled} members twice; the last one of each counts, as "
                    "for Inspect"
                )
            return run


def _read_log(
    path: Path, header: Mapping[str, Any], samples: Iterable[tuple[str, Any]], files: ForeignFiles
) -> ImportedRun:
    check(InspectHeader, header, f"{path} is not as Inspect writes it")
    source = Source("inspect", path.name, str(path), files.sha256(path))
    run = ImportedRun(source, _run_spec(header))
    run.documents = {"header": dict(header)}
    raw_ids = _read_samples(run, samples)
    carry_numbers(run, header.get("results") or {})
    _note_missing(run, header, raw_ids)
    if header["status"] != "success":
        run.left_out(f"Inspect's status of the run: {header['status']}")
    run.notes += files.notes()
    return run


def _looks_like_a_log(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        start = file.read(4096)
    return b'"eval"' in start and b'"status"' in start


def _json_log(path: Path, files: ForeignFiles) -> tuple[dict[str, Any], Iterator[tuple[str, Any]]]:
    """Header and samples of a log that is one JSON object, and each sample's place."""
    try:
        whole = files.read(path)
    except StoreError as error:
        raise StoreError(f"{path} is not a log of Inspect: {error}") from None
    if not isinstance(whole, dict):
        raise StoreError(f"{path} is not a log of Inspect: it does not hold a JSON object")
    samples = whole.pop("samples", None) or []
    if not isinstance(samples, list):
        raise StoreError(f"{path} is not as Inspect writes it: its samples are not a list")
    return whole, ((f"{path}: samples.{position}", sample) for position, sample in enumerate(samples))


def _header(path: Path, archive: InspectArchive) -> dict[str, Any]:
    head = next((n for n in ("header.json", "_journal/start.json") if n in archive.names), None)
    if head is None:
        raise StoreError(f"{path} is not a log of Inspect: it has no header.json")
    # A run that was killed has only what it began with.
    return {"status": "started", "plan": {}, **archive.read(head)}


def _members(archive: InspectArchive) -> Iterator[tuple[str, Any]]:
    for name in archive.names:
        if name.startswith("samples/") and name.endswith(".json"):
            yield f"{archive.path}: {name}", archive.read(name)


def _run_spec(header: Mapping[str, Any]) -> RunSpec:
    about = header["eval"]
    model, task = about["model"], about["task"]
    plan = header.get("plan") or {}
    settings = {**(about.get("model_generate_config") or {}), **(plan.get("config") or {})}
    epochs = (about.get("config") or {}).get("epochs") or 1
    args = {"task": task, "version": about.get("task_version"), **(about.get("task_args") or {})}
    dataset = (about.get("dataset") or {}).get("name")
    if dataset:
        args["dataset"] = dataset
    return RunSpec(
        name=f"inspect:task={label_part(task)},model={label_part(model)}",
        scenario_spec=ScenarioSpec(name="inspect", args=args),
        adapter_spec=AdapterSpec(
            method="chat",
            max_train_instances=0,
            num_outputs=settings.get("num_choices") or 1,
            num_trials=epochs,
            model=model,
            model_deployment=model,
            temperature=settings.get("temperature") or 0,
            max_tokens=settings.get("max_tokens") or 0,
            stop_sequences=tuple(settings.get("stop_seqs") or ()),
        ),
        groups=(label_part(task),),
    )


def _read_samples(run: ImportedRun, samples: Iterable[tuple[str, Any]]) -> Mapping[str, Any]:
    """Instances, requests and scores; returns each instance's id as it is in the log."""
    raw_ids: dict[str, Any] = {}
    taken: Counter[tuple[str, int]] = Counter()
    unread: Counter[tuple[str, str]] = Counter()
    num_doubled = largest_epoch = 0
    for place, sample in samples:
        check(InspectSample, sample, place)
        epoch = sample["epoch"]
        instance_id = _instance_id(sample["id"], raw_ids)
        taken[instance_id, epoch] += 1
        number = taken[instance_id, epoch]
        if number > 1:
            num_doubled += 1
            bare = instance_id
            while taken[instance_id, epoch] or raw_ids.get(instance_id, sample["id"]) != sample["id"]:
                instance_id, number = f"{bare}#{number}", number + 1
            taken[instance_id, epoch] = 1
        if instance_id not in raw_ids:
            raw_ids[instance_id] = sample["id"]
            run.instances.append(_instance(instance_id, sample))
        unit = UnitKey(instance_id, 0, epoch - 1)
        largest_epoch = max(largest_epoch, epoch)
        scores = _scores(_given_scores(sample, run.documents["header"]))
        state = RequestState(
            key=request_key(instance_id, 0, unit.sample),
            instance_id=instance_id,
            trial=0,
            request=_request(sample, run.run_spec.adapter_spec),
            sample=unit.sample,
        )
        run.records.append((state, _outcome(sample)))
        run.given[unit] = scores.numbers
        unread.update(scores.unread)
        rest = [(name, value) for name, value in sample.items() if name not in _MAPPED]
        if (kept := leftover({"key": state.key}, [*rest, ("scores", scores.unmapped)])) is not None:
            run.leftovers.append(kept)
    _note_unread(run, unread)
    if num_doubled:
        run.notes.append(
            f"{num_doubled} samples have the id and epoch of an earlier one; each is kept, as <id>#2 or so"
        )
    if largest_epoch > run.run_spec.adapter_spec.num_trials:
        run.notes.append(
            f"the log says {run.run_spec.adapter_spec.num_trials} epochs and has {largest_epoch}"
        )
        run.run_spec = run.run_spec.with_adapter(num_trials=largest_epoch)
    return raw_ids


def _given_scores(sample: Mapping[str, Any], header: Mapping[str, Any]) -> Mapping[str, Any]:
    """A sample's scores by their scorers; in early logs there is one, whose scorer only the header names."""
    if (scores := sample.get("scores")) or (score := sample.get("score")) is None:
        return scores or {}
    scorer = (header.get("results") or {}).get("scorer") or {}
    return {scorer.get("name", "score"): score if isinstance(score, Mapping) else {"value": score}}


def _note_missing(run: ImportedRun, header: Mapping[str, Any], raw_ids: Mapping[str, Any]) -> None:
    """Say which of the samples that were to be run are not in the log, and how many of their epochs."""
    dataset, config = header["eval"].get("dataset") or {}, header["eval"].get("config") or {}
    if listed := dataset.get("sample_ids"):
        missing = list((Counter(listed) - Counter(raw_ids.values())).elements())
        planned, num_missing = len(listed), len(missing)
        some = ", ".join(map(str, missing[:_SHOWN_IDS])) + (", …" if num_missing > _SHOWN_IDS else "")
    else:
        planned, limit, some = dataset.get("samples") or 0, config.get("limit"), ""
        if isinstance(limit, int) and not isinstance(limit, bool) and limit > 0:
            planned = min(planned, limit)
        num_missing = planned - len(raw_ids)
    if num_missing > 0:
        which = f": {some}" if some else ""
        run.left_out(f"{num_missing} of {planned} samples are not in the log ({header['status']}){which}")
    scored = [score.get("scored_samples") or 0 for score in (header.get("results") or {}).get("scores") or ()]
    if num_missing <= 0 and (num_scored := max(scored, default=0)) > len(run.records):
        run.left_out(f"Inspect scored {num_scored} samples, and {len(run.records)} are in the log")
    num_epochs, num_present = (config.get("epochs") or 1) * len(raw_ids), len(run.records)
    if num_epochs > num_present:
        run.left_out(f"{num_epochs - num_present} of {num_epochs} epochs of these samples are not in the log")


def _instance_id(given: Any, raw_ids: Mapping[str, Any]) -> str:
    """The id as text; 1 and "1" are two samples for Inspect, and stay two."""
    text = str(given)
    same = type(raw_ids.get(text, given)) is type(given)
    return text if same else encode(given).decode()


def _instance(instance_id: str, sample: Mapping[str, Any]) -> Instance:
    given, choices = sample["input"], sample.get("choices")
    question = given if isinstance(given, str) else "\n\n".join(_content(m) for m in given)
    target = sample.get("target") or ""
    targets = [target] if isinstance(target, str) else [str(t) for t in target]
    if choices:
        right = {letter for text in targets for letter in text} if len(targets) == 1 else set(targets)
        references = tuple(
            Reference(choice, (CORRECT,) if chr(ord("A") + index) in right else ())
            for index, choice in enumerate(choices)
        )
    else:
        references = tuple(Reference(text, (CORRECT,)) for text in targets if text)
    return Instance(question, references, "test", instance_id, extra=sample.get("metadata") or None)


def _request(sample: Mapping[str, Any], adapter_spec: AdapterSpec) -> Request:
    """What was asked first: all messages before the first generated one."""
    asked: list[Mapping[str, Any]] = []
    for message in sample.get("messages") or ():
        if message["role"] == "assistant" and message.get("source") != "input":
            break
        asked.append(message)
    messages = tuple(Message(m["role"], _content(m)) for m in asked)
    given = sample["input"]
    prompt = messages[-1].content if messages else given if isinstance(given, str) else ""
    return Request(
        prompt=prompt,
        messages=messages or None,
        temperature=adapter_spec.temperature,
        num_completions=adapter_spec.num_outputs,
        max_tokens=adapter_spec.max_tokens,
        stop_sequences=adapter_spec.stop_sequences,
        random=str(sample["epoch"] - 1) if sample["epoch"] > 1 else None,
    )


def _content(message: Mapping[str, Any]) -> str:
    """The text of a message; what is not text (images, reasoning) stays in the leftovers."""
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    texts = (
        part if isinstance(part, str) else part.get("text", "") if part.get("type") == "text" else None
        for part in content
    )
    return "\n".join(text for text in texts if text is not None)


def _outcome(sample: Mapping[str, Any]) -> Outcome:
    error, output = sample.get("error"), sample.get("output") or {}
    if error:
        message = str(error.get("message", "")) if isinstance(error, Mapping) else str(error)
        return Failure("sample_error", message.splitlines()[0] if message else "no reason given")
    usage = output.get("usage") or {}
    return Response(
        completions=tuple(_completion(choice) for choice in output.get("choices") or ()),
        usage=Usage(*(max(0, int(finite(usage.get(f"{part}_tokens")) or 0)) for part in ("input", "output"))),
        latency_s=finite(output.get("time")) or finite(sample.get("working_time")) or 0.0,
        served_model=output.get("model") or None,
    )


def _completion(choice: Mapping[str, Any]) -> Completion:
    message, logprobs = choice["message"], (choice.get("logprobs") or {}).get("content")
    content = message.get("content")
    parts = content if isinstance(content, list) else []
    thinking = "\n".join(
        part.get("reasoning", "")
        for part in parts
        if isinstance(part, dict) and part.get("type") == "reasoning"
    )
    tokens = _tokens(logprobs or ())
    return Completion(
        text=_content(message),
        finish_reason=_FINISH.get(choice.get("stop_reason") or "", "unknown"),
        logprob=total_logprob(tokens) if tokens else None,
        tokens=tokens,
        thinking=thinking or None,
    )


def _tokens(given: Sequence[Mapping[str, Any]]) -> tuple[Token, ...] | None:
    """The tokens; None without any, or if one of them has no log-probability."""
    if not given or any(finite(token["logprob"]) is None for token in given):
        return None
    return tuple(Token(token["token"], token["logprob"]) for token in given)


@dataclass(slots=True)
class _Scores:
    """The scores of a sample.

    Attributes:
        numbers: Those that are numbers, by name.
        unmapped: All of what says more than its number, by scorer.
        unread: The names of those that are not numbers, and what they are.
    """

    numbers: dict[str, float] = field(default_factory=dict)
    unmapped: dict[str, Any] = field(default_factory=dict)
    unread: list[tuple[str, str]] = field(default_factory=list)


def _scores(given: Mapping[str, Mapping[str, Any]]) -> _Scores:
    """What the scorers say of a sample: each a number, a grade, or several of them by name."""
    scores = _Scores()
    for scorer, score in given.items():
        value = score.get("value")
        parts = {f"{scorer}/{key}": each for key, each in value.items()} if isinstance(value, Mapping) else {}
        for name, each in (parts or {scorer: value}).items():
            number = _number(each)
            if number is not None:
                scores.numbers[name] = number
            elif not _is_unscored(each):
                scores.unread.append((name, _KINDS.get(type(each), type(each).__name__)))
        more = {key: each for key, each in score.items() if each not in (None, [], {}, "")}
        if set(more) - {"value"} or _number(value) is None:
            scores.unmapped[scorer] = more
    return scores


def _is_unscored(value: Any) -> bool:
    """Whether a sample has no score, as Inspect writes it (NaN), or none at all."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def _note_unread(run: ImportedRun, unread: Counter[tuple[str, str]]) -> None:
    """Say which scores are not numbers; Inspect's own metrics take most of them for 0."""
    for (name, kind), count in unread.items():
        run.left_out(
            f"{name}: {count} of {len(run.records)} samples have a value that is not a number ({kind}) "
            "and are not in its mean here; the values are in imported/leftovers.jsonl"
        )


def _number(value: Any) -> float | None:
    """A score's value as Inspect's `value_to_float` reads it; None for what is not a number."""
    if isinstance(value, str):
        if value in _WORDS:
            return _WORDS[value]
        if value.casefold() in _YES_AND_NO:
            return _YES_AND_NO[value.casefold()]
    try:
        return finite(float(value))
    except (TypeError, ValueError, OverflowError):
        return None
