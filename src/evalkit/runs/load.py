"""From a planned run to its instances, and from them to what will be sent."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import TYPE_CHECKING, Any

from evalkit.data.content import links_in
from evalkit.errors import DataError, EvalkitError
from evalkit.instance import EVAL_SPLITS, TRAIN, Instance
from evalkit.plugins import described
from evalkit.read_audit import watched_reads
from evalkit.registry import ADAPTERS
from evalkit.request import Message, Request, RequestState, next_turn, turn_parts
from evalkit.response import Response
from evalkit.runs.plan import PlanContext, PlannedRun

if TYPE_CHECKING:
    from evalkit.adapters.adapter import Adapter
    from evalkit.execution.journal_index import JournalIndex
    from evalkit.models.deployment import ModelDeployment

MAX_UNDECLARED_SHOWN = 3


@dataclass(frozen=True, slots=True)
class LoadedRun:
    """A planned run with its instances: the `RequestSource` of its answers.

    Attributes:
        instances: The evaluated ones, in plan order.
        train: The few-shot pool.
        num_requests: How many requests there are; of conversations at most, since one may end early.
        notes: What the user should know of how the instances were made.
        unverified: Those of the notes that name data which is not the pinned one.
    """

    adapter: Adapter
    instances: list[Instance]
    train: list[Instance]
    num_requests: int = field(default=0)
    notes: tuple[str, ...] = ()
    unverified: tuple[str, ...] = ()
    _by_id: dict[tuple[str, str | None], Instance] = field(default_factory=dict)

    def owed(self, journal: JournalIndex) -> Iterator[RequestState]:
        """What the conversations in a journal owe, then the first requests that it has not settled."""
        from evalkit.execution.journal_index import read_unfinished

        settled = journal.settled
        if self.adapter.has_turns:
            self._index()
            for record in read_unfinished(journal):
                is_ours = (record.state.instance_id, record.state.perturbation) in self._by_id
                if is_ours and isinstance(record.outcome, Response):
                    following = self.after(record.state, record.outcome)
                    yield from (state for state in following if state.key not in settled)
        yield from self.requests(settled)

    def share(self, instances: list[Instance]) -> LoadedRun:
        """The same with some of the instances only, and what is asked about them."""
        num_requests = self.adapter.num_requests(instances)
        return replace(self, instances=instances, num_requests=num_requests, _by_id={})

    def after(self, state: RequestState, response: Response) -> Sequence[RequestState]:
        """What an answer leads to: the next turn of its conversation, or nothing; see `Adapter.after`.

        Raises:
            DataError: The adapter fails.
        """
        if state.turn is None:
            return ()
        self._index()
        try:
            instance = self._by_id[state.instance_id, state.perturbation]
            following = tuple(self.adapter.after(instance, state, response))
        except EvalkitError:
            raise
        except Exception as error:
            method = self.adapter.spec.method
            raise DataError(
                f"the method {method} failed to go on after {state.key}: {described(error)}"
            ) from error
        if following:
            self._refuse_strange(state, following)
        return following

    def _refuse_strange(self, state: RequestState, following: Sequence[RequestState]) -> None:
        """Nothing, if what follows a turn is the next turn, so that its journal line can be read back.

        Raises:
            DataError: It is not.
        """
        turn = (state.turn or 1) + 1
        if turn > state.unit_size:
            problem = f"turn {turn} was made where `follow_ups` names {state.unit_size - 1} further turns"
        elif len(following) > 1:
            problem = f"{len(following)} requests were made; at most one may follow"
        elif replace(following[0], request=state.request, prompt_truncated=False) != replace(
            next_turn(state, state.request), prompt_truncated=False
        ):
            problem = "what was made is not the next turn; make it with evalkit.request.next_turn"
        else:
            return
        raise DataError(f"the method {self.adapter.spec.method}, after {state.key}: {problem}")

    def longest(self, state: RequestState) -> Iterator[tuple[Request, int]]:
        """A first request and all that may follow it, each with how many answers are in it.

        These answers are empty here: whoever bounds the tokens of a request adds what they may have.
        """
        yield state.request, 0
        if state.turn is None:
            return
        self._index()
        messages = state.request.messages or (Message("user", state.request.prompt),)
        follow_ups = self.adapter.follow_ups(self._by_id[state.instance_id, state.perturbation])
        for num_answers, text in enumerate(follow_ups, start=1):
            messages = (*messages, Message("assistant", ""), Message("user", text))
            yield replace(state.request, messages=messages), num_answers

    def _index(self) -> None:
        if not self._by_id:
            self._by_id.update({(str(i.id), i.perturbation_label): i for i in self.instances})

    def requests(self, answered: frozenset[str] | set[str] = frozenset()) -> Iterator[RequestState]:
        """The first requests in plan order, without those whose key is in `answered`."""
        return self.adapter.requests(self.instances, self.train, skip=answered.__contains__)


def data_is_local(run: PlannedRun, context: PlanContext) -> bool:
    """Whether the run's instances can be made without a download and without asking a service."""
    return not run.augmenter.asks_service and all(context.data.is_local(file) for file in run.files())


