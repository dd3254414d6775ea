"""Models by groups: which runs stand in which cell, before anything is compared."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from evalkit.errors import UsageError
from evalkit.models.deployment import without_variant
from evalkit.plural import counted
from evalkit.reports.judged_again import latest_names
from evalkit.reports.pairing import ScoredRun
from evalkit.reports.run_groups import RunGroup, lower_is_better, main_stat, run_group
from evalkit.reports.selection import Selection, select_runs
from evalkit.reports.setting import USUAL_FIELDS, question_source, setting_of, shown_value
from evalkit.results.stored_run import StoredRun
from evalkit.scoring.stat import ALL_SPLITS, NO_ANSWER

_MOST_NAMED = 3


@dataclass(frozen=True, slots=True)
class Column:
    """What a column shows.

    Attributes:
        metric: Empty for the two summary columns.
        lower_is_better: Whether the smallest number is the best one.
    """

    name: str
    metric: str = ""
    lower_is_better: bool = False


@dataclass(frozen=True, slots=True)
class Question:
    """What a table is asked to show.

    Attributes:
        groups: The run groups; by default the first group that each run names.
        metric: The metric of every group, instead of the group's own.
        all_runs: A row for every setting in which a model was asked the same questions.
    """

    groups: tuple[str, ...] = ()
    metric: str | None = None
    all_runs: bool = False


@dataclass(slots=True)
class Grid:
    """Models by groups.

    Attributes:
        models: The labels of the rows.
        runs: By row and column.
        left_out: By row and column, how many runs of the same questions are not in the cell.
        settings: By row and column, what tells the setting of the cell from the others that were asked;
            absent where there are no others.
    """

    models: list[str] = field(default_factory=list)
    columns: list[Column] = field(default_factory=list)
    runs: dict[tuple[str, str], list[ScoredRun]] = field(default_factory=dict)
    left_out: dict[tuple[str, str], int] = field(default_factory=dict)
    settings: dict[tuple[str, str], str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def at(self, model: str, column: Column) -> list[ScoredRun]:
        """The runs of a cell."""
        return self.runs.get((model, column.name), [])


def make_grid(runs: Sequence[StoredRun], question: Question) -> Grid:
    """Sort runs into cells.

    Raises:
        UsageError: No run has a number for any group.
    """
    name_of = row_labels(runs)
    grid = Grid()
    for group_name in question.groups or _first_groups(runs):
        group = run_group(group_name, question.metric)
        members = [run for run in runs if group_name in run.run_spec.groups]
        column = _fill(grid, group, _by_row(grid, group, members, name_of), all_runs=question.all_runs)
        if column is None:
            grid.notes.append(f"group {group_name}: no run has a number for it")
        else:
            grid.columns.append(column)
    if not grid.columns:
        known = sorted({name for run in runs for name in run.run_spec.groups})
        if why := _why_none(runs, question.groups):
            raise UsageError(f"no numbers to show: {why}")
        raise UsageError(f"no numbers to show; the runs are in these groups: {', '.join(known) or 'none'}")
    if question.all_runs:
        _name_settings(grid, {name_of(run) for run in runs})
    grid.models = sorted({model for model, _ in grid.runs})
    grid.notes += _unusual(runs, grid)
    return grid


def _why_none(runs: Iterable[StoredRun], groups: Sequence[str]) -> str:
    """Why runs of these groups, or of any, have no number; empty where there are no such runs."""
    members = [run for run in runs if not groups or not set(groups).isdisjoint(run.run_spec.groups)]
    scores = [stat for run in members for stat in run.stats if stat.kind == "score"]
    judges = [spec for run in members for spec in run.run_spec.judge_specs]
    if not scores and any(not spec.deployments for spec in judges):
        return "the answers of these runs are not judged yet; evalkit judge RUN --judge DEPLOYMENT does it"
    if scores and all(stat.n == 0 and stat.n_failed for stat in scores):
        names = ", ".join(sorted({stat.name for stat in scores})[:_MOST_NAMED])
        return f"all scores of these runs failed ({names}); scores.jsonl of a run has the reasons"
    return ""


def _by_row(
    grid: Grid, group: RunGroup, members: Iterable[StoredRun], name_of: Callable[[StoredRun], str]
) -> dict[str, list[ScoredRun]]:
    rows: dict[str, list[ScoredRun]] = defaultdict(list)
    for run in members:
        again = replace(group, metrics=latest_names(run, group.metrics))
        stat = main_stat(again, run.stats)
        if stat is None:
            grid.notes.append(
                f"{run.directory.path.name}: no {' or '.join(group.metrics) or 'score'}; left out"
            )
        else:
            rows[name_of(run)].append(ScoredRun(run, stat))
    return rows


def _fill(
    grid: Grid, group: RunGroup, rows: Mapping[str, Sequence[ScoredRun]], *, all_runs: bool
) -> Column | None:
    if not rows:
        return None
    main = _main_metric(rows)
    cells: dict[str, list[ScoredRun]] = {}
    for label, found in rows.items():
        first, *others = select_runs(found, main)
        if note := first.note():
            shown_how = "each setting has a row" if others else "it is the same setting"
            hint = shown_how if all_runs else "--all-runs shows each setting" if others else ""
            grid.notes.append(f"group {group.name}: {label} has {note}{hint and f'; {hint}'}")
        cells[label] = list(first.runs)
        grid.left_out[label, group.name] = first.num_left_out
        grid.settings[label, group.name] = first.label
        for other in others if all_runs else ():
            row = _row_of(label, other)
            grid.settings[row, group.name] = other.label
            cells.setdefault(row, []).extend(other.runs)
    for label, found in cells.items():
        grid.runs[label, group.name] = found
    metrics: dict[str, int] = defaultdict(int)
    for one in (one for found in cells.values() for one in found):
        metrics[one.stat.name] += 1
    if len(metrics) > 1:
        parts = ", ".join(f"{name} ({counted(count, 'run')})" for name, count in metrics.items())
        grid.notes.append(f"group {group.name} mixes metrics: {parts}")
    main = max(metrics, key=lambda name: metrics[name])
    grid.notes += _mixed(group.name, cells)
    return Column(group.name, main, lower_is_better(main))


def _main_metric(rows: Mapping[str, Sequence[ScoredRun]]) -> str:
    """The metric that most sets of questions have a number of."""
    places: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for label, found in rows.items():
        for one in found:
            places[one.stat.name].add((label, question_source(one.run)))
    return max(places, key=lambda name: len(places[name]))


def _name_settings(grid: Grid, labels: Iterable[str]) -> None:
    """Name the setting in the rows that are shown by default too, as in those next to them."""
    for label in labels:
        said = {text for (row, _), text in grid.settings.items() if row == label and text}
        if not said:
            continue
        name = f"{label} ({said.pop()})" if len(said) == 1 else ""
        if not name or any(row == name for row, _ in grid.runs):
            name = f"{label} (shown by default)"
        for column in [column for row, column in grid.runs if row == label]:
            grid.runs[name, column] = grid.runs.pop((label, column))
            grid.left_out[name, column] = grid.left_out.pop((label, column), 0)
            grid.settings[name, column] = grid.settings.pop((label, column), "")


def _row_of(label: str, selection: Selection) -> str:
    return f"{label} ({selection.label})" if selection.label else label


def _mixed(group: str, cells: Mapping[str, Sequence[ScoredRun]]) -> list[str]:
    """Fields that a person sets for all runs at once, and that differ within a column nevertheless."""
    values: dict[str, dict[str, list[str]]] = {name: defaultdict(list) for name in USUAL_FIELDS}
    for label, found in cells.items():
        for setting in map(setting_of, (one.run for one in found)):
            for name in USUAL_FIELDS:
                labels = values[name][shown_value(setting.get(name))]
                if label not in labels:
                    labels.append(label)
    notes = []
    for name, by_value in values.items():
        if len(by_value) > 1:
            parts = [f"{value} ({_named(labels)})" for value, labels in by_value.items()]
            notes.append(f"group {group}: its numbers differ in {name}: {', '.join(parts)}")
    return notes


def _named(labels: Sequence[str]) -> str:
    more = len(labels) - _MOST_NAMED
    return ", ".join(labels[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _first_groups(runs: Iterable[StoredRun]) -> list[str]:
    """The first group of each run; that of a run without groups has its scenario's name."""
    return sorted({run.run_spec.groups[0] for run in runs if run.run_spec.groups})


