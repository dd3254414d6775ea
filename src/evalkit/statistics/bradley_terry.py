"""Strengths from pairwise verdicts: the model of Bradley & Terry, P(i beats j) = 1 / (1 + exp(θ_j - θ_i)).

A tie is half a win for each. Strengths are centred (their sum is 0); Elo = 1000 + 400/ln 10 · θ. They don't
depend on the order of the games, as those of a running Elo rating do. Standard errors come from the
pseudo-inverse H⁺ of the information; where games belong to questions, verdicts on one question are not
independent, and it is H⁺ (Σ_q s_q s_qᵀ) H⁺ · G/(G-1) with the score s_q of each of G questions.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from evalkit.statistics.figure import Figure, normal_figure
from evalkit.statistics.matrices import Matrix, inverse, product, times

_ELO = 400 / math.log(10)
_ELO_CENTRE = 1000.0
_MOST_STEPS = 200
_MOST_HALVINGS = 60
_SMALLEST_STEP = 1e-12
_MOST_NAMES = 4


class NoFiniteStrengthError(ValueError):
    """The games don't determine strengths; the message says which of them can't be compared, and why."""


@dataclass(frozen=True, slots=True)
class Win:
    """A game that one model won against another; a tie is two of them with half the weight.

    Attributes:
        question: What the game was about; None where it is not known.
    """

    winner: str
    loser: str
    weight: float = 1.0
    question: Hashable | None = None


@dataclass(frozen=True, slots=True)
class BradleyTerry:
    """Strengths of models.

    Attributes:
        strengths: θ of each model, the strongest first.
        covariance: Of the strengths, in the same order.
        num_games: Games behind them.
        num_questions: Questions behind the standard errors; None if each game counts as independent.
        ridge: What was added so that strengths are finite; 0: nothing.
    """

    strengths: Mapping[str, float]
    covariance: Matrix
    num_games: float
    num_questions: int | None
    ridge: float

    def strength(self, model: str) -> Figure:
        """A model's strength θ."""
        place = list(self.strengths).index(model)
        return self._figure(self.strengths[model], self.covariance[place][place])

    def elo(self, model: str) -> Figure:
        """A model's strength on the scale of Elo; only differences mean something."""
        theta = self.strength(model)
        assert theta.value is not None
        ci95 = theta.ci95 and (_elo(theta.ci95[0]), _elo(theta.ci95[1]))
        stderr = None if theta.stderr is None else theta.stderr * _ELO
        return Figure(_elo(theta.value), theta.n, stderr, ci95, theta.reason)

    def difference(self, first: str, second: str) -> Figure:
        """How much stronger the first of two models is, in θ."""
        names, c = list(self.strengths), self.covariance
        i, j = names.index(first), names.index(second)
        return self._figure(self.strengths[first] - self.strengths[second], c[i][i] + c[j][j] - 2 * c[i][j])

    def _figure(self, value: float, variance: float) -> Figure:
        n = round(self.num_games)
        if self.num_questions is not None and self.num_questions < 2:
            return Figure(value, n, reason="one question has no interval")
        return normal_figure(value, math.sqrt(max(0.0, variance)), n)


def bradley_terry(wins: Iterable[Win], ridge: float = 0.0) -> BradleyTerry:
    """The strengths that make the games likeliest.

    Args:
        wins: All games. Where all have a question, errors are clustered by it.
        ridge: Subtracts ridge/2 · Σθ² from the log-likelihood, which makes strengths finite in any case and
            draws them towards each other.

    Raises:
        NoFiniteStrengthError: There are no games, or without a ridge some models never lost to the others,
            or never met them.
    """
    games = [win for win in wins if win.weight > 0]
    models = sorted({name for win in games for name in (win.winner, win.loser)})
    if not games or any(win.winner == win.loser for win in games):
        raise NoFiniteStrengthError("there are no games between different models")
    if ridge <= 0:
        _require_connected(models, games)
    place = {model: position for position, model in enumerate(models)}
    theta, information = _fitted(_counted(games, place), ridge)
    flat = _pseudo_inverse(information, ridge)
    questions = {win.question for win in games}
    covariance, num_questions = flat, None
    if None not in questions:
        num_questions = len(questions)
        covariance = _clustered(games, place, theta, flat, num_questions)
    order = sorted(range(len(models)), key=lambda i: (-theta[i], models[i]))
    return BradleyTerry(
        {models[i]: theta[i] for i in order},
        [[covariance[i][j] for j in order] for i in order],
        math.fsum(win.weight for win in games),
        num_questions,
        max(0.0, ridge),
    )


def _elo(theta: float) -> float:
    return _ELO_CENTRE + _ELO * theta


def _chance(theta: Sequence[float], i: int, j: int) -> float:
    """Of i to beat j."""
    return 1 / (1 + math.exp(min(700.0, theta[j] - theta[i])))


