"""A radar chart: one axis per number, one line per model.

Its area means nothing, and the order of the axes is the author's. An axis on which a model has no number
breaks the model's line and has a cross in its colour at the end; nothing is drawn in place of the number.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from evalkit.errors import UsageError
from evalkit.reports.plots.scene import Anchor, Box, Line, Mark, Point, Scene, Stroke, Text, around
from evalkit.reports.plots.series_style import MOST_SERIES, STYLES, SeriesStyle, cross, marker
from evalkit.reports.plots.text_size import LINE_HEIGHT, balanced, text_box, text_width, wrapped

FEWEST_AXES, MOST_AXES = 3, 24
_RADIUS = 210.0
_NUM_RINGS = 5
_LABEL_SIZE, _SMALL = 13.0, 11.0
_LABEL_WIDTH = 9.5 * _LABEL_SIZE
_CROSS_GAP, _CROSS_STEP, _WHISKER_STEP = 12.0, 11.0, 3.0
_CROSSES_IN_A_ROW = 4
_LABEL_GAP = 24.0
_MARGIN = 16.0
_GRID, _AXIS, _GREY, _INK = "#d6d6d6", "#b0b0b0", "#595959", "#1a1a1a"

Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Series:
    """The numbers of one model, one per axis; None where it has none.

    Attributes:
        intervals: Of each number; None where there is none.
    """

    label: str
    values: tuple[float | None, ...]
    intervals: tuple[Interval | None, ...] = ()


@dataclass(frozen=True, slots=True)
class Radar:
    """What a radar chart shows.

    Attributes:
        axes: The names of the axes, the first at the top, the others clockwise.
        low: The number in the centre.
        high: The number at the outer ring.
        notes: Said below the chart.
    """

    title: str
    axes: tuple[str, ...]
    series: tuple[Series, ...]
    low: float = 0.0
    high: float = 1.0
    notes: tuple[str, ...] = ()


def radar_scene(radar: Radar) -> Scene:
    """The chart as a picture, as large as its labels need.

    Raises:
        UsageError: It has too few or too many axes, no model or too many.
    """
    _check(radar)
    labels = _axis_labels(radar)
    marks: list[Mark] = [*_grid(radar), *_ring_numbers(radar), *_lines(radar), *_crosses(radar)]
    plot = around([*map(_box_of, marks), *(each.box for each in labels)])
    top = _title(radar, plot)
    bottom = [*_legend(radar, plot)]
    bottom += _notes(radar, plot, _lowest([plot, *map(_box_of, bottom)]))
    marks = [*top, *marks, *(line for label in labels for line in label.lines), *bottom]
    texts = [_box_of(mark) for mark in (*top, *bottom)]
    return Scene(around([plot, *texts]).padded(_MARGIN), tuple(marks), radar.title, _description(radar))


def _check(radar: Radar) -> None:
    if not FEWEST_AXES <= len(radar.axes) <= MOST_AXES:
        raise UsageError(
            f"a radar chart has {FEWEST_AXES} to {MOST_AXES} axes, and this one would have "
            f"{len(radar.axes)}; name others with --axes"
        )
    if not radar.series:
        raise UsageError("there is no model to draw")
    if len(radar.series) > MOST_SERIES:
        raise UsageError(
            f"a radar chart shows at most {MOST_SERIES} models, and there are {len(radar.series)}; choose "
            "some with --model"
        )


def _angle(radar: Radar, position: int) -> float:
    return math.pi / 2 - 2 * math.pi * position / len(radar.axes)


def _at(radar: Radar, position: int, radius: float, aside: float = 0.0) -> Point:
    """A point on an axis, or next to it."""
    angle = _angle(radar, position)
    x, y = radius * math.cos(angle), -radius * math.sin(angle)
    return x + aside * math.sin(angle), y + aside * math.cos(angle)


def _radius_of(radar: Radar, value: float) -> float:
    share = (value - radar.low) / (radar.high - radar.low)
    return _RADIUS * min(1.0, max(0.0, share))


def _grid(radar: Radar) -> Iterator[Mark]:
    positions = range(len(radar.axes))
    for ring in range(1, _NUM_RINGS + 1):
        points = tuple(_at(radar, p, _RADIUS * ring / _NUM_RINGS) for p in positions)
        yield Line(points, Stroke(_AXIS if ring == _NUM_RINGS else _GRID), closed=True)
    for position in positions:
        unknown = all(series.values[position] is None for series in radar.series)
        stroke = Stroke(_AXIS, 1.0, (3, 4)) if unknown else Stroke(_GRID)
        yield Line(((0.0, 0.0), _at(radar, position, _RADIUS)), stroke)


def _ring_numbers(radar: Radar) -> Iterator[Mark]:
    for ring in range(_NUM_RINGS + 1):
        value = radar.low + (radar.high - radar.low) * ring / _NUM_RINGS
        x, y = _at(radar, 0, _RADIUS * ring / _NUM_RINGS)
        yield Text((x + 4, y + 4), f"{value:.3g}", _SMALL, color=_GREY, halo=True)


def _lines(radar: Radar) -> Iterator[Mark]:
    for number, (series, style) in enumerate(_styled(radar)):
        yield from _polygon(radar, series, style)
        aside = (number - (len(radar.series) - 1) / 2) * _WHISKER_STEP
        for position, interval in enumerate(series.intervals):
            if interval is not None and series.values[position] is not None:
                ends = [_at(radar, position, _radius_of(radar, limit), aside) for limit in interval]
                yield Line(tuple(ends), Stroke(style.color, 1.2))
    for series, style in _styled(radar):
        for position, value in enumerate(series.values):
            if value is not None:
                tip = f"{series.label}, {radar.axes[position]}: {_value_text(series, position)}"
                yield marker(style, _at(radar, position, _radius_of(radar, value)), tip=tip)


def _polygon(radar: Radar, series: Series, style: SeriesStyle) -> Iterator[Mark]:
    """The line of a model; broken where it has no number."""
    points = [
        None if value is None else _at(radar, position, _radius_of(radar, value))
        for position, value in enumerate(series.values)
    ]
    known = [point for point in points if point is not None]
    if len(known) == len(points):
        yield Line(tuple(known), style.stroke, closed=True, fill=style.color, fill_opacity=0.07)
        return
    for piece in _pieces(points):
        if len(piece) > 1:
            yield Line(tuple(piece), style.stroke)


def _pieces(points: Sequence[Point | None]) -> Iterator[list[Point]]:
    """Neighbouring points that are there, around the circle."""
    start = points.index(None)
    piece: list[Point] = []
    for point in (*points[start:], *points[:start], None):
        if point is not None:
            piece.append(point)
        elif piece:
            yield piece
            piece = []


def _crosses(radar: Radar) -> Iterator[Mark]:
    for position, axis in enumerate(radar.axes):
        lacking = [(series, style) for series, style in _styled(radar) if series.values[position] is None]
        if len(lacking) == len(radar.series):
            continue  # the name of the axis says so
        for number, (series, style) in enumerate(lacking):
            row, column = divmod(number, _CROSSES_IN_A_ROW)
            in_row = min(_CROSSES_IN_A_ROW, len(lacking) - row * _CROSSES_IN_A_ROW)
            aside = (column - (in_row - 1) / 2) * _CROSS_STEP
            place = _at(radar, position, _RADIUS + _CROSS_GAP + row * _CROSS_STEP, aside)
            yield from cross(style, place, tip=f"{series.label}, {axis}: no number")


def _label_gap(radar: Radar) -> float:
    """From the outer ring to the names of the axes: room for the crosses."""
    lacking = [sum(value is None for value in values) for values in zip(*_values(radar), strict=True)]
    most = max((number for number in lacking if number < len(radar.series)), default=0)
    return _LABEL_GAP + max(0, math.ceil(most / _CROSSES_IN_A_ROW) - 1) * _CROSS_STEP


def _values(radar: Radar) -> Iterator[tuple[float | None, ...]]:
    yield from (series.values for series in radar.series)


@dataclass(frozen=True, slots=True)
class _Label:
    """The name of an axis, in lines."""

    lines: tuple[Text, ...]

    @property
    def box(self) -> Box:
        return around(map(_box_of, self.lines))

    def moved(self, down: float) -> _Label:
        return _Label(tuple(replace(t, place=(t.place[0], t.place[1] + down)) for t in self.lines))


def _axis_labels(radar: Radar) -> list[_Label]:
    """The names of the axes around the rings; names on one side that would overlap are moved apart."""
    labels = [_axis_label(radar, position) for position in range(len(radar.axes))]
    for side in (1, -1):
        members = [p for p in range(len(labels)) if side * math.cos(_angle(radar, p)) > 0.01]
        members.sort(key=lambda p: labels[p].box.top)
        # From the middle outwards, so that those at the sides stay where they are.
        upper = [p for p in members if math.sin(_angle(radar, p)) >= -0.01]
        lower = [p for p in members if p not in upper]
        _spread(labels, upper[::-1], -1)
        _spread(labels, upper[-1:] + lower, 1)
    for end in (p for p in range(len(labels)) if abs(math.cos(_angle(radar, p))) <= 0.01):
        up = math.sin(_angle(radar, end)) > 0
        others = [each.box.padded(5) for p, each in enumerate(labels) if p != end]
        while any(labels[end].box.overlaps(other) for other in others):
            labels[end] = labels[end].moved(-4.0 if up else 4.0)
    return labels


def _spread(labels: list[_Label], order: Sequence[int], down: int) -> None:
    """Move each label behind the one before, up or down, until they do not overlap."""
    for before, here in pairwise(order):
        gap = 3.0
        if down > 0:
            need = labels[before].box.bottom + gap - labels[here].box.top
        else:
            need = labels[here].box.bottom + gap - labels[before].box.top
        if need > 0 and labels[before].box.padded(gap).overlaps(labels[here].box):
            labels[here] = labels[here].moved(down * need)


def _axis_label(radar: Radar, position: int) -> _Label:
    name = radar.axes[position]
    unknown = all(series.values[position] is None for series in radar.series)
    lines = balanced(name, _LABEL_WIDTH, _LABEL_SIZE) + (("(no number)",) if unknown else ())
    x, y = _at(radar, position, _RADIUS + _label_gap(radar))
    across, up = math.cos(_angle(radar, position)), math.sin(_angle(radar, position))
    anchor: Anchor = "middle" if abs(across) < 0.15 else "start" if across > 0 else "end"
    step = _LABEL_SIZE * LINE_HEIGHT
    # The block is above the point at the top, below it at the bottom, and level with it in between.
    first = y + 0.35 * (1 - up) * _LABEL_SIZE - (1 + up) / 2 * step * (len(lines) - 1)
    color = _GREY if unknown else _INK
    return _Label(
        tuple(
            Text((x, first + step * number), line, _LABEL_SIZE, anchor, color)
            for number, line in enumerate(lines)
        )
    )


def _title(radar: Radar, plot: Box) -> list[Text]:
    size = 17.0
    lines = wrapped(radar.title, plot.width, size) if radar.title else ()
    step = size * LINE_HEIGHT
    top = plot.top - 14 - step * (len(lines) - 1)
    middle = (plot.left + plot.right) / 2
    return [
        Text((middle, top + step * number), line, size, "middle", bold=True)
        for number, line in enumerate(lines)
    ]


def _legend(radar: Radar, plot: Box) -> Iterator[Mark]:
    """A line for each model, and what a cross means, if there is one."""
    step = _LABEL_SIZE * LINE_HEIGHT + 4
    sample, gap = 34.0, 8.0
    room = plot.width - sample - gap
    entries = [(style, wrapped(series.label, room, _LABEL_SIZE)) for series, style in _styled(radar)]
    widest = max(text_width(line, _LABEL_SIZE) for _, lines in entries for line in lines)
    left = (plot.left + plot.right - sample - gap - widest) / 2
    y = plot.bottom + 30
    for style, lines in entries:
        middle = y - 0.35 * _LABEL_SIZE
        yield Line(((left, middle), (left + sample, middle)), style.stroke)
        yield marker(style, (left + sample / 2, middle))
        for line in lines:
            yield Text((left + sample + gap, y), line, _LABEL_SIZE)
            y += step
    if any(True for _ in _crosses(radar)):
        grey = SeriesStyle(_GREY, (), "circle")
        yield from cross(grey, (left + sample / 2, y - 0.35 * _LABEL_SIZE))
        yield Text((left + sample + gap, y), "no number", _LABEL_SIZE, color=_GREY)


def _styled(radar: Radar) -> Iterator[tuple[Series, SeriesStyle]]:
    yield from zip(radar.series, STYLES, strict=False)


def _notes(radar: Radar, plot: Box, below: float) -> list[Text]:
    lines = [line for note in radar.notes for line in wrapped(note, plot.width, _SMALL)]
    step = _SMALL * LINE_HEIGHT
    return [
        Text((plot.left, below + 18 + step * number), line, _SMALL, color=_GREY)
        for number, line in enumerate(lines)
    ]


def _lowest(boxes: Sequence[Box]) -> float:
    return max(box.bottom for box in boxes)


def _box_of(mark: Mark) -> Box:
    if isinstance(mark, Text):
        return text_box(mark.place, mark.text, mark.size, mark.anchor)
    if isinstance(mark, Line):
        xs, ys = zip(*mark.points, strict=True)
        return Box(min(xs), min(ys), max(xs), max(ys))
    (x, y), r = mark.center, mark.radius
    return Box(x - r, y - r, x + r, y + r)


def _value_text(series: Series, position: int) -> str:
    value = series.values[position]
    if value is None:
        return "no number"
    interval = series.intervals[position] if series.intervals else None
    limits = f" [{interval[0]:.3f}, {interval[1]:.3f}]" if interval else ""
    return f"{value:.3f}{limits}"


def _description(radar: Radar) -> str:
    """All numbers in words."""
    return "; ".join(
        f"{series.label}: "
        + ", ".join(f"{axis} {_value_text(series, position)}" for position, axis in enumerate(radar.axes))
        for series in radar.series
    )
