"""The judgements of a stored run: read back from the journals of its judges; nothing is sent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalkit.errors import UnclearVerdict
from evalkit.execution.journal_index import JournalIndex, read_winners, scan_journal
from evalkit.execution.journal_line import JournalOwner
from evalkit.execution.journal_reader import JournalReader
from evalkit.judges.judge import Judge, answers_digest, build_judge
from evalkit.judges.jury import Jury, NoVerdict
from evalkit.judges.unit_judgement import UNCLEAR, Opinion, Reading, opinions_of, read_replies, scores_of
from evalkit.plural import counted
from evalkit.redaction import one_line
from evalkit.response import Failure, Outcome
from evalkit.results.complete_units import InstancesById, UnitTracker, by_id, complete_units, read_unit
from evalkit.results.integrity import fingerprint, units_of
from evalkit.results.run_directory import JUDGEMENTS
from evalkit.results.units import IsOver, end_of_conversations
from evalkit.results.unmade_questions import FailuresBefore, with_failures_before
from evalkit.scoring.judged import JUDGE_ERROR, JudgeColumns, JudgedRunLevel, JudgedScores, UnitId
from evalkit.scoring.run_level import Row
from evalkit.specs.digest import asked_part, digest, run_digest
from evalkit.specs.judge_identity import judge_specs_of
from evalkit.specs.run_spec import AdapterSpec, JudgeSpec, RunSpec

if TYPE_CHECKING:
    from evalkit.instance import Instance
    from evalkit.results.manifest import Manifest
    from evalkit.results.run_directory import RunDirectory
    from evalkit.scoring.scorer import Scorer
    from evalkit.scoring.unit import Unit


def judgement_owner(requests: str, judge_identity: Mapping[str, Any]) -> JournalOwner:
    """Whose the journal of a judge is.

    Args:
        requests: The digest of the run's requests.
        judge_identity: What identifies the judge.
    """
    identity = {"requests": requests, "judge": dict(judge_identity)}
    return JournalOwner(digest([requests, asked_part(judge_identity)]), identity)


def judge_columns(spec: JudgeSpec, judge: Judge) -> JudgeColumns:
    """The scores of a judge, as they are called in the run."""
    lower = frozenset(map(spec.score_name, judge.lower_is_better))
    names = tuple(map(spec.score_name, judge.names))
    shares = frozenset(map(spec.score_name, judge.shares))
    return JudgeColumns(spec.stage, names, lower, _run_level(spec, judge), shares)


def _run_level(spec: JudgeSpec, judge: Judge) -> JudgedRunLevel | None:
    """The judge's numbers over all units, under the names of the run."""
    if not judge.run_level_names:
        return None
    own = {spec.score_name(name): name for name in judge.names}

    def row(instance: Instance, scores: Mapping[str, float]) -> Row | None:
        return judge.run_level_row(instance, {own[name]: value for name, value in scores.items()})

    def numbers(rows: Sequence[Row]) -> Mapping[str, float]:
        given = judge.run_level_scores(rows)
        return {spec.score_name(name): value for name, value in given.items()}

    return JudgedRunLevel(tuple(map(spec.score_name, judge.run_level_names)), row, numbers)


def columns_of(run_spec: RunSpec) -> list[JudgeColumns]:
    """The scores of all judges of a run.

    Raises:
        UsageError: A judge is not known, or has a wrong argument.
    """
    return [judge_columns(spec, build_judge(spec, run_spec.adapter_spec)) for spec in run_spec.judge_specs]


@dataclass(slots=True)
class ReadJudgements:
    """What the journal of one judge comes to.

    Attributes:
        path: The journal.
        index: What it holds; None where there is no such file.
        verdict_version: By what rules replies are read today.
        failures: Questions without a verdict, by reason.
        num_owed: Questions that have not been sent, or failed, or whose unclear replies are to be followed
            by another.
        num_questions: Questions about the answers of the run, as far as the journal knows of them.
    """

    path: Path
    index: JournalIndex | None
    verdict_version: int
    failures: Counter[str] = field(default_factory=Counter)
    num_owed: int = 0
    num_questions: int = 0

    @property
    def num_replies(self) -> int:
        """Replies that the journal holds."""
        return 0 if self.index is None else len(self.index.answered)

    @property
    def num_unclear(self) -> int:
        """Questions whose replies stayed unclear."""
        return self.failures[UNCLEAR]