def load_instances(run: PlannedRun, context: PlanContext, at_most: int | None = None) -> LoadedRun:
    """Make the instances, choose the evaluated ones, and add the perturbed copies.

    Args:
        run: The run.
        context: Where its data is.
        at_most: Stop after this many instances to evaluate; for estimates.

    Raises:
        DataError: A data file is missing or damaged, or the scenario gives one id to two instances.
    """
    from evalkit.adapters.sampling import downsample
    from evalkit.scenarios.scenario import with_ids

    if run.problem:
        raise DataError(run.problem)
    adapter_spec = run.run_spec.adapter_spec
    eval_splits = adapter_spec.eval_splits or EVAL_SPLITS
    reading = watched_reads(type(run.scenario).__module__)
    try:
        with _collector_paused(), reading as reads:
            everything = list(with_ids(_first(run.scenario.instances(context.data), at_most, eval_splits)))
    except EvalkitError:
        raise
    except Exception as error:
        name = run.run_spec.scenario_spec.name
        raise DataError(f"scenario '{name}' failed to make its instances: {described(error)}") from error
    if len({instance.id for instance in everything}) != len(everything):
        raise DataError(f"scenario '{run.run_spec.scenario_spec.name}' gives one id to several instances")
    instances = downsample(everything, adapter_spec.max_eval_instances, adapter_spec.eval_splits)
    train = [instance for instance in everything if instance.split == TRAIN]
    instances, train = run.augmenter.augmented(instances, train, context.data)
    if not instances:
        raise DataError(f"{run.name}: no instance to evaluate in splits {', '.join(eval_splits)}")
    _refuse_changed_data(run, context)
    adapter: Adapter = ADAPTERS.get(adapter_spec.method)(adapter_spec, window_of(run.members))
    if adapter.has_turns:
        _refuse_equal_keys(run, instances)
    unverified = tuple(context.data.unverified(run.files()))
    notes = (*unverified, *_undeclared(run, (*run.read_early, *reads.files), context))
    return LoadedRun(adapter, instances, train, adapter.num_requests(instances), notes, unverified)


def _refuse_equal_keys(run: PlannedRun, instances: Sequence[Instance]) -> None:
    """Nothing, if no instance is called like a turn of another.

    Raises:
        DataError: One is: their answers could not be distinguished.
    """
    ids = {str(instance.id) for instance in instances}
    for name in ids:
        first, part, _ = name.partition(turn_parts(2))
        if part and first in ids:
            raise DataError(
                f"scenario '{run.run_spec.scenario_spec.name}': the id '{name}' is like that of a turn of "
                f"'{first}'; give one of them another id"
            )


