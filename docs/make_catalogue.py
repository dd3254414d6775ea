"""Writes `catalogue.md` from the generated `catalog.json`: run `python docs/make_catalogue.py`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from evalkit.plugins import builtin_catalog

PAGE = Path(__file__).with_name("catalogue.md")
TITLES = {
    "run_spec": "Run specs",
    "scenario": "Scenarios",
    "adapter": "Adapters",
    "metric": "Metrics",
    "judge": "Judges",
    "client": "Clients",
    "expander": "Run expanders",
    "perturbation": "Perturbations",
    "tokenizer": "Tokenizers",
    "tracker": "Trackers",
    "router": "Routers",
    "leaderboard": "Leaderboards",
}
USES = {
    "run_spec": "The name a run entry starts with; parameters are its arguments.",
    "scenario": "What a `ScenarioSpec` names: a benchmark as instances.",
    "adapter": "What `AdapterSpec.method` names: instances to requests.",
    "metric": "What a `MetricSpec` names: answers to scores.",
    "judge": "What a `JudgeSpec` names: what a model is asked about answers, and how its replies are read.",
    "client": "What a deployment's `client_spec.class_name` names; parameters are its `args`.",
    "expander": "Arguments that every run entry may have, written `name=value`.",
    "perturbation": "What a `PerturbationSpec` names: instances to changed copies of them.",
    "tokenizer": "What a deployment's `tokenizer_name` names, with its parameter after a slash.",
    "tracker": "What `--tracker` names, with parameters as in a run entry: where runs are reported to.",
    "router": "What a routed deployment's `router_spec.name` names; parameters are its `args`.",
    "leaderboard": "What `evalkit leaderboard` shows: runs as numbers of a tree.",
}
_INTRO = """\
# Catalogue

Every built-in plugin with every parameter. This page is generated (`python docs/make_catalogue.py`);
`evalkit list KIND` and `evalkit show NAME` print the same, plugins of your own included.
"""


def catalogue_markdown() -> str:
    """The whole page."""
    catalog = builtin_catalog()
    contents = [f"- [{title}](#{title.lower().replace(' ', '-')})" for title in TITLES.values()]
    parts = [_INTRO, "\n".join(contents)]
    for kind, title in TITLES.items():
        parts.append(f"## {title}\n\n{USES[kind]}")
        parts += [_entry(entry) for entry in catalog.get(kind, [])]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _entry(entry: dict[str, Any]) -> str:
    lines = [f"### `{entry['name']}`", "", entry["doc"], "", f"Module `{entry['module']}`."]
    if entry["params"]:
        lines += ["", "| parameter | type | default | meaning |", "| --- | --- | --- | --- |"]
        lines += [_row(parameter) for parameter in entry["params"]]
    return "\n".join(lines)


def _row(parameter: dict[str, Any]) -> str:
    default = "required" if parameter["required"] else f"`{json.dumps(parameter['default'])}`"
    cells = (f"`{parameter['name']}`", f"`{parameter['type']}`", default, parameter["doc"])
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |".replace("|  |", "| |")


if __name__ == "__main__":
    PAGE.write_text(catalogue_markdown(), encoding="utf-8")
