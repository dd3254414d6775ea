"""Which runs stand behind the leaves of a leaderboard: for each model one setting, and why there is none.

A leaf of a model takes one run, or one for each combination of the arguments that it names in `mean_over`.
Runs that differ in anything else are different settings, are never averaged, and a note says which is shown.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from evalkit.leaderboards.resolved import Leaderboard, LeafOf, Node
from evalkit.leaderboards.tree import SHOTS, RunsOf
from evalkit.reports.cell import Estimate
from evalkit.reports.leaderboard import estimate_of
from evalkit.reports.pairing import ScoredRun
from evalkit.reports.pooled import pooled_stat
from evalkit.reports.run_groups import lower_is_better, main_stat, run_group
from evalkit.reports.selection import select_runs
from evalkit.reports.setting import USUAL_FIELDS, setting_of, shown_value
from evalkit.results.stored_run import StoredRun
from evalkit.scoring.stat import Stat

NO_RUN = "no run"
_MOST_NAMED = 3
_ABSENT = object()
_JUDGE = "judge"
# Where models differ in these, their numbers compare more than the models.
_COMPARED = (*USUAL_FIELDS, _JUDGE, "max_tokens", "chat_style", "instructions", "prompt_template")

LeafKey = tuple[str, str]
"""Model and leaf."""


@dataclass(frozen=True, slots=True)
class LeafCell:
    """The number of a model in a leaf.

    Attributes:
        members: The runs behind it, all of one setting.
        estimate: On the leaf's scale.
        num_left_out: Runs in other settings that are not behind it.
        setting: What tells its setting from theirs; empty where there are none.
    """

    members: tuple[ScoredRun, ...]
    estimate: Estimate
    num_left_out: int = 0
    setting: str = ""


@dataclass(slots=True)
class LeafCells:
    """The leaves of a leaderboard, filled.

    Attributes:
        models: The labels of the rows, sorted.
        cells: By model and leaf; absent where there is no number.
        why_missing: By model and leaf, in words.
        metrics: The metric of each leaf that any model has.
        reversed: Leaves of which less is better.
    """

    models: list[str] = field(default_factory=list)
    cells: dict[LeafKey, LeafCell] = field(default_factory=dict)
    why_missing: dict[LeafKey, str] = field(default_factory=dict)
    metrics: dict[str, str] = field(default_factory=dict)
    reversed: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)


def fill_leaves(
    board: Leaderboard, runs: Sequence[StoredRun], label_of: Callable[[StoredRun], str]
) -> LeafCells:
    """Sort runs into leaves."""
    filled = LeafCells(sorted({label_of(run) for run in runs}))
    notes = _Notes()
    for node in board.leaves:
        assert node.leaf is not None, "leaves are leaves"
        matching = [run for run in runs if matches(run, node.leaf.runs)]
        by_model: dict[str, list[StoredRun]] = defaultdict(list)
        for run in matching:
            by_model[label_of(run)].append(run)
        for model in filled.models:
            _fill(filled, node, model, by_model.get(model, []), notes)
        found = {m: filled.cells[m, node.name] for m in filled.models if (m, node.name) in filled.cells}
        _describe(filled, node, found, notes)
        if not matching and (why := _why_none(runs, node.leaf.runs)):
            notes.add(why, node.name)
    filled.notes += notes.lines()
    return filled


def matches(run: StoredRun, wanted: RunsOf) -> bool:
    """Whether a run is one that a leaf is about."""
    spec = run.run_spec
    if wanted.group is not None and wanted.group not in spec.groups:
        return False
    if wanted.run_spec is not None and wanted.run_spec != spec.name.partition(":")[0]:
        return False
    if wanted.scenario is not None and wanted.scenario != spec.scenario_spec.name:
        return False
    return all(_fits(argument_of(run, name), value) for name, value in wanted.args.items())


def argument_of(run: StoredRun, name: str) -> object:
    """An argument of the run's scenario, or a field of its adapter spec; `_ABSENT` if it has none such."""
    adapter = run.run_spec.adapter_spec
    if name == SHOTS:
        return adapter.max_train_instances
    args = run.run_spec.scenario_spec.args
    if name in args:
        return args[name]
    return getattr(adapter, name) if name in type(adapter).model_fields else _ABSENT


def _fits(value: object, wanted: object) -> bool:
    """Whether a value is one of those wanted; other harnesses' runs have texts in place of numbers."""
    if value is _ABSENT:
        return False
    return any(_plain(value) == _plain(one) for one in (wanted if isinstance(wanted, tuple) else (wanted,)))


def _plain(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) or value is None else str(value)


def _fill(filled: LeafCells, node: Node, model: str, runs: Sequence[StoredRun], notes: _Notes) -> None:
    key = model, node.name
    leaf = node.leaf
    assert leaf is not None, "leaves are leaves"
    if not runs:
        filled.why_missing[key] = NO_RUN
        return
    scored = [one for run in runs if (one := _scored(leaf, run)) is not None]
    if not scored:
        failed = any(_has_failed(leaf, run) for run in runs)
        where = "in its run" if not failed else "in its run, of which all units failed"
        filled.why_missing[key] = f"no {_wanted(leaf)} {where}"
        return
    for run in runs:
        if all(one.run is not run for one in scored):
            notes.add(f"{run.directory.path.name} has no {_wanted(leaf)}; left out", node.name)
    main = " + ".join(leaf.pool) or (leaf.metrics[0] if leaf.metrics else scored[0].stat.name)
    chosen = select_runs(scored, main, leaf.mean_over)[0]
    if note := chosen.note():
        notes.add(f"{model} has {note}", node.name)
    estimate = scaled(estimate_of(chosen.runs), leaf.scale)
    filled.cells[key] = LeafCell(chosen.runs, estimate, chosen.num_left_out, chosen.label)


