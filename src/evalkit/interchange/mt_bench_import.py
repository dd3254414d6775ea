"""Judgement files of MT-Bench as FastChat writes them, with its questions and answers where they are there.

One run per model and judge. A question is an instance, its category the sub-split; the judgements stay in
the instance's extra data, and the metric `mt_bench_ratings` makes scores of them. Laid out as in FastChat:

    <bench>/question.jsonl, <bench>/question_full.jsonl
    <bench>/model_answer/<model>.jsonl
    <bench>/model_judgment/<judge>_single.jsonl
    <bench>/model_judgment/<judge>_single/<model>__1turn.jsonl
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from evalkit.data.fastchat import Question, question_id
from evalkit.errors import StoreError, UsageError
from evalkit.instance import TEST, Instance
from evalkit.interchange.foreign_files import ForeignFiles, why_not
from evalkit.interchange.foreign_shapes import (
    FastChatAnswer,
    FastChatJudgement,
    FastChatQuestion,
    check,
    reading,
)
from evalkit.interchange.imported_run import ImportedRun, Source, label_part
from evalkit.metrics.mt_bench import JUDGEMENTS, MEAN_OF_CATEGORIES, MEAN_OF_ROWS, NO_RATING, TURNS
from evalkit.plural import counted
from evalkit.request import Message, Request, RequestState, next_turn, request_key
from evalkit.response import Completion, Outcome, Response
from evalkit.specs.digest import digest
from evalkit.specs.run_spec import AdapterSpec, MetricSpec, RunSpec, ScenarioSpec

_JUDGEMENTS, _ANSWERS = "model_judgment", "model_answer"
_QUESTIONS = ("question.jsonl", "question_full.jsonl")
# FastChat's names of the two benchmarks, and evalkit's groups.
_GROUPS = {"mt_bench": "mt_bench_en", "japanese_mt_bench": "mt_bench_ja"}
_PLACE = frozenset(("question_id", "model"))
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class MtBenchFiles:
    """The files of one import.

    Attributes:
        judgements: The judgement files, in order.
        questions: A question file; None: FastChat's place.
        answers: A folder of answer files, named by the models; None: FastChat's place.
    """

    judgements: tuple[Path, ...]
    questions: Path | None = None
    answers: Path | None = None


@dataclass(slots=True)
class _Judged:
    """The judgements of one model by one judge, by question."""

    model: str
    judge: str
    files: dict[Path, None] = field(default_factory=dict)
    rows: dict[str, list[dict[str, Any]]] = field(default_factory=dict)


def find_judgement_files(path: Path) -> list[Path]:
    """The judgement files at `path`: a file, or all `.jsonl` below a folder, or its `model_judgment`.

    Raises:
        UsageError: There is none.
    """
    if path.is_file():
        return [path]
    inside = path / _JUDGEMENTS
    found = sorted((inside if inside.is_dir() else path).glob("**/*.jsonl"))
    if not found:
        raise UsageError(f"{path} {why_not(path, 'has no judgement files (.jsonl) of MT-Bench')}")
    return found


def read_mt_bench(sources: MtBenchFiles, files: ForeignFiles | None = None) -> Iterator[ImportedRun]:
    """The runs of judgement files, by judge and model.

    Raises:
        StoreError: A file is damaged, too large, or not as FastChat writes it.
    """
    files = files or ForeignFiles()
    judged = list(_judged(sources.judgements, files))
    bench = _Bench.of(sources, {name for one in judged for name in one.rows}, files)
    for one in judged:
        with reading(f"the judgements of {one.model} by {one.judge}", "FastChat"):
            yield _run(one, bench)


def _judged(paths: Sequence[Path], files: ForeignFiles) -> Iterable[_Judged]:
    found: dict[tuple[str, str], _Judged] = {}
    for path in paths:
        for number, row in enumerate(files.lines(path), 1):
            place = f"{path}:{number}"
            if isinstance(row, dict) and "g1_winner" in row:
                raise StoreError(
                    f"{path} compares pairs of models; only judgements of single answers "
                    "(<judge>_single.jsonl) can be imported"
                )
            check(FastChatJudgement, row, f"{place} is not as FastChat writes it")
            judge, model = row["judge"][0], row["model"]
            one = found.setdefault((judge, model), _Judged(model, judge))
            one.files[path] = None
            one.rows.setdefault(_id(row, place), []).append(row)
    return found.values()


@dataclass(frozen=True, slots=True)
class _Bench:
    """What lies next to the judgements.

    Attributes:
        name: Of its folder; "" where the judgements do not lie as FastChat puts them.
        questions: By id; empty where there is no question file.
        answers: The folder of answer files.
    """

    name: str
    questions: Mapping[str, Question]
    answers: Path | None
    files: ForeignFiles

    @classmethod
    def of(cls, sources: MtBenchFiles, ids: set[str], files: ForeignFiles) -> _Bench:
        """Of the bench's question files the one that has most of the ids, the first of them."""
        parents = sources.judgements[0].resolve().parents
        home = next((folder.parent for folder in parents if folder.name == _JUDGEMENTS), None)
        found = [home / name for name in _QUESTIONS] if home else []
        present = [sources.questions] if sources.questions else [path for path in found if path.is_file()]
        read = [_questions(path, files) for path in present]
        questions = max(read, key=lambda questions: len(ids & questions.keys()), default={})
        answers = sources.answers or (home / _ANSWERS if home else None)
        return cls(home.name if home else "", questions, answers, files)

    def answers_of(self, model: str) -> dict[str, tuple[str, ...]]:
        """The turns of a model's first choices; of two rows of a question the last, as for FastChat."""
        name = f"{model}.jsonl"
        # A model's name must not lead out of the folder.
        path = self.answers / name if self.answers and Path(name).name == name else None
        if path is None or not path.is_file():
            return {}
        rows = enumerate(self.files.lines(path, FastChatAnswer), 1)
        return {_id(row, f"{path}:{n}"): tuple(row["choices"][0]["turns"]) for n, row in rows}


