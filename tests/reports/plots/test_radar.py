"""Radar charts: nothing overlaps or is cut, what is missing is missing, and no text becomes markup."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalkit.errors import UsageError
from evalkit.reports.plots.radar import Radar, Series, radar_scene
from evalkit.reports.plots.scene import Box, Circle, Line, Scene, Text
from evalkit.reports.plots.series_style import MOST_SERIES, STYLES
from evalkit.reports.plots.svg import svg_text
from evalkit.reports.plots.text_size import balanced, text_box, text_width, wrapped

SVG = "{http://www.w3.org/2000/svg}"
LONG_AXES = (
    "応用的言語性能（表現・翻訳・情報検索）",
    "推論能力（抽象的推論・論理的推論・数学的推論）",
    "知識・質問応答",
    "基礎的言語性能",
    "アプリケーション開発",
    "制御性",
    "倫理・道徳",
    "毒性",
    "バイアス",
    "真実性",
    "堅牢性",
    "コーディングおよび関数呼び出し能力の総合評価",
)


def texts(scene: Scene) -> list[Text]:
    return [mark for mark in scene.marks if isinstance(mark, Text)]


def boxes(scene: Scene) -> list[Box]:
    return [text_box(t.place, t.text, t.size, t.anchor) for t in texts(scene)]


def is_inside(inner: Box, outer: Box) -> bool:
    return (
        outer.left <= inner.left
        and outer.top <= inner.top
        and inner.right <= outer.right
        and inner.bottom <= outer.bottom
    )


def assert_readable(scene: Scene) -> None:
    """No text is cut, and no text overlaps another: lines of one label are their leading apart."""
    found = list(zip(texts(scene), boxes(scene), strict=True))
    assert all(is_inside(box, scene.bounds) for _, box in found)
    for (one, first), (other, second) in combinations(found, 2):
        assert not first.overlaps(second), f"{one.text!r} overlaps {other.text!r}"


def radar(
    axes: tuple[str, ...], num_series: int = 2, missing: tuple[tuple[int, int], ...] = (), title: str = "T"
) -> Radar:
    series = []
    for k in range(num_series):
        values = [0.1 * k + 0.2 + 0.01 * i for i in range(len(axes))]
        kept = tuple(None if (k, i) in missing else v for i, v in enumerate(values))
        series.append(Series(f"組織/モデル-{k}", kept, tuple((v - 0.05, v + 0.05) for v in values)))
    return Radar(title, axes, tuple(series), notes=("n = 1,234 の質問",))


@pytest.mark.parametrize("missing", [(), ((0, 1), (1, 1)), ((1, 4), (0, 9))])
def test_twelve_long_japanese_names_are_readable(missing: tuple[tuple[int, int], ...]) -> None:
    scene = radar_scene(radar(LONG_AXES, missing=missing, title="Nejumi リーダーボード" * 6))
    assert_readable(scene)
    shown = "".join(t.text for t in texts(scene))
    for axis in LONG_AXES:
        assert axis in shown, "a name was cut"


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.text(st.sampled_from("あ漢ABab_-/ 、"), min_size=1, max_size=40), min_size=3, max_size=16),
    st.integers(1, MOST_SERIES),
)
def test_any_names_are_readable(axes: list[str], num_series: int) -> None:
    assert_readable(radar_scene(radar(tuple(axes), num_series, missing=tuple((k, 0) for k in range(5)))))


def test_a_missing_number_breaks_the_line_and_has_a_cross() -> None:
    axes = ("a", "b", "c", "d", "e")
    scene = radar_scene(radar(axes, missing=((1, 2),)))
    lines = [m for m in scene.marks if isinstance(m, Line)]
    whole = [m for m in lines if m.closed and m.fill == STYLES[0].color and len(m.points) == 5]
    assert len(whole) == 1
    broken = [m for m in lines if m.stroke == STYLES[1].stroke and not m.closed and len(m.points) == 4]
    assert len(broken) == 1
    crosses = [m for m in lines if m.tip == "組織/モデル-1, c: no number"]
    assert len(crosses) == 2
    # Outside of the rings, on its axis.
    middle = [sum(xy) / 4 for xy in zip(*(p for m in crosses for p in m.points), strict=True)]
    assert math.hypot(*middle) > 210
    assert math.atan2(-middle[1], middle[0]) == pytest.approx(math.pi / 2 - 2 * math.pi * 2 / 5)
    assert "no number" in [t.text for t in texts(scene)]
    assert "組織/モデル-1: a 0.300 [0.250, 0.350], b 0.310 [0.260, 0.360], c no number" in scene.description


def test_nothing_is_drawn_for_a_number_that_is_not_there() -> None:
    scene = radar_scene(Radar("", ("a", "b", "c", "d"), (Series("m", (0.5, None, 0.5, None)),)))
    points = [m for m in scene.marks if isinstance(m, Circle) and m.tip]
    assert [m.tip for m in points] == ["m, a: 0.500", "m, c: 0.500"]
    # Neighbours of gaps on both sides have nothing to be joined to.
    assert not [m for m in scene.marks if isinstance(m, Line) and m.stroke == STYLES[0].stroke and m.tip]
    assert [t.text for t in texts(scene)].count("(no number)") == 2


def test_numbers_lie_where_they_belong_and_at_the_rim_if_they_are_outside() -> None:
    scene = radar_scene(Radar("", ("a", "b", "c"), (Series("m", (5.0, 12.0, -3.0)),), 0, 10))
    places = {m.tip: m.center for m in scene.marks if isinstance(m, Circle) and m.tip}
    assert places["m, a: 5.000"] == pytest.approx((0, -105))
    assert math.hypot(*places["m, b: 12.000"]) == pytest.approx(210)
    assert places["m, c: -3.000"] == pytest.approx((0, 0))


@pytest.mark.parametrize("num_axes", [0, 2, 25])
def test_too_few_or_too_many_axes_are_refused(num_axes: int) -> None:
    with pytest.raises(UsageError, match=r"3 to 24 axes.*--axes"):
        radar_scene(radar(tuple(map(str, range(num_axes)))))


def test_no_model_or_too_many_are_refused() -> None:
    with pytest.raises(UsageError, match="no model"):
        radar_scene(radar(("a", "b", "c"), 0))
    with pytest.raises(UsageError, match=r"at most 8 models.*--model"):
        radar_scene(radar(("a", "b", "c"), 9))


# SVG

HOSTILE = [
    "</text><script>alert(1)</script>",
    '"><image href="http://x/y"/>',
    "a & b <c> ]]> 'd'",
    "\x00\x1b[31mred\x07",
    "\u202eright to left",
    "\ud800 alone",
    "\ufffe",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_names_stay_text(name: str) -> None:
    scene = radar_scene(Radar(name, (name, "b", "c"), (Series(name, (0.1, None, 0.3)),), notes=(name,)))
    svg = svg_text(scene)
    svg.encode()
    root = ElementTree.fromstring(svg)
    tags = {element.tag.removeprefix(SVG) for element in root.iter()}
    assert tags <= {"svg", "title", "desc", "rect", "polygon", "polyline", "circle", "text"}
    assert not [a for e in root.iter() for a in e.attrib if a.startswith("on") or "href" in a]
    assert svg_text(scene) == svg


def test_a_plain_name_comes_out_as_it_went_in() -> None:
    root = ElementTree.fromstring(svg_text(radar_scene(radar(("a & b", "c", "<d>")))))
    found = [element.text for element in root.iter(f"{SVG}text")]
    assert {"a & b", "<d>"} <= set(found)
    assert root.attrib["{http://www.w3.org/XML/1998/namespace}lang"] == "ja"
    assert (root.attrib["role"], root.attrib["aria-label"]) == ("img", "T")


def test_png_needs_its_library_and_is_a_png() -> None:
    from evalkit.reports.plots.png import lacks_font, png_bytes

    scene = radar_scene(radar(LONG_AXES))
    try:
        import resvg_py  # noqa: F401
    except ImportError:
        with pytest.raises(UsageError, match=r"pip install 'evalkit\[png\]'"):
            png_bytes(scene)
        return
    data = png_bytes(scene, zoom=1.0)
    assert lacks_font(scene) in (True, False)
    only = Text((0, 0), "\U0010fffc")  # a letter of no font
    assert lacks_font(Scene(scene.bounds, (only,)))
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = (int.from_bytes(data[at : at + 4]) for at in (16, 20))
    assert (width, height) == pytest.approx((scene.bounds.width, scene.bounds.height), abs=1.5)


# Colours and texts


def contrast_on_white(color: str) -> float:
    """By the Web Content Accessibility Guidelines."""
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 1.05 / (0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] + 0.05)


def test_series_are_told_apart_without_colour_and_seen_on_white() -> None:
    assert all(contrast_on_white(style.color) >= 3 for style in STYLES)
    assert len({(style.dash, style.shape) for style in STYLES}) == len(STYLES)
    assert len({style.color for style in STYLES}) == len(STYLES)


@given(st.text(st.sampled_from("あ漢字ーABabc_-/: 、"), max_size=60), st.floats(20, 300))
def test_wrapping_leaves_nothing_out_and_keeps_the_width(text: str, width: float) -> None:
    lines = wrapped(text, width, 13)
    assert "".join("".join(lines).split()) == "".join(text.split())
    assert all(len(line) <= 1 or text_width(line, 13) <= width for line in lines)
    assert lines


def test_no_line_begins_with_a_mark_that_clings() -> None:
    for width in range(60, 200):  # a word with its marks fits
        for line in wrapped("表現、翻訳。アプリケーション（開発）ー・終わり", width, 13)[1:]:
            assert line[0] not in "、。ー）・ョ"


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("GLP_応用的言語性能", ("GLP_応用的", "言語性能")),
        ("GLP_アプリケーション開発", ("GLP_", "アプリケーション", "開発")),
        ("GLP_知識・質問応答", ("GLP_知識・", "質問応答")),
        ("GLP_関数呼び出し", ("GLP_関数", "呼び出し")),
        ("ALT_制御性", ("ALT_制御性",)),
    ],
)
def test_japanese_names_break_between_words(name: str, lines: tuple[str, ...]) -> None:
    found = balanced(name, 9.5 * 12, 12)
    assert "".join(found) == name
    pieces = ("応用的", "言語", "性能", "アプリケーション", "開発", "知識", "質問", "応答", "関数", "制御性")
    assert all(any(piece in line for line in found) for piece in pieces if piece in name)
    assert len(found) <= len(lines)


def test_latin_letters_have_a_font_on_machines_without_a_japanese_one() -> None:
    """Linux mostly has one of these; drawing programs give `sans-serif` a font of another system."""
    text = svg_text(Scene(Box(0, 0, 40, 40), (Text((10, 30), "応用 GLP", 20),)))
    family = text.partition("font-family=")[2].partition(">")[0]
    assert family.index("Noto Sans CJK JP") < family.index("DejaVu Sans") < family.index("sans-serif")