class StoredJudgements:
    """Reads what one judge has said of the answers of a run.

    Args:
        spec: The judge.
        adapter_spec: The run's.
        index: Of the judge's journal.

    Raises:
        UsageError: The judge is not known, or has a wrong argument.
    """

    def __init__(self, spec: JudgeSpec, adapter_spec: AdapterSpec, index: JournalIndex) -> None:
        self._spec, self._index = spec, index
        self._judge = build_judge(spec, adapter_spec)
        self._opinions = opinions_of(spec.deployments, spec.num_opinions)
        self._offsets: dict[UnitId, list[int]] = {}
        for record in read_winners(index.path, index):
            state = record.state
            unit: UnitId = (state.instance_id, state.trial, state.sample, state.perturbation)
            self._offsets.setdefault(unit, []).append(index.winners[state.key])
        self.read = ReadJudgements(index.path, index, self._judge.verdict_version)

    def scores(self, unit_id: UnitId, unit: Unit, reader: JournalReader) -> JudgedScores:
        """What the judge says of a unit, all opinions together, by the names that its scores have in the run.

        Args:
            unit_id: The unit.
            unit: Its answers; judgements on others do not count.
            reader: Of the judge's journal.
        """
        return self._named(_pooled(self._spec, self._judge, self._all_opinions(unit_id, unit, reader)))

    def completed(self, scores: JudgedScores, before: Mapping[str, Failure]) -> JudgedScores:
        """Scores of a unit with the failures of questions that could not be made when the run was judged."""
        names = [self._spec.score_name(name) for name in self._judge.names]
        completed = with_failures_before(scores, names, before)
        self.read.failures[JUDGE_ERROR] += len(completed.failures) > len(scores.failures)
        return completed

    def opinions(
        self, unit_id: UnitId, unit: Unit, reader: JournalReader
    ) -> list[tuple[Opinion, JudgedScores]]:
        """Each opinion on a unit by itself; arguments as for `scores`."""
        each = self._all_opinions(unit_id, unit, reader)
        return [(opinion, self._named(scores)) for opinion, scores in each]

    def _named(self, scores: JudgedScores) -> JudgedScores:
        name = self._spec.score_name
        return JudgedScores(
            {name(each): value for each, value in scores.numbers.items()},
            {name(each): failure for each, failure in scores.failures.items()},
        )

    def _all_opinions(
        self, unit_id: UnitId, unit: Unit, reader: JournalReader
    ) -> list[tuple[Opinion, JudgedScores]]:
        abouts, outcomes, num_questions = _abouts(unit), _Outcomes(), 0
        for record in reader.records(self._offsets.get(unit_id, ())):
            place = record.state.judgement
            if place is not None and place.about in abouts:
                outcomes.setdefault((place.opinion, place.question), {})[place.again] = record.outcome
                num_questions = max(num_questions, place.num_questions)
        opinions = []
        for opinion in self._opinions:
            readings = self._readings(opinion, unit, outcomes)
            self._count(readings, num_questions)
            # A question of which nothing is known keeps scores that need all of them from being made.
            for number in range(num_questions - len(readings)):
                readings[f"/{number}"] = Reading(owes=0)
            opinions.append((opinion, scores_of(self._judge, readings) if readings else JudgedScores()))
        return opinions

    def _readings(self, opinion: Opinion, unit: Unit, outcomes: _Outcomes) -> dict[str, Reading]:
        return {
            question: read_replies(self._judge, unit, question, chain)
            for (number, question), chain in outcomes.items()
            if number == opinion.number
        }

    def _count(self, readings: Mapping[str, Reading], num_questions: int) -> None:
        read = self.read
        read.num_questions += num_questions
        read.num_owed += num_questions - len(readings)
        for reading in readings.values():
            read.num_owed += reading.owes is not None
            if reading.failure is not None:
                read.failures[reading.failure.reason] += 1


class _Outcomes(dict[tuple[int, str], dict[int, Outcome]]):
    """What came back, by opinion and question, then by the number of unclear replies before."""


def _abouts(unit: Unit) -> set[str]:
    """The digests of the answers that a question may be about: all, or the first turns of a conversation."""
    is_conversation = unit.answers[0].state.turn is not None
    parts = [unit.until(num) for num in range(1, len(unit.answers))] if is_conversation else []
    return {answers_digest(each) for each in (unit, *parts)}


def _pooled(spec: JudgeSpec, judge: Judge, opinions: Sequence[tuple[Opinion, JudgedScores]]) -> JudgedScores:
    """One score of each name from all opinions; nothing yet where one of them is still to come."""
    if len(opinions) == 1:
        return opinions[0][1]
    jury, pooled = Jury(rule=spec.pooling, min_verdicts=spec.min_opinions), JudgedScores()
    for name in judge.names:
        given: dict[str, float | NoVerdict] = {}
        for opinion, scores in opinions:
            who = f"{opinion.member or 'opinion'} {opinion.repetition + 1}"
            if name in scores.numbers:
                given[who] = scores.numbers[name]
            elif name in scores.failures:
                given[who] = NoVerdict(scores.failures[name].reason)
        if len(given) < len(opinions):
            continue
        try:
            verdict = jury.decide(given).verdict
            assert isinstance(verdict, float | int)
            pooled.numbers[name] = float(verdict)
        except UnclearVerdict as error:
            reasons = [failure.reason for _, each in opinions if (failure := each.failures.get(name))]
            reason = next((each for each in reasons if each != UNCLEAR), UNCLEAR)
            pooled.failures[name] = Failure(reason, one_line(str(error)))
    return pooled


