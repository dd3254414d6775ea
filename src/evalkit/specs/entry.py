"""Run entries: one line of text that names an evaluation, such as `mmlu:subject=anatomy,model=text`.

    entry := name [":" args]        split at the first ":"
    args  := arg {"," arg}          no quoting, no escaping
    arg   := key "=" value          split at the first "="

This is HELM's grammar to the letter, so it accepts what HELM accepts: blanks in keys, empty names, a key
given twice. What is more likely a mistake than meant is refused one step later, in `evalkit.specs.expand`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from evalkit.errors import EntryError

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Arg:
    """One `key=value` of a run entry.

    Attributes:
        raw: The value as written.
        value: The value as HELM reads it: an int, else a float, else the text.
        key_span: Start and end offset of the key in the entry.
        value_span: Start and end offset of the value in the entry.
    """

    key: str
    raw: str
    value: int | float | str
    key_span: Span
    value_span: Span

    @property
    def span(self) -> Span:
        """Start and end offset of the whole `key=value`."""
        return self.key_span[0], self.value_span[1]


@dataclass(frozen=True, slots=True)
class RunEntry:
    """A run entry taken apart; nothing in it has been looked up yet.

    Attributes:
        text: The entry as given.
        name: What stands before the first colon.
        args: The arguments in the order written.
        source: Where the entry came from (file and line), if not the command line.
    """

    text: str
    name: str
    args: tuple[Arg, ...] = ()
    source: str | None = None

    @property
    def values(self) -> dict[str, int | float | str]:
        """Key to value; of a key given twice the last value counts, as in HELM."""
        return {arg.key: arg.value for arg in self.args}

    @property
    def name_span(self) -> Span:
        """Start and end offset of the name."""
        return 0, len(self.name)

    def with_args(self, args: Sequence[tuple[str, str]]) -> RunEntry:
        """The entry with more arguments, whose texts may hold what the grammar has no way to write."""
        more = (Arg(key, raw, coerce(raw), self.name_span, self.name_span) for key, raw in args)
        return replace(self, args=(*self.args, *more))

    def error(self, message: str, span: Span | None = None) -> EntryError:
        """An error that shows this entry with `span` marked; all of it where no span is given."""
        return EntryError(message, self.text, span or (0, len(self.text)), self.source)


def parse_run_entry(text: str, source: str | None = None) -> RunEntry:
    """Take a run entry apart.

    Raises:
        EntryError: An argument has no "=".
    """
    name, colon, _ = text.partition(":")
    entry = RunEntry(text, name, (), source)
    if not colon:
        return entry
    args = []
    start = len(name) + 1
    for part in text[start:].split(","):
        args.append(_parse_arg(entry, start, part))
        start += len(part) + 1
    return RunEntry(text, name, tuple(args), source)


def coerce(raw: str) -> int | float | str:
    """A value as HELM reads it: what Python's `int` takes, else what `float` takes, else the text."""
    for kind in (int, float):
        try:
            return kind(raw)
        except ValueError:
            continue
    return raw


def _parse_arg(entry: RunEntry, start: int, part: str) -> Arg:
    key, equals, raw = part.partition("=")
    if not equals:
        found = f"'{part}'" if part else "nothing"
        raise entry.error(f"expected key=value, found {found}", (start, start + len(part)))
    value_start = start + len(key) + 1
    return Arg(key, raw, coerce(raw), (start, start + len(key)), (value_start, start + len(part)))
