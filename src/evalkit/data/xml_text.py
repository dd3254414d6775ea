"""XML files of benchmarks."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

from evalkit.data.rows import text_of
from evalkit.errors import DataError


def xml_of(path: Path) -> ElementTree.Element:
    """The root of an XML file.

    Raises:
        DataError: It is not XML, or it defines entities, by which a small file can become a huge one.
    """
    text = text_of(path)
    if re.search(r"<!ENTITY", text):
        raise DataError(f"{path}: it defines entities, which are not read")
    try:
        return ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise DataError(f"{path}: not valid XML ({error}); the file may be truncated") from None


def texts_at(element: ElementTree.Element, place: str) -> list[str]:
    """The texts of all elements at a place below another, tags inside left out, blanks around them cut."""
    return ["".join(found.itertext()).strip() for found in element.findall(place)]
