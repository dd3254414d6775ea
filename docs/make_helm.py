"""Writes the tables of `helm.md` from `helm_deviations.json`: run `python docs/make_helm.py`.

The same rows say which differences from HELM's run specs are meant: see `tests/helm`.
"""

from __future__ import annotations

import json
from pathlib import Path

PAGE = Path(__file__).with_name("helm.md")
TABLE = Path(__file__).with_name("helm_deviations.json")
_HEAD = ("| HELM | evalkit |", "| --- | --- |")


def helm_markdown() -> str:
    """The page with its tables made anew; all else as it stands.

    Raises:
        ValueError: A row is of a section that has no table, or a table has no rows.
    """
    rows: dict[str, list[str]] = {}
    for row in json.loads(TABLE.read_text(encoding="utf-8")):
        rows.setdefault(row["section"], []).append(f"| {row['helm']} | {row['evalkit']} |")
    lines, section, in_table = [], "", False
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        section = line.removeprefix("## ") if line.startswith("## ") else section
        if line == _HEAD[0]:
            if section not in rows:
                raise ValueError(f"no rows for the table in '{section}'")
            lines += [*_HEAD, *rows.pop(section)]
        in_table = line.startswith("|") and (in_table or line == _HEAD[0])
        if not in_table:
            lines.append(line)
    if rows:
        raise ValueError(f"no table for {', '.join(rows)}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(helm_markdown(), encoding="utf-8")
