"""Logs of Inspect (UK AISI's harness): `.eval` files (zip archives of JSON) and the older `.json` ones.

One run per log. A sample is an instance, an epoch a sample of it; the request is the conversation up to the
first generated message. A sample that ended with an error is a failure. Scores are Inspect's, carried over.
"""

from __future__ import annotations

import hashlib
import math
import struct
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from evalkit.codec import encode
from evalkit.errors import StoreError, UsageError
from evalkit.instance import CORRECT, Instance, Reference
from evalkit.interchange.foreign_files import ForeignFiles, finite
from evalkit.interchange.imported_run import ImportedRun, Source, UnitKey, label_part, leftover
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

_ZSTD = 93
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
_MAPPED = frozenset(("id", "epoch", "input", "choices", "target", "output", "metadata"))


def find_inspect_logs(path: Path) -> list[Path]:
    """The logs below `path` (a log or a folder of logs), in order of name.

    Raises:
        UsageError: There is none.
    """
    if path.is_file():
        return [path]
    found = sorted([*path.glob("**/*.eval"), *(p for p in path.glob("**/*.json") if _looks_like_a_log(p))])
    if not found:
        why = "does not exist" if not path.exists() else "has no .eval or .json logs of Inspect"
        raise UsageError(f"{path} {why}")
    return found


def read_inspect_log(path: Path) -> ImportedRun:
    """Read one log.

    Raises:
        StoreError: It is damaged, or is no log of Inspect.
        UsageError: It is compressed with Zstandard and nothing here can read that.
    """
    files = ForeignFiles()
    header, samples = _open(path, files)
    try:
        about = header["eval"]
        source = Source("inspect", path.name, str(path), hashlib.sha256(path.read_bytes()).hexdigest())
        run = ImportedRun(source, _run_spec(header))
        run.documents = {"header": header}
        _read_samples(run, samples)
        carry_numbers(run, header.get("results") or {})
        planned = (about.get("dataset") or {}).get("samples")
        if isinstance(planned, int) and planned > len(run.instances):
            run.notes.append(
                f"{planned - len(run.instances)} of {planned} samples are not in the log ({header['status']})"
            )
        if header["status"] != "success":
            run.notes.append(f"Inspect's status of the run: {header['status']}")
        run.notes += files.notes()
    except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
        raise StoreError(f"{path} is not as Inspect writes it: {type(error).__name__} {error}") from None
    return run


def _looks_like_a_log(path: Path) -> bool:
    with path.open("rb") as file:
        start = file.read(4096)
    return b'"eval"' in start and b'"status"' in start


def _open(path: Path, files: ForeignFiles) -> tuple[dict[str, Any], Iterator[dict[str, Any]]]:
    """Header and samples of a log, the samples one by one."""
    if not zipfile.is_zipfile(path):
        try:
            whole = files.read(path)
        except StoreError as error:
            raise StoreError(f"{path} is no log of Inspect: {error}") from None
        if not isinstance(whole, dict):
            raise StoreError(f"{path} is no log of Inspect: it holds no JSON object")
        return {k: v for k, v in whole.items() if k != "samples"}, iter(whole.get("samples") or [])
    archive = zipfile.ZipFile(path)
    names = archive.namelist()
    head = next((n for n in ("header.json", "_journal/start.json") if n in names), None)
    if head is None:
        archive.close()
        raise StoreError(f"{path} is no log of Inspect: it has no header.json")
    header = _member(archive, path, head, files)
    # A run that was killed has only what it began with.
    header.setdefault("status", "started")
    header.setdefault("plan", {})

    def samples() -> Iterator[dict[str, Any]]:
        with archive:
            for name in names:
                if name.startswith("samples/") and name.endswith(".json"):
                    yield _member(archive, path, name, files)

    return header, samples()


def _member(archive: zipfile.ZipFile, path: Path, name: str, files: ForeignFiles) -> dict[str, Any]:
    info = archive.getinfo(name)
    try:
        content = _zstd_content(path, info) if info.compress_type == _ZSTD else archive.read(info)
        return dict(files.parse(content, path.name, f"{path}: {name}"))
    except (zipfile.BadZipFile, struct.error, TypeError, ValueError) as error:
        raise StoreError(f"{path}: {name} is damaged: {error}") from None


