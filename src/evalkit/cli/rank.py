"""`evalkit rank`: win rates and strengths of models that a pairwise judge has compared."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from evalkit.reports.contests import Contest, Ranking

_FIGURES = ("win rate", "length-controlled", "same in both orders", "shown first wins")


def rank_command(
    paths: Annotated[list[Path], typer.Argument(help="Runs with a pairwise judge, suites or output paths.")],
    ridge: Annotated[
        float, typer.Option("--ridge", min=0.0, help="Draw strengths together, so that they are finite.")
    ] = 0.0,
    as_json: Annotated[bool, typer.Option("--json", help="Everything as JSON.")] = False,
) -> None:
    """Show win rates of runs with a pairwise judge, and the Bradley-Terry strengths of all their models.

    Sends nothing. Ends with 2 where the games do not determine strengths: some model has won or lost all.
    """
    from evalkit.cli.output import echo, print_json, remark
    from evalkit.errors import UsageError
    from evalkit.reports.contests import PAIRWISE, contests_of, ranking_of
    from evalkit.results.run_directory import find_runs
    from evalkit.results.stored_run import StoredRun

    found = {run.path.resolve(): run for path in paths for run in find_runs(path)}
    runs = [StoredRun.open(run.path) for run in found.values()]
    judged = [run for run in runs if any(spec.name == PAIRWISE for spec in run.run_spec.judge_specs)]
    if not judged:
        where = ", ".join(map(str, paths))
        raise UsageError(
            f"no run in {where} has a pairwise judge; `evalkit judge RUN --against RUN` makes one"
        )
    contests = contests_of(judged)
    ranking = ranking_of(contests, ridge)
    if as_json:
        print_json(_to_json(contests, ranking), indent=True)
    else:
        _print(contests, ranking)
    if ranking.reason:
        echo(remark("error", f"no strengths: {ranking.reason}"), err=True)
        raise typer.Exit(2)


def _print(contests: list[Contest], ranking: Ranking) -> None:
    from evalkit.cli.figures import figure_cell, p_cell, reasons
    from evalkit.cli.output import echo, echo_note, print_table
    from evalkit.reports.contests import num_games

    rows, missing = [], []
    for each in contests:
        rate, controlled = each.rate, each.length_controlled.rate
        record = f"{rate.wins}/{rate.ties}/{rate.losses}"
        figures = (rate.rate, controlled, each.order_consistency, each.first_place)
        rows.append((each.first, each.second, str(rate.rate.n), record, p_cell(rate.p_value),
                     *(figure_cell(figure) for figure in figures)))  # fmt: skip
        who = f"{each.first} against {each.second}"
        missing += reasons(
            (f"win rate of {who}", rate.rate), (f"length-controlled rate of {who}", controlled)
        )
        if each.num_missing:
            missing.append(f"{who}: {each.num_missing} answers have no verdict and count in nothing")
    titles = ("model", "against", "n", "won/tied/lost", "p", *_FIGURES)
    print_table(titles, rows, num_labels=2)
    if ranking.fit is not None:
        echo()
        games, fit = num_games(contests), ranking.fit
        print_table(
            ("model", "rank", "strength", "Elo", "n"),
            [
                (name, str(ranking.ranks[name]), figure_cell(fit.strength(name)),
                 figure_cell(fit.elo(name), 0), str(games[name]))
                for name in fit.strengths
            ],
        )  # fmt: skip
        if fit.ridge:
            echo_note(f"strengths are drawn together by a ridge of {fit.ridge:g}")
    for note in missing:
        echo_note(note)


def _to_json(contests: list[Contest], ranking: Ranking) -> dict[str, Any]:
    from evalkit.reports.contests import num_games

    plain: dict[str, Any] = {
        "pairs": [
            {
                "model": each.first,
                "against": each.second,
                "won": each.rate.wins,
                "tied": each.rate.ties,
                "lost": each.rate.losses,
                "num_missing": each.num_missing,
                "p_value": each.rate.p_value,
                "win_rate": each.rate.rate.to_json(),
                "length_controlled_win_rate": each.length_controlled.rate.to_json(),
                "length_slope": each.length_controlled.slope.to_json(),
                "order_consistency": each.order_consistency.to_json(),
                "first_place": each.first_place.to_json(),
            }
            for each in contests
        ],
        "strengths": [],
        "reason": ranking.reason,
    }
    if (fit := ranking.fit) is not None:
        games = num_games(contests)
        plain["ridge"] = fit.ridge
        plain["strengths"] = [
            {
                "model": name,
                "best_rank": ranking.ranks[name].best,
                "worst_rank": ranking.ranks[name].worst,
                "strength": fit.strength(name).to_json(),
                "elo": fit.elo(name).to_json(),
                "n": games[name],
            }
            for name in fit.strengths
        ]
    return plain
