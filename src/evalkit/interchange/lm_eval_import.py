"""Runs that lm-eval (EleutherAI's harness) made: `results_*.json` and, next to it, `samples_<task>_*.jsonl`.

One run per task. A multiple-choice sample becomes one request per option, whose log-probability is kept;
a generated one becomes one request with its completions. Scores are lm-eval's, carried over under its names:
`acc`, and `exact_match,strict-match` where a filter was at work.
"""

from __future__ import annotations

import glob
import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evalkit.codec import encode
from evalkit.errors import StoreError, UsageError
from evalkit.instance import CORRECT, Instance, Reference
from evalkit.interchange.foreign_files import ForeignFiles, finite, why_not
from evalkit.interchange.foreign_shapes import LmEvalGeneration, LmEvalLine, LmEvalResults, check, reading
from evalkit.interchange.imported_run import (
    ImportedRun,
    Source,
    UnitKey,
    label_part,
    leftover,
    whole_run_stat,
)
from evalkit.interchange.lm_eval_old import model_name, read_old_results
from evalkit.request import Request, RequestMode, RequestState, request_key
from evalkit.response import Completion, Response
from evalkit.specs.run_spec import AdapterSpec, RunSpec, ScenarioSpec

_NO_FILTER = "none"
# What a line of a samples file has besides its scores.
_PLAIN_FIELD_NAMES = (
    "doc_id doc target arguments resps filtered_resps filter metrics doc_hash prompt_hash target_hash"
)
_PLAIN_FIELDS = frozenset(_PLAIN_FIELD_NAMES.split())
_HASHES = ("doc_hash", "prompt_hash", "target_hash")
# A mean that lm-eval rounded nowhere; only the order of summation may differ.
_TOLERANCE = 1e-6
_DEFAULT_MAX_TOKENS = 256
# File systems have no longer names.
_LONGEST_TASK = 200
_BLOCK_BYTES = 1 << 20
_MOST = 1_000_000_000
_METHODS = {"multiple_choice": "multiple_choice_separate_original", "generate_until": "generation"}


def find_lm_eval_results(path: Path) -> list[Path]:
    """The `results_*.json` files below `path` (a file, a model's folder, or an output folder), in order.

    Raises:
        UsageError: There is none.
    """
    if path.is_file():
        return [path]
    found = sorted(path.glob("**/results*.json"))
    if not found:
        what = "has no results_*.json of lm-eval"
        raise UsageError(f"{path} {why_not(path, what)}")
    return found


def read_lm_eval(path: Path, files: ForeignFiles | None = None) -> Iterator[ImportedRun]:
    """The runs of a results file, one per task that was run (groups are sums of tasks, and are left out).

    Args:
        path: The file.
        files: Reads the files, with a limit of their size.

    Raises:
        StoreError: A file is damaged, too large, or not lm-eval's.
    """
    files = files or ForeignFiles()
    results = files.read(path)
    if not isinstance(results, dict) or not isinstance(results.get("results"), dict):
        raise StoreError(f"{path} is not a results file of lm-eval: it has no 'results'")
    if "configs" not in results:
        with reading(str(path), "lm-eval"):
            yield from read_old_results(path, results, files)
        return
    check(LmEvalResults, results, f"{path} is not as lm-eval writes it")
    notes = list(files.notes())
    for task in results["configs"]:
        if task in results["results"]:
            with reading(f"task {task} of {path}", "lm-eval"):
                run = _read_task(path, results, task, ForeignFiles(files.max_bytes), notes)
            yield run


@dataclass(frozen=True, slots=True)
class _Task:
    """What the readers of samples need to know of a task."""

    name: str
    output_type: str
    split: str
    generation: Mapping[str, Any]


def _read_task(
    path: Path, results: Mapping[str, Any], name: str, files: ForeignFiles, notes: Iterable[str]
) -> ImportedRun:
    config = results["configs"][name]
    task = _Task(
        name=name,
        output_type=config.get("output_type", "generate_until"),
        split="test" if config.get("test_split") else "valid",
        generation=config.get("generation_kwargs") or {},
    )
    samples_path = _samples_path(path, name)
    run = ImportedRun(
        Source("lm-eval", f"{path.name}:{name}", str(path), ""), _run_spec(results, config, task)
    )
    run.notes += notes
    if samples_path is None:
        run.notes.append(f"no samples_{name}_*.jsonl: evalkit imported only the numbers (see --log_samples)")
    else:
        if not samples_path.stem.endswith(_moment(path)):
            run.notes.append(
                f"the samples ({samples_path.name}) were written at another time than the results"
            )
        _read_samples(run, files, samples_path, task)
        _note_missing(run, results, name)
    content = _sha256(path, samples_path, files)
    run.source = Source("lm-eval", run.source.run, str(path), content)
    run.documents = {
        "results": results["results"][name],
        "config": config,
        "setup": {key: results.get(key) for key in ("config", "git_hash", "date", "lm_eval_version")},
    }
    run.whole_run = list(_whole_run(run, results, name))
    return run


