"""`evalkit agreement`: how far judges agree with each other, and with humans."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from evalkit.reports.agreement import AgreementReport, JudgeByLabels, PairOfRaters


def agreement_command(
    paths: Annotated[
        list[Path], typer.Argument(help="One run, or several that differ in their judges only.")
    ],
    scores: Annotated[
        list[str], typer.Option("--score", help="A judge's score, such as rating; repeatable.")
    ],
    labels: Annotated[
        Path | None, typer.Option("--labels", help="A file with human labels: JSON lines or CSV.")
    ] = None,
    label_field: Annotated[
        str | None, typer.Option("--label-field", help="The field of the instances with human labels.")
    ] = None,
    right_from: Annotated[
        float | None,
        typer.Option("--right-from", help="Verdicts from this number on mean that an answer is right."),
    ] = None,
    plugins: Annotated[
        list[str] | None, typer.Option("--plugin", "--plugins", help="Plugins that the runs' judges need.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Everything as JSON.")] = False,
) -> None:
    """Compare verdicts on the same answers: agreement, Cohen's kappa, and judges by human labels.

    Sends nothing. Several runs are compared by one score, or one run by several scores.
    """
    from evalkit.cli.output import print_json
    from evalkit.errors import UnknownNameError, UsageError
    from evalkit.plugins import load_plugins
    from evalkit.reports.agreement import agreement_report
    from evalkit.reports.raters import judged_answers, labels_in_field, labels_in_file
    from evalkit.results.run_directory import find_runs
    from evalkit.results.stored_run import StoredRun

    if labels is not None and label_field is not None:
        raise UsageError("--labels and --label-field exclude each other")
    load_plugins(plugins or ())
    found = {run.path.resolve(): run for path in paths for run in find_runs(path)}
    runs = [StoredRun.open(run.path) for run in found.values()]
    try:
        judged = judged_answers(runs, scores)
    except UnknownNameError as error:
        raise UsageError(f"{error}; if a plugin defines it, name the plugin with --plugin") from None
    human = None
    if labels is not None:
        human = labels_in_file(labels)
    elif label_field is not None:
        human = labels_in_field(runs[0], label_field)
    if len(judged.raters) + (human is not None) < 2:
        raise UsageError(
            "agreement takes two who judge: give another run, another --score, --labels or --label-field"
        )
    report = agreement_report(judged, human, right_from)
    if as_json:
        print_json(_to_json(report), indent=True)
    else:
        _print(report)


def _print(report: AgreementReport) -> None:
    from evalkit.cli.figures import figure_cell, reasons
    from evalkit.cli.output import echo, echo_note, print_table

    titles = ("first", "second", "n", "agreement", "kappa", "linear kappa", "quadratic kappa")
    rows, missing = [], []
    for pair in report.pairs:
        kappas = [figure_cell(pair.kappas[weights]) for weights in ("none", "linear", "quadratic")]
        rows.append((pair.first, pair.second, str(pair.agreement.n), figure_cell(pair.agreement), *kappas))
        who = f"{pair.first} and {pair.second}"
        missing += reasons((f"kappa of {who}", pair.kappas["none"]), (f"agreement of {who}", pair.agreement))
    print_table(titles, rows, num_labels=2)
    if report.judges:
        echo()
        titles = (
            "judge",
            "mean",
            "human mean",
            "sensitivity",
            "specificity",
            "corrected",
            "prediction-powered",
        )
        rows = []
        for judge in report.judges:
            figures = _figures(judge)
            rows.append((judge.judge, *(figure_cell(figure) for figure in figures.values())))
            missing += reasons(*((f"{name} of {judge.judge}", figure) for name, figure in figures.items()))
        print_table(titles, rows)
    for pair in report.pairs:
        if pair.num_alone:
            echo_note(f"{pair.num_alone} items have a verdict of only one of {pair.first} and {pair.second}")
    for note in (*missing, *report.notes):
        echo_note(note)


def _figures(judge: JudgeByLabels) -> dict[str, Any]:
    return {
        "mean": judge.mean,
        "human_mean": judge.human_mean,
        "sensitivity": judge.rates.sensitivity,
        "specificity": judge.rates.specificity,
        "corrected": judge.corrected,
        "prediction_powered": judge.prediction_powered.mean,
    }


def _to_json(report: AgreementReport) -> dict[str, Any]:
    return {
        "pairs": [_pair_to_json(pair) for pair in report.pairs],
        "judges": [
            {
                "judge": judge.judge,
                **{name: figure.to_json() for name, figure in _figures(judge).items()},
                "tuning": judge.prediction_powered.tuning,
            }
            for judge in report.judges
        ],
        "notes": list(report.notes),
    }


def _pair_to_json(pair: PairOfRaters) -> dict[str, Any]:
    return {
        "first": pair.first,
        "second": pair.second,
        "n": pair.agreement.n,
        "num_alone": pair.num_alone,
        "agreement": pair.agreement.to_json(),
        "kappa": pair.kappas["none"].to_json(),
        "linear_kappa": pair.kappas["linear"].to_json(),
        "quadratic_kappa": pair.kappas["quadratic"].to_json(),
        "counts": [{"first": one, "second": other, "n": n} for one, other, n in pair.counts],
    }
