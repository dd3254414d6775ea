"""Which runs stand behind the leaves of a leaderboard: for each model one setting, and why there is none.

A leaf of a model takes one run, or one for each combination of the arguments that it names in `mean_over`.
Runs that differ in anything else are different settings, are never averaged, and a note says which is shown.
Of a run that was judged again, a leaf takes the numbers of the last judge.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches

from evalkit.leaderboards.resolved import Leaderboard, LeafOf, Node
from evalkit.leaderboards.tree import SHOTS, RunsOf
from evalkit.reports.cell import Estimate
from evalkit.reports.judged_again import latest_names, name_without_label
from evalkit.reports.leaderboard import estimate_of
from evalkit.reports.pairing import ScoredRun
from evalkit.reports.pooled import pooled_stat
from evalkit.reports.run_groups import RUN_GROUPS, lower_is_better, main_stat, run_group
from evalkit.reports.selection import select_runs
from evalkit.reports.setting import JUDGE, USUAL_FIELDS, judges_of, setting_of, shown_value
from evalkit.results.stored_run import StoredRun
from evalkit.scoring.stat import Stat
from evalkit.specs.run_spec import AdapterSpec

NO_RUN = "no run"
_MOST_NAMED = 3
_ABSENT = object()
_LONGEST_JUDGE = 100
_LIKELY_A_MISTAKE = 0.7
# Where models differ in these, their numbers compare more than the models.
_COMPARED = (
    *USUAL_FIELDS,
    JUDGE,
    "testmode",
    "max_items",
    "max_tokens",
    "chat_style",
    "instructions",
    "prompt_template",
)

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
        for run in runs:
            if label_of(run) not in by_model and (why := _asked_otherwise(run, node.leaf.runs)):
                filled.why_missing[label_of(run), node.name] = why
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
        filled.why_missing.setdefault(key, NO_RUN)
        return
    scored = [one for run in runs if (one := _scored(leaf, run)) is not None]
    if not scored:
        reasons = dict.fromkeys(_why_unscored(leaf, run) for run in runs)
        filled.why_missing[key] = " or ".join(reasons)
        return
    for run in runs:
        if all(one.run is not run for one in scored):
            notes.leave_out(run.directory.path.name, _why_unscored(leaf, run), node.name)
    main = " + ".join(leaf.pool) or (leaf.metrics[0] if leaf.metrics else scored[0].stat.name)
    chosen = select_runs(scored, main, leaf.mean_over)[0]
    if note := chosen.note():
        notes.add(f"{model} has {note}", node.name)
    for one in chosen.runs:
        if cut := _how_cut(one.run):
            notes.cut(model, cut, node.name)
    estimate = scaled(estimate_of(chosen.runs), leaf.scale)
    filled.cells[key] = LeafCell(chosen.runs, estimate, chosen.num_left_out, chosen.label)


def scaled(estimate: Estimate, scale: tuple[float, float]) -> Estimate:
    """The number where the scores of the scale become 0 and 1."""
    low, high = scale
    if (low, high) == (0.0, 1.0):
        return estimate
    value, *limits = ((number - low) / (high - low) for number in (estimate.value, *(estimate.ci95 or ())))
    stderr = None if estimate.stderr is None else estimate.stderr / abs(high - low)
    return Estimate(value, (min(limits), max(limits)) if limits else None, stderr, estimate.freedom)


def _scored(leaf: LeafOf, run: StoredRun) -> ScoredRun | None:
    """The number of a run in a leaf."""
    if leaf.pool:
        by_name = {stat.name: stat for stat in _scores(leaf, run)}
        parts = [by_name[name] for name in latest_names(run, leaf.pool) if name in by_name]
        if not parts:
            return None
        return ScoredRun(run, pooled_stat(run, parts), tuple(part.name for part in parts))
    if not leaf.metrics and leaf.split is None and leaf.sub_split is None:
        group = run_group(leaf.runs.group or _first_group(run))
        names = latest_names(run, group.metrics)
        stat = main_stat(replace(group, metrics=names), run.stats)
        return None if stat is None else ScoredRun(run, stat)
    scores = _scores(leaf, run)
    for metric in latest_names(run, leaf.metrics) or [stat.name for stat in scores[:1]]:
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


def _why_unscored(leaf: LeafOf, run: StoredRun) -> str:
    """Why a run has no number for a leaf."""
    scores = [s for s in run.stats if s.kind == "score" and s.perturbation is None]
    wanted = latest_names(run, leaf.pool or leaf.metrics or run_group(leaf.runs.group or "").metrics)
    found = [s for s in scores if not wanted or s.name in wanted]
    waiting = [spec.stage for spec in run.run_spec.judge_specs if not spec.deployments]
    if waiting and not found:
        return f"not judged yet, see evalkit judge: no {_wanted(leaf)}"
    if found and all(stat.n == 0 and stat.n_failed for stat in found):
        return f"no {_wanted(leaf)} in its run, of which all units failed"
    return f"no {_wanted(leaf)} in its run"


def _how_cut(run: StoredRun) -> str:
    """In what way a run asks a part of its benchmark only; empty where it asks all that its entry names."""
    if (most := run.run_spec.adapter_spec.max_eval_instances) is not None:
        return f"at most {most} instances"
    arguments = dict(part.partition("=")[::2] for part in run.run_spec.name.partition(":")[2].split(","))
    return "testmode" if str(arguments.get("testmode", "")).lower() == "true" else ""


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
        for name in dict.fromkeys(name_without_label(one.run, one.stat.name) for one in cell.members):
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
            longest = (_LONGEST_JUDGE,) if field_name == JUDGE else ()
            shown = sorted({shown_value(run.get(field_name), *longest) for run in runs})
            values[" and ".join(shown)].append(model)
        if len(values) > 1:
            parts = ", ".join(f"{value} ({_names(models)})" for value, models in values.items())
            notes.add(f"its numbers differ in {field_name}: {parts}", node.name)


def _how_asked(run: StoredRun) -> Mapping[str, str | None]:
    """How a run asks, and who judges its answers."""
    return {**setting_of(run), JUDGE: judges_of(run)}


def _asked_otherwise(run: StoredRun, wanted: RunsOf) -> str:
    """Why a run with the right questions does not count: it asks them in another way than the leaf takes.

    A field of the adapter spec says how; the number of examples is another leaf's.
    """
    ways = {name: value for name, value in wanted.args.items() if name in AdapterSpec.model_fields}
    rest = {name: value for name, value in wanted.args.items() if name not in ways}
    if not ways or not matches(run, wanted.model_copy(update={"args": rest})):
        return ""
    return " and ".join(
        f"asked with {name} {_plain(argument_of(run, name))}, where {_plain(value)} counts"
        for name, value in ways.items()
        if not _fits(argument_of(run, name), value)
    )


def _why_none(runs: Iterable[StoredRun], wanted: RunsOf) -> str:
    """An argument that no run of the group has at all is a mistake in the tree."""
    near = [run for run in runs if matches(run, wanted.model_copy(update={"args": {}}))]
    if not near and wanted.group is not None and not any(wanted.group in r.run_spec.groups for r in runs):
        known = {*RUN_GROUPS, *(name for run in runs for name in run.run_spec.groups)}
        likely = get_close_matches(wanted.group, sorted(known - {wanted.group}), 1, _LIKELY_A_MISTAKE)
        if likely and wanted.group not in known:
            return f"no run has the group '{wanted.group}'; did you mean '{likely[0]}'?"
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
        self._left_out: dict[str, dict[str, list[str]]] = {}
        self._cut: dict[tuple[str, str], list[str]] = defaultdict(list)

    def add(self, text: str, leaf: str) -> None:
        """Note something of a leaf."""
        if leaf not in self._leaves[text]:
            self._leaves[text].append(leaf)

    def leave_out(self, run: str, why: str, leaf: str) -> None:
        """Note that a run has no number for a leaf, for which others of its model have one."""
        reason = why.partition(":")[0].partition(" of ")[0]
        leaves = self._left_out.setdefault(reason, {}).setdefault(run, [])
        if leaf not in leaves:
            leaves.append(leaf)

    def cut(self, model: str, how: str, leaf: str) -> None:
        """Note that a number is over a part of its benchmark."""
        self._cut[model, how].append(leaf)

    def lines(self) -> list[str]:
        """All remarks in order; those that change what a number means come first."""
        lines = [
            f"{model}: {len(leaves)} of the numbers {'is' if len(leaves) == 1 else 'are'} over a part of the "
            f"benchmark only ({how}): {_names(dict.fromkeys(leaves))}"
            for (model, how), leaves in self._cut.items()
        ]
        lines += [f"{_names(leaves)}: {text}" for text, leaves in self._leaves.items()]
        for why, runs in self._left_out.items():
            leaves = list(dict.fromkeys(leaf for of_run in runs.values() for leaf in of_run))
            lines.append(
                f"{len(runs)} {'run is' if len(runs) == 1 else 'runs are'} left out of {_names(leaves)} "
                f"({why}): {_names(runs)}"
            )
        return lines
