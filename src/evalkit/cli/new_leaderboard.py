"""`evalkit new leaderboard NAME`: a tree to start from, which is valid and runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from evalkit.cli.output import echo

_TREE = """\
# {title}: a leaderboard of your own, for
#
#     evalkit run -r simple_mcqa:model=evalkit/majority simple_short_answer_qa:model=evalkit/majority \\
#         simple_classification:model=evalkit/majority
#     evalkit leaderboard {path}
title: {title}

# Where parts have no number: withhold the number of the whole, or take those that are present (the table
# says over how many), or count the missing ones as zero.
missing: withhold

# How many levels a table shows; --depth shows others.
depth: 3

# Written as {{num_shots}} below; --set num_shots=0 changes it.
parameters:
  num_shots: 5

# A part is made of parts, or it is a leaf that takes a number of a model's run. No two have one name.
parts:
  - name: total
    parts:
      - name: questions
        weight: 2
        parts:
          # The runs of a group, by their number of few-shot examples, an argument of their scenario or a
          # field of their adapter spec. Without a metric it is the main one of the group.
          - name: multiple choice
            runs: {{group: simple_mcqa, args: {{shots: "{{num_shots}}"}}}}
          - name: short answers
            runs: {{group: simple_short_answer_qa}}
            metric: quasi_exact_match
      - name: classification
        runs: {{group: simple_classification}}
        metric: classification_macro_f1
        # The scores that become 0 and 1: [0, 10] would divide by ten, [1, 0] turn an error rate round.
        scale: [0, 1]

# For --radar FILE.svg.
radars:
  - name: all
    title: {title}
    axes: [multiple choice, short answers, classification]
"""


def new_leaderboard(
    name: Annotated[str, typer.Argument(help="Its name: letters, digits, underscores.")],
    directory: Annotated[Path, typer.Option("--directory", help="Where to write the file.")] = Path("."),
) -> None:
    """Write a leaderboard NAME.yaml, which `evalkit leaderboard NAME.yaml` shows as generated."""
    from evalkit.errors import UsageError
    from evalkit.plugins import load_builtins
    from evalkit.registry import LEADERBOARDS

    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise UsageError(
            f"'{name}' is not a valid name; use small letters, digits and underscores, and begin with "
            "a letter"
        )
    load_builtins()
    if name in LEADERBOARDS:
        raise UsageError(f"evalkit has a leaderboard '{name}' already; choose another name")
    path = directory / f"{name}.yaml"
    if path.exists():
        raise UsageError(f"{path} exists; nothing was written")
    directory.mkdir(parents=True, exist_ok=True)
    title = " ".join(name.split("_")).capitalize()
    path.write_text(_TREE.format(title=title, path=path), encoding="utf-8")
    echo(f"wrote {path}")
    echo("it shows runs of three small benchmarks, which the beginning of the file makes; then:")
    echo(f"try: evalkit leaderboard {path}")
