"""Judging the answers of a stored run: a new run next to it, which asks no model but its judges."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalkit.errors import StoreError, UsageError
from evalkit.execution.journal_index import JournalIndex, read_winners, scan_journal
from evalkit.models.deployment import ClientSpec, ModelDeployment
from evalkit.perturbations.augmenter import Augmenter
from evalkit.response import Origin, Outcome, Response
from evalkit.results.complete_units import by_id
from evalkit.results.integrity import require_unchanged, require_whole_journal, units_of
from evalkit.results.judgements import units_with_answers
from evalkit.results.run_directory import RunDirectory
from evalkit.results.units import end_of_conversations
from evalkit.runs.load import LoadedRun
from evalkit.runs.plan import Plan, PlanContext, PlannedRun, judges_of
from evalkit.runs.plan_judges import labelled
from evalkit.scenarios.scenario import Scenario
from evalkit.scoring.metric import adapter_of
from evalkit.specs.digest import run_digest
from evalkit.specs.expanders_judge import GENERIC_JUDGE
from evalkit.specs.run_spec import JudgeSpec, Pooling

if TYPE_CHECKING:
    from evalkit.execution.executor import Finished
    from evalkit.instance import Instance
    from evalkit.request import RequestState
    from evalkit.results.manifest import Manifest
    from evalkit.scoring.unit import Unit

_BATCH = 256


@dataclass(frozen=True, slots=True)
class StoredAnswers:
    """The answers of a run that has ended.

    Attributes:
        directory: The run, to which nothing is added.
        requests: The digest that its journal's header names.
        num_requests: How many requests it has, answered or not.
        has_ended: Whether it has an outcome of each.
    """

    directory: RunDirectory
    requests: str
    num_requests: int
    has_ended: bool

    def load(self, run: PlannedRun) -> LoadedRun:
        """The run's instances, as they are stored.

        Raises:
            StoreError: They can't be read.
        """
        instances = self.directory.instances()
        adapter_spec = run.run_spec.adapter_spec
        num_requests = max(self.num_requests, len(self._index(run, instances).winners))
        return LoadedRun(adapter_of(adapter_spec)(adapter_spec), instances, [], num_requests)

    def units(self, run: PlannedRun, instances: Sequence[Instance]) -> Iterator[Unit]:
        """The units that have all their answers, one at a time.

        Raises:
            StoreError: They can't be read.
        """
        is_over = end_of_conversations(run.run_spec.adapter_spec)
        for _, unit in units_with_answers(self._index(run, instances), by_id(instances), is_over):
            yield unit

    def open_stream(
        self, run: PlannedRun, instances: Sequence[Instance], settled: frozenset[str]
    ) -> CopyStream:
        """The answers that are not settled yet, as if they came in."""
        index = self._index(run, instances)
        return CopyStream(self.directory.path.name, index, settled, is_complete=self.has_ended)

    def _index(self, run: PlannedRun, instances: Sequence[Instance]) -> JournalIndex:
        units = units_of(run.run_spec, instances)
        return scan_journal(self.directory.journal_path, self.requests, units)


class CopyStream:
    """Requests with the outcomes that another run's journal has for them; nothing is sent.

    Args:
        source: The name of that run.
        index: Of its journal.
        settled: Keys that are left out.
        is_complete: Whether that run has an outcome of each request.
    """

    def __init__(
        self, source: str, index: JournalIndex, settled: frozenset[str], *, is_complete: bool
    ) -> None:
        self.is_complete = is_complete
        self._source, self._index, self._settled = source, index, settled
        self._error: Exception | None = None

    async def batches(self) -> AsyncGenerator[list[Finished], None]:
        """Yields them as `Stream.batches` does.

        Raises:
            Exception: Whatever `fail` was called with.
        """
        batch: list[Finished] = []
        for record in read_winners(self._index.path, self._index):
            if record.state.key in self._settled:
                continue
            batch.append((record.state, self._found(record.state, record.outcome)))
            if len(batch) == _BATCH:
                yield batch
                batch = []
                await asyncio.sleep(0)
        if batch:
            yield batch
        if self._error is not None:
            raise self._error

    def push(self, *states: RequestState) -> None:
        """Nothing: what follows an answer is in the journal too."""

    def fail(self, error: Exception) -> None:
        """Have `batches` raise this error at its end."""
        self._error = self._error or error

    def _found(self, state: RequestState, outcome: Outcome) -> Outcome:
        if not isinstance(outcome, Response):
            return outcome
        origin = outcome.origin or Origin(self._source, state.key)
        return replace(outcome, cached=True, attempts=1, origin=origin)


def place_of(paths: Sequence[Path]) -> tuple[Path, str]:
    """The output path and the suite in which runs lie.

    Raises:
        UsageError: They are in several suites, or in none.
    """
    homes = dict.fromkeys(path.resolve().parent for path in paths)
    if len(homes) > 1:
        raise UsageError(
            f"these runs are in several suites ({', '.join(map(str, homes))}); judge one at a time"
        )
    (home,) = homes
    if home.parent.name != "runs":
        raise UsageError(f"{home} is not a suite: runs are in <output path>/runs/<suite>")
    return home.parent.parent, home.name


def plan_judging(
    paths: Sequence[Path],
    judge_specs: Sequence[JudgeSpec],
    judging: Sequence[str],
    context: PlanContext,
    pooling: Pooling | None = None,
) -> Plan:
    """Runs that judge the answers of stored runs.

    Args:
        paths: The stored runs.
        judge_specs: The judges; none: those of a run's own spec, or the one for any answers.
        judging: Who plays them: deployments.
        context: Options, models and data.
        pooling: How several opinions become one score; None: as the judges say.

    Raises:
        UsageError: A run has no answers, or no judge; or a judge is wrong.
        StoreError: A run can't be read.
    """
    changes: dict[str, Any] = {} if pooling is None else {"pooling": pooling}
    if judging:
        changes["deployments"] = tuple(context.models.resolve(name)[1] for name in judging)
    planned = [_planned(RunDirectory(path), judge_specs, changes, context) for path in paths]
    return Plan(each_once(planned))


def each_once(planned: Iterable[PlannedRun]) -> tuple[PlannedRun, ...]:
    """The runs without those that would be written where another one is: a run and its judged copies.

    They have the same answers, so that the first judges for all.
    """
    by_digest = {run.digest.full if run.digest else id(run): run for run in reversed(list(planned))}
    return tuple(reversed(by_digest.values()))


def _planned(
    directory: RunDirectory,
    judge_specs: Sequence[JudgeSpec],
    changes: Mapping[str, Any],
    context: PlanContext,
) -> PlannedRun:
    manifest = directory.manifest()
    if manifest is None or not manifest.identity.get("scenario_spec"):
        raise UsageError(f"{directory.path} says not what was asked; `evalkit verify` shows what is lost")
    _require_whole(directory, manifest)
    run_spec = directory.run_spec()
    specs = judge_specs or run_spec.judge_specs or (JudgeSpec(name=GENERIC_JUDGE),)
    run_spec = run_spec.with_judges(*(spec.model_copy(update=changes) for spec in specs))
    run_spec = labelled(run_spec)
    if unplayed := [spec.stage for spec in run_spec.judge_specs if not spec.deployments]:
        raise UsageError(f"the judge '{unplayed[0]}' names no deployment; add --judge <deployment>")
    judges, problem = judges_of(run_spec, context, fetch=not context.options.dry_run)
    covered: dict[str, Any] = {**manifest.identity, "judges": [dict(judge.identity) for judge in judges]}
    name = run_spec.adapter_spec.model_deployment or run_spec.adapter_spec.model or "stored"
    return PlannedRun(
        entry=f"judge {directory.path.name}",
        run_spec=run_spec,
        deployment=ModelDeployment(name=name.replace(" ", "_"), client_spec=ClientSpec(class_name="stored")),
        members=(),
        scenario=Scenario(),
        augmenter=Augmenter(run_spec.data_augmenter_spec, ()),
        digest=run_digest(covered),
        identity=covered,
        problem=problem,
        judges=judges,
        stored=StoredAnswers(
            directory,
            manifest.request_digest,
            manifest.counts.get("num_requests", 0),
            manifest.status in ("complete", "partial"),
        ),
    )


def _require_whole(directory: RunDirectory, manifest: Manifest) -> None:
    """Nothing, if the run is as it was left.

    Raises:
        StoreError: It is damaged, or has no answers.
    """
    require_unchanged(directory, manifest, ("run_spec.json", "instances.jsonl"))
    if not directory.journal_path.exists():
        raise StoreError(f"{directory.path} has no journal, so there are no answers to judge")
    require_whole_journal(directory, manifest, scan_journal(directory.journal_path))
