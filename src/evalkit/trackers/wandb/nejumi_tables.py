"""The tables of the Nejumi leaderboard (Neo), made from stored runs, under the names they have on W&B."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from evalkit.errors import UsageError
from evalkit.leaderboards.tree_file import Options, load_leaderboard
from evalkit.plugins import load_builtins
from evalkit.reports.boards.board import Board, make_board
from evalkit.reports.boards.leaf_cells import argument_of
from evalkit.results.stored_run import StoredRun
from evalkit.trackers.wandb.tables import Table, float_of, joined, text_of

_GROUP = re.compile(r"jaster_(ja|en)")
_SETTING = re.compile(r"(.+?)_(jaster|MTbench)_(ja|en)(?:_(\d+)shot)?")
_SCORES = {"exact": "jaster_exact_match", "char_f1": "char_f1", "set_f1": "set_f1"}
_OUTPUT: tuple[tuple[str, type], ...] = (
    *(("run_name", str), ("basemodel_name", str), ("target_dataset", str), ("num_few_shots", int)),
    *(("data_type", str), ("id", str), ("input", str), ("pred", str), ("true", str), ("prompt", str)),
    *((name, float) for name in (*_SCORES, "latency")),
)
_AVERAGE = "AVG"
_NAMES = {
    "jaster": "jaster_{kind}_table_{language}_{shots}shot",
    "MTbench": "mtbench_{kind}_table_{language}",
}


def nejumi_tables(runs: Sequence[StoredRun], model: str) -> Iterator[tuple[str, Table]]:
    """Output, leaderboard and radar tables of jaster and MT-Bench, and the row of the whole leaderboard.

    A number that is missing is empty, where Neo writes 0. Output tables are those of jaster.

    Args:
        runs: Stored runs of one model.
        model: What the tables call it.

    Raises:
        DamageError: A run is damaged.
    """
    load_builtins()  # of which the leaderboard is one
    yield from _output_tables(runs, model)
    numbers: dict[str, float | None] = {}
    for board in _boards(runs):
        for name, value in _values(board).items():
            numbers.setdefault(name, value)
        yield from _parts(board, model)
    if numbers:
        yield "leaderboard_table", _one_row(model, numbers)


def _language(run: StoredRun) -> str | None:
    """The language of a run of jaster; None for other runs."""
    return next((match[1] for name in run.run_spec.groups if (match := _GROUP.fullmatch(name))), None)


def _shots(run: StoredRun) -> int:
    return int(str(argument_of(run, "shots")))


def _output_tables(runs: Sequence[StoredRun], model: str) -> Iterator[tuple[str, Table]]:
    rows: dict[str, list[list[Any]]] = {}
    for run in runs:
        language = _language(run)
        if language is None:
            continue
        part = "" if argument_of(run, "split") == "test" else "_dev"
        name = f"jaster_output_table{part}_{language}_{_shots(run)}shot"
        rows.setdefault(name, []).extend(_output_rows(run, model, part))
    for name, found in sorted(rows.items()):
        yield name, Table(_OUTPUT, found)


def _output_rows(run: StoredRun, model: str, part: str) -> Iterator[list[Any]]:
    deployment = run.run_spec.adapter_spec.model_deployment or run.run_spec.adapter_spec.model
    about = [text_of(model), text_of(deployment), text_of(argument_of(run, "dataset")), _shots(run)]
    for record in run.records():
        texts = [record.instance_id, record.input, joined(record.outputs), joined(record.references)]
        scores = [float_of(record.scores.get(name)) for name in _SCORES.values()]
        prompt, latency_s = joined(record.prompts), float_of(record.latency_s)
        yield [*about, "dev" if part else "test", *map(text_of, texts), prompt, *scores, latency_s]


def _boards(runs: Sequence[StoredRun]) -> Iterator[Board]:
    """Neo's leaderboard, once for each number of examples that runs with examples have."""
    shots: Mapping[str, set[int]] = {"ja": set(), "en": set()}
    for run in runs:
        if (language := _language(run)) is not None and _shots(run):
            shots[language].add(_shots(run))
    for number in sorted(shots["ja"] | shots["en"]) or [4]:
        tree = load_leaderboard("neo", Options({"ja_num_shots": number, "en_num_shots": number}))
        try:
            yield make_board(tree, runs, by_suite=False)
        except UsageError:  # no run has a number for it
            return


def _values(board: Board) -> dict[str, float | None]:
    """The numbers of the only row; those of which nothing is there are left out."""
    cells = zip(board.columns, board.rows[0].cells, strict=True)
    return {column.name: float_of(cell.estimate.value) for column, cell in cells if cell.estimate is not None}


def _parts(board: Board, model: str) -> Iterator[tuple[str, Table]]:
    """For each setting that has numbers: its row, and its categories as axes of a radar."""
    values = _values(board)
    levels = {column.name: column.level for column in board.columns}
    settings: dict[tuple[str, str, str], dict[str, str]] = {}
    for name in values:
        if match := _SETTING.fullmatch(name):
            settings.setdefault((match[2], match[3], match[4] or ""), {})[match[1]] = name
    for (kind, language, shots), names in settings.items():
        row = {short: values[name] for short, name in names.items()}
        table = _NAMES[kind].format(kind="leaderboard", language=language, shots=shots)
        yield table, _one_row(model, row)
        if kind == "jaster" and language == "en":
            continue
        top = min(levels[name] for name in names.values())
        is_axis = levels[names[_AVERAGE]] + 1 if _AVERAGE in names else top
        axes = [[short, row[short]] for short, name in names.items() if levels[name] == is_axis]
        radar = _NAMES[kind].format(kind="radar", language=language, shots=shots)
        yield radar, Table((("category", str), ("score", float)), axes)


def _one_row(model: str, numbers: Mapping[str, float | None]) -> Table:
    columns: list[tuple[str, type]] = [("model_name", str), *((name, float) for name in numbers)]
    return Table(tuple(columns), [[text_of(model), *numbers.values()]])
