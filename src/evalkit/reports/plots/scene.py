"""A picture as data: marks with places in pixels, y downwards. Plots make scenes, writers take them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Point = tuple[float, float]
Anchor = Literal["start", "middle", "end"]


@dataclass(frozen=True, slots=True)
class Stroke:
    """How a line is drawn.

    Attributes:
        dash: Lengths of dashes and gaps; empty for an unbroken line.
    """

    color: str
    width: float = 1.0
    dash: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Line:
    """Points joined by straight lines; `closed` joins the last to the first.

    Attributes:
        fill: The colour of the area inside; None for none.
        tip: What a viewer shows when a person points at it.
    """

    points: tuple[Point, ...]
    stroke: Stroke | None = None
    closed: bool = False
    fill: str | None = None
    fill_opacity: float = 1.0
    tip: str = ""


@dataclass(frozen=True, slots=True)
class Circle:
    """A circle around a point."""

    center: Point
    radius: float
    stroke: Stroke | None = None
    fill: str | None = None
    tip: str = ""


@dataclass(frozen=True, slots=True)
class Text:
    """One line of text.

    Attributes:
        place: Where its baseline begins, ends or has its middle, as the anchor says.
        halo: Draw a white rim, so that it can be read on top of lines.
    """

    place: Point
    text: str
    size: float = 13.0
    anchor: Anchor = "start"
    color: str = "#1a1a1a"
    bold: bool = False
    halo: bool = False


Mark = Line | Circle | Text


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle, by its edges."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def width(self) -> float:
        """From left to right."""
        return self.right - self.left

    @property
    def height(self) -> float:
        """From top to bottom."""
        return self.bottom - self.top

    def overlaps(self, other: Box) -> bool:
        """Whether they have a point inside in common."""
        return (
            self.left < other.right
            and other.left < self.right
            and self.top < other.bottom
            and other.top < self.bottom
        )

    def padded(self, by: float) -> Box:
        """It with as much room around it."""
        return Box(self.left - by, self.top - by, self.right + by, self.bottom + by)


def around(boxes: Iterable[Box]) -> Box:
    """The smallest rectangle with all of them in it."""
    found = list(boxes)
    return Box(
        min(box.left for box in found),
        min(box.top for box in found),
        max(box.right for box in found),
        max(box.bottom for box in found),
    )


@dataclass(frozen=True, slots=True)
class Scene:
    """A picture.

    Attributes:
        bounds: What of the plane is shown.
        marks: Those that come later are drawn above those before.
        title: What it shows, for readers who do not see it.
        description: All its numbers in words, likewise.
    """

    bounds: Box
    marks: tuple[Mark, ...]
    title: str = ""
    description: str = ""