def _questions(path: Path, files: ForeignFiles) -> dict[str, Question]:
    found: dict[str, Question] = {}
    for number, row in enumerate(files.lines(path, FastChatQuestion), 1):
        name = _id(row, f"{path}:{number}")
        found[name] = Question(name, row["category"], tuple(row["turns"]))
    return found


def _id(row: Mapping[str, Any], place: str) -> str:
    try:
        return question_id(row["question_id"])
    except ValueError as error:
        raise StoreError(f"{place}: {error}") from None


def _run(judged: _Judged, bench: _Bench) -> ImportedRun:
    answers, spec = bench.answers_of(judged.model), _run_spec(judged, bench.name)
    asked = [bench.questions.get(name) or _unknown(name, rows) for name, rows in judged.rows.items()]
    places = {name: place for place, name in enumerate(bench.questions)}
    asked.sort(key=lambda question: places.get(question.id, len(places)))
    instances: list[Instance] = []
    records: list[tuple[RequestState, Outcome]] = []
    for question in asked:
        said = answers.get(question.id, ())[: len(question.turns)]
        instances.append(_instance(question, len(said), judged.rows[question.id]))
        records += _records(question, said)
    content = digest([spec, [instance.extra for instance in instances], [asdict(q) for q in asked]])
    paths = tuple(judged.files)
    place = paths[0] if len(paths) == 1 else paths[0].parent
    source = Source("fastchat", f"{judged.judge}:{judged.model}", str(place), content)
    run = ImportedRun(source, spec, instances, records)
    _note(run, judged, bench, answers)
    run.notes += bench.files.notes()
    return run


