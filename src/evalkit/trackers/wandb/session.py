"""The W&B runs of one start of evalkit. Imports W&B's SDK."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import wandb

from evalkit import __version__
from evalkit.errors import EvalkitError, StoreError
from evalkit.results.stored_run import StoredRun
from evalkit.scoring.stat import Stat
from evalkit.trackers.wandb.failure import in_words
from evalkit.trackers.wandb.names import task_name, wandb_run_id
from evalkit.trackers.wandb.nejumi_tables import nejumi_tables
from evalkit.trackers.wandb.options import Options
from evalkit.trackers.wandb.tables import MOST_ROWS, Table, float_of, instance_tables, stats_table, text_of

_INIT_S, _FINISH_S, _READ_S = 10.0, 600.0, 30
_LONGEST_WAIT_S = 30.0
_POLL_S = 0.1
Report = Callable[[Mapping[str, Any]], None]
wandb.Table.MAX_ARTIFACT_ROWS = MOST_ROWS


class Session:
    """Takes what evalkit says of runs, and logs it to a W&B run per deployment and suite.

    Args:
        options: Where to, and under which names.
        report: Takes what evalkit should know: `waits`, or `failed` and `why`.
        is_closing: Whether evalkit waits for the end.
    """

    def __init__(self, options: Options, report: Report, is_closing: Callable[[], bool]) -> None:
        self._options, self._report, self._is_closing = options, report, is_closing
        self._runs: dict[tuple[str, str], DeploymentRun | None] = {}
        self._places: dict[str, DeploymentRun | None] = {}

    def take(self, message: Mapping[str, Any]) -> None:
        """Log what happened in a run."""
        path, name = message["path"], message["run"]
        if message["event"] == "run_started":
            self._places[path] = self._run_for(message)
        run = self._places.get(path)
        if run is None:
            return
        try:
            run.take(message)
        except Exception as error:  # noqa: BLE001 - the other runs are still logged
            self._report({"failed": path, "why": f"{name}: {in_words(error)}"})

    def finish(self) -> None:
        """Upload everything, and make sure that it is there."""
        num_failed = 0
        for run in filter(None, self._runs.values()):
            try:
                run.finish()
            except Exception as error:  # noqa: BLE001 - the others are still finished
                num_failed += 1
                self._report({"failed": run.name, "why": in_words(error)})
        if not num_failed:
            # Waits until the SDK's own process has written its files, and ended.
            wandb.teardown()

    def _run_for(self, message: Mapping[str, Any]) -> DeploymentRun | None:
        key = str(Path(message["path"]).parent), message["deployment"]
        if key not in self._runs:
            self._runs[key] = self._opened(Path(key[0]), key[1])
        return self._runs[key]

    def _opened(self, suite: Path, deployment: str) -> DeploymentRun | None:
        """A W&B run; tried again until there is one, and once after evalkit has said all."""
        wait_s = 1.0
        self._report({"waits": "W&B has not answered yet"})
        while True:
            is_last = self._is_closing()
            try:
                opened = DeploymentRun(self._options, suite, deployment)
                self._report({"waits": "W&B has not taken everything yet"})
                return opened
            except (wandb.errors.UsageError, wandb.errors.AuthenticationError) as error:
                why = in_words(error)
                is_last = True
            except Exception as error:  # noqa: BLE001 - whatever it is, it may pass
                why = in_words(error)
            if is_last:
                self._report({"failed": deployment, "why": why})
                return None
            self._report({"waits": f"W&B does not take the run: {why}"})
            self._wait(wait_s)
            wait_s = min(_LONGEST_WAIT_S, 2 * wait_s)

    def _wait(self, wait_s: float) -> None:
        until_s = time.monotonic() + wait_s
        while time.monotonic() < until_s and not self._is_closing():
            time.sleep(_POLL_S)


class DeploymentRun:
    """A W&B run with the runs of one deployment in a suite.

    Raises:
        wandb.Error: W&B does not take it.
    """

    def __init__(self, options: Options, suite: Path, deployment: str) -> None:
        self.name = options.name or deployment
        self._options = options
        project = "/".join(filter(None, (options.entity, options.project)))
        self._tasks: dict[str, str] = {}
        self._names: dict[str, str] = {}
        self._stats: list[tuple[str, Stat]] = []
        self._stored: list[StoredRun] = []
        self._tables: list[str] = []
        self._run = wandb.init(
            entity=options.entity or None,
            project=options.project,
            id=wandb_run_id(suite, project, deployment),
            resume="allow" if options.mode == "online" else None,
            reinit="create_new",
            name=self.name,
            group=options.group or suite.name,
            job_type=options.job_type,
            tags=list(options.tags) or None,
            config={"evalkit": __version__, "suite": suite.name, "deployment": deployment},
            settings=_settings(options),
        )

    def take(self, message: Mapping[str, Any]) -> None:
        """Log a beginning, scores so far, or an end.

        Raises:
            StoreError: The run's directory can't be read.
        """
        path = message["path"]
        if message["event"] == "run_started":
            self._names[path] = task_name(message["run_spec"], self._tasks, path)
        task = self._names[path]
        if message["event"] == "scored":
            scores = {f"so_far/{task}/{name}": value for name, value in message["scores"].items()}
            self._run.log({f"so_far/{task}/num_scored": message["num_scored"], **_finite(scores)})
        elif message["event"] == "run_finished":
            self._log_end(task, Path(path), message["status"])

    def _log_end(self, task: str, path: Path, status: str) -> None:
        try:
            stored = StoredRun.open(path)
        except StoreError:
            if status != "error":
                raise
            self._run.summary[task] = {"status": status}
            return
        manifest = stored.manifest
        values = {
            "run_spec": stored.run_spec.model_dump(mode="json"),
            "digest": manifest.digest,
            "identity": dict(manifest.identity),
            "versions": dict(manifest.versions),
        }
        self._run.config.update({task: cleaned(values)}, allow_val_change=True)
        self._run.summary[task] = {"status": status, **summary_of(stored.stats)}
        self._stats += [(task, stat) for stat in stored.stats]
        self._stored.append(stored)
        for number, table in enumerate(instance_tables(stored), start=1):
            self._log_table(f"{task}_output_table" + (f"_{number}" if number > 1 else ""), table)

    def _log_table(self, name: str, table: Table) -> None:
        columns, types = map(list, zip(*table.columns, strict=True))
        made = wandb.Table(columns=columns, data=table.rows, dtype=types, optional=True)
        self._run.log({name: made})
        self._tables.append(name)

    def finish(self) -> None:
        """Log the numbers of all runs, and wait until W&B has everything.

        Raises:
            EvalkitError: W&B lacks something.
            TimeoutError: It does not take it in time.
        """
        try:
            self._log_numbers()
        finally:
            self._run.finish()
        if self._options.mode == "online":
            self._check()

    def _log_numbers(self) -> None:
        if self._stats:
            self._log_table("scores_table", stats_table(self._stats))
        if self._options.nejumi:
            for name, table in nejumi_tables(self._stored, self.name):
                self._log_table(name, table)

    def _check(self) -> None:
        """Make sure that W&B has the tables, and knows that the run has ended."""
        found = wandb.Api(timeout=_READ_S).run(f"{self._run.entity}/{self._run.project}/{self._run.id}")
        logged = {artifact.name.rpartition(":")[0] for artifact in found.logged_artifacts()}
        missing = [name for name in self._tables if f"run-{self._run.id}-{name}" not in logged]
        if missing:
            raise EvalkitError(f"W&B lacks the tables {', '.join(missing)} of {self.name}")
        if found.state != "finished":
            raise EvalkitError(f"W&B says that {self.name} is {found.state}")


def summary_of(stats: tuple[Stat, ...]) -> dict[str, dict[str, Any]]:
    """The main numbers of a run, each with its interval and what it is over."""
    return {
        stat.name: {
            "mean": float_of(stat.mean),
            "ci95_low": float_of(stat.ci95[0]) if stat.ci95 else None,
            "ci95_high": float_of(stat.ci95[1]) if stat.ci95 else None,
            "n": stat.n,
            "n_failed": stat.n_failed,
            "n_total": stat.n_total,
        }
        for stat in stats
        if stat.is_shown and (stat.split, stat.sub_split, stat.perturbation) == ("all", None, None)
    }


def cleaned(value: Any) -> Any:
    """Plain data with texts that UTF-8 can write, and finite numbers."""
    if isinstance(value, Mapping):
        return {text_of(key): cleaned(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [cleaned(item) for item in value]
    if isinstance(value, str):
        return text_of(value)
    if isinstance(value, float):
        return float_of(value)
    return value


def _finite(scores: Mapping[str, float]) -> dict[str, float]:
    return {name: number for name, value in scores.items() if (number := float_of(value)) is not None}


def _settings(options: Options) -> wandb.Settings:
    """What keeps the SDK from blocking, from printing, and from sending what is not of the runs."""
    wanted = {
        "mode": options.mode,
        "init_timeout": _INIT_S,
        "finish_timeout": _FINISH_S,
        "finish_timeout_raises": True,
        "silent": True,
        "console": "off",
        "disable_code": True,
        "disable_git": True,
        "x_disable_machine_info": True,
        "x_disable_meta": True,
        "x_disable_stats": True,
        "x_disable_viewer": True,
        "x_file_stream_transmit_interval": 5,
        "x_save_requirements": False,
        "x_transaction_log_flush_interval": 1,
    }
    # 0.30 lacks the interval at which offline files are written; a kill loses some seconds more there.
    known = wandb.Settings.model_fields
    return wandb.Settings(**{name: value for name, value in wanted.items() if name in known})