def _counted(games: Iterable[Win], place: Mapping[str, int]) -> Matrix:
    wins = [[0.0] * len(place) for _ in place]
    for win in games:
        wins[place[win.winner]][place[win.loser]] += win.weight
    return wins


def _fitted(wins: Matrix, ridge: float) -> tuple[list[float], Matrix]:
    """Strengths by Newton's method with halved steps, and the information there."""
    size = len(wins)
    theta = [0.0] * size
    for _ in range(_MOST_STEPS):
        slope, information = _derivatives(wins, theta, ridge)
        step = times(_pseudo_inverse(information, ridge), slope)
        before = _log_likelihood(wins, theta, ridge)
        for _ in range(_MOST_HALVINGS):
            moved = [t + s for t, s in zip(theta, step, strict=True)]
            if _log_likelihood(wins, moved, ridge) >= before - 1e-9 * abs(before):
                break
            step = [s / 2 for s in step]
        theta = [t + s for t, s in zip(theta, step, strict=True)]
        if max(map(abs, step)) < _SMALLEST_STEP:
            break
    centre = math.fsum(theta) / size
    theta = [t - centre for t in theta]
    return theta, _derivatives(wins, theta, ridge)[1]


def _derivatives(wins: Matrix, theta: Sequence[float], ridge: float) -> tuple[list[float], Matrix]:
    size = len(wins)
    slope = [-ridge * t for t in theta]
    information = [[ridge * (i == j) for j in range(size)] for i in range(size)]
    for i in range(size):
        for j in range(i):
            played = wins[i][j] + wins[j][i]
            chance = _chance(theta, i, j)
            surprise, weight = wins[i][j] - played * chance, played * chance * (1 - chance)
            slope[i] += surprise
            slope[j] -= surprise
            information[i][i] += weight
            information[j][j] += weight
            information[i][j] -= weight
            information[j][i] -= weight
    return slope, information


def _log_likelihood(wins: Matrix, theta: Sequence[float], ridge: float) -> float:
    size = len(wins)
    pairs = ((i, j) for i in range(size) for j in range(size) if wins[i][j])
    likelihood = math.fsum(wins[i][j] * _log_chance(theta[i] - theta[j]) for i, j in pairs)
    return likelihood - ridge / 2 * math.fsum(t * t for t in theta)


def _log_chance(lead: float) -> float:
    return -math.log1p(math.exp(-lead)) if lead > -30 else lead


def _pseudo_inverse(information: Matrix, ridge: float) -> Matrix:
    """H⁺ of an information matrix whose rows sum to 0; with a ridge they don't, and it has an inverse."""
    if ridge > 0:
        return inverse(information)
    share = 1 / len(information)
    shifted = inverse([[each + share for each in row] for row in information])
    return [[each - share for each in row] for row in shifted]


def _clustered(
    games: Iterable[Win], place: Mapping[str, int], theta: Sequence[float], flat: Matrix, num_questions: int
) -> Matrix:
    scores: dict[Hashable, list[float]] = defaultdict(lambda: [0.0] * len(place))
    for win in games:
        i, j = place[win.winner], place[win.loser]
        surprise = win.weight * (1 - _chance(theta, i, j))
        scores[win.question][i] += surprise
        scores[win.question][j] -= surprise
    scale = num_questions / max(1, num_questions - 1)
    middle = [[0.0] * len(place) for _ in place]
    for score in scores.values():
        played = [i for i, surprise in enumerate(score) if surprise]
        for i in played:
            for j in played:
                middle[i][j] += scale * score[i] * score[j]
    return product(product(flat, middle), flat)


def _require_connected(models: Sequence[str], games: Iterable[Win]) -> None:
    """Strengths are finite if and only if everybody has won against everybody, directly or through others."""
    won: dict[str, set[str]] = {model: set() for model in models}
    lost: dict[str, set[str]] = {model: set() for model in models}
    for win in games:
        won[win.winner].add(win.loser)
        lost[win.loser].add(win.winner)
    remedy = "compare them on more questions, leave some out, or fit with a ridge"
    either = {model: won[model] | lost[model] for model in models}
    met = _reached(models[0], either)
    if len(met) < len(models):
        apart = [model for model in models if model not in met]
        raise NoFiniteStrengthError(f"{_named(met)} never met {_named(apart)}; {remedy}")
    for model in models:
        below = _reached(model, won)
        if len(below) < len(models):
            above = [other for other in models if other not in below]
            who = f"{_named(above)} won every game against {_named(below)}"
            raise NoFiniteStrengthError(f"{who}, so their lead has no limit; {remedy}")


def _reached(start: str, edges: Mapping[str, set[str]]) -> list[str]:
    found, waiting = {start}, [start]
    while waiting:
        new = edges[waiting.pop()] - found
        found |= new
        waiting += new
    return sorted(found)


def _named(models: Sequence[str]) -> str:
    shown = ", ".join(models[:_MOST_NAMES])
    return shown if len(models) <= _MOST_NAMES else f"{shown} and {len(models) - _MOST_NAMES} more"
