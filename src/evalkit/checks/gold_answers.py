"""Does a benchmark agree with itself? Its right answers, fed back as completions, must get full marks.

No model is asked. The answers go through the same requests and metrics as a model's would, so a gold text
that the prompt's stop sequence would cut, a letter that maps to another option, or a metric that rejects its
own gold is found before anything is spent.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from evalkit.instance import Instance
from evalkit.request import RequestState
from evalkit.response import Completion, Response, Token
from evalkit.results.scores import make_scorer
from evalkit.runs.load import LoadedRun, load_instances
from evalkit.runs.plan import Plan, PlanContext, PlannedRun
from evalkit.scoring.score_table import ScoreRow
from evalkit.specs.digest import digest
from evalkit.specs.entry import parse_run_entry

MAX_PROBLEMS = 20
STAND_IN_MODEL = "evalkit/echo"


@dataclass(frozen=True, slots=True)
class Validation:
    """What was found.

    Attributes:
        means: Mean of each metric over the right answers.
        problems: What is wrong, in words, at most `MAX_PROBLEMS`; empty if all is well.
        warnings: What may be meant but deserves a look.
    """

    name: str
    num_instances: int
    num_requests: int
    means: Mapping[str, float]
    problems: tuple[str, ...]
    warnings: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether every right answer gets full marks."""
        return not self.problems


def with_stand_in(context: PlanContext) -> PlanContext:
    """A context in which an entry without its own model gets a stand-in: validation sends no requests.

    Judges are left out: they would have to be asked.
    """
    context = replace(context, is_judged=False)
    options = context.options
    if options.models_to_run:
        return context
    entries = [*options.run_entries, *(entry.description for entry in context.conf_entries)]
    named = [str(parse_run_entry(entry).values.get("model", "")) for entry in entries]
    explicit = dict.fromkeys(name for name in named if "/" in name)
    chosen = options.model_copy(update={"models_to_run": (STAND_IN_MODEL, *explicit)})
    return replace(context, options=chosen)


def distinct_runs(plan: Plan) -> list[PlannedRun]:
    """The runs of a plan that differ in more than the model."""
    distinct: dict[str, PlannedRun] = {}
    for run in plan.runs:
        spec = run.run_spec
        adapter_spec = spec.adapter_spec.model_copy(update={"model": "", "model_deployment": ""})
        distinct.setdefault(digest([spec.scenario_spec, adapter_spec, spec.metric_specs]), run)
    return list(distinct.values())


def validate_run(run: PlannedRun, context: PlanContext) -> Validation:
    """Feed the right answers of a run's instances back as completions and score them.

    Raises:
        DataError: The instances can't be made, or one has no right answer.
    """
    loaded = load_instances(run, context)
    scorer = make_scorer(run.run_spec, loaded.instances)
    full_marks = {name: mark for metric in scorer.metrics for name, mark in metric.full_marks.items()}
    by_id = {(instance.id, instance.perturbation_label): instance for instance in loaded.instances}
    num_requests = 0
    for first in loaded.requests():
        instance = by_id[first.instance_id, first.perturbation]
        states = deque((first,))
        while states:
            state = states.popleft()
            num_requests += 1
            response = gold_response(state, instance, loaded)
            scorer.add(state, response)
            states.extend(loaded.after(state, response))
    problems = [problem for row in scorer.rows() for problem in _problems(row, full_marks)]
    stats = [s for s in scorer.stats() if s.kind == "score" and s.split == "all" and s.perturbation is None]
    problems += scorer.run_level_problems
    if len(problems) > MAX_PROBLEMS:
        problems = [*problems[:MAX_PROBLEMS], f"… and {len(problems) - MAX_PROBLEMS} more"]
    means = {s.name: s.mean for s in stats if s.mean is not None}
    warnings = (*_warnings(loaded), *loaded.notes)
    return Validation(run.name, len(loaded.instances), num_requests, means, tuple(problems), warnings)


def _problems(row: ScoreRow, full_marks: Mapping[str, float]) -> Iterator[str]:
    """What is wrong with the scores of one right answer, in words."""
    if row.status != "scored":
        yield f"{row.instance_id}: {row.reason}{f': {row.message}' if row.message else ''}"
        return
    for failure in dict.fromkeys((row.failed_scores or {}).values()):
        yield f"{row.instance_id}: {failure.reason}: {failure.message}"
    for name, value in row.scores.items():
        if name in full_marks and abs(value - full_marks[name]) > 1e-9:
            yield f"{row.instance_id}: {name} of the right answer is {value:g}, not {full_marks[name]:g}"


def gold_response(state: RequestState, instance: Instance, loaded: LoadedRun) -> Response:
    """The answer of a model that knows everything."""
    request = state.request
    if state.reference_index is None:
        adapter = loaded.adapter
        text = adapter.gold(instance) if state.turn is None else adapter.gold_of_turn(instance, state.turn)
        for stop in request.stop_sequences:  # as an engine would: the text ends before a stop sequence
            text = text.split(stop, 1)[0]
        return Response(tuple(Completion(text, "stop") for _ in range(request.num_completions)))
    correct = instance.references[state.reference_index].is_correct
    logprob = -5.0 if state.request_mode == "calibration" else (-1.0 if correct else -10.0)
    token = Token(request.prompt, logprob)
    return Response((Completion(request.prompt, "length", logprob, (token,)),))


def _warnings(loaded: LoadedRun) -> tuple[str, ...]:
    """Questions that stand twice, or also among the few-shot examples."""
    originals = [instance for instance in loaded.instances if instance.perturbation is None]
    inputs = Counter(instance.input for instance in originals if instance.input)
    twice = sum(count - 1 for count in inputs.values() if count > 1)
    leaked = len({i.input for i in loaded.train if i.input} & set(inputs))
    found = []
    if twice:
        found.append(f"{twice} evaluated instances repeat another's input")
    if leaked:
        found.append(f"{leaked} evaluated inputs are also in the train split")
    return tuple(found)
