"""A scene as PNG, drawn by resvg from its SVG."""

from __future__ import annotations

from evalkit.errors import UsageError
from evalkit.reports.plots.scene import Box, Scene, Text
from evalkit.reports.plots.svg import svg_text
from evalkit.reports.plots.text_size import has_han, is_japanese

INSTALL = "pip install 'evalkit[png]'"


# No font has a letter for it, unless somebody made one.
_NO_LETTER = "\U0010fffd"


def png_bytes(scene: Scene, zoom: float = 2.0) -> bytes:
    """The picture as a PNG file, in the fonts of this machine.

    Args:
        scene: The picture.
        zoom: Pixels of the file for each pixel of the scene.

    Raises:
        UsageError: resvg is not installed; the message has the command.
    """
    return _drawn(svg_text(scene), zoom)


def lacks_font(scene: Scene) -> bool:
    """Whether no font of this machine has the letters of the picture: its PNG then lacks them.

    One letter is tried, a Japanese or Chinese one if there is any: it looks like one that no font has.

    Raises:
        UsageError: resvg is not installed.
    """
    letters = "".join(mark.text for mark in scene.marks if isinstance(mark, Text)).replace(" ", "")
    tried = next((c for c in letters if has_han(c) or is_japanese(c)), letters[:1])
    return bool(tried) and _letter(tried) == _letter(_NO_LETTER)


def _letter(letter: str) -> bytes:
    return _drawn(svg_text(Scene(Box(0, 0, 40, 40), (Text((10, 30), letter, 20),))), 1.0)


def _drawn(svg: str, zoom: float) -> bytes:
    try:
        import resvg_py
    except ImportError:
        raise UsageError(f"a PNG file needs resvg-py: {INSTALL}; SVG needs nothing") from None
    return bytes(resvg_py.svg_to_bytes(svg_string=svg, zoom=zoom))
