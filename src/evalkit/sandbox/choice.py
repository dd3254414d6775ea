"""What makes the sandboxes: bubblewrap, unless the user has chosen Docker or Podman."""

from __future__ import annotations

import os
import re
from contextvars import ContextVar
from dataclasses import dataclass

from evalkit.errors import UsageError
from evalkit.redaction import shown_name

VARIABLE = "EVALKIT_SANDBOX"
BUBBLEWRAP = "bubblewrap"
ENGINES = ("docker", "podman")
# A name, a tag or a digest; never an option.
_IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:@-]*")


@dataclass(frozen=True, slots=True)
class Choice:
    """What makes the sandboxes.

    Attributes:
        kind: "bubblewrap", "docker" or "podman".
        image: Of a container; None: the one that goes with evalkit's own Python.
    """

    kind: str
    image: str | None = None


_CHOSEN: ContextVar[Choice | None] = ContextVar("sandbox", default=None)


def read_choice(text: str) -> Choice:
    """A choice as users write it: `bubblewrap`, `docker`, `docker:IMAGE`, `podman` or `podman:IMAGE`.

    Raises:
        UsageError: It is none of these.
    """
    kind, colon, image = text.strip().partition(":")
    if kind == BUBBLEWRAP and not colon:
        return Choice(kind)
    if kind in ENGINES and (not colon or _IMAGE.fullmatch(image)):
        return Choice(kind, image or None)
    raise UsageError(
        f"'{shown_name(text)}' is not a sandbox: give bubblewrap, docker, podman, or an image with "
        "docker:IMAGE or podman:IMAGE"
    )


def choose(text: str | None) -> None:
    """Let programs run in this kind of sandbox from now on, in this context (`contextvars`).

    Args:
        text: As users write it; None: as the variable EVALKIT_SANDBOX says, else bubblewrap.

    Raises:
        UsageError: It is not a sandbox.
    """
    _CHOSEN.set(None if text is None else read_choice(text))


def chosen() -> Choice:
    """What makes the sandboxes in this context.

    Raises:
        UsageError: The variable EVALKIT_SANDBOX names none.
    """
    if choice := _CHOSEN.get():
        return choice
    try:
        return read_choice(os.environ.get(VARIABLE, "").strip() or BUBBLEWRAP)
    except UsageError as error:
        raise UsageError(f"{VARIABLE}: {error}") from None