def _run_spec(judged: _Judged, bench: str) -> RunSpec:
    args = {"bench": bench, "judge": judged.judge}
    named = ",".join(f"{key}={label_part(value)}" for key, value in args.items() if value)
    turns = sorted({row["turn"] for rows in judged.rows.values() for row in rows})
    return RunSpec(
        name=f"mt_bench:{named},model={label_part(judged.model)}",
        scenario_spec=ScenarioSpec(name="fastchat", args=args),
        adapter_spec=AdapterSpec(
            method="dialogue",
            max_train_instances=0,
            num_outputs=1,
            model=judged.model,
            model_deployment=judged.model,
            temperature=0,
            max_tokens=0,
        ),
        metric_specs=(MetricSpec(name="mt_bench_ratings", args={"turns": turns}),),
        groups=("mt_bench", *([_GROUPS[bench]] if bench in _GROUPS else [])),
    )


def _unknown(name: str, rows: Sequence[Mapping[str, Any]]) -> Question:
    """A question of which only the judge's prompts are known."""
    return Question(name, "", (rows[0].get("user_prompt", ""),))


def _instance(question: Question, num_said: int, rows: Iterable[Mapping[str, Any]]) -> Instance:
    judgements = [{key: value for key, value in row.items() if key not in _PLACE} for row in rows]
    follow_ups = list(question.turns[1 : max(1, num_said)])
    extra = {"follow_ups": follow_ups, TURNS: list(question.turns), JUDGEMENTS: judgements}
    return Instance(
        question.turns[0], (), TEST, question.id, sub_split=question.category or None, extra=extra
    )


def _records(question: Question, said: Sequence[str]) -> Iterator[tuple[RequestState, Response]]:
    """The turns that were answered; where no answer is known, the first turn with an empty response."""
    messages: tuple[Message, ...] = (Message("user", question.turns[0]),)
    state = RequestState(
        key=request_key(question.id, 0),
        instance_id=question.id,
        trial=0,
        request=Request("", messages, temperature=0, max_tokens=0),
        unit_size=max(1, len(said)),
        turn=1,
    )
    if not said:
        yield state, Response(())
        return
    for turn, text in enumerate(said, 1):
        yield state, Response((Completion(text),))
        if turn < len(said):
            messages = (*messages, Message("assistant", text), Message("user", question.turns[turn]))
            state = next_turn(state, replace(state.request, messages=messages))


def _note(run: ImportedRun, judged: _Judged, bench: _Bench, answers: Mapping[str, tuple[str, ...]]) -> None:
    """Say what is missing, what is there several times, and which of the numbers counts what."""
    rows = [(name, row["turn"], row["score"]) for name, found in judged.rows.items() for row in found]
    items = Counter((name, turn) for name, turn, _ in rows)
    if len(rows) > len(items):
        twice = [f"{name} (turn {turn})" for (name, turn), times in items.items() if times > 1]
        run.notes.append(
            f"{len(rows)} judgements of {len(items)} items, several of {_some(twice)}: the last one with a "
            f"rating counts; {MEAN_OF_ROWS} is over all judgements, as FastChat counts"
        )
    if num_unrated := sum(score == NO_RATING for *_, score in rows):
        run.notes.append(
            f"no rating (FastChat writes {NO_RATING}) in {counted(num_unrated, 'judgement')}: they are in no "
            "mean, and an item that has no other judgement has failed"
        )
    if unjudged := [name for name in bench.questions if name not in judged.rows]:
        run.left_out(f"{len(unjudged)} of {len(bench.questions)} questions are not judged: {_some(unjudged)}")
    both = {turn for _, turn in items}
    if partly := [name for name in judged.rows if any((name, turn) not in items for turn in both)]:
        run.left_out(f"not all turns are judged of {counted(len(partly), 'question')}: {_some(partly)}")
    if unknown := [name for name in judged.rows if name not in bench.questions]:
        run.notes.append(
            f"no question file has {_some(unknown)}: the judge's prompt is their input, their category is "
            f"not known, and there is no {MEAN_OF_CATEGORIES}; give --questions FILE"
        )
    if silent := [name for name in judged.rows if name not in answers]:
        run.notes.append(
            f"no answer file has {_some(silent)}: their answers are empty; give --answers FOLDER"
        )


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
