"""Models compared in pairs: win rates of judged runs, and strengths over all of them."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

from evalkit.errors import StoreError, UsageError
from evalkit.execution.journal_index import read_winners, scan_journal
from evalkit.judges.pairwise import FIRST_PLACE, ORDER_CONSISTENT, WIN_RATE, journal_of
from evalkit.reports.raters import Item
from evalkit.response import Response
from evalkit.results.run_directory import read_lines
from evalkit.results.stored_run import StoredRun
from evalkit.specs.run_spec import JudgeSpec
from evalkit.statistics.bradley_terry import BradleyTerry, NoFiniteStrengthError, Win, bradley_terry
from evalkit.statistics.figure import Figure, mean_figure, not_defined, share_figure, within_0_and_1
from evalkit.statistics.preferences import LengthControlled, WinRate, length_controlled_win_rate, win_rate
from evalkit.statistics.ranks import RankInterval, ranks_by_comparison

PAIRWISE = "pairwise"
_SCORES = (WIN_RATE, ORDER_CONSISTENT, FIRST_PLACE)


@dataclass(frozen=True, slots=True)
class Contest:
    """One model against another, as a judge sees it.

    Attributes:
        rate: The first model's wins.
        length_controlled: Its win rate if answers were equally long.
        order_consistency: Share of questions with the same verdict in both orders.
        first_place: Share of games won by the answer shown first.
        num_missing: Questions without a verdict, which count in nothing.
    """

    first: str
    second: str
    rate: WinRate
    length_controlled: LengthControlled
    order_consistency: Figure
    first_place: Figure
    num_missing: int
    wins: Sequence[Win]


@dataclass(frozen=True, slots=True)
class Ranking:
    """Strengths of all models, where the games determine them.

    Attributes:
        fit: None where they don't.
        ranks: Which ranks each may have, by pairwise tests with Holm's correction.
        reason: Why there is no fit; "" where there is one.
    """

    fit: BradleyTerry | None
    ranks: Mapping[str, RankInterval]
    reason: str = ""


def contests_of(runs: Sequence[StoredRun]) -> list[Contest]:
    """The pairs of models that these runs' pairwise judges compare; one for each run and judge.

    Raises:
        UsageError: A run has no pairwise judge.
        StoreError: A run can't be read.
    """
    judged = [(run, spec) for run in runs for spec in _pairwise_specs(run)]
    names = _names(judged)
    return [_contest(run, spec, names[number]) for number, (run, spec) in enumerate(judged)]


def ranking_of(contests: Sequence[Contest], ridge: float = 0.0) -> Ranking:
    """Strengths over all contests."""
    try:
        fit = bradley_terry((win for contest in contests for win in contest.wins), ridge)
    except NoFiniteStrengthError as error:
        return Ranking(None, {}, str(error))
    models = list(fit.strengths)
    pairs = {}
    for one, other in combinations(models, 2):
        lead = fit.difference(one, other)
        if lead.value is not None and lead.stderr:
            pairs[one, other] = (lead.value, math.erfc(abs(lead.value) / lead.stderr / math.sqrt(2)))
    return Ranking(fit, ranks_by_comparison(models, pairs))


def _pairwise_specs(run: StoredRun) -> list[JudgeSpec]:
    found = [spec for spec in run.run_spec.judge_specs if spec.name == PAIRWISE]
    if not found:
        name = run.directory.path
        raise UsageError(
            f"{name} has no pairwise judge; `evalkit judge {name} --against RUN` compares it with another"
        )
    return found


class _Side(NamedTuple):
    """A model in a contest: who answered, in which run, and what identifies its requests."""

    deployment: str
    run_name: str
    requests: str
    benchmark: str


def _names(judged: Sequence[tuple[StoredRun, JudgeSpec]]) -> list[tuple[str, str]]:
    """What both sides are called: by their deployment.

    Where it has several settings in one benchmark, by the run, and where these have one name, with eight
    digits of the digest of its requests.
    """
    sides = [(_side(run), _other_side(spec.args["against"], run)) for run, spec in judged]
    flat = [side for pair in sides for side in pair]

    def is_alone(side: _Side, name: str) -> bool:
        others = {each.requests for each in flat if each.benchmark == side.benchmark
                  and name in (each.deployment, each.run_name)}  # fmt: skip
        return len(others) == 1

    def named(side: _Side) -> str:
        if is_alone(side, side.deployment):
            return side.deployment
        return side.run_name if is_alone(side, side.run_name) else f"{side.run_name}@{side.requests[:8]}"

    return [(named(one), named(other)) for one, other in sides]


def _deployment(run: StoredRun) -> str:
    return run.run_spec.adapter_spec.model_deployment or run.run_spec.adapter_spec.model


def _side(run: StoredRun) -> _Side:
    return _Side(
        _deployment(run),
        run.directory.path.name.partition("@")[0],
        run.manifest.request_digest,
        str(run.run_spec.scenario_spec),
    )


def _other_side(against: str, ours: StoredRun) -> _Side:
    folder = journal_of(against).parent
    try:
        return _side(StoredRun.open(folder))
    except StoreError:  # it has gone: its folder's name is all that is known
        return _Side(folder.name, folder.name, folder.name, str(ours.run_spec.scenario_spec))


def _contest(run: StoredRun, spec: JudgeSpec, names: tuple[str, str]) -> Contest:
    run.check("scores.jsonl", "instances.jsonl")
    groups = {row["id"]: row["group"] for row in read_lines(run.directory.instances_path) if row.get("group")}
    by_score: dict[str, dict[str, list[float]]] = {name: defaultdict(list) for name in _SCORES}
    judged: dict[str, list[Item]] = defaultdict(list)
    num_missing = 0
    for row in read_lines(run.directory.scores_path):
        if row.get("perturbation") is not None:
            continue
        scores, instance_id = row.get("scores", {}), row["instance_id"]
        if spec.score_name(WIN_RATE) in scores:
            judged[instance_id].append((instance_id, None, row.get("trial", 0), row.get("sample", 0)))
        else:
            num_missing += 1
        # A jury may agree on who won and not on the rest.
        for name, found in by_score.items():
            if (score := scores.get(spec.score_name(name))) is not None:
                found[instance_id].append(score)

    def per_question(name: str) -> tuple[list[float], list[Hashable]]:
        found = sorted(by_score[name].items())
        return [math.fsum(v) / len(v) for _, v in found], [groups.get(q, f"\0{q}") for q, _ in found]

    values, clusters = per_question(WIN_RATE)
    consistent = per_question(ORDER_CONSISTENT)
    is_share = all(value in (0, 1) for value in consistent[0])
    benchmark = str(run.run_spec.scenario_spec)
    return Contest(
        *names,
        win_rate(values, clusters),
        _length_controlled(run, spec, values, [items for _, items in sorted(judged.items())], clusters),
        (share_figure if is_share else mean_figure)(*consistent),
        within_0_and_1(mean_figure(*per_question(FIRST_PLACE))),
        num_missing,
        [
            win
            for cluster, value in zip(clusters, values, strict=True)
            for win in _wins(names, value, (benchmark, cluster))
        ],
    )


def _length_controlled(
    run: StoredRun,
    spec: JudgeSpec,
    values: Sequence[float],
    judged: Sequence[Sequence[Item]],
    clusters: Sequence[Hashable],
) -> LengthControlled:
    """The win rate at equal length, with the lengths of the answers in both journals."""
    place = journal_of(spec.args["against"])
    try:
        ours, theirs = _lengths(run.directory.journal_path), _lengths(place)
        lengths = [(_mean_length(ours, items), _mean_length(theirs, items)) for items in judged]
    except (StoreError, KeyError):
        missing = not_defined(f"the answers of the other run can't be read at {place}", len(values))
        return LengthControlled(missing, missing)
    return length_controlled_win_rate(values, lengths, clusters)


def _lengths(journal: Path) -> dict[Item, int]:
    """The characters of each item's answers."""
    found: dict[Item, int] = defaultdict(int)
    for record in read_winners(journal, scan_journal(journal)):
        state = record.state
        if isinstance(record.outcome, Response) and record.outcome.completions:
            item = (state.instance_id, state.perturbation, state.trial, state.sample)
            found[item] += len(record.outcome.completions[0].text)
    return dict(found)


def _mean_length(lengths: Mapping[Item, int], items: Sequence[Item]) -> float:
    return math.fsum(lengths[item] for item in items) / len(items)


def _wins(names: tuple[str, str], value: float, question: Hashable) -> list[Win]:
    first, second = names
    return [Win(first, second, value, question), Win(second, first, 1 - value, question)]


def num_games(contests: Sequence[Contest]) -> Counter[str]:
    """How many questions each model has verdicts on."""
    count: Counter[str] = Counter()
    for contest in contests:
        count[contest.first] += contest.rate.rate.n
        count[contest.second] += contest.rate.rate.n
    return count
