"""`evalkit leaderboard NAME`: stored runs as a leaderboard, in tables and charts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from evalkit.leaderboards.tree_file import Options
    from evalkit.reports.boards.board import Board

_Name = Annotated[str, typer.Argument(help="A leaderboard (evalkit list leaderboards), or a YAML file.")]
_Paths = Annotated[
    list[Path] | None, typer.Argument(help="Runs, suites or output paths (default: benchmark_output).")
]
_Suites = Annotated[
    list[str] | None, typer.Option("--suite", help="Only this suite of the output path; repeatable.")
]
_OutputPath = Annotated[Path, typer.Option("--output-path", "-o", help="Where results were written.")]
_MergeSuites = Annotated[
    bool, typer.Option("--merge-suites", help="One row per model over all suites, not one in each.")
]
_Models = Annotated[
    list[str] | None, typer.Option("--model", help="Only this row, by its name in the table; repeatable.")
]
_Set = Annotated[
    list[str] | None,
    typer.Option("--set", help="A parameter of the tree, such as num_few_shots=4; repeatable."),
]
_Missing = Annotated[
    str | None,
    typer.Option(
        "--missing",
        help="Where parts have no number, in all nodes: withhold the number, take those present, or zero.",
    ),
]
_RankBy = Annotated[str | None, typer.Option("--rank-by", help="Rank the models by this column.")]
_Depth = Annotated[
    str | None, typer.Option("--depth", help="How many levels a table shows, or all; CSV and JSON have all.")
]
_Format = Annotated[str, typer.Option("--format", "-f", help="table, markdown, csv, json or latex.")]
_AsJson = Annotated[bool, typer.Option("--json", help="The same as --format json.")]
_Wide = Annotated[
    bool, typer.Option("--wide", help="With csv and json: one record per model, not one per number.")
]
_Radar = Annotated[
    Path | None, typer.Option("--radar", help="Draw a radar chart into this file: .svg, or .png.")
]
_Axes = Annotated[
    list[str] | None,
    typer.Option("--axes", help="With --radar: a chart of the tree, or a column; repeatable."),
]
_Plugins = Annotated[list[str] | None, typer.Option("--plugin", "--plugins", help="Plugins to load first.")]


def leaderboard_command(  # noqa: PLR0913 - one argument per flag
    name: _Name,
    paths: _Paths = None,
    suites: _Suites = None,
    output_path: _OutputPath = Path("benchmark_output"),
    merge_suites: _MergeSuites = False,
    models: _Models = None,
    parameters: _Set = None,
    missing: _Missing = None,
    rank_by: _RankBy = None,
    depth: _Depth = None,
    output_format: _Format = "table",
    as_json: _AsJson = False,
    wide: _Wide = False,
    radar: _Radar = None,
    axes: _Axes = None,
    plugins: _Plugins = None,
) -> None:
    """Show stored runs as a leaderboard: numbers, intervals, coverage and ranks, and radar charts.

    Leaves out damaged runs, says how to repair them, and ends with 1.
    """
    from evalkit.cli.output import echo, echo_note
    from evalkit.cli.stored_runs import counted_runs, from_sound_runs
    from evalkit.cli.summarize import checked_format
    from evalkit.leaderboards.tree_file import load_leaderboard
    from evalkit.plugins import load_plugins
    from evalkit.reports.boards.board import make_board
    from evalkit.reports.boards.board_radar import radar_spec

    chosen = checked_format("json" if as_json else output_format)
    _check_flags(chosen, wide=wide, radar=radar, axes=axes)
    load_plugins(plugins or ())
    tree = load_leaderboard(name, _options(parameters or (), missing, rank_by))
    levels = _levels(depth, tree.depth, chosen)
    spec = radar_spec(tree, axes or ()) if radar is not None else None
    counted = counted_runs(paths or (), suites or (), output_path)
    board, num_shown = from_sound_runs(
        counted.runs, lambda runs: make_board(tree, runs, by_suite=not merge_suites, models=models or ())
    )
    if board is None:  # all are damaged
        raise typer.Exit(1)
    _show(board.to_depth(levels), chosen, wide=wide)
    for note in counted.notes:
        echo_note(note)
    if radar is not None and spec is not None:
        _draw(board, spec, radar)
        others = [each.name for each in tree.radars if each.name != spec.name]
        echo(f"wrote {radar}", err=True)
        if not axes and others:
            echo_note(f"the chart is '{spec.name}'; --axes draws another one: {', '.join(others)}")
    if num_shown < len(counted.runs):
        raise typer.Exit(1)


def _check_flags(chosen: str, *, wide: bool, radar: Path | None, axes: Sequence[str] | None) -> None:
    """Refuse flags that change nothing without another, before any run is read."""
    from evalkit.errors import UsageError

    if wide and chosen not in ("csv", "json"):
        raise UsageError("--wide is one record per model, in --format csv or json; give one of these")
    if axes and radar is None:
        raise UsageError("--axes chooses what --radar draws; give both")
    if radar is not None and radar.suffix.lower() not in (".svg", ".png"):
        raise UsageError(f"--radar {radar}: the file must end in .svg or .png")
    if radar is not None and not radar.absolute().parent.is_dir():
        raise UsageError(f"--radar {radar}: there is no folder {radar.parent}; make it first")


def _options(parameters: Sequence[str], missing: str | None, rank_by: str | None) -> Options:
    from typing import get_args

    from evalkit.errors import UnknownNameError
    from evalkit.leaderboards.tree import Missing
    from evalkit.leaderboards.tree_file import Options

    policy = None
    for known in get_args(Missing):
        if missing == known:
            policy = known
    if missing is not None and policy is None:
        raise UnknownNameError("policy for missing parts", missing, get_args(Missing))
    return Options(_parameters(parameters), policy, rank_by)


def _parameters(texts: Sequence[str]) -> Mapping[str, Any]:
    """Values of the tree's parameters, read as in YAML."""
    import yaml

    from evalkit.errors import UsageError

    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UsageError(f"--set {text}: write name=value, such as num_few_shots=4")
        if name in found:
            raise UsageError(f"--set: {name} is given twice")
        try:
            read = yaml.safe_load(value) if len(value) < 1000 else value
        except (yaml.YAMLError, ValueError):
            read = value
        found[name] = read if isinstance(read, str | int | float | bool) else value
    return found