def _samples_path(path: Path, task: str) -> Path | None:
    """The samples file of the same moment, else the newest one of the task."""
    if "\0" in task or "/" in task or len(task) > _LONGEST_TASK:
        return None  # no file can be called so
    exact = path.with_name(f"samples_{task}{_moment(path)}.jsonl")
    if exact.exists():
        return exact
    # The moment begins with a digit; a longer task name does not match.
    others = sorted(path.parent.glob(f"samples_{glob.escape(task)}_[0-9]*.jsonl"))
    return others[-1] if others else None


def _moment(path: Path) -> str:
    return path.stem.removeprefix("results")


def _sha256(path: Path, samples_path: Path | None, files: ForeignFiles) -> str:
    """One checksum over both files, one behind the other."""
    whole = hashlib.sha256()
    for each in (path, samples_path):
        if each is not None:
            with files.open(each) as file:
                while block := file.read(_BLOCK_BYTES):
                    whole.update(block)
    return whole.hexdigest()


def _note_missing(run: ImportedRun, results: Mapping[str, Any], task: str) -> None:
    """Say how many questions lm-eval counted that are not among the samples."""
    planned = _num_planned(results, task)
    if not run.instances:
        run.left_out(f"the file of samples is empty: only the numbers of {task} were taken over")
    if planned is not None and planned > len(run.instances):
        run.left_out(f"{planned - len(run.instances)} of {planned} questions are not among the samples")


def _num_planned(results: Mapping[str, Any], task: str) -> int | None:
    planned: int | None = ((results.get("n-samples") or {}).get(task) or {}).get("effective")
    return planned


def _run_spec(results: Mapping[str, Any], config: Mapping[str, Any], task: _Task) -> RunSpec:
    model = results.get("model_name") or model_name(results.get("config") or {})
    shots = (results.get("n-shot") or {}).get(task.name, config.get("num_fewshot"))
    until = task.generation.get("until") or ()
    adapter = AdapterSpec(
        method=_METHODS.get(task.output_type, task.output_type),
        instructions=config["description"] if isinstance(config.get("description"), str) else "",
        max_train_instances=shots or 0,
        num_outputs=1,
        model=model,
        model_deployment=model,
        temperature=_temperature(task.generation),
        max_tokens=_max_tokens(task.generation) if task.output_type == "generate_until" else 0,
        stop_sequences=(until,) if isinstance(until, str) else tuple(until),
    )
    args = {
        "task": task.name,
        "version": (results.get("versions") or {}).get(task.name),
        "dataset_path": config.get("dataset_path"),
        "dataset_name": config.get("dataset_name"),
    }
    return RunSpec(
        name=f"lm_eval:task={label_part(task.name)},num_fewshot={shots or 0},model={label_part(model)}",
        scenario_spec=ScenarioSpec(
            name="lm_eval", args={key: value for key, value in args.items() if value is not None}
        ),
        adapter_spec=adapter,
        groups=(*_groups_of(results.get("group_subtasks") or {}, task.name), task.name),
    )


def _groups_of(subtasks: Mapping[str, Sequence[str]], task: str) -> tuple[str, ...]:
    """The groups that a task is in, the widest first; of a circle, each once."""
    found: list[str] = []
    inner = task
    while True:
        outer = next(
            (g for g, members in subtasks.items() if inner in members and g not in (task, *found)), None
        )
        if outer is None:
            return tuple(reversed(found))
        found.append(inner := outer)


def _temperature(generation: Mapping[str, Any]) -> float:
    """lm-eval is greedy unless its arguments ask for sampling."""
    temperature = generation.get("temperature")
    if not generation.get("do_sample"):
        return 0.0
    return 1.0 if temperature is None else float(temperature)


