"""Names on W&B: of tasks, and of the W&B runs of a suite."""

from __future__ import annotations

import json
import os
import re
import secrets
from contextlib import suppress
from pathlib import Path

_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_.\-]+")
_LONGEST = 90
IDS = ".wandb.json"
"""The file in a suite's folder that says which W&B runs its runs are."""


def task_name(spec_name: str, taken: dict[str, str], run: str) -> str:
    """A short name for what a run evaluates: its run spec without the model.

    Args:
        spec_name: The name of the run spec.
        taken: The names that runs have already, and by which run; this one is added.
        run: The name of the run.
    """
    name, _, arguments = spec_name.partition(":")
    kept = [part for part in arguments.split(",") if not part.startswith(("model=", "model_deployment="))]
    text = _NOT_IN_NAMES.sub("_", ":".join(filter(None, (name, ",".join(kept))))).strip("_") or "task"
    text = base = text[:_LONGEST]
    number = 2
    while taken.setdefault(text, run) != run:
        text, number = f"{base}_{number}", number + 1
    return text


def wandb_run_id(suite: Path, project: str, deployment: str) -> str:
    """The id of the W&B run for the runs of a deployment in a suite: always the same for one suite folder.

    Args:
        suite: The folder of the suite, in which the id is kept.
        project: Entity and project on W&B.
        deployment: The deployment that answers.
    """
    path = suite / IDS
    known = _known(path)
    made = known.setdefault(project, {}).setdefault(deployment, secrets.token_hex(5))
    with suppress(OSError):
        new = path.with_name(f"{IDS}.{os.getpid()}.new")
        new.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        os.replace(new, path)
    return made


def _known(path: Path) -> dict[str, dict[str, str]]:
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
        return {project: {str(k): str(v) for k, v in ids.items()} for project, ids in known.items()}
    except (OSError, ValueError, AttributeError):
        return {}