def _refuse_changed_data(run: PlannedRun, context: PlanContext) -> None:
    """Nothing, if the data is still what the run's digest says.

    Raises:
        DataError: A file was edited after the run was planned.
    """
    planned = run.identity["data_digest"]
    if planned is not None and context.data.digest(run.files()) != planned:
        raise DataError(f"{run.name}: its data changed after it was planned; start it again")


def _undeclared(run: PlannedRun, read: Iterable[str], context: PlanContext) -> tuple[str, ...]:
    """A note if files were read that the run's digest does not cover."""
    paths = [context.data.path(file) for file in run.files() if context.data.is_local(file)]
    # Links in a folder lead out of it; what they lead to counts all the same.
    declared = [os.path.realpath(path) for path in (*paths, *chain.from_iterable(map(links_in, paths)))]
    missed = [
        path
        for path in dict.fromkeys(read)
        if not any(path == known or path.startswith(known + os.sep) for known in declared)
    ]
    if not missed:
        return ()
    named = ", ".join(missed[:MAX_UNDECLARED_SHOWN])
    more = f" and {len(missed) - MAX_UNDECLARED_SHOWN} more" if len(missed) > MAX_UNDECLARED_SHOWN else ""
    return (
        f"scenario '{run.run_spec.scenario_spec.name}' reads {named}{more}, which its files() does not "
        "declare: evalkit does not notice when it changes. Let files() return "
        f"DataFile.local({os.path.basename(missed[0])!r}), and open data.path(file)",
    )


def _first(
    instances: Iterable[Instance], at_most: int | None, eval_splits: Sequence[str]
) -> Iterator[Instance]:
    """The instances up to the one that makes `at_most` to evaluate; all of them for None."""
    num_made = 0
    for instance in instances:
        yield instance
        num_made += instance.split in eval_splits
        if num_made == at_most:
            return


def num_evaluated(run: PlannedRun) -> int | None:
    """How many instances are evaluated, if the scenario knows without making them and none is perturbed."""
    sizes = run.scenario.sizes()
    if sizes is None or run.run_spec.data_augmenter_spec.perturbation_specs:
        return None
    adapter_spec = run.run_spec.adapter_spec
    pool = sum(sizes.get(split, 0) for split in adapter_spec.eval_splits or EVAL_SPLITS)
    return min(pool, adapter_spec.max_eval_instances or pool)


@contextmanager
def _collector_paused() -> Iterator[None]:
    """No cyclic garbage collection: while all objects stay, it takes a third of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def window_of(members: Sequence[ModelDeployment]) -> Any:
    """The context window that prompts must fit: of several deployments, the window of each."""
    from evalkit.adapters.window import NO_WINDOW, CommonWindow

    by_tokenizer: dict[str | None, list[ModelDeployment]] = {}
    for member in members:
        by_tokenizer.setdefault(member.tokenizer_name, []).append(member)
    windows = [window for sharing in by_tokenizer.values() if (window := _smallest(sharing)) is not None]
    if len(windows) > 1:
        return CommonWindow(windows)
    return windows[0] if windows else NO_WINDOW


def _smallest(members: Sequence[ModelDeployment]) -> Any:
    """The smallest window of deployments with one tokenizer; None where no length is known."""
    from evalkit.adapters.window import TokenWindow
    from evalkit.models.tokenizers import tokenizer

    prompts = [member.max_request_length or member.max_sequence_length for member in members]
    name = members[0].tokenizer_name
    known = [length for length in prompts if length is not None]
    if not known or name is None:
        return None
    return TokenWindow(
        tokenizer(name),
        min(known),
        max_sequence_length=_least(member.max_sequence_length for member in members),
        max_total_length=_least(member.max_sequence_and_generated_tokens_length for member in members),
    )


def _least(lengths: Iterable[int | None]) -> int | None:
    return min((length for length in lengths if length is not None), default=None)
