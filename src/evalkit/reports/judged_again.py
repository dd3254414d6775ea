"""Scores of runs that were judged again: what a score is called there, and what it is a score of.

A judge whose scores would have the name of another score of the run gives its own a label in front:
`mt_bench_rating_turn_1` next to a published `rating_turn_1`. The later judgement is the one that was
asked for, so it stands in tables for the score without the label.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from evalkit.results.stored_run import StoredRun

_JOIN = " + "


def latest_names(run: StoredRun, names: Sequence[str]) -> tuple[str, ...]:
    """The names of scores in a run: those of the last of its judges that gives any, else as they are."""
    known = {stat.name for stat in run.stats if stat.kind == "score" and stat.n}
    for spec in reversed(run.run_spec.judge_specs):
        own = tuple(spec.score_name(name) for name in names)
        if spec.label and known.intersection(own):
            return own
    return tuple(names)


def name_without_label(run: StoredRun, name: str) -> str:
    """What a score would be called if the run had not been judged before; of a pooled one each part."""
    return _JOIN.join(_without(run, part) for part in name.split(_JOIN))


def _without(run: StoredRun, name: str) -> str:
    known: Collection[str] = {stat.name for stat in run.stats}
    for spec in run.run_spec.judge_specs:
        plain = name.removeprefix(f"{spec.label}_")
        if spec.label and plain != name and plain in known:
            return plain
    return name
