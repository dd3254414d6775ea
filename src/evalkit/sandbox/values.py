"""Plain values as bytes: all that passes between a model's program and its tests.

Reading makes nothing but plain values, whatever the bytes are; so this is neither `pickle` nor `marshal`.
Runs in the sandbox too: imports the standard library alone, and that only when needed.
"""

from __future__ import annotations

TYPE_CHECKING = False  # the import of `typing` would take as long as a short program
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_CONSTANTS = {b"N": None, b"T": True, b"F": False}
_MAX_ITERATED = 100_000
_LAZY = ("builtins", "itertools")
_NUMBERS = {("decimal", "Decimal"): b"D", ("fractions", "Fraction"): b"q"}


class Foreign:
    """A value that is not plain: of another class, a function, a module. It equals itself alone."""

    def __init__(self, class_name: str) -> None:
        self.class_name = class_name

    def __repr__(self) -> str:
        return f"<{self.class_name} object of the program>"


def encode(value: Any) -> bytes:
    """A value, with everything in it; subclasses as what they derive from."""
    out = bytearray()
    _write(value, out)
    return bytes(out)


def decode(data: bytes) -> Any:
    """What `encode` was given.

    Raises:
        ValueError: The bytes are not a value.
    """
    try:
        value, end = _read(data, 0)
    except (IndexError, KeyError, TypeError, OverflowError, ArithmeticError, RecursionError) as error:
        raise ValueError(f"not a value: {error}") from None
    if end != len(data):
        raise ValueError("not a value: bytes follow after its end")
    return value


def _write(value: Any, out: bytearray) -> None:
    if value is None or value is True or value is False:
        out += b"N" if value is None else b"T" if value else b"F"
        return
    for kind, write in _WRITERS:
        if isinstance(value, kind):
            write(value, out)
            return
    module = type(value).__module__
    name = type(value).__name__
    if (module, name) in _NUMBERS:
        _write_sized(_NUMBERS[module, name], str(value).encode(), out)
    elif module in _LAZY and hasattr(type(value), "__next__"):
        _write_items(b"I", _bounded(value), out)
    else:
        _write_sized(b"o", name.encode("utf-8", "replace"), out)


def _write_int(value: int, out: bytearray) -> None:
    out += b"i%x;" % value


def _write_float(value: float, out: bytearray) -> None:
    out += b"f" + float.hex(value).encode() + b";"


def _write_complex(value: complex, out: bytearray) -> None:
    out += b"c"
    _write_float(value.real, out)
    _write_float(value.imag, out)


def _write_sized(tag: bytes, data: bytes, out: bytearray) -> None:
    out += tag + b"%x;" % len(data)
    out += data


def _write_items(tag: bytes, items: list[Any], out: bytearray) -> None:
    out += tag + b"%x;" % len(items)
    for item in items:
        _write(item, out)


def _write_dict(value: dict[Any, Any], out: bytearray) -> None:
    items = list(value.items())
    out += b"d%x;" % len(items)
    for key, item in items:
        _write(key, out)
        _write(item, out)


def _bounded(iterator: Any) -> list[Any]:
    items = []
    for item in iterator:
        items.append(item)
        if len(items) > _MAX_ITERATED:
            raise ValueError(f"an iterator of more than {_MAX_ITERATED} items")
    return items


_WRITERS: tuple[tuple[type, Callable[[Any, bytearray], None]], ...] = (
    (int, _write_int),
    (float, _write_float),
    (str, lambda value, out: _write_sized(b"s", value.encode("utf-8", "surrogatepass"), out)),
    (list, lambda value, out: _write_items(b"l", list(value), out)),
    (tuple, lambda value, out: _write_items(b"t", list(value), out)),
    (dict, _write_dict),
    (set, lambda value, out: _write_items(b"S", list(value), out)),
    (frozenset, lambda value, out: _write_items(b"Z", list(value), out)),
    (type({}.keys()), lambda value, out: _write_items(b"S", list(value), out)),
    (bytes, lambda value, out: _write_sized(b"b", bytes(value), out)),
    (bytearray, lambda value, out: _write_sized(b"y", bytes(value), out)),
    (complex, _write_complex),
    (range, lambda value, out: _write_items(b"r", [value.start, value.stop, value.step], out)),
)


def _read(data: bytes, at: int) -> tuple[Any, int]:
    tag, at = data[at : at + 1], at + 1
    if tag in _CONSTANTS:
        return _CONSTANTS[tag], at
    if tag == b"c":
        real, at = _read(data, at)
        imaginary, at = _read(data, at)
        return complex(real, imaginary), at
    end = data.index(b";", at)
    number, at = data[at:end], end + 1
    if tag == b"i":
        return int(number, 16), at
    if tag == b"f":
        return float.fromhex(number.decode()), at
    size = int(number, 16)
    if not 0 <= size <= len(data) - at:
        raise ValueError("not a value: it is incomplete")
    if tag in _SIZED:
        return _SIZED[tag](data[at : at + size]), at + size
    items = []
    for _ in range(size * 2 if tag == b"d" else size):
        item, at = _read(data, at)
        items.append(item)
    return _COLLECTIONS[tag](items), at


def _decimal(data: bytes) -> Any:
    from decimal import Decimal

    return Decimal(data.decode())


def _fraction(data: bytes) -> Any:
    from fractions import Fraction

    return Fraction(data.decode())


_SIZED: dict[bytes, Callable[[bytes], Any]] = {
    b"s": lambda data: data.decode("utf-8", "surrogatepass"),
    b"b": bytes,
    b"y": bytearray,
    b"D": _decimal,
    b"q": _fraction,
    b"o": lambda data: Foreign(data.decode("utf-8", "replace")),
}
_COLLECTIONS: dict[bytes, Callable[[list[Any]], Any]] = {
    b"l": list,
    b"t": tuple,
    b"d": lambda items: dict(zip(items[::2], items[1::2], strict=True)),
    b"S": set,
    b"Z": frozenset,
    b"I": iter,
    b"r": lambda items: range(*items),
}