def _zstd_content(path: Path, info: zipfile.ZipInfo) -> bytes:
    """A member compressed with Zstandard, which Python's zipfile reads from 3.14 on only."""
    decompress = _zstd()
    with path.open("rb") as file:
        file.seek(info.header_offset)
        # The local header repeats name and extra field, and its extra field may be longer.
        name_length, extra_length = struct.unpack("<26xHH", file.read(30))
        file.seek(name_length + extra_length, 1)
        return decompress(file.read(info.compress_size))


def _zstd() -> Callable[[bytes], bytes]:
    try:
        import zstandard
    except ImportError:
        raise UsageError(
            "this log is compressed with Zstandard: pip install 'evalkit[inspect]', or convert it with "
            "`inspect log convert --to json`"
        ) from None
    decompressor = zstandard.ZstdDecompressor()
    return lambda content: decompressor.decompressobj().decompress(content)


def _run_spec(header: Mapping[str, Any]) -> RunSpec:
    about = header["eval"]
    model, task = about["model"], about["task"]
    settings = {**(about.get("model_generate_config") or {}), **(header["plan"].get("config") or {})}
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


def _read_samples(run: ImportedRun, samples: Iterator[Mapping[str, Any]]) -> None:
    raw_ids: dict[str, Any] = {}
    for sample in samples:
        instance_id = _instance_id(sample["id"], raw_ids)
        if instance_id not in raw_ids:
            raw_ids[instance_id] = sample["id"]
            run.instances.append(_instance(instance_id, sample))
        unit = UnitKey(instance_id, 0, sample["epoch"] - 1)
        scores, unmapped = _scores(sample.get("scores") or {})
        state = RequestState(
            key=request_key(instance_id, 0, unit.sample),
            instance_id=instance_id,
            trial=0,
            request=_request(sample, run.run_spec.adapter_spec),
            sample=unit.sample,
        )
        run.records.append((state, _outcome(sample)))
        run.given[unit] = scores
        rest = [(name, value) for name, value in sample.items() if name not in _MAPPED]
        if (kept := leftover({"key": state.key}, [*rest, ("scores", unmapped)])) is not None:
            run.leftovers.append(kept)


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
    return "\n".join(part.get("text", "") for part in content if part.get("type") == "text")


def _outcome(sample: Mapping[str, Any]) -> Outcome:
    error, output = sample.get("error"), sample.get("output") or {}
    if error:
        message = str(error.get("message", "")) if isinstance(error, Mapping) else str(error)
        return Failure("sample_error", message.splitlines()[0] if message else "no reason given")
    usage = output.get("usage") or {}
    return Response(
        completions=tuple(_completion(choice) for choice in output.get("choices") or ()),
        usage=Usage(usage.get("input_tokens") or 0, usage.get("output_tokens") or 0),
        latency_s=finite(output.get("time")) or finite(sample.get("working_time")) or 0.0,
        served_model=output.get("model") or None,
    )


def _completion(choice: Mapping[str, Any]) -> Completion:
    message, logprobs = choice["message"], (choice.get("logprobs") or {}).get("content")
    content = message.get("content")
    parts = content if isinstance(content, list) else []
    thinking = "\n".join(part.get("reasoning", "") for part in parts if part.get("type") == "reasoning")
    tokens = tuple(Token(t["token"], t["logprob"]) for t in logprobs or ()) or None
    return Completion(
        text=_content(message),
        finish_reason=_FINISH.get(choice.get("stop_reason") or "", "unknown"),
        logprob=total_logprob(tokens) if tokens else None,
        tokens=tokens,
        thinking=thinking or None,
    )


def _scores(given: Mapping[str, Mapping[str, Any]]) -> tuple[dict[str, float], dict[str, Any]]:
    """The scores that are numbers, and the whole of those that say more than their number."""
    scores: dict[str, float] = {}
    unmapped: dict[str, Any] = {}
    for scorer, score in given.items():
        value = score.get("value")
        parts = {f"{scorer}/{key}": each for key, each in value.items()} if isinstance(value, Mapping) else {}
        for name, each in (parts or {scorer: value}).items():
            number = _number(each)
            if number is not None:
                scores[name] = number
        more = {key: each for key, each in score.items() if each not in (None, [], {}, "")}
        if set(more) - {"value"} or _number(value) is None:
            unmapped[scorer] = more
    return scores, unmapped


def _number(value: Any) -> float | None:
    """A score's value as Inspect's `value_to_float` reads it; None for what is no number."""
    if isinstance(value, str):
        if value in _WORDS:
            return _WORDS[value]
        if value.casefold() in _YES_AND_NO:
            return _YES_AND_NO[value.casefold()]
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
