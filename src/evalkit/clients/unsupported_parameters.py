"""Parameters that a server turns out to refuse: what may be left out is; the rest is an error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evalkit.errors import BadRequestError

_LENGTH_FIELDS = ("max_tokens", "max_completion_tokens")
_STOP_FIELDS = ("stop", "stop_sequences")
# A model without a temperature has one of its own, and no other way to be asked. These are the values that
# ask for nothing in particular: the likeliest answer, which is what benchmarks want, and the default.
_PLAIN_TEMPERATURES = (0, 1)


class RefusedParameters:
    """What one server has refused so far.

    Attributes:
        omitted: Parameters that are left out from now on.
        notes: The same for people.
    """

    def __init__(self) -> None:
        self.omitted: set[str] = set()
        self.notes: tuple[str, ...] = ()
        self._length_field: str | None = None

    @property
    def takes_stops(self) -> bool:
        """Whether stop sequences are still sent."""
        return self.omitted.isdisjoint(_STOP_FIELDS)

    def applied(self, body: Mapping[str, Any], fixed: Mapping[str, Any]) -> dict[str, Any]:
        """The body without what has been refused, but for `fixed`, which the deployment insists on."""
        if not self.omitted and self._length_field is None:
            return dict(body)
        kept = {name: value for name, value in body.items() if name in fixed or name not in self.omitted}
        if self._length_field is not None:
            for name in _LENGTH_FIELDS:
                if name in kept and name not in fixed and name != self._length_field:
                    kept[self._length_field] = kept.pop(name)
        return kept

    def learn(self, error: BadRequestError, sent: Mapping[str, Any], fixed: Mapping[str, Any]) -> None:
        """Returns if the request may be sent again without the parameter that the server refuses.

        Args:
            error: The refusal.
            sent: The body that was refused.
            fixed: Fields that the deployment insists on.

        Raises:
            BadRequestError: The refusal itself where it names none of these; one that says why, where leaving
                the parameter out would change what is measured.
        """
        name = error.parameter
        if name is None or name not in sent or name in fixed:
            raise error
        if name in _LENGTH_FIELDS:
            other = _LENGTH_FIELDS[name == _LENGTH_FIELDS[0]]
            if self._length_field == name or other not in str(error):
                raise error  # what it wants instead is not known
            if self._length_field is None:
                self._length_field = other
                self._note(f"the server refuses {name}; evalkit sends the length limit as {other}")
            return
        self._check(name, sent[name], error)
        if name not in self.omitted:
            self.omitted.add(name)
            self._note(_NOTES.get(name, f"the server refuses {name}; evalkit leaves it out"))

    def _check(self, name: str, value: Any, error: BadRequestError) -> None:
        """Nothing, if the parameter can be left out without another result.

        Raises:
            BadRequestError: It can't.
        """
        is_plain = name == "temperature" and value in _PLAIN_TEMPERATURES
        if is_plain or name in (*_STOP_FIELDS, "seed", "response_format"):
            return
        raise BadRequestError(
            f"the server refuses {name}, and leaving {name}={value} out would change the result; "
            f"do not set it, or accept the server's default with omit_fields: [{name}] ({error})"
        ) from None

    def _note(self, note: str) -> None:
        self.notes = (*self.notes, note)


_NOTES = {
    "temperature": "the server refuses temperature; evalkit leaves it out, and the server's default applies",
    "stop": "the server refuses stop; evalkit applies stop sequences itself",
    "stop_sequences": "the server refuses stop_sequences; evalkit applies them itself",
    "seed": "the server refuses seed; evalkit leaves it out",
    "response_format": "the server refuses response_format; evalkit leaves it out: answers are plain texts",
}
