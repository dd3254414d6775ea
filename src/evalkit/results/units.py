"""Units as stored files name them: instance, perturbed copy, train trial and sample, scored together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from evalkit.execution.journal_index import JournalIndex, read_winners
from evalkit.request import RequestState
from evalkit.response import Failure, Response
from evalkit.scoring.metric import adapter_of

if TYPE_CHECKING:
    from evalkit.instance import Instance
    from evalkit.specs.run_spec import AdapterSpec, RunSpec


IsOver = Callable[["Instance", RequestState, Response], bool]


def end_of_conversations(adapter_spec: AdapterSpec) -> IsOver | None:
    """Whether an answer ends its conversation, as the adapter says; None where there are no conversations.

    Where the method is not known (of another harness, or a plugin that is missing), conversations end with
    the last turn that they can have.
    """
    adapter = adapter_of(adapter_spec)
    if not adapter.has_turns:
        return None
    after = adapter(adapter_spec).after
    return lambda instance, state, response: not tuple(after(instance, state, response))


def num_whole_units(
    index: JournalIndex, instances: Sequence[Instance] = (), is_over: IsOver | None = None
) -> int:
    """How many units have all their answers.

    Args:
        index: Of a journal.
        instances: The evaluated instances.
        is_over: Whether an answer ends its conversation; None: none ends before its last turn.
    """
    by_id = {(str(instance.id), instance.perturbation_label): instance for instance in instances}
    sizes: dict[tuple[Any, ...], int] = {}
    settled = index.settled
    for record in read_winners(index.path, index):
        state, outcome = record.state, record.outcome
        if state.key not in settled:
            continue
        unit = (state.instance_id, state.perturbation, state.trial, state.sample)
        num_done = 1
        if state.turn is not None and (
            isinstance(outcome, Failure)
            or (is_over and state.key in index.unfinished and is_over(by_id[unit[:2]], state, outcome))
        ):
            num_done += state.unit_size - state.turn  # these are not asked any more
        sizes[unit] = sizes.get(unit, state.unit_size) - num_done
    return sum(left <= 0 for left in sizes.values())


def each_unit(spec: RunSpec, instances: Sequence[Instance]) -> Iterator[tuple[Any, ...]]:
    """Every unit that a run scores: instance, perturbed copy, train trial, sample."""
    adapter = spec.adapter_spec
    for instance in instances:
        for trial in range(adapter.num_train_trials):
            for sample in range(adapter.num_trials):
                yield str(instance.id), instance.perturbation_label, trial, sample


def unit_of_row(row: Any) -> tuple[Any, ...]:
    """The unit that a line of scores is about.

    Raises:
        KeyError: It is not such a line.
    """
    if row["status"] not in ("scored", "failed", "missing"):
        raise KeyError(row["status"])
    if row.get("scores", {}).keys() & failed_scores(row).keys():
        raise KeyError("a score that failed has no number")
    return row["instance_id"], row.get("perturbation"), row.get("trial", 0), row.get("sample", 0)


def failed_scores(row: Mapping[str, Any]) -> Mapping[str, Mapping[str, str]]:
    """Why single scores are missing in a line of scores: name to `reason` and `message`.

    There are none where there is no answer, and in lines of evalkit 0.1, where a unit failed as a whole.
    """
    failed: Mapping[str, Mapping[str, str]] = row.get("failed_scores", {})
    return failed


def has_failed(row: Mapping[str, Any], name: str) -> bool:
    """Whether a line of scores says that this score has failed, alone or with its unit."""
    return row["status"] == "failed" or name in failed_scores(row)
