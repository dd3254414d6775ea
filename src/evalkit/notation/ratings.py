"""Ratings in replies: `[[7]]`, `[[10/10]]`, `［［８］］`, `Rating: 8`, `評価：８`, `10点満点中8点`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

from evalkit.notation.fences import without_fenced_blocks
from evalkit.notation.plain_signs import plain_signs

_NUMBER = r"[0-9]{1,12}(?:\.[0-9]{1,12})?"
_UNIT = r"(?:点|分|점|points?\b|pts?\b\.?|stars?\b)"
_GAP = r"[^\S\n]*"
# One number, perhaps with the top of its scale before or behind it.
_RATING = rf"""
    (?: (?P<top_first> {_NUMBER} ) {_GAP}
        (?: 点?{_GAP}満点 {_GAP} (?: 中 | のうち | で | の | 、 )? | 点?中 ) {_GAP} )?
    (?P<value> [-+]?{_NUMBER} ) (?![0-9]) {_GAP} {_UNIT}? (?P<percent> {_GAP}% )?
    (?: {_GAP}
        (?: / | \(? (?: out{_GAP} )? of\b
          | \(? on\ a\ scale\ (?: of | from ) (?: \ {_NUMBER}{_GAP}(?:to|-) )? )
        {_GAP} [*_\[]{{0,4}} (?P<top> {_NUMBER} ) (?![0-9]) \]{{0,2}} {_GAP} {_UNIT}? )?
"""
# What makes a number part of something longer: a range, a list, a date, a version, a scale, another unit.
_GOES_ON = re.compile(
    rf"""[A-Za-z_] | {_GAP} (?: [-~,/] {_GAP}[0-9] | \.[0-9]
    | (?: to | or | and | から | か | または ) {_GAP}[0-9] | [½¼¾⅓-⅞] | 点?満点 | 段階 )""",
    re.VERBOSE | re.IGNORECASE,
)
_ONE = re.compile(_RATING, re.VERBOSE | re.IGNORECASE)
_LABEL = r"""(?: ratings? | scores? | grade | 評価 | 評点 | 点数 | 得点 | スコア | 採点 | 评分 | 評分
    | 得分 | 分数 | 평가 | 점수 )"""
_MARKS = r"[*_`\"'“”「」『』\s]{0,12}"
_IN_BRACKETS = re.compile(
    rf"""(?: (?<![A-Za-z0-9_)\]]) | (?<=rating) | (?<=score) )
    \\?\[ \s* \\?\[ (?P<content> [^\[\]\n]{{1,60}}? ) \\?\] \s* \\?\]
    (?P<over> \s* / \s* [\[*_\\]* (?P<under> {_NUMBER} ) (?![0-9]) )?""",
    re.VERBOSE | re.IGNORECASE,
)
_LABELLED_CONTENT = re.compile(rf"{_MARKS} {_LABEL} {_MARKS} [:=] {_MARKS}", re.VERBOSE | re.IGNORECASE)
_LABELLED = re.compile(
    rf"""(?P<whole> (?: overall | final | total | 総合 | 最終 | 総 | 综合 | 总 | 最终 | 종합
        | 최종 ) (?: 的な? )? \s* )?
    {_LABEL} (?P<value_word> \s*値 )? \]{{0,2}} {_MARKS} (?: \( [^()\n]{{0,40}} \) )? {_MARKS}
    (?: (?P<sign> [:=] | [-—] (?=\s) ) | (?: is | was | of | would\ be | は | が | 为 | 為 | 是 | 는 | 은 ) )
    [*_`\"'“”「」『』\s\\\[(]{{0,12}} {_RATING}""",
    re.VERBOSE | re.IGNORECASE,
)
_GIVEN = re.compile(
    rf"""\b (?: give | gave | giving | rated? | award | assign | score[ds]? | deserves | earns | gets
        | merits ) \b [^.\n0-9:]{{0,80}}? (?: \b (?: a | an | as | at ) \s+ (?: an?\s+ )? )?
    [*_\[\"']{{0,12}} {_RATING}""",
    re.VERBOSE | re.IGNORECASE,
)
_WITH_ARTICLE = re.compile(r"\b(?:a|an|as|at)\s+(?:an?\s+)?[*_\[\"']*$", re.IGNORECASE)
_GIVEN_JAPANESE = re.compile(
    rf"{_RATING} (?<=点) \s* (?: です | とし | と評価 | と採点 | を付け | をつけ | を与え | となり )",
    re.VERBOSE,
)
_ALONE = re.compile(rf"[*_`\"'「\s\\\[(]* {_RATING} [*_`\"'」\s\\\])]* [.。]?", re.VERBOSE | re.IGNORECASE)
# Numbers that only describe the scale.
_OF_THE_SCALE = re.compile(
    r"(?:max(?:imum)?|min(?:imum)?|highest|lowest|perfect|possible|full|最高|最低|最大|最小)\s*(?:の)?$",
    re.IGNORECASE,
)
_NEGATED = re.compile(
    r"\b(?:not|cannot|never|without|than|if|unless|could|can't|won't|\w+n't)\b[^.!?\n]*$", re.IGNORECASE
)
_FAR_ENOUGH = 120


