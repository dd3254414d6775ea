"""The table that `run` ends with and `summarize` prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalkit.cli.output import echo, echo_note, print_json, print_table

if TYPE_CHECKING:
    from evalkit.results.run_result import RunResult
    from evalkit.specs.expand import BadEntry

COLUMNS = ("run", "metric", "mean", "± stderr", "95 % interval", "n", "failed")


def print_rows(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print summary rows; see `shown_rows`. What content filters blocked is bounded in its own line.

    Where there is no room, intervals go first; failures never.
    """
    dropped = ["95 % interval", "failed", "± stderr", "n"]
    if any(row["n_failed"] for row in rows):
        dropped.remove("failed")
    print_table(COLUMNS, shown_rows(rows), num_labels=2, dropped=dropped)
    for line in blocked_lines(rows):
        echo(line)


def shown_rows(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """Summary rows as texts under `COLUMNS`; a run's name stands on its first line only.

    `metric@k` is left out where it says the same as `metric`: HELM reports both even for a single completion.
    """
    from evalkit.results.summary import NOT_REPORTED, is_unreported

    means = {(row.get("suite"), row["run"], row["split"], row["metric"]): row["mean"] for row in rows}
    several_suites = len({row.get("suite") for row in rows}) > 1
    shown: list[tuple[str, ...]] = []
    last = ""
    for row in rows:
        base = (row.get("suite"), row["run"], row["split"], row["metric"].partition("@")[0])
        if "@" in row["metric"] and means.get(base) == row["mean"]:
            continue
        label = f"{row['suite']}/{row['run']}" if several_suites else row["run"]
        name, last = (label if label != last else ""), label
        metric = row["metric"] if row["split"] == "all" else f"{row['metric']} [{row['split']}]"
        shown.append(
            (
                name,
                metric,
                NOT_REPORTED if is_unreported(row) else _number(row["mean"]),
                _number(row["stderr"]),
                "" if row["ci95_low"] is None else f"{row['ci95_low']:.3f} – {row['ci95_high']:.3f}",
                _count(row),
                str(row["n_failed"]),
            )
        )
    return shown


def blocked_lines(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """For each run of which a content filter blocked something, what its first score lies between."""
    lines: dict[tuple[object, str], str] = {}
    for row in rows:
        if not row.get("n_blocked") or (row.get("suite"), row["run"]) in lines:
            continue
        line = f"content filter: {row['run']}: {row['n_blocked']:,} of {row['n_total']:,} blocked"
        if (wrong := row["mean_blocked_wrong"]) is not None:
            line += (
                f"; {row['metric']} is {_number(row['mean'])} without them, {_number(wrong)} if they count "
                "as wrong"
            )
        lines[row.get("suite"), row["run"]] = line
    return list(lines.values())


def show_results(
    results: Sequence[RunResult], suite_path: Path, *, as_json: bool, bad_entries: Sequence[BadEntry] = ()
) -> None:
    """Print the numbers of finished runs, then what went wrong, one line each."""
    from evalkit.results.summary import stat_row

    rows = [
        {**stat_row(result.name, stat), "status": result.status}
        for result in results
        if result.counts.get("num_answered") or result.failures
        for stat in result.stats
        if stat.is_shown and stat.split == "all"
    ]
    if as_json:
        print_json(
            {
                "rows": rows,
                "runs": [_describe(result) for result in results],
                "bad_entries": [asdict(entry) for entry in bad_entries],
            },
            indent=True,
        )
    elif rows:
        print_rows(rows)
        for line in without_answer(rows):
            echo_note(line)
    for line in _problem_lines(results):
        echo(line, err=True)
    if unclear := _unclear_note(results):
        echo_note(unclear)
    if bad_entries:
        # What is wrong with each was said at the start.
        entries = ", ".join(dict.fromkeys(bad.entry for bad in bad_entries))
        echo(f"left out because they are wrong (see the notes above): {entries}", err=True)
    if not as_json:
        if cost := _cost_line(results):
            echo(cost)
        echo(f"kept in {suite_path}")


def without_answer(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """A remark on each run in which the model did not always come to an answer."""
    shares = {
        row["run"]: row["mean"] for row in rows if row["metric"] == "no_answer" and row["split"] == "all"
    }
    return [
        f"{run}: {100 * share:.3g} % of the completions have no answer and are scored as empty; "
        "perhaps thinking used all tokens: allow more (reasoning_tokens, increase_max_tokens)"
        for run, share in shares.items()
        if share
    ]


def _cost_line(results: Sequence[RunResult]) -> str | None:
    """What the runs cost: all of it, or as much as is known; None without prices.

    Answers that a journal has lost, and what `--fresh` has set aside, were paid for too, and are not in it.
    """
    from evalkit.plural import counted
    from evalkit.results.manifest import FOUND, UNKNOWN_BILLS, WITHOUT_USAGE
    from evalkit.results.summary import NOT_REPORTED

    num_without = sum(result.counts.get(WITHOUT_USAGE, 0) for result in results)
    costs = [r.reported_cost_usd if r.cost_usd is None else r.cost_usd for r in results]
    known = [usd for usd in costs if usd is not None]
    num_failed = sum(result.counts.get(UNKNOWN_BILLS, 0) for result in results)
    failed = f"the server may bill attempts that failed ({num_failed:,})" if num_failed else ""
    if not known:
        cost = f"cost: {NOT_REPORTED} by the server" if num_without or num_failed else ""
        return "; ".join(filter(None, (cost, failed))) or None
    without = f"for {num_without:,} answers it is {NOT_REPORTED} by the server" if num_without else ""
    # Part of a run is known, and nothing above says what the rest is: a judge, say.
    is_partly_known = any(r.cost_usd is None and r.reported_cost_usd is not None for r in results)
    rest = (
        ""
        if without or failed or not is_partly_known
        else "what has no prices or reports no tokens is not in it"
    )
    cost = f"cost: {'at least ' if without or failed or rest else ''}${sum(known):.4f}"
    num_found = sum(result.counts.get(FOUND, 0) for result in results)
    found = f"; {counted(num_found, 'answer')} taken from earlier runs cost nothing" if num_found else ""
    kept = f"(of the answers kept, over all starts{found})"
    return f"{'; '.join(filter(None, (cost, without, failed, rest)))} {kept}"


def _problem_lines(results: Sequence[RunResult]) -> list[str]:
    """What went wrong; once where many runs have the same trouble, such as a wrong key."""
    from evalkit.plural import counted

    names: dict[tuple[str, str], list[str]] = {}
    for result in results:
        if result.status != "complete":
            names.setdefault((result.status, result.message), []).append(result.name)
    lines = []
    for (status, message), (first, *others) in names.items():
        more = f" and {counted(len(others), 'more run')}" if others else ""
        lines.append(f"{status}: {first}{more}{f': {message}' if message else ''}")
    return lines


def _unclear_note(results: Sequence[RunResult]) -> str | None:
    """What to do about replies of judges that stayed unclear; None where there are none."""
    from evalkit.results.run_result import ANSWERS

    failures = [each.failures for result in results for each in result.stages if each.stage != ANSWERS]
    if not any(failures):
        return None  # judges take time to import
    from evalkit.judges.unit_judgement import UNCLEAR
    from evalkit.plural import counted

    num_unclear = sum(each.get(UNCLEAR, 0) for each in failures)
    if not num_unclear:
        return None
    return (
        f"judges gave no clear verdict on {counted(num_unclear, 'question')}, though each was repeated; "
        "--retry-unclear asks again"
    )


def _describe(result: RunResult) -> dict[str, Any]:
    from evalkit.results.run_result import stages_to_json

    return {
        "run": result.name,
        "status": result.status,
        "message": result.message,
        "path": str(result.path) if result.path else None,
        "counts": dict(result.counts),
        "failures": dict(result.failures),
        "stages": stages_to_json(result.stages),
        "cost_usd": result.cost_usd,
        "reported_cost_usd": result.reported_cost_usd,
    }


def _count(row: Mapping[str, Any]) -> str:
    """How many units a number is over; other harnesses do not always say it."""
    if row["mean"] is not None and not row["n_total"]:
        return "–"
    return f"{row['n']:,}" if row["n"] == row["n_total"] else f"{row['n']:,} of {row['n_total']:,}"


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" if abs(value) < 1000 else f"{value:,.1f}"
