"""The judgements of a stored run as rows of FastChat's files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from evalkit.execution.journal_index import read_winners, scan_journal
from evalkit.execution.journal_line import Record
from evalkit.instance import Instance
from evalkit.judges.judge import answers_digest, build_judge
from evalkit.judges.mt_bench import MtBenchJudge
from evalkit.judges.unit_judgement import read_replies
from evalkit.metrics.mt_bench import NO_RATING
from evalkit.response import Response
from evalkit.results.run_directory import RunDirectory
from evalkit.scoring.unit import Unit
from evalkit.specs.run_spec import JudgeSpec, RunSpec

_QUESTION = "turn_"
Chains = dict[tuple[str, int, int], dict[int, Record]]
"""The records of a question by its number of unclear replies before; by instance, opinion and turn."""


def judgement_rows(
    directory: RunDirectory, spec: RunSpec, model: str, units: Mapping[str, Unit]
) -> Iterator[dict[str, Any]]:
    """A row for each judgement that there is a reply to, by question, opinion and turn.

    Args:
        directory: The run.
        spec: The run.
        model: What the rows call it.
        units: The conversations whose judgements are wanted, by instance.

    Raises:
        StoreError: A journal can't be read.
    """
    for judge_spec in spec.judge_specs:
        path = directory.judgements_path(judge_spec.stage)
        judge = build_judge(judge_spec, spec.adapter_spec)
        if not isinstance(judge, MtBenchJudge) or not path.exists():
            continue
        chains: Chains = {}
        for record in read_winners(path, scan_journal(path)):
            _take(record, units, chains)
        order = {name: position for position, name in enumerate(units)}
        for place in sorted(chains, key=lambda place: (order[place[0]], *place[1:])):
            unit = units[place[0]]
            row = _row(judge, judge_spec, unit, place[2], chains[place])
            if row is not None:
                yield {"question_id": fastchat_id(unit.instance), "model": model, **row}


def _take(record: Record, units: Mapping[str, Unit], chains: Chains) -> None:
    """Keep a record if it is a rating of one of the units' turns, as they were answered."""
    state, place = record.state, record.state.judgement
    unit = units.get(state.instance_id)
    if unit is None or place is None or state.sample or state.trial or state.perturbation is not None:
        return
    _, mark, number = place.question.partition(_QUESTION)
    if not mark or not number.isdecimal():
        return  # a comparison
    turn = int(number)
    if place.about == answers_digest(unit.until(turn)):
        chains.setdefault((state.instance_id, place.opinion, turn), {})[place.again] = record


def _row(
    judge: MtBenchJudge, spec: JudgeSpec, unit: Unit, turn: int, chain: Mapping[int, Record]
) -> dict[str, Any] | None:
    """What was asked and said at last; None where no request was answered."""
    answered = {again: record for again, record in chain.items() if isinstance(record.outcome, Response)}
    if not answered:
        return None
    outcomes = {again: record.outcome for again, record in chain.items()}
    reading = read_replies(judge, unit, f"{_QUESTION}{turn}", outcomes)
    rating = next(iter(reading.numbers.values())) if reading.numbers else NO_RATING
    last = answered[max(answered)]
    request, response = last.state.request, last.outcome
    assert isinstance(response, Response)
    return {
        "judge": [last.state.member or spec.deployments[0], judge.prompt_kind(unit, turn).name],
        "user_prompt": request.messages[-1].content if request.messages else request.prompt,
        "judgment": response.completions[0].text if response.completions else "",
        "score": int(rating) if float(rating).is_integer() else rating,
        "turn": turn,
        "tstamp": last.at,
    }


def fastchat_id(instance: Instance) -> int | str:
    """The id of a question; FastChat's are numbers."""
    text = str(instance.id)
    return int(text) if text.isdecimal() and str(int(text)) == text else text