def row_labels(runs: Iterable[StoredRun], *, by_suite: bool = True) -> Callable[[StoredRun], str]:
    """How rows are called: by model, with deployment and suite where the model alone does not tell them.

    Args:
        runs: All of the table.
        by_suite: Whether a model has a row in each suite, or one for all.
    """
    deployments: dict[str, set[str]] = {}
    suites = set()
    for run in runs:
        adapter = run.run_spec.adapter_spec
        deployments.setdefault(adapter.model, set()).add(without_variant(adapter.model_deployment))
        suites.add(run.directory.path.parent.name)

    def label(run: StoredRun) -> str:
        adapter = run.run_spec.adapter_spec
        several = len(deployments[adapter.model]) > 1
        deployment = without_variant(adapter.model_deployment)
        name = f"{adapter.model} [{deployment}]" if several else adapter.model
        return f"{name} ({run.directory.path.parent.name})" if by_suite and len(suites) > 1 else name

    return label


def _unusual(runs: Iterable[StoredRun], grid: Grid) -> list[str]:
    shown = {one.run.directory.path for found in grid.runs.values() for one in found}
    notes = [
        f"{run.directory.path.name} is {run.manifest.status}; "
        "its numbers cover only what was answered and scored"
        for run in runs
        if run.manifest.status != "complete" and run.directory.path in shown
    ]
    notes += [
        f"{run.directory.path.name}: {100 * stat.mean:.3g} % of the completions have no answer"
        for run in runs
        if run.directory.path in shown
        for stat in run.stats
        if stat.name == NO_ANSWER and stat.split == ALL_SPLITS and stat.perturbation is None and stat.mean
    ]
    without = [run.directory.path.name for run in runs if not run.run_spec.groups]
    return notes + [f"{name} is in no run group; left out" for name in without]
