"""Figures with their intervals as cells of a table."""

from __future__ import annotations

from evalkit.statistics.figure import Figure

NOT_DEFINED = "not defined"
_SMALLEST_P = 0.001


def figure_cell(figure: Figure, digits: int = 3) -> str:
    """`0.700 (0.561 – 0.839)`, without the interval where there is none; `not defined` for no number."""
    if figure.value is None:
        return NOT_DEFINED
    value = f"{figure.value:.{digits}f}"
    if figure.ci95 is None:
        return value
    return f"{value} ({figure.ci95[0]:.{digits}f} – {figure.ci95[1]:.{digits}f})"


def p_cell(p_value: float | None) -> str:
    """A p-value; never `0.000`."""
    if p_value is None:
        return NOT_DEFINED
    return f"< {_SMALLEST_P}" if p_value < _SMALLEST_P else f"{p_value:.3f}"


def reasons(*named: tuple[str, Figure]) -> list[str]:
    """Why numbers, or intervals, are missing: one line each, by the name of the number."""
    return list(dict.fromkeys(f"{name}: {figure.reason}" for name, figure in named if figure.reason))
