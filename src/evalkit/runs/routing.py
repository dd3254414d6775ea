"""Who answers which instance of a run, and for how much."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from evalkit.clients.factory import costs_nothing
from evalkit.errors import DataError, EvalkitError
from evalkit.execution.routes import Routed, keep_routes, read_routes
from evalkit.instance import Instance
from evalkit.models.deployment import ModelDeployment, Prices
from evalkit.models.routed import RoutedDeployment
from evalkit.plugins import described
from evalkit.plural import counted
from evalkit.request import RequestState
from evalkit.results.tally import PriceList
from evalkit.routers.router import Router, build_router
from evalkit.runs.load import LoadedRun
from evalkit.runs.plan import PlannedRun

if TYPE_CHECKING:
    from pathlib import Path

    from evalkit.execution.journal_index import JournalIndex
    from evalkit.runs.plan_judges import PlannedJudge

_WHAT_NOW = "the member that the journal names stays; where it names none, the router chooses again"
_FREE = Prices(input_usd_per_million_tokens=0, output_usd_per_million_tokens=0)


class Routing:
    """The routes of one run.

    Args:
        deployment: What the run asks.
        path: The file that keeps the routes.
        requests: The digest of the run's requests.
    """

    def __init__(self, deployment: RoutedDeployment, path: Path, requests: str) -> None:
        self._router, self._path, self._requests = build_router(deployment), path, requests
        self._members: dict[Routed, str] = {}

    def prepare(self, instances: Sequence[Instance], index: JournalIndex) -> list[str]:
        """Read the routes of earlier starts, choose those that are missing, and keep them.

        Where the file has lost a route, the member that the journal names for the instance stays.

        Args:
            instances: The run's.
            index: What its journal holds.

        Returns:
            What earlier starts have kept and is lost, in words.

        Raises:
            StoreError: The file can't be read or written.
            DataError: The router can't choose.
        """
        copies = [_routed(instance) for instance in instances]
        kept = read_routes(self._path, self._requests, frozenset(copies))
        members = self._router.members
        asked = {routed: member for routed, member in index.members.items() if member in members}
        known = asked | {routed: member for routed, member in kept.members.items() if member in members}
        chosen = {
            routed: known.get(routed) or choose(self._router, instance)
            for routed, instance in zip(copies, instances, strict=True)
            if routed not in kept.members
        }
        if chosen or kept.torn_bytes or not kept.has_header:
            keep_routes(self._path, self._requests, chosen)
        self._members = known | chosen
        lost = [str(damage) for damage in kept.damage]
        if chosen and not lost:
            lost = [counted(len(chosen), "route") + " missing"]
        return [f"{self._path}: {what}; {_WHAT_NOW}" for what in lost]

    def keep(self) -> None:
        """Write the routes anew, should their file have been removed meanwhile.

        Raises:
            StoreError: They can't be written.
        """
        if not self._path.exists():
            keep_routes(self._path, self._requests, self._members)

    def owed(self, loaded: LoadedRun, member: str, journal: JournalIndex) -> Iterator[RequestState]:
        """What a run owes to a member; see `LoadedRun.owed`."""
        instances = [each for each in loaded.instances if self._members[_routed(each)] == member]
        return (replace(state, member=member) for state in loaded.share(instances).owed(journal))


def choose(router: Router, instance: Instance) -> str:
    """The member that a router chooses for an instance.

    Raises:
        DataError: It fails, or names something that is not a member.
    """
    try:
        member = router.choose(instance)
    except EvalkitError:
        raise
    except Exception as error:
        raise DataError(f"the router fails for instance '{instance.id}': {described(error)}") from error
    if member not in router.members:
        raise DataError(f"the router sends instance '{instance.id}' to {member!r}, which is not a member")
    return member


def shares_of(
    run: PlannedRun, loaded: LoadedRun
) -> Iterator[tuple[ModelDeployment, Prices | None, LoadedRun]]:
    """Who answers, for how much, and what, as in a new run; without members that get nothing.

    Raises:
        DataError: The router can't choose.
    """
    if not isinstance(run.deployment, RoutedDeployment):
        yield run.deployment, run.deployment.prices, loaded
        return
    router, prices = build_router(run.deployment), prices_of(run)
    chosen = [choose(router, instance) for instance in loaded.instances]
    for member in run.members:
        named = zip(loaded.instances, chosen, strict=True)
        if instances := [instance for instance, name in named if name == member.name]:
            yield member, prices[member.name], loaded.share(instances)


def prices_of(run: PlannedRun) -> PriceList:
    """What the tokens of each who answers cost; of a routed run, those that nobody bills cost nothing."""
    if not isinstance(run.deployment, RoutedDeployment):
        return {None: run.deployment.prices}
    return {
        member.name: member.prices or (_FREE if costs_nothing(member) else None) for member in run.members
    }


def judge_prices(planned: PlannedJudge) -> PriceList:
    """What the tokens of each who judges cost; of a jury, those that nobody bills cost nothing."""
    if len(planned.deployments) == 1:
        return {None: planned.deployments[0].prices}
    return {
        each.name: each.prices or (_FREE if costs_nothing(each) else None) for each in planned.deployments
    }


def _routed(instance: Instance) -> Routed:
    return str(instance.id), instance.perturbation_label