def _levels(depth: str | None, usual: int, chosen: str) -> int | None:
    """How many levels are shown; None for all."""
    from evalkit.errors import UsageError

    if depth is None:
        return None if chosen in ("csv", "json") else usual
    if depth == "all":
        return None
    if not depth.isascii() or not depth.isdigit() or not 0 < int(depth) < 1000:
        raise UsageError(f"--depth {depth}: give a number of levels from 1, or all")
    return int(depth)


def _show(board: Board, chosen: str, *, wide: bool) -> None:
    from evalkit.cli.board_table import print_board
    from evalkit.cli.output import echo_note, echo_raw, print_json
    from evalkit.reports import markup
    from evalkit.reports.boards import board_markup

    if chosen == "json":
        data = board_markup.board_data(board)
        if wide:
            data = {**data, "rows": board_markup.row_records(board)}
        print_json(data, indent=True)
    elif chosen == "csv":
        records = board_markup.row_records(board) if wide else board_markup.flat_records(board)
        echo_raw(markup.comma_separated(records))
    elif chosen == "markdown":
        echo_raw(board_markup.board_markdown(board))
    elif chosen == "latex":
        echo_raw(board_markup.board_latex(board))
    else:
        print_board(board)
    if chosen in ("table", "csv"):
        for note in board.notes:
            echo_note(note)


def _draw(board: Board, spec: Any, path: Path) -> None:
    from evalkit.cli.output import echo_note
    from evalkit.reports.boards.board_radar import radar_of
    from evalkit.reports.plots.png import lacks_font, png_bytes
    from evalkit.reports.plots.radar import radar_scene
    from evalkit.reports.plots.svg import svg_text

    scene = radar_scene(radar_of(board, spec))
    if path.suffix.lower() == ".png":
        path.write_bytes(png_bytes(scene))
        if lacks_font(scene):
            echo_note(
                f"no font of this machine has the letters of the names, so {path} lacks them; install one "
                "(for Japanese, such as Noto Sans CJK), or write an SVG file"
            )
    else:
        path.write_text(svg_text(scene), encoding="utf-8")
