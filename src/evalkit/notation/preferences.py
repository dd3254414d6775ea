"""Which of two answers is preferred: `[[A]]`, `［［Ｂ］］`, `[[C]]`, `[[tie]]`, `[[A>B]]`, `Verdict: A`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

from evalkit.notation.fences import without_fenced_blocks
from evalkit.notation.plain_signs import plain_signs

Preference = Literal["A", "B", "tie"]

_NAME = r"(?: (?: assistant | model | answer | response | アシスタント | モデル | 回答 ) \s* (?:'s\s)? )?"
_TIE = r"(?: tie | tied | draw | equal | 引き?分け | 同等 | 互角 | 平局 | 무승부 )"
_CHOICE = rf"""
    {_NAME} (?: (?P<left> [AB] ) \s* (?P<sign> >{{1,2}} | <{{1,2}} | ={{1,2}} ) \s* {_NAME} (?P<right> [AB] )
    | (?P<letter> [ABC] ) | (?P<tie> {_TIE} ) )
"""
_CAPITAL_CHOICE = _CHOICE.replace("[AB]", "(?-i:[AB])").replace("[ABC]", "(?-i:[ABC])")
_IN_BRACKETS = re.compile(r"(?<![A-Za-z0-9_)\]])\\?\[\s*\\?\[(?P<content>[^\[\]\n]{1,40}?)\\?\]\s*\\?\]")
_CONTENT = re.compile(_CHOICE, re.VERBOSE | re.IGNORECASE)
_MARKS = r"[*_`\"'“”「」\s\\\[(]{0,12}"
# In a sentence a letter is a name where the clause ends; "A better answer would …" names nobody.
_AFTER = r"""(?= [*_`\"'”」\s\])]{0,12} (?: $ | [.,;:!。、—-] (?!\s*[ABC]\b) )
    | [*_`\"'”」\])]{0,12} \s* (?: \n | \b (?: because | since | as | for | is | wins ) \b | の | が | です )
    )"""
_LABELLED = re.compile(
    rf"""(?: verdict | winner | final \s answer | judge?ment | decision | choice | preference
        | better \s (?: assistant | model | answer | response )
        | 判定 | 結論 | 勝者 | 優れた回答
        | より良い回答 )
    [*_`\"'\s]{{0,12}} (?: [:=] | \b is \b | は ) {_MARKS} (?: (?: a | the ) \s+ (?= tie | draw ) )?
    {_CAPITAL_CHOICE} {_AFTER}""",
    re.VERBOSE | re.IGNORECASE,
)
_DECLARED = re.compile(
    r"""\b (?: assistant | model | answer | response ) \s (?P<letter> (?-i:[AB]) )
    (?: 's \s (?: answer | response ) )? \s
    (?: is \s (?: clearly \s | slightly \s | overall \s | much \s )?
        (?: the \s )? (?: better | winner | best | superior ) | wins ) \b
    | \b it (?:'s | \s is ) \s a \s (?P<tie> tie | draw ) \b""",
    re.VERBOSE | re.IGNORECASE,
)
_ALONE = re.compile(rf"{_MARKS} {_CHOICE} [*_`\"'」\s\\\])]* [.。]?", re.VERBOSE | re.IGNORECASE)
_NEGATED = re.compile(
    r"\b(?:not|cannot|never|if|unless|whether|why|because|\w+n't)\b[^.!?\n]*$", re.IGNORECASE
)
_FAR_ENOUGH = 120


def bracketed_preferences(text: str) -> list[Preference]:
    """The preferences in double brackets, in order; brackets that hold anything else are passed over.

    Those in fenced blocks count only where there are none outside. `A>B` and `A>>B` are A.
    """
    text = plain_signs(text)
    return list(_in_brackets(without_fenced_blocks(text))) or list(_in_brackets(text))


def stated_preferences(text: str) -> list[Preference]:
    """The preferences that a text states without double brackets, by the surest way of stating there is.

    From the surest on: one behind a label (`Verdict: A`), a sentence that says which is better, a last line
    that is nothing but the name of one.
    """
    text = plain_signs(text)
    outside = without_fenced_blocks(text)
    found = [_preference(each) for each in _LABELLED.finditer(outside)]
    for each in () if found else _DECLARED.finditer(outside):
        if not _NEGATED.search(outside[max(0, each.start() - _FAR_ENOUGH) : each.start()]):
            found.append("tie" if each["tie"] else _letter(each["letter"]))
    if not found:
        lines = [line for line in text.splitlines() if line.strip().strip("`~")]
        alone = _ALONE.fullmatch(lines[-1].strip()) if lines else None
        found = [_preference(alone)] if alone else []
    return found


def _in_brackets(text: str) -> Iterator[Preference]:
    for found in _IN_BRACKETS.finditer(text):
        content = _CONTENT.fullmatch(found["content"].strip(" \t*_`\\\"'"))
        if content is not None:
            yield _preference(content)


def _preference(found: re.Match[str]) -> Preference:
    if found["tie"]:
        return "tie"
    if found["letter"]:
        return _letter(found["letter"])
    left, right = _letter(found["left"]), _letter(found["right"])
    if "=" in found["sign"] or left == right:
        return "tie"
    return left if ">" in found["sign"] else right


def _letter(letter: str) -> Preference:
    by_letter: dict[str, Preference] = {"A": "A", "B": "B"}
    return by_letter.get(letter.upper(), "tie")