def scaled(estimate: Estimate, scale: tuple[float, float]) -> Estimate:
    """The number where the scores of the scale become 0 and 1."""
    low, high = scale
    if (low, high) == (0.0, 1.0):
        return estimate
    value, *limits = ((number - low) / (high - low) for number in (estimate.value, *(estimate.ci95 or ())))
    return Estimate(value, (min(limits), max(limits)) if limits else None)


def _scored(leaf: LeafOf, run: StoredRun) -> ScoredRun | None:
    """The number of a run in a leaf."""
    if leaf.pool:
        by_name = {stat.name: stat for stat in _scores(leaf, run)}
        parts = [by_name[name] for name in leaf.pool if name in by_name]
        if not parts:
            return None
        return ScoredRun(run, pooled_stat(run, parts), tuple(part.name for part in parts))
    if not leaf.metrics and leaf.split is None and leaf.sub_split is None:
        stat = main_stat(run_group(leaf.runs.group or _first_group(run)), run.stats)
        return None if stat is None else ScoredRun(run, stat)
    scores = _scores(leaf, run)
    for metric in leaf.metrics or [stat.name for stat in scores[:1]]:
        for stat in scores:
            if stat.name == metric:
                return ScoredRun(run, stat)
    return None


def _scores(leaf: LeafOf, run: StoredRun) -> list[Stat]:
    """The scores over the leaf's split and sub-split, of originals."""
    scores = [s for s in run.stats if s.kind == "score" and s.perturbation is None and s.mean is not None]
    scores = [s for s in scores if s.sub_split == leaf.sub_split]
    if leaf.split is not None:
        scores = [s for s in scores if s.split == leaf.split]
    elif leaf.sub_split is None:
        scores = [s for s in scores if s.split == "all"]
    elif len({s.split for s in scores}) > 1:
        return []  # a part of several splits: the leaf has to name one
    return scores


def _has_failed(leaf: LeafOf, run: StoredRun) -> bool:
    """Whether a run has what the leaf takes, but of no unit."""
    wanted = leaf.pool or leaf.metrics
    scores = [s for s in run.stats if s.kind == "score" and (not wanted or s.name in wanted)]
    return bool(scores) and all(stat.n == 0 and stat.n_failed for stat in scores)


def _first_group(run: StoredRun) -> str:
    return run.run_spec.groups[0] if run.run_spec.groups else run.run_spec.scenario_spec.name


def _wanted(leaf: LeafOf) -> str:
    place = "/".join(part for part in (leaf.split, leaf.sub_split) if part)
    names = " or ".join(leaf.pool or leaf.metrics) or "score"
    return f"{names}{f' of {place}' if place else ''}"


def _describe(filled: LeafCells, node: Node, found: Mapping[str, LeafCell], notes: _Notes) -> None:
    """The metric of a leaf and its direction; notes on what differs between the models."""
    if not found:
        return
    leaf = node.leaf
    assert leaf is not None, "leaves are leaves"
    metrics: dict[str, list[str]] = defaultdict(list)
    for model, cell in found.items():
        for name in dict.fromkeys(one.stat.name for one in cell.members):
            metrics[name].append(model)
    main = max(metrics, key=lambda name: len(metrics[name]))
    filled.metrics[node.name] = main
    if leaf.scale[0] < leaf.scale[1] and lower_is_better(main):
        filled.reversed.add(node.name)
    whole = " + ".join(leaf.pool)
    if leaf.pool and whole not in metrics:
        notes.add(f"its numbers are of {main} only, not of {whole}", node.name)
    if len(metrics) > 1:
        parts = ", ".join(f"{name} ({_names(models)})" for name, models in metrics.items())
        notes.add(f"its numbers are of different metrics: {parts}", node.name)
    asked = {model: [_how_asked(one.run) for one in cell.members] for model, cell in found.items()}
    for field_name in _COMPARED:
        values: dict[str, list[str]] = defaultdict(list)
        for model, runs in asked.items():
            shown = sorted({shown_value(run.get(field_name)) for run in runs})
            values[" and ".join(shown)].append(model)
        if len(values) > 1:
            parts = ", ".join(f"{value} ({_names(models)})" for value, models in values.items())
            notes.add(f"its numbers differ in {field_name}: {parts}", node.name)


def _how_asked(run: StoredRun) -> Mapping[str, str | None]:
    """How a run asks, and who judges its answers."""
    judges = [judge for spec in run.run_spec.judge_specs for judge in spec.deployments]
    imported = run.run_spec.scenario_spec.args.get(_JUDGE)
    return {**setting_of(run), _JUDGE: ", ".join(judges) or (None if imported is None else str(imported))}


def _why_none(runs: Iterable[StoredRun], wanted: RunsOf) -> str:
    """An argument that no run of the group has at all is a mistake in the tree."""
    near = [run for run in runs if matches(run, wanted.model_copy(update={"args": {}}))]
    for name in wanted.args:
        if near and all(argument_of(run, name) is _ABSENT for run in near):
            return f"no run is taken: none of its group has an argument '{name}'"
    return ""


def _names(names: Iterable[str]) -> str:
    listed = list(names)
    more = len(listed) - _MOST_NAMED
    return ", ".join(listed[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


class _Notes:
    """Remarks, each with the leaves that it is about, said once."""

    def __init__(self) -> None:
        self._leaves: dict[str, list[str]] = defaultdict(list)

    def add(self, text: str, leaf: str) -> None:
        """Note something of a leaf."""
        if leaf not in self._leaves[text]:
            self._leaves[text].append(leaf)

    def lines(self) -> list[str]:
        """All remarks in order."""
        return [f"{_names(leaves)}: {text}" for text, leaves in self._leaves.items()]
