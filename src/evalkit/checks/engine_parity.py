"""Do two engines say the same of one model? The same prompts through each, compared token by token.

Two engines never add up the same numbers in the same order, so their log-probabilities differ in the last
digits, and where two tokens are almost equally likely, greedy texts differ. That is not a fault. A template,
a beginning token, a precision or a mask that differs is one, and shows: as differences in the
log-probabilities of one and the same text, or as texts that part where the choice was clear.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from evalkit.clients.factory import build_client, with_model_facts
from evalkit.errors import UnknownNameError, UsageError
from evalkit.execution.executor import Executor
from evalkit.execution.sender import Sender
from evalkit.models.deployment import ClientSpec, ModelDeployment
from evalkit.registry import CLIENTS
from evalkit.request import RequestState
from evalkit.response import Completion, Failure, Outcome, Token
from evalkit.results.scores import make_scorer
from evalkit.runs.events import AnyObserver, Emitter
from evalkit.runs.load import LoadedRun, load_instances
from evalkit.runs.options import RunOptions
from evalkit.runs.plan import PlanContext, make_plan

if TYPE_CHECKING:
    from evalkit.runs.plan import PlannedRun

ENTRIES = ("arithmetic:operation=add,digits=2", "simple_mcqa")
"""What is asked where the user names nothing: tasks that are made on the spot."""

_SCORED = "/scored"
# What the requests are made with; which model is asked is the engines' affair.
_STAND_IN = "model=evalkit_echo"


@dataclass(frozen=True, slots=True)
class CheckOptions:
    """What is compared.

    Attributes:
        model: A folder, a shipped model or a name on the Hugging Face Hub; empty where all engines are
            deployments.
        engines: Names of engines (`transformers`, `vllm`, `vllm_server`) or of deployments; the first is
            what the others are held against.
        tolerance: Largest difference of a log-probability, in nats, and the margin below which two tokens
            count as equally likely.
        engine_args: Arguments for those engines that take them, such as `dtype`.
    """

    model: str
    engines: tuple[str, ...]
    tolerance: float = 1e-3
    engine_args: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Divergence:
    """Where two greedy texts part.

    Attributes:
        key: The request.
        position: How many tokens are equal before.
        margin: By how much the first engine preferred its token to the next best, in nats; None: not known.
    """

    key: str
    position: int
    tokens: tuple[str, str]
    margin: float | None


@dataclass(frozen=True, slots=True)
class EngineParity:
    """How one engine compares with the first.

    Attributes:
        num_texts: Generated texts compared.
        num_equal: Those that are the same.
        divergences: Where the others part, the clearest choice first.
        num_logprobs: Log-probabilities of the same tokens compared.
        largest_difference: Their largest difference, in nats; None where none could be compared.
        mean_difference: Their mean difference.
        scores: Name of a score to its mean with the first engine and with this one.
        failures: Requests that an engine did not answer, with the reason.
    """

    engine: str
    reference: str
    tolerance: float
    num_texts: int
    num_equal: int
    divergences: tuple[Divergence, ...]
    num_logprobs: int
    largest_difference: float | None
    mean_difference: float | None
    scores: Mapping[str, tuple[float, float]]
    failures: Mapping[str, str]

    @property
    def ok(self) -> bool:
        """Whether they agree: nothing failed, log-probabilities within tolerance, texts part at ties only."""
        close = self.largest_difference is None or self.largest_difference <= self.tolerance
        ties = all(d.margin is not None and d.margin <= self.tolerance for d in self.divergences)
        return not self.failures and close and ties and bool(self.num_texts or self.num_logprobs)


@dataclass(frozen=True, slots=True)
class _Answers:
    """What one engine said: by run and request."""

    outcomes: Mapping[tuple[str, str], Outcome]
    scores: Mapping[str, float]


async def check_engines(
    options: CheckOptions, context: PlanContext, observer: AnyObserver
) -> list[EngineParity]:
    """Ask each engine in turn, and compare each with the first.

    Raises:
        UsageError: Fewer than two engines, or one that does not exist or can't run here.
        SystemicError: An engine can't be opened, or died.
    """
    if len(options.engines) < 2:
        raise UsageError("name at least two engines, such as --engines transformers,vllm")
    events = Emitter((observer,))
    named = [_deployment(engine, options, context) for engine in options.engines]
    deployments = [with_model_facts(deployment, fetch=True) for deployment in named]
    plan = make_plan(context, fetch=True)
    runs = [(run, load_instances(run, context)) for run in plan.runs]
    clients = [build_client(deployment) for deployment in deployments]
    answers: list[_Answers] = []
    for deployment, client in zip(deployments, clients, strict=True):
        events.note(f"{deployment.name}: asking")
        executor = Executor(Sender(client, name=deployment.name, limits=deployment.limits))
        try:
            answers.append(await _ask(executor, runs, answers[0] if answers else None))
            for note in client.notes:
                events.note(f"{deployment.name}: {note}")
        finally:
            await executor.sender.close()
    compared = zip(options.engines[1:], answers[1:], strict=True)
    return [
        _compare(options.engines[0], engine, answers[0], other, options.tolerance)
        for engine, other in compared
    ]


def check_options(options: RunOptions) -> RunOptions:
    """The run options with which the requests of a check are made."""
    entries = options.run_entries or (() if options.conf_paths else ENTRIES)
    return options.model_copy(
        update={
            "run_entries": entries,
            "models_to_run": ("evalkit/echo",),
            "max_eval_instances": options.max_eval_instances or 32,
        }
    )


def _deployment(engine: str, options: CheckOptions, context: PlanContext) -> ModelDeployment:
    if engine not in CLIENTS or not getattr(CLIENTS.get(engine), "resident", False):
        try:
            return context.models.deployment(engine)
        except UnknownNameError:
            known = (name for name in CLIENTS if getattr(CLIENTS.get(name), "resident", False))
            raise UnknownNameError(
                "engine or deployment", engine, [*known, *context.models.names()]
            ) from None
    if not options.model:
        raise UsageError(f"the engine {engine} needs a model")
    args = {"model": options.model, **options.engine_args}
    return ModelDeployment(name=engine, client_spec=ClientSpec(class_name=engine, args=args))


def _comparable(loaded: LoadedRun) -> list[RequestState]:
    """The requests, greedy and with log-probabilities."""
    return [
        replace(
            state,
            request=replace(
                state.request, temperature=0.0, num_completions=1, top_k_per_token=2, random=None
            ),
        )
        for state in loaded.requests()
    ]


async def _ask(
    executor: Executor, runs: Sequence[tuple[PlannedRun, LoadedRun]], first: _Answers | None
) -> _Answers:
    """Ask an engine everything; the text of the first engine is scored by all of them."""
    outcomes: dict[tuple[str, str], Outcome] = {}
    scores: dict[str, float] = {}
    for run, loaded in runs:
        states = _comparable(loaded)
        scorer = make_scorer(run.run_spec, loaded.instances)
        async with aclosing(executor.stream(states)) as stream:
            async for state, outcome in stream:
                outcomes[run.name, state.key] = outcome
                scorer.add(state, outcome)
        label = run.name.removesuffix(_STAND_IN).rstrip(",:")
        scores |= {f"{label} {name}": mean for name, mean in scorer.progress.items()}
        said = first.outcomes if first is not None else outcomes
        async with aclosing(executor.stream(_scoring(run.name, states, said))) as stream:
            async for state, outcome in stream:
                outcomes[run.name, state.key] = outcome
    return _Answers(outcomes, scores)


def _scoring(
    run: str, states: Iterable[RequestState], said: Mapping[tuple[str, str], Outcome]
) -> Iterable[RequestState]:
    """Requests that score what was generated, as the same tokens for every engine."""
    for state in states:
        text = _completion(said.get((run, state.key)))
        if text is None or not text.text or state.request.echo_prompt or state.request.messages is not None:
            continue
        prompt = state.request.prompt
        request = replace(
            state.request,
            prompt=prompt + text.text,
            scored_from=len(prompt),
            echo_prompt=True,
            max_tokens=0,
            stop_sequences=(),
        )
        yield replace(state, key=state.key + _SCORED, request=request)


def _compare(reference: str, engine: str, first: _Answers, other: _Answers, tolerance: float) -> EngineParity:
    divergences, differences, failures = [], [], {}
    num_texts = num_equal = 0
    for (run, key), outcome in first.outcomes.items():
        answer = other.outcomes.get((run, key))
        a, b = _completion(outcome), _completion(answer)
        if a is None or b is None:
            failures[f"{run} {key}"] = _reason(outcome if a is None else answer)
            continue
        if a.is_greedy is None and not key.endswith(_SCORED):
            num_texts += 1
            num_equal += a.text == b.text
            if a.text != b.text:
                divergences.append(_divergence(f"{run} {key}", a, b))
        differences += _differences(a.tokens or (), b.tokens or ())
    divergences.sort(key=lambda found: found.margin if found.margin is not None else float("inf"))
    return EngineParity(
        engine=engine,
        reference=reference,
        tolerance=tolerance,
        num_texts=num_texts,
        num_equal=num_equal,
        divergences=tuple(reversed(divergences)),
        num_logprobs=len(differences),
        largest_difference=max(differences, default=None),
        mean_difference=sum(differences) / len(differences) if differences else None,
        scores={
            name: (mean, other.scores[name]) for name, mean in first.scores.items() if name in other.scores
        },
        failures=failures,
    )


def _completion(outcome: Outcome | None) -> Completion | None:
    if outcome is None or isinstance(outcome, Failure) or not outcome.completions:
        return None
    return outcome.completions[0]


def _reason(outcome: Outcome | None) -> str:
    return f"{outcome.reason}: {outcome.message}" if isinstance(outcome, Failure) else "no answer"


def _divergence(key: str, a: Completion, b: Completion) -> Divergence:
    ours, theirs = a.tokens or (), b.tokens or ()
    pairs = zip(ours, theirs, strict=False)
    position = next((i for i, (x, y) in enumerate(pairs) if x.text != y.text), min(len(ours), len(theirs)))
    tokens = (_text_at(ours, position), _text_at(theirs, position))
    # Where the first one ended, the other says how near the end it was itself.
    margin = _margin(ours if position < len(ours) else theirs, position)
    return Divergence(key, position, tokens, margin)


def _text_at(tokens: Sequence[Token], position: int) -> str:
    return tokens[position].text if position < len(tokens) else ""


def _margin(tokens: Sequence[Token], position: int) -> float | None:
    """By how much the token is likelier than the best of its alternatives."""
    if position >= len(tokens) or not tokens[position].top_logprobs:
        return None
    token = tokens[position]
    others = [value for text, value in (token.top_logprobs or {}).items() if text != token.text]
    return token.logprob - max(others) if others and token.logprob is not None else None


def _differences(a: Sequence[Token], b: Sequence[Token]) -> list[float]:
    """Differences of log-probabilities as long as the tokens are the same."""
    found = []
    for x, y in zip(a, b, strict=False):
        if x.text != y.text:
            break
        if x.logprob is not None and y.logprob is not None:
            found.append(abs(x.logprob - y.logprob))
    return found
