"""Which runs of a suite may answer for which: those that would ask for the same answers in the same way."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evalkit.bounded_reads import DATA_BYTES, read_bytes
from evalkit.codec import decode
from evalkit.errors import DamageError, StoreError
from evalkit.execution.journal_index import owner_of
from evalkit.execution.journal_source import JournalSource
from evalkit.results.judgements import judgement_owner
from evalkit.results.run_directory import RunDirectory
from evalkit.specs.digest import RunDigest, digest, single_request_digest
from evalkit.specs.judge_identity import judge_specs_of


@dataclass(frozen=True, slots=True)
class _PriorRun:
    """A run of the suite.

    Attributes:
        requests: The digest of its requests; its journal's header must name it.
        full: The digest of all of it; None where only its journal is left.
        deployments: The identity digest of who answered; see `JournalSource`.
        judges: What identifies each of its judges.
    """

    path: Path
    requests: str
    full: str | None
    deployments: Mapping[str | None, str]
    judges: tuple[Mapping[str, Any], ...] = ()


class PriorRuns:
    """The runs of a suite as sources of answers for each other.

    A run answers for another where their identities differ in nothing that can change a single request, but
    only in how many instances, splits, train trials or samples they ask for, in metrics, and in judges.
    Imported runs answer for none, and neither does a copy of the same run under another name. Each member of
    a routed deployment counts as if it had been asked alone.

    The suite is looked through once, when the first run asks; runs that are planned together know each other.
    Safe to be called from several threads.

    Args:
        suite_path: The folder of the suite.
        planned: The runs that will be worked on: the path of each, its identity, and its digest.
    """

    def __init__(
        self, suite_path: Path, planned: Sequence[tuple[Path, Mapping[str, Any], RunDigest]]
    ) -> None:
        self._suite_path, self._planned = suite_path, planned
        self._runs: dict[str, dict[Path, _PriorRun]] = defaultdict(dict)
        self._lock = threading.Lock()
        self._has_looked = False

    def sources(self, path: Path, identity: Mapping[str, Any], full: str) -> list[JournalSource]:
        """The journals of other runs that may hold answers to a run's requests, each to be closed.

        The journal written to last comes first, so that of two answers the newer counts. Those of runs that
        can't be read are left out.

        Args:
            path: The run's directory.
            identity: The run's identity.
            full: The run's digest.
        """
        sources = []
        for run in self._alike(path, identity, full):
            with suppress(StoreError):
                journal = RunDirectory(run.path).journal_path
                sources.append(JournalSource(journal, run.path.name, run.requests, run.deployments))
        return [source for source in sources if len(source)]

    def judgement_sources(
        self, path: Path, identity: Mapping[str, Any], full: str, judge: Mapping[str, Any]
    ) -> list[JournalSource]:
        """Journals of other runs' judges that may hold replies to this one's questions, each to be closed.

        Args:
            path: The run's directory.
            identity: The run's identity.
            full: The run's digest.
            judge: What identifies the judge.
        """
        sources = []
        for run in self._alike(path, identity, full):
            for other in run.judges:
                if other["name"] != judge["name"]:
                    continue
                with suppress(StoreError, KeyError, TypeError, ValueError):
                    (spec,) = judge_specs_of([other])
                    journal = RunDirectory(run.path).judgements_path(spec.stage)
                    owner = judgement_owner(run.requests, other)
                    digests = {each["name"]: digest(each) for each in other["deployments"]}
                    members = digests if len(digests) > 1 else next(iter(digests.values()))
                    sources.append(JournalSource(journal, run.path.name, owner.requests, members))
        return [source for source in sources if len(source)]

    def _alike(self, path: Path, identity: Mapping[str, Any], full: str) -> list[_PriorRun]:
        """The other runs of the suite that ask the same, those that were written to last first."""
        with self._lock:
            if not self._has_looked:
                self._look()
            found: dict[Path, _PriorRun] = {}
            for alone in _of_each_member(identity).values():
                found |= self._runs[single_request_digest(alone)]
        runs = sorted(found.values(), key=_age_order)
        return [run for run in runs if run.path != path and run.full != full]

    def _add(self, path: Path, identity: Mapping[str, Any], full: str | None, requests: str) -> None:
        each = _of_each_member(identity)
        deployments = {member: digest(alone["deployment"]) for member, alone in each.items()}
        judges = tuple(identity.get("judges", ()))
        for alone in each.values():
            prior_run = _PriorRun(path, requests, full, deployments, judges)
            self._runs[single_request_digest(alone)].setdefault(path, prior_run)

    def _look(self) -> None:
        """Find the runs of the suite; those of other models or benchmarks are looked at no further."""
        self._has_looked = True
        for path, identity, planned in self._planned:
            self._add(path, identity, planned.full, planned.requests)
        asked = {each for _, identity, _ in self._planned for each in _models_and_scenario(identity)}
        for directory in self._directories():
            unchecked = _unchecked_identity(directory)
            if unchecked is None or (unchecked and asked.isdisjoint(_models_and_scenario(unchecked))):
                continue
            with suppress(StoreError):
                self._add_stored(directory)

    def _directories(self) -> Iterator[RunDirectory]:
        with suppress(OSError):
            for path in self._suite_path.iterdir():
                directory = RunDirectory(path)
                if not path.name.startswith(".") and not directory.imported_path.exists():
                    yield directory

    def _add_stored(self, directory: RunDirectory) -> None:
        if (manifest := directory.sound_manifest()) is not None:
            if "metric_specs" in manifest.identity:
                self._add(directory.path, manifest.identity, manifest.digest, manifest.request_digest)
        elif (owner := owner_of(directory.journal_path)) is not None and owner.identity:
            self._add(directory.path, owner.identity, None, owner.requests)


def _age_order(run: _PriorRun) -> tuple[float, Path]:
    """The run whose journal was written to last comes first."""
    try:
        written_at = RunDirectory(run.path).journal_path.stat().st_mtime
    except OSError:
        written_at = 0.0
    return -written_at, run.path


def _unchecked_identity(directory: RunDirectory) -> Mapping[str, Any] | None:
    """The identity in a manifest, unchecked; empty where it must be looked for, None where there is none."""
    try:
        plain = decode(read_bytes(directory.path / "manifest.json", DATA_BYTES))
        identity = plain["identity"]
    except (FileNotFoundError, NotADirectoryError):
        return {} if directory.journal_path.is_file() else None
    except OSError:
        return None
    except (KeyError, TypeError, ValueError, DamageError):
        return {}
    return identity if isinstance(identity, dict) else {}


def _models_and_scenario(identity: Mapping[str, Any]) -> set[str]:
    """What is quickly compared of two identities: who answers, and about what."""
    each = _of_each_member(identity).values()
    return {digest([alone.get("deployment"), alone.get("scenario_spec")]) for alone in each}


def _of_each_member(identity: Mapping[str, Any]) -> dict[str | None, Mapping[str, Any]]:
    """The identity as it would be for each member of a routed deployment alone, by the member's name.

    Of a deployment that is not routed, it is the identity itself, under None.
    """
    deployment = identity.get("deployment")
    if not isinstance(deployment, dict) or "router" not in deployment:
        return {None: identity}
    members = [member for member in deployment.get("members", ()) if isinstance(member, dict)]
    return {str(member.get("name")): _alone(identity, member) for member in members}


def _alone(identity: Mapping[str, Any], member: Mapping[str, Any]) -> Mapping[str, Any]:
    names = {"model": member.get("model_name"), "model_deployment": member.get("name")}
    adapter_spec = identity.get("adapter_spec")
    asked = {**adapter_spec, **names} if isinstance(adapter_spec, Mapping) else adapter_spec
    return {**identity, "deployment": member, "adapter_spec": asked}
