"""What the user should know of a plan: what was left out, changed, or is perhaps mistyped."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evalkit.models.catalog import ModelCatalog
    from evalkit.runs.plan import PlannedRun
    from evalkit.specs.conf import ConfEntry
    from evalkit.specs.fixups import AppliedFixUp


def left_out(skipped: list[tuple[ConfEntry, str]]) -> list[str]:
    """One note per reason; a conf can have hundreds of entries of too low a priority."""
    by_reason: dict[str, list[str]] = {}
    for entry, reason in skipped:
        by_reason.setdefault(reason, []).append(entry.description)
    return [
        f"left out {entries[0]}{f' and {len(entries) - 1} more' if len(entries) > 1 else ''}: {reason}"
        for reason, entries in by_reason.items()
    ]


def changed_for_models(runs: list[PlannedRun]) -> list[str]:
    """One note per fix-up, with what it changed and in how many runs."""
    by_fixup: dict[AppliedFixUp, list[PlannedRun]] = {}
    for run in runs:
        for fixup in run.fixups:
            by_fixup.setdefault(fixup, []).append(run)
    return [
        f"fix-up '{fixup.name}' changed {', '.join(fixup.fields)} of {found[0].name}"
        f"{f' and {len(found) - 1} more' if len(found) > 1 else ''}: {fixup.because}"
        for fixup, found in by_fixup.items()
    ]


def likely_typos(runs: list[PlannedRun], models: ModelCatalog) -> list[str]:
    """Any name under a provider's prefix can be asked for; one that is nearly a known model may be a slip."""
    names = dict.fromkeys(member.name for run in runs for member in run.asked)
    return [
        f"'{name}' is not a registered model, and evalkit uses the name as given; did you mean '{meant}'?"
        for name in names
        if (meant := models.likely_meant(name)) is not None
    ]
