"""The program in an answer: chat models put it between fences, with words around it."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from textwrap import dedent, indent

_FENCE = re.compile(r"(?P<fence>`{3,}|~{3,})(?P<language>[^`\n]*)$")
# What may stand before a fence that has its line to itself: blanks, marks of a quotation or a list item.
_MARGIN = re.compile(r"(?P<quote>(?:[ \t]*>)*)[ \t]*(?:(?:[-*+]|\d+[.)])[ \t]+)?$")
_QUOTE = re.compile(r"(?:[ \t]*>)+ ?")
_ONE_WORD = re.compile(r"[\w+#.-]*\s*$")
_INLINE = re.compile(r"```(?:(?P<language>python3?|py)\s)?(?P<code>[^`\n]+)```")
_IMPORT = re.compile(r"^(?:from\s+\S+\s+import|import)\s.*$", re.MULTILINE)
_CODE_BEGINS = re.compile(
    r"^(?:from\s+\S+\s+import\s|import\s|def\s|async\s+def\s|class\s|@\w)", re.MULTILINE
)
_UNINDENTED = re.compile(r"^\S", re.MULTILINE)
_INDENT = "    "
_PYTHON = ("", "python", "python3", "py")
# A closing fence stands at most so much further to the right than the opening one, as in CommonMark; in a
# docstring it is further.
_MOST_SHIFT = 3
# Unfenced code is cut before its last words, of which there are at most this many lines.
_MAX_CUTS = 60


@dataclass(frozen=True, slots=True)
class CodeBlock:
    """What stands between two fences.

    Attributes:
        is_closed: Whether the second one is there.
        is_bare: Whether the first one is nothing but a mark, so that it might be a second one.
        start: Where the text of the first one begins.
    """

    code: str
    language: str
    is_closed: bool
    is_bare: bool = False
    start: int = 0


@dataclass(frozen=True, slots=True)
class _Opened:
    """An opening fence: its mark, what stands before it in its line, and where it is."""

    mark: str
    language: str
    margin: int
    is_quoted: bool
    is_bare: bool
    start: int

    def block(self, lines: list[str], *, is_closed: bool) -> CodeBlock:
        """The block with these lines; in a list or a quotation they have a margin like their fences'."""
        if self.is_quoted:
            lines = [_QUOTE.sub("", line, count=1) for line in lines]
        elif self.margin:
            lines = [re.sub(rf"^[ \t]{{1,{self.margin}}}", "", line) for line in lines]
        code = "".join(f"{line}\n" for line in lines)
        return CodeBlock(code, self.language, is_closed, self.is_bare, self.start)


def code_blocks(text: str) -> Iterator[CodeBlock]:
    """The fenced blocks of a text, in order.

    Models write fences in more places than Markdown has them: behind words ("Here it is: ```python"), at the
    end of the last line of code, before further words, or both in one line.
    """
    opened: _Opened | None = None
    lines: list[str] = []
    at = 0
    for line in text.split("\n"):
        if opened is None:
            opened, lines = _opened_in(line, at), []
            if opened is None:
                yield from _inline(line, at)
        elif (last := _closed_in(line, opened)) is not None:
            yield opened.block([*lines, *([last] if last else [])], is_closed=True)
            opened = None
        else:
            lines.append(line)
        at += len(line) + 1
    if opened is not None:
        yield opened.block(lines, is_closed=False)


def ends_in_block(text: str) -> bool:
    """Whether a text ends before its last block is closed."""
    *_, last = (None, *code_blocks(text))
    return last is not None and not last.is_closed


def program_of(answer: str, prompt: str, entry_point: str) -> str:
    """The program that an answer to a prompt means: the prompt completed, or what is given in its place.

    Of several blocks it is the last closed one that defines the function asked for, else the first closed
    one, else the one that never ends. Blocks of another language than Python are left out, unless there are
    no others. A single fence behind code ends a block that the prompt has begun. Without any block it is the
    answer itself, without the words behind it. Code that defines the function stands behind the prompt, whose
    imports and helpers it may need; other code is the function's body.

    Args:
        answer: What the model said.
        prompt: The beginning of the program: all up to the function's docstring.
        entry_point: The name of the function.
    """
    blocks = list(code_blocks(answer))
    if len(blocks) == 1 and blocks[0].is_bare and not blocks[0].is_closed:
        before = answer[: blocks[0].start]
        if before.strip() and _parses(program := _program(before, prompt, entry_point)):
            return program
    code = _chosen(blocks, entry_point)
    if code is not None:
        return _program(code, prompt, entry_point)
    code = _from_first_code(answer) if _defines(answer, entry_point) else answer
    return _without_last_words(code, prompt, entry_point)


