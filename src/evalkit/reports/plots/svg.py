"""A scene as SVG: plain shapes and text, no scripts, no styles, nothing from elsewhere.

The same scene gives the same bytes. Names come from models and files, so all text is escaped.
"""

from __future__ import annotations

import re
from xml.sax.saxutils import escape, quoteattr

from evalkit.redaction import without_controls
from evalkit.reports.plots.scene import Circle, Line, Mark, Point, Scene, Stroke, Text
from evalkit.reports.plots.text_size import has_han, is_japanese

FONTS = (
    "'Noto Sans', 'Noto Sans CJK JP', 'Noto Sans JP', 'Hiragino Sans', 'Yu Gothic', Meiryo, IPAexGothic, "
    "'Helvetica Neue', Arial, 'DejaVu Sans', 'Liberation Sans', sans-serif"
)
# What XML has no way to write.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def svg_text(scene: Scene) -> str:
    """The picture as an SVG file."""
    box = scene.bounds
    size = f'width="{_number(box.width)}" height="{_number(box.height)}"'
    view = " ".join(map(_number, (box.left, box.top, box.width, box.height)))
    labelled = 'role="img"' + (f" aria-label={_quoted(scene.title)}" if scene.title else "")
    language = ' xml:lang="ja"' if _is_japanese(scene) else ""
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} viewBox="{view}" {labelled}{language} '
        f"font-family={_quoted(FONTS)}>"
    ]
    for tag, text in (("title", scene.title), ("desc", scene.description)):
        if text:
            lines.append(f"<{tag}>{_escaped(text)}</{tag}>")
    corner = f'x="{_number(box.left)}" y="{_number(box.top)}"'
    lines.append(f'<rect {corner} {size} fill="#ffffff"/>')
    lines += map(_mark, scene.marks)
    return "\n".join([*lines, "</svg>"]) + "\n"


def _mark(mark: Mark) -> str:
    if isinstance(mark, Text):
        return _text(mark)
    if isinstance(mark, Circle):
        x, y = mark.center
        shape = f'circle cx="{_number(x)}" cy="{_number(y)}" r="{_number(mark.radius)}"'
        return _shape(shape, mark.stroke, mark.fill, 1.0, mark.tip)
    return _line(mark)


def _line(mark: Line) -> str:
    name = "polygon" if mark.closed else "polyline"
    shape = f'{name} points="{" ".join(map(_point, mark.points))}"'
    return _shape(shape, mark.stroke, mark.fill, mark.fill_opacity, mark.tip)


def _shape(shape: str, stroke: Stroke | None, fill: str | None, opacity: float, tip: str) -> str:
    parts = [shape, f"fill={_quoted(fill or 'none')}"]
    if fill and opacity < 1:
        parts.append(f'fill-opacity="{_number(opacity)}"')
    if stroke is not None:
        parts.append(f'stroke={_quoted(stroke.color)} stroke-width="{_number(stroke.width)}"')
        parts.append('stroke-linejoin="round"')
        if stroke.dash:
            parts.append(f'stroke-dasharray="{" ".join(map(_number, stroke.dash))}"')
    tag = shape.partition(" ")[0]
    inside = f"><title>{_escaped(tip)}</title></{tag}>" if tip else "/>"
    return f"<{' '.join(parts)}{inside}"


def _text(mark: Text) -> str:
    x, y = mark.place
    parts = [f'text x="{_number(x)}" y="{_number(y)}" font-size="{_number(mark.size)}"']
    parts.append(f"fill={_quoted(mark.color)}")
    if mark.anchor != "start":
        parts.append(f'text-anchor="{mark.anchor}"')
    if mark.bold:
        parts.append('font-weight="bold"')
    if mark.halo:
        parts.append('stroke="#ffffff" stroke-width="3" stroke-linejoin="round" paint-order="stroke"')
    return f"<{' '.join(parts)}>{_escaped(mark.text)}</text>"


def _is_japanese(scene: Scene) -> bool:
    texts = [mark.text for mark in scene.marks if isinstance(mark, Text)]
    return any(map(is_japanese, texts)) and any(map(has_han, texts))


def _point(point: Point) -> str:
    return f"{_number(point[0])},{_number(point[1])}"


def _number(value: float) -> str:
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def _plain(text: str) -> str:
    return _NOT_XML.sub("\ufffd", without_controls(text))


def _escaped(text: str) -> str:
    return escape(_plain(text))


def _quoted(text: str) -> str:
    return quoteattr(_plain(text))
