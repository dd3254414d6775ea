"""Which runs of a suite may answer for which: those that would ask for the same answers in the same way."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evalkit.codec import decode
from evalkit.errors import DamageError, StoreError
from evalkit.execution.journal_index import owner_of
from evalkit.execution.journal_source import JournalSource
from evalkit.file_limits import DATA_BYTES, read_bytes
from evalkit.results.run_directory import RunDirectory
from evalkit.specs.digest import RunDigest, digest, single_request_digest


@dataclass(frozen=True, slots=True)
class _PriorRun:
    """A run of the suite.

    Attributes:
        requests: The digest of its requests; its journal's header must name it.
        full: The digest of all of it; None where only its journal is left.
    """

    path: Path
    requests: str
    full: str | None


class PriorRuns:
    """The runs of a suite as sources of answers for each other.

    A run answers for another where their identities differ in nothing that can change a single request, but
    only in how many instances, splits, train trials or samples they ask for, in metrics, and in judges.
    Imported runs answer for none, and neither does a copy of the same run under another name.

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

        Those of runs that can't be read are left out.

        Args:
            path: The run's directory.
            identity: The run's identity.
            full: The run's digest.
        """
        with self._lock:
            if not self._has_looked:
                self._look()
            found = [run for _, run in sorted(self._runs[single_request_digest(identity)].items())]
        deployment = digest(identity["deployment"])
        sources = []
        for run in found:
            if run.path == path or run.full == full:
                continue
            with suppress(StoreError):
                journal = RunDirectory(run.path).journal_path
                sources.append(JournalSource(journal, run.path.name, run.requests, deployment))
        return [source for source in sources if len(source)]

    def _add(self, path: Path, identity: Mapping[str, Any], full: str | None, requests: str) -> None:
        self._runs[single_request_digest(identity)].setdefault(path, _PriorRun(path, requests, full))

    def _look(self) -> None:
        """Find the runs of the suite; those of other models or benchmarks are looked at no further."""
        self._has_looked = True
        for path, identity, planned in self._planned:
            self._add(path, identity, planned.full, planned.requests)
        asked = {_model_and_scenario(identity) for _, identity, _ in self._planned}
        for directory in self._directories():
            unchecked = _unchecked_identity(directory)
            if unchecked is None or (unchecked and _model_and_scenario(unchecked) not in asked):
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


def _model_and_scenario(identity: Mapping[str, Any]) -> str:
    """What is quickly compared of two identities."""
    return digest([identity.get("deployment"), identity.get("scenario_spec")])
