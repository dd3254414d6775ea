"""One day for all chats: a chat template that writes the date writes a fixed one.

Templates ask for the date by `strftime_now`, which is the day of the run: two runs, or two halves of one,
would have different prompts. So a template gets a macro of that name, which every engine renders alike.
"""

from __future__ import annotations

import datetime
import json
import re
from contextlib import suppress

from evalkit.errors import UsageError

DEFAULT_DAY = "2024-07-26"
"""What Llama 3's templates write where they can't ask for the date."""

_CLOCK = "strftime_now"
_COMMENT = re.compile(r"\{#.*?#\}", re.DOTALL)
_CODES = "aAbBcdDefFgGhHIjmMnpPrRsStTuUVwWxXyYzZ"
_WITHOUT_ZEROS = "deHIjmMSyk"


def day_of(day: str | None) -> str:
    """The day that templates are given.

    Args:
        day: As the user wrote it, such as 2025-01-31; None: the one that evalkit chooses.

    Raises:
        UsageError: It is not a date.
    """
    try:
        return datetime.date.fromisoformat(DEFAULT_DAY if day is None else day).isoformat()
    except ValueError:
        raise UsageError(f"chat_date is '{day}'; write a day as 2025-01-31") from None


def asks_for_date(template: str | None) -> bool:
    """Whether what a template writes depends on the clock."""
    return template is not None and _CLOCK in _COMMENT.sub("", template)


def on_day(template: str, day: str) -> str:
    """A template that is rendered on the same day always, at noon; the same text if it asks for no date.

    Args:
        template: In Jinja.
        day: As `day_of` gives it.
    """
    if not asks_for_date(template):
        return template
    noon = datetime.datetime.combine(datetime.date.fromisoformat(day), datetime.time(12))
    pairs = []
    for code in [*(f"%-{letter}" for letter in _WITHOUT_ZEROS), *(f"%{letter}" for letter in _CODES)]:
        with suppress(ValueError):  # not every system knows every code
            pairs.append([code, noon.strftime(code)])
    # A doubled sign is kept apart from those that begin a code.
    pairs = [["%%", "\0"], *pairs, ["\0", "%"]]
    # It ends with a line break, which Jinja drops as transformers sets it: the template begins a line.
    return (
        f"{{% macro {_CLOCK}(format) %}}{{% set said = namespace(text=format) %}}"
        f"{{% for code, text in {json.dumps(pairs)} %}}"
        f"{{% set said.text = said.text | replace(code, text) %}}{{% endfor %}}"
        f"{{{{ said.text }}}}{{% endmacro %}}\n{template}"
    )
