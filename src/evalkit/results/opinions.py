"""What each of several opinions on the answers of a stored run says; nothing is sent."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from evalkit.execution.journal_index import scan_journal
from evalkit.execution.journal_reader import JournalReader
from evalkit.judges.unit_judgement import Opinion
from evalkit.results.complete_units import by_id
from evalkit.results.integrity import units_of
from evalkit.results.judgements import StoredJudgements, judgement_owner, units_with_answers
from evalkit.results.stored_run import StoredRun
from evalkit.results.units import end_of_conversations
from evalkit.scoring.judged import JudgedScores, UnitId
from evalkit.specs.run_spec import JudgeSpec


class StoredOpinion(NamedTuple):
    """One opinion on one unit."""

    judge: JudgeSpec
    opinion: Opinion
    unit: UnitId
    scores: JudgedScores

    @property
    def name(self) -> str:
        """Who gives it: a deployment, with a number where it gives several."""
        who = self.opinion.member or next(iter(self.judge.deployments), self.judge.name)
        return f"{who} #{self.opinion.repetition + 1}" if self.judge.num_opinions > 1 else who


def has_several(judge: JudgeSpec) -> bool:
    """Whether a judge gives more than one opinion on an answer."""
    return len(judge.deployments) * judge.num_opinions > 1


def stored_opinions(run: StoredRun, judge: JudgeSpec) -> Iterator[StoredOpinion]:
    """All opinions of one judge of a run, by the names that its scores have in the run.

    Raises:
        StoreError: A journal can't be read, or is another run's.
        UsageError: The judge is not known.
    """
    directory, run_spec = run.directory, run.run_spec
    run.check("instances.jsonl")
    instances = directory.instances()
    identity = run.manifest.identity["judges"][run_spec.judge_specs.index(judge)]
    path = directory.judgements_path(judge.stage)
    if not path.exists():
        return
    answers = scan_journal(directory.journal_path)
    owner = judgement_owner(answers.requests or "", identity)
    index = scan_journal(path, owner.requests, units_of(run_spec, instances))
    stored = StoredJudgements(judge, run_spec.adapter_spec, index)
    is_over = end_of_conversations(run_spec.adapter_spec)
    with JournalReader(path, owner.requests) as reader:
        for unit_id, unit in units_with_answers(answers, by_id(instances), is_over):
            for opinion, scores in stored.opinions(unit_id, unit, reader):
                yield StoredOpinion(judge, opinion, unit_id, scores)
