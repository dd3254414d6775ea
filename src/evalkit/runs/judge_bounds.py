"""What a run's judges will be asked: how many requests, tokens and dollars, and how many at most."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple

from evalkit.judges.unit_judgement import ASKS, first_requests, opinions_of
from evalkit.request import Request, RequestState, next_turn
from evalkit.response import Completion, Response, Usage
from evalkit.scoring.unit import Answer, Unit, in_order

if TYPE_CHECKING:
    from evalkit.models.deployment import ModelDeployment, Prices
    from evalkit.runs.load import LoadedRun
    from evalkit.runs.plan import PlanContext, PlannedRun
    from evalkit.runs.plan_judges import PlannedJudge

# What is written for an answer that is not there yet; texts do not have this character.
_BLANK = "\uf8ff"


class _Tokens(NamedTuple):
    """What one request comes to.

    Attributes:
        prompt: About how many tokens its prompt has, with answers of full length in it.
        prompt_most: How many it can have at most.
        completion: How many the judge may generate; None where no limit is sent.
    """

    prompt: int
    prompt_most: int
    completion: int | None


def judge_bounds(
    run: PlannedRun, loaded: LoadedRun, scale: float, context: PlanContext
) -> tuple[list[dict[str, Any]], list[str]]:
    """One row per judge: its questions, with answers as long as they can be; and what to say of them.

    `num_requests` and the estimates are without repetitions; what is at most counts each question three
    times, since an unclear reply is followed by the question again.

    Args:
        run: The run.
        loaded: Its instances, or some of them; the answers of a stored run are all that it has.
        scale: How many instances of the run there are for each of these.
        context: Where the judges' files are.
    """
    rows, notes = [], []
    for planned in run.judges:
        try:
            rows.append(_row(planned, run, loaded, scale, context))
        except Exception as error:  # noqa: BLE001 - plugin code, over answers that are not there yet
            notes.append(f"{planned.stage}: its questions can't be counted before there are answers: {error}")
    return rows, notes


def _row(
    planned: PlannedJudge, run: PlannedRun, loaded: LoadedRun, scale: float, context: PlanContext
) -> dict[str, Any]:
    planned.judge.load(context.data)
    opinions = opinions_of(planned.spec.deployments, planned.spec.num_opinions)
    by_name: dict[str | None, list[_Tokens]] = {}
    measures = {_member(planned, each): _Measure(each, run) for each in planned.deployments}
    units = _blank_units(loaded) if run.stored is None else run.stored.units(run, loaded.instances)
    for unit in units:
        for state in first_requests(planned.judge, unit, opinions):
            tokens = measures[state.member].of(state.request)
            by_name.setdefault(state.member, []).append(tokens)
    num_requests = sum(map(len, by_name.values()))
    prices = {_member(planned, each): each.prices for each in planned.deployments}
    return {
        "stage": planned.stage,
        "deployments": list(planned.spec.deployments),
        "num_requests": round(scale * num_requests),
        "max_requests": round(scale * num_requests) * ASKS,
        **_sums(by_name, prices, scale),
    }


def _member(planned: PlannedJudge, deployment: ModelDeployment) -> str | None:
    return deployment.name if len(planned.deployments) > 1 else None


def _sums(
    by_name: dict[str | None, list[_Tokens]], prices: dict[str | None, Prices | None], scale: float
) -> dict[str, Any]:
    prompt = prompt_most = 0
    completion: int | None = 0
    usd: float | None = 0.0
    usd_most: float | None = 0.0
    for name, each in by_name.items():
        limits = [tokens.completion for tokens in each if tokens.completion is not None]
        own_prompt = round(scale * sum(tokens.prompt for tokens in each))
        own_most = round(scale * sum(tokens.prompt_most for tokens in each)) * ASKS
        own_completion = round(scale * sum(limits)) if len(limits) == len(each) else None
        prompt, prompt_most = prompt + own_prompt, prompt_most + own_most
        price = prices[name]
        if own_completion is None or price is None:
            usd = usd_most = None
        elif usd is not None and usd_most is not None:
            usd += price.cost_usd(Usage(own_prompt, own_completion))
            usd_most += price.cost_usd(Usage(own_most, own_completion * ASKS))
        if completion is not None:
            completion = None if own_completion is None else completion + own_completion * ASKS
    return {
        "prompt_tokens": prompt,
        "max_prompt_tokens": prompt_most,
        "max_completion_tokens": completion,
        "max_cost_usd": usd,
        "max_cost_usd_by_bytes": usd_most,
    }


class _Measure:
    """Measures the requests to one who judges, with answers of full length in them."""

    def __init__(self, deployment: ModelDeployment, run: PlannedRun) -> None:
        from evalkit.clients.factory import allowances
        from evalkit.execution.budget import TokenEstimator

        self._allowance = allowances(deployment)
        self._bounds = TokenEstimator(allowance=self._allowance)
        asked = Request("", max_tokens=run.run_spec.adapter_spec.max_tokens)
        longest = [allowances(member)(asked).completion_tokens or 0 for member in run.members]
        self._answer_tokens = max(longest, default=asked.max_tokens)

    def of(self, request: Request) -> _Tokens:
        """What a request comes to."""
        from evalkit.models.tokenizers import estimate_tokens

        allowed = self._allowance(request)
        shown = request.text.count(_BLANK)
        answers = shown * self._answer_tokens
        return _Tokens(
            (estimate_tokens(request.text) + answers) * allowed.sends,
            self._bounds.most_prompt_tokens(request) + answers * allowed.sends,
            allowed.completion_tokens,
        )


def _blank_units(loaded: LoadedRun) -> Iterator[Unit]:
    """The units of a run as they will be, with a mark in the place of each answer."""
    instances = {(str(i.id), i.perturbation_label): i for i in loaded.instances}
    grouped = groupby(loaded.requests(), key=_unit_of)
    for (instance_id, perturbation, trial, sample), states in grouped:
        answers = [answer for state in states for answer in _blank_answers(loaded, state)]
        yield Unit(instances[instance_id, perturbation], trial, sample, in_order(answers))


def _blank_answers(loaded: LoadedRun, state: RequestState) -> Sequence[Answer]:
    response = Response((Completion(_BLANK, "stop"),) * state.request.num_completions)
    answers = []
    for request, num_before in loaded.longest(state):
        state = next_turn(state, request) if num_before else replace(state, request=request)
        answers.append(Answer(state, response))
    return answers


def _unit_of(state: RequestState) -> tuple[str, str | None, int, int]:
    return state.instance_id, state.perturbation, state.trial, state.sample