def _max_tokens(generation: Mapping[str, Any]) -> int:
    given = generation.get("max_gen_toks")
    return _DEFAULT_MAX_TOKENS if given is None else int(given)


def _read_samples(run: ImportedRun, files: ForeignFiles, path: Path, task: _Task) -> None:
    """Instances, requests and scores; a document has a line per filter, with the same answers."""
    seen: set[str] = set()
    lines: dict[tuple[str, str], bytes] = {}
    num_equal = num_other = 0
    for line in files.lines(path, LmEvalLine):
        instance_id, filtered_by = f"doc{line['doc_id']}", line.get("filter", _NO_FILTER)
        content = hashlib.sha256(encode(line, sort_keys=True)).digest()
        if (before := lines.setdefault((instance_id, filtered_by), content)) is not content:
            num_equal += before == content
            if before != content:
                num_other += 1
                place = {"instance_id": instance_id, "filter": filtered_by}
                run.leftovers.append({**place, "second_line": line})
            continue
        first = instance_id not in seen
        if first:
            seen.add(instance_id)
            run.instances.append(_instance(instance_id, line, task))
            run.records += _records(instance_id, line, task)
        scores = run.given.setdefault(UnitKey(instance_id), {})
        rest: list[tuple[str, Any]] = [("filtered_resps", line.get("filtered_resps"))]
        if first:
            rest += [(name, line.get(name)) for name in _HASHES] + [("is_greedy", _greedy(line, task))]
        for name, value in line.items():
            if name in _PLAIN_FIELDS:
                continue
            if (number := finite(value)) is not None:
                scores[_score_name(name, filtered_by)] = number
            else:
                rest.append((name, value))
        if (kept := leftover({"instance_id": instance_id, "filter": filtered_by}, rest)) is not None:
            run.leftovers.append(kept)
    run.notes += files.notes()
    if num_equal:
        run.notes.append(f"{path.name} has {num_equal} lines twice; each counts once")
    if num_other:
        run.left_out(
            f"{path.name} has {num_other} lines twice, with another content; the "
            "first of each counts, the others are in imported/leftovers.jsonl"
        )


def _score_name(metric: str, filtered_by: str) -> str:
    return metric if filtered_by == _NO_FILTER else f"{metric},{filtered_by}"


def _arguments(line: Mapping[str, Any]) -> list[list[Any]]:
    """The arguments of each request: lists in older files, numbered fields in newer ones."""
    given = line["arguments"]
    if isinstance(given, Mapping):
        return [
            [given[request][argument] for argument in sorted(given[request])] for request in _in_order(given)
        ]
    return [list(one) for one in given]


def _in_order(given: Mapping[str, Any]) -> list[str]:
    return sorted(given, key=lambda name: int(name.rpartition("_")[2]))


def _instance(instance_id: str, line: Mapping[str, Any], task: _Task) -> Instance:
    arguments = _arguments(line)
    question = str(arguments[0][0])
    document = line.get("doc")
    extra = dict(document) if isinstance(document, Mapping) else {"doc": document}
    target = line.get("target")
    if task.output_type == "multiple_choice":
        contexts = arguments[: _num_options(arguments)]
        options = [str(a[1]).strip() for a in contexts]
        right = _right_option(target, options)
        references = tuple(Reference(o, (CORRECT,) if i in right else ()) for i, o in enumerate(options))
        # The same context before every option; else the option is the context (Winogrande's way).
        if len({str(a[0]) for a in contexts}) > 1:
            question = str(arguments[0][1])
    elif task.output_type == "loglikelihood_rolling":
        references = ()
    else:
        references = (Reference(str(target), (CORRECT,)),)
    return Instance(question, references, task.split, instance_id, extra=extra)


def _num_options(arguments: Sequence[list[Any]]) -> int:
    """How many of the requests are options; those behind repeat them without context, as calibrations.

    An option may have an empty context by nature: a sentence as such (BLiMP), or what is filled in at the
    beginning of one.
    """
    half, is_odd = divmod(len(arguments), 2)
    options, others = arguments[:half], arguments[half:]
    repeats = not is_odd and all(
        given[0] == "" and str(given[1]).strip() in (str(option[1]).strip(), _end_of(option[0], given[1]))
        for option, given in zip(options, others, strict=True)
    )
    # Of two sentences alike neither calibrates the other.
    has_contexts = any(option[0] != "" for option in options)
    return half if repeats and (has_contexts or half > 1) else len(arguments)