def enter_judgements(
    scorer: Scorer,
    directory: RunDirectory,
    run_spec: RunSpec,
    identity: Mapping[str, Any],
    answers: JournalIndex,
    instances: Sequence[Instance],
    before: FailuresBefore | None = None,
) -> dict[str, ReadJudgements]:
    """Enter all that judges have said into a scorer that has seen the answers.

    Args:
        scorer: Of the run.
        directory: The run.
        run_spec: The run.
        identity: What identifies it.
        answers: Of the journal of answers.
        instances: The evaluated instances.
        before: Why judges could not make their questions when the run was judged; None: not known.

    Returns:
        What each journal comes to, by what the stage of its judge is called.

    Raises:
        StoreError: A journal can't be read, or is another run's.
        UsageError: A judge is not known.
    """
    requests, found = answers.requests or "", dict[str, ReadJudgements]()
    units, is_over = units_of(run_spec, instances), end_of_conversations(run_spec.adapter_spec)
    with ExitStack() as stack:
        stored: list[tuple[int, StoredJudgements, JournalReader]] = []
        for number, (spec, judge) in enumerate(zip(run_spec.judge_specs, identity["judges"], strict=True)):
            path = directory.judgements_path(spec.stage)
            if not path.exists():
                version = build_judge(spec, run_spec.adapter_spec).verdict_version
                found[spec.stage] = ReadJudgements(path, None, version)
                continue
            owner = judgement_owner(requests, judge)
            index = scan_journal(path, owner.requests, units)
            judgements = StoredJudgements(spec, run_spec.adapter_spec, index)
            reader = stack.enter_context(JournalReader(path, owner.requests))
            stored.append((number, judgements, reader))
            found[spec.stage] = judgements.read
        if not stored:
            return found
        known = by_id(instances)
        for unit_id, unit in units_with_answers(answers, known, is_over):
            for number, judgements, reader in stored:
                scores = judgements.scores(unit_id, unit, reader)
                if unit_before := (before or {}).get(unit_id):
                    scores = judgements.completed(scores, unit_before)
                scorer.judge(number, unit_id, scores)
    return found


def judgement_problems(manifest: Manifest, judged: Mapping[str, ReadJudgements]) -> list[str]:
    """What a run's judges have said and its journals lack, in words.

    Args:
        manifest: As the run left it.
        judged: What the journals come to, by stage.
    """
    problems = []
    for stage, read in judged.items():
        had, has = num_replies(manifest, stage), read.num_replies
        name = f"{JUDGEMENTS}/{read.path.name}"
        is_known = manifest.files.get(name) is not None and manifest.files[name] == fingerprint(read.path)
        if read.index is not None and (not is_known or has < had):
            problems += [f"{read.path}: {damage}" for damage in read.index.damage]
        if read.index is not None and read.index.torn_bytes:
            torn = counted(read.index.torn_bytes, "byte")
            problems.append(f"{read.path}: the last line is incomplete ({torn})")
        if has < had:
            problems.append(f"{read.path} has {has} of {counted(had, 'judgement')}")
    return problems


def num_replies(manifest: Manifest, stage: str) -> int:
    """How many replies of a judge a run had when it ended; 0 where nothing says so, as after a kill."""
    if manifest.status == "running":
        return 0
    report = manifest.stages.get(f"judge:{stage}", {})
    return int(report.get("num_answered", 0)) + int(report.get("failures", {}).get(UNCLEAR, 0))


def owe_unmade(manifest: Manifest, judged: Mapping[str, ReadJudgements]) -> None:
    """Count as owed what judges could not ask, where only the counts of the run know of it any more."""
    for stage, read in judged.items():
        had = manifest.stages.get(f"judge:{stage}", {}).get("failures", {}).get(JUDGE_ERROR, 0)
        read.num_owed += max(0, had - read.failures[JUDGE_ERROR])


def read_anew(manifest: Manifest, judged: Mapping[str, ReadJudgements]) -> Manifest:
    """The manifest of a run whose replies were read by today's rules: its identity and counts say so."""
    if not judged:
        return manifest
    judges = [
        {**judge, "verdict_version": judged[spec.stage].verdict_version}
        for spec, judge in zip(
            judge_specs_of(manifest.identity["judges"]), manifest.identity["judges"], strict=True
        )
    ]
    identity = {**manifest.identity, "judges": judges}
    stages = dict(manifest.stages)
    for stage, read in judged.items():
        if (report := stages.get(f"judge:{stage}")) is not None and read.index is not None:
            num_failed, num_answered = read.failures.total(), len(read.index.answered) - read.num_unclear
            counts = {"num_failed": num_failed, "num_answered": num_answered}
            ended = report["status"] in ("complete", "partial")
            status = ("partial" if num_failed or read.num_owed else "complete") if ended else report["status"]
            failures = dict(read.failures.most_common())
            stages[f"judge:{stage}"] = {**report, **counts, "failures": failures, "status": status}
    return replace(manifest, identity=identity, digest=run_digest(identity).full, stages=stages)


def units_with_answers(
    answers: JournalIndex, instances: InstancesById, is_over: IsOver | None
) -> Iterator[tuple[UnitId, Unit]]:
    """The complete units of a run, one at a time."""
    with JournalReader(answers.path, answers.requests or "") as reader:
        for unit in complete_units(answers, UnitTracker(instances, is_over)):
            yield unit.id, read_unit(unit, reader, instances)
