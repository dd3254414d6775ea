"""How series differ to the eye: by colour, by dashes and by the shape of their points, never by colour alone.

The colours differ for people with the usual forms of colour blindness, and each has a contrast of at least
3:1 on white.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from evalkit.reports.plots.scene import Circle, Line, Mark, Point, Stroke

Shape = Literal["circle", "square", "triangle", "diamond"]


@dataclass(frozen=True, slots=True)
class SeriesStyle:
    """Colour, dashes and shape of points of one series."""

    color: str
    dash: tuple[float, ...]
    shape: Shape

    @property
    def stroke(self) -> Stroke:
        """Of its lines."""
        return Stroke(self.color, 2.0, self.dash)


STYLES = (
    SeriesStyle("#0072b2", (), "circle"),
    SeriesStyle("#d55e00", (7, 3), "square"),
    SeriesStyle("#007a5a", (2, 3), "triangle"),
    SeriesStyle("#aa3377", (9, 3, 2, 3), "diamond"),
    SeriesStyle("#000000", (4, 2), "circle"),
    SeriesStyle("#8f6a00", (), "square"),
    SeriesStyle("#5b4bb5", (6, 2, 1, 2), "triangle"),
    SeriesStyle("#666666", (1, 2), "diamond"),
)
MOST_SERIES = len(STYLES)


def marker(style: SeriesStyle, center: Point, radius: float = 4.0, tip: str = "") -> Mark:
    """A point in the shape of its series."""
    if style.shape == "circle":
        return Circle(center, radius, Stroke("#ffffff", 0.8), style.color, tip)
    sides, turn, scale = {
        "square": (4, math.pi / 4, 1.3),
        "triangle": (3, math.pi / 2, 1.4),
        "diamond": (4, math.pi / 2, 1.35),
    }[style.shape]
    points = tuple(
        (
            center[0] + scale * radius * math.cos(turn + 2 * math.pi * k / sides),
            center[1] - scale * radius * math.sin(turn + 2 * math.pi * k / sides),
        )
        for k in range(sides)
    )
    return Line(points, Stroke("#ffffff", 0.8), closed=True, fill=style.color, tip=tip)


def cross(style: SeriesStyle, center: Point, radius: float = 3.5, tip: str = "") -> tuple[Mark, ...]:
    """What says that a series has no number here."""
    x, y = center
    stroke = Stroke(style.color, 1.8)
    return (
        Line(((x - radius, y - radius), (x + radius, y + radius)), stroke, tip=tip),
        Line(((x - radius, y + radius), (x + radius, y - radius)), stroke, tip=tip),
    )