def _end_of(context: Any, option: Any) -> str:
    """As much of a context's end as an option is long: it may be what the contexts differ in."""
    length = len(str(option).strip())
    return str(context).rstrip()[-length:] if length else ""


def _right_option(target: Any, options: Sequence[str]) -> set[int]:
    """The target is the index of the right option, several of them, or its text."""
    text = str(target).strip()
    if text.startswith("[") and text.endswith("]"):
        parts = [part.strip() for part in text[1:-1].split(",")]
        return {int(part) for part in parts if part.isdigit()}
    if text.isdigit() and int(text) < len(options):
        return {int(text)}
    return {index for index, option in enumerate(options) if option == text}


def _records(instance_id: str, line: Mapping[str, Any], task: _Task) -> list[tuple[RequestState, Response]]:
    arguments, answers = _arguments(line), line["resps"]
    several = task.output_type == "multiple_choice"
    num_options = _num_options(arguments)
    records = []
    for position, (given, answer) in enumerate(zip(arguments, answers, strict=True)):
        mode: RequestMode | None = None
        index: int | None = None
        if several:
            # Without the context of the others: the option's probability as such, which some scores subtract.
            mode = "original" if position < num_options else "calibration"
            index = position % num_options
        state = RequestState(
            key=request_key(instance_id, 0, 0, index, mode),
            instance_id=instance_id,
            trial=0,
            request=_request(given, answer, task),
            reference_index=index,
            request_mode=mode,
            unit_size=len(arguments),
        )
        records.append((state, _response(given, answer, task)))
    return records


def _request(given: Sequence[Any], answer: Sequence[Any], task: _Task) -> Request:
    if task.output_type != "generate_until":
        return Request("".join(str(part) for part in given), temperature=0, max_tokens=0, echo_prompt=True)
    settings = given[1] if len(given) > 1 and isinstance(given[1], Mapping) else task.generation
    check(LmEvalGeneration, settings, "the arguments of a request")
    until = settings.get("until") or ()
    return Request(
        prompt=str(given[0]),
        temperature=_temperature(settings),
        num_completions=max(1, len(answer)),
        max_tokens=_max_tokens(settings),
        stop_sequences=(until,) if isinstance(until, str) else tuple(until),
    )


def _response(given: Sequence[Any], answer: Sequence[Any], task: _Task) -> Response:
    if task.output_type == "generate_until":
        return Response(tuple(Completion(str(text)) for text in answer))
    text = str(given[1]) if len(given) > 1 else str(given[0])
    return Response((Completion(text, logprob=_logprob(answer)),))


def _logprob(answer: Any) -> float | None:
    """The first number in `[["-0.2", "False"]]`, `[[-0.2, false]]` or `["-0.2"]`."""
    while isinstance(answer, list | tuple) and answer:
        answer = answer[0]
    try:
        value = float(answer)
    except (TypeError, ValueError):
        return None
    return value if math.isfinite(value) else None


def _greedy(line: Mapping[str, Any], task: _Task) -> list[Any]:
    """Whether each option is what the model would have written; only log-likelihood requests say so."""
    if task.output_type not in ("multiple_choice", "loglikelihood"):
        return []
    return [answer[0][1] for answer in line["resps"] if isinstance(answer[0], list) and len(answer[0]) > 1]


def _whole_run(run: ImportedRun, results: Mapping[str, Any], task: str) -> Iterator[Any]:
    """The task's numbers that are not means of scores per sample (perplexity, F1, corpus BLEU)."""
    given = results["results"][task]
    size = _num_planned(results, task) or given.get("sample_len")
    n = size if isinstance(size, int) and 0 < size < _MOST else len(run.instances)
    for key, value in given.items():
        metric, comma, filtered_by = key.partition(",")
        if not comma or metric.endswith("_stderr") or (number := finite(value)) is None:
            continue
        name = _score_name(metric, filtered_by)
        scores = [s[name] for s in run.given.values() if name in s]
        if scores:
            run.num_compared += 1
            run.compared.add(name)
            mean = math.fsum(scores) / len(scores)
            if math.isclose(mean, value, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE):
                continue
            run.num_different += 1
            run.notes.append(
                f"{name}: lm-eval says {value}, the mean of its samples is {mean}; kept as {name},as-given"
            )
            name = f"{name},as-given"
        stderr = given.get(f"{metric}_stderr,{filtered_by}")
        yield whole_run_stat(name, number, n=n, stderr=finite(stderr))
