"""The program in an answer: chat models put it between fences, with words around it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from textwrap import indent

_FENCE = re.compile(r"^(?P<blanks>[ \t]*)(?P<fence>`{3,}|~{3,})(?P<language>[^`\n]*)$", re.MULTILINE)
_IMPORT = re.compile(r"^(?:from\s+\S+\s+import|import)\s.*$", re.MULTILINE)
_CODE_BEGINS = re.compile(
    r"^(?:from\s+\S+\s+import\s|import\s|def\s|async\s+def\s|class\s|@\w)", re.MULTILINE
)
_INDENT = "    "
_PYTHON = ("", "python", "python3", "py")


@dataclass(frozen=True, slots=True)
class CodeBlock:
    """What stands between two fences.

    Attributes:
        is_closed: Whether the second one is there.
    """

    code: str
    language: str
    is_closed: bool


def code_blocks(text: str) -> Iterator[CodeBlock]:
    """The fenced blocks of a text, in order."""
    opened: re.Match[str] | None = None
    for found in _FENCE.finditer(text):
        if opened is None:
            opened = found
        elif _closes(found, opened):
            yield _block(opened, text[opened.end() + 1 : found.start()], is_closed=True)
            opened = None
    if opened is not None:
        yield _block(opened, text[opened.end() + 1 :], is_closed=False)


def ends_in_block(text: str) -> bool:
    """Whether a text ends before its last block is closed."""
    *_, last = (None, *code_blocks(text))
    return last is not None and not last.is_closed


def program_of(answer: str, prompt: str, entry_point: str) -> str:
    """The program that an answer to a prompt means: the prompt completed, or what is given in its place.

    Of several blocks it is the last closed one that defines the function asked for, else the first closed
    one, else the one that never ends. Blocks of another language than Python are left out, unless there are
    no others. Without any block it is the answer itself. Code that defines the function stands behind the
    prompt, whose imports and helpers it may need; other code is the function's body.

    Args:
        answer: What the model said.
        prompt: The beginning of the program: all up to the function's docstring.
        entry_point: The name of the function.
    """
    code = _chosen(list(code_blocks(answer)), entry_point)
    if code is None:
        code = _from_first_code(answer) if _defines(answer, entry_point) else answer
    if _defines(code, entry_point):
        return f"{_closed(prompt)}\n{code}"
    return f"{prompt}{_as_body(code)}"


def _block(opened: re.Match[str], code: str, *, is_closed: bool) -> CodeBlock:
    """A block; in a list it is indented like its fences."""
    if blanks := len(opened["blanks"]):
        code = re.sub(rf"^[ \t]{{1,{blanks}}}", "", code, flags=re.MULTILINE)
    return CodeBlock(code, _language(opened), is_closed)


def _closes(found: re.Match[str], opened: re.Match[str]) -> bool:
    """Whether a fence ends the block that another one has opened."""
    mark, own = opened["fence"], found["fence"]
    return not found["language"].strip() and own[0] == mark[0] and len(own) >= len(mark)


def _language(fence: re.Match[str]) -> str:
    words = fence["language"].split()
    return words[0].lower().strip("{}.") if words else ""


def _chosen(blocks: list[CodeBlock], entry_point: str) -> str | None:
    blocks = [block for block in blocks if block.language in _PYTHON] or blocks
    closed = [block for block in blocks if block.is_closed]
    for block in reversed(closed):
        if _defines(block.code, entry_point):
            return block.code
    for block in blocks:
        if not block.is_closed and _defines(block.code, entry_point):
            return block.code
    first = next(iter(closed or blocks), None)
    return None if first is None else first.code


def _defines(code: str, name: str) -> bool:
    """Whether code defines a function, by a definition or by giving it a name."""
    pattern = rf"^(?:(?:async\s+)?def\s+{re.escape(name)}\b|{re.escape(name)}\s*=(?!=))"
    return re.search(pattern, code, re.MULTILINE) is not None


def _from_first_code(text: str) -> str:
    found = _CODE_BEGINS.search(text)
    return text[found.start() :] if found else text


def _closed(prompt: str) -> str:
    """The prompt as a program of its own: its last function does nothing."""
    for program in (prompt, f"{prompt.rstrip()}\n{_INDENT}pass\n"):
        try:
            ast.parse(program)
        except (SyntaxError, ValueError):
            continue
        return program
    return "\n".join(_IMPORT.findall(prompt))


def _as_body(code: str) -> str:
    """Code as the body of a function: indented, if it is not."""
    lines = code.split("\n")
    filled = [line for line in lines if line.strip()]
    if not filled or filled[0][0].isspace():
        return code
    others = filled[1:]
    is_stripped = others and all(line[0].isspace() for line in others)
    if is_stripped and not (filled[0].rstrip().endswith(":") and _width(others[0]) <= len(_INDENT)):
        # Only the first line has lost the blanks before it.
        return code.replace(filled[0], _INDENT + filled[0], 1)
    return indent(code, _INDENT)


def _width(line: str) -> int:
    return len(line) - len(line.lstrip())