@dataclass(frozen=True, slots=True)
class Rating:
    """A rating as it is written.

    Attributes:
        value: Its value; None for a range, a percentage, or several numbers.
        top: The top of the scale, where it is written with it (`8/10`).
        text: As written.
    """

    value: Fraction | None
    top: Fraction | None
    text: str


def bracketed_ratings(text: str) -> list[Rating]:
    """The ratings in double brackets, in order; brackets that hold anything else are passed over.

    Those in fenced blocks count only where there are none outside. The brackets may be full-width, escaped
    for Markdown or have blanks between them, and hold a label and a unit.
    """
    text = plain_signs(text)
    return list(_in_brackets(without_fenced_blocks(text))) or list(_in_brackets(text))


def stated_ratings(text: str) -> list[Rating]:
    """The ratings that a text states without double brackets, by the surest way of stating there is.

    From the surest on: an overall or final rating, a rating behind a label (`Score: 8`, `評価は8`), a rating
    that somebody gives (`I rate it 8/10`), a last line that is nothing but a rating. Numbers that describe
    the scale (`the maximum score is 10`) and those of a sentence that denies or compares are passed over.
    """
    text = plain_signs(text)
    outside = without_fenced_blocks(text)
    labelled = list(_labelled(outside))
    overall = [rating for is_overall, rating in labelled if is_overall]
    found = overall or [rating for _, rating in labelled] or list(_given(outside))
    return found or _alone_on_the_last_line(text)


def _in_brackets(text: str) -> Iterator[Rating]:
    end = 0
    for found in _IN_BRACKETS.finditer(text):
        if found.start() < end:
            continue
        content = found["content"].strip(" \t*_`$\\\"'").rstrip(".。")
        if label := _LABELLED_CONTENT.match(content):
            content = content[label.end() :]
        rating = _rating_of(content)
        if rating is None:
            continue
        top = Fraction(found["under"]) if found["under"] else rating.top
        end = found.end()
        yield Rating(rating.value, top, found[0].strip())


def _rating_of(content: str) -> Rating | None:
    """The rating that a text is; one without a value for a range; None for anything else."""
    found = _ONE.match(content)
    if found is None:
        return None
    if found.end() == len(content):
        return _made(found)
    # `1, 2` is the row of a matrix, `7-8` a rating that does not decide.
    going_on = _GOES_ON.match(content, found.end())
    return Rating(None, None, content) if going_on and not going_on[0].lstrip().startswith(",") else None


def _labelled(text: str) -> Iterator[tuple[bool, Rating]]:
    for found in _LABELLED.finditer(text):
        before = text[max(0, found.start() - _FAR_ENOUGH) : found.start()]
        denied = not found["sign"] and _NEGATED.search(before)
        if not denied and not _OF_THE_SCALE.search(before):
            yield bool(found["whole"]), _checked(text, found)


def _given(text: str) -> Iterator[Rating]:
    for found in _GIVEN.finditer(text):
        before = text[max(0, found.start() - _FAR_ENOUGH) : found.start()]
        lead = text[found.start() : found.start("value")]
        is_given = found["top"] or found["top_first"] or _WITH_ARTICLE.search(lead)
        if is_given and not _NEGATED.search(before) and not _NEGATED.search(lead):
            yield _checked(text, found)
    for found in _GIVEN_JAPANESE.finditer(text):
        yield _made(found)


def _alone_on_the_last_line(text: str) -> list[Rating]:
    lines = [line for line in text.splitlines() if line.strip().strip("`~")]
    found = _ALONE.fullmatch(lines[-1].strip()) if lines else None
    return [] if found is None else [_made(found)]


def _checked(text: str, found: re.Match[str]) -> Rating:
    """The rating; one without a value where the text goes on with another number."""
    return _made(found) if not _GOES_ON.match(text, found.end()) else Rating(None, None, _line(found[0]))


def _made(found: re.Match[str]) -> Rating:
    top = found["top"] or found["top_first"]
    value = None if found["percent"] else Fraction(found["value"])
    return Rating(value, Fraction(top) if top else None, _line(found[0]))


def _line(text: str) -> str:
    return " ".join(text.split())


def distinct(ratings: Sequence[Rating]) -> list[Rating]:
    """The ratings without those that say the same as an earlier one."""
    return list({(rating.value, rating.top): rating for rating in reversed(ratings)}.values())[::-1]