def _opened_in(line: str, at: int) -> _Opened | None:
    """The fence that a line opens, if it does."""
    found = _FENCE.search(line)
    if found is None or _INLINE.search(line):
        return None
    before, info = line[: found.start()], found["language"]
    margin = _MARGIN.match(before)
    if margin is None and (found["fence"][0] == "~" or not _ONE_WORD.match(info)):
        return None
    return _Opened(
        mark=found["fence"],
        language=_language(info),
        margin=len(before) if margin else 0,
        is_quoted=bool(margin and margin["quote"]),
        is_bare=margin is not None and not info.strip(),
        start=at,
    )


def _closed_in(line: str, opened: _Opened) -> str | None:
    """What stands before the fence with which a line closes a block; None if it does not."""
    plain = _QUOTE.sub("", line, count=1) if opened.is_quoted else line
    fence = re.escape(opened.mark[0]) + f"{{{len(opened.mark)},}}"
    found = re.match(rf"([ \t]*){fence}(?![{opened.mark[0]}\w{{])", plain)
    if found is not None:
        shift = 0 if opened.is_quoted else opened.margin
        return "" if len(found[1]) <= shift + _MOST_SHIFT else None
    # Behind code, but not behind a quotation mark: that belongs to a text in the code.
    behind = re.search(rf"(?<=[^\s\"'`~]){fence}\s*$", plain)
    return plain[: behind.start()] if behind is not None else None


def _inline(line: str, at: int) -> Iterator[CodeBlock]:
    for found in _INLINE.finditer(line):
        yield CodeBlock(found["code"].strip() + "\n", found["language"] or "", is_closed=True, start=at)


def _language(info: str) -> str:
    words = info.split()
    return words[0].lower().strip("{}.") if words else ""


def _program(code: str, prompt: str, entry_point: str) -> str:
    if not _defines(code, entry_point) and _defines(dedent(code), entry_point):
        code = dedent(code)
    if _defines(code, entry_point):
        return f"{_closed(prompt)}\n{code}"
    if "\n\t" not in prompt:
        code = re.sub(r"^\t+", lambda tabs: _INDENT * len(tabs[0]), code, flags=re.MULTILINE)
    return f"{prompt}{_as_body(code)}"


def _without_last_words(code: str, prompt: str, entry_point: str) -> str:
    """The program of code that no fence ends: the longest that is one, cut before an unindented line."""
    whole = _program(code, prompt, entry_point)
    if _parses(whole):
        return whole
    defines = _defines(code, entry_point)
    starts = [found.start() for found in _UNINDENTED.finditer(code)][-_MAX_CUTS:]
    for start in reversed(starts):
        kept = code[:start]
        if not kept.strip() or _defines(kept, entry_point) != defines:
            break
        if _parses(program := _program(kept, prompt, entry_point)):
            return program
    return whole


def _parses(program: str) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            ast.parse(program)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return False
    return True


def _chosen(blocks: list[CodeBlock], entry_point: str) -> str | None:
    blocks = [block for block in blocks if block.language in _PYTHON] or blocks
    closed = [block for block in blocks if block.is_closed]
    for block in reversed(closed):
        if _defines(dedent(block.code), entry_point):
            return block.code
    for block in blocks:
        if not block.is_closed and _defines(dedent(block.code), entry_point):
            return block.code
    first = next(iter(closed or blocks), None)
    return None if first is None else first.code


def _defines(code: str, name: str) -> bool:
    """Whether code defines a function, by a definition or by giving it a name."""
    pattern = rf"^(?:(?:async\s+)?def\s+{re.escape(name)}\b|{re.escape(name)}\s*(?::[^=\n]+)?=(?!=))"
    return re.search(pattern, code, re.MULTILINE) is not None


def _from_first_code(text: str) -> str:
    found = _CODE_BEGINS.search(text)
    return text[found.start() :] if found else text


def _closed(prompt: str) -> str:
    """The prompt as its own program: its last function does nothing."""
    for program in (prompt, f"{prompt.rstrip()}\n{_INDENT}pass\n"):
        if _parses(program):
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
