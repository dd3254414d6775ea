"""A scene as PNG, drawn by resvg from its SVG."""

from __future__ import annotations

from evalkit.errors import UsageError
from evalkit.reports.plots.scene import Scene
from evalkit.reports.plots.svg import svg_text

INSTALL = "pip install 'evalkit[png]'"


def png_bytes(scene: Scene, zoom: float = 2.0) -> bytes:
    """The picture as a PNG file, in the fonts of this machine.

    Args:
        scene: The picture.
        zoom: Pixels of the file for each pixel of the scene.

    Raises:
        UsageError: resvg is not installed; the message has the command.
    """
    try:
        import resvg_py
    except ImportError:
        raise UsageError(f"a PNG file needs resvg-py: {INSTALL}; SVG needs nothing") from None
    return bytes(resvg_py.svg_to_bytes(svg_string=svg_text(scene), zoom=zoom))
