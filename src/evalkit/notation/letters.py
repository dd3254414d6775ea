r"""The option that a text settles on: `the answer is (C)`, `**C**`, `\boxed{C}`, `$C$`, a last line `C`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from evalkit.notation.boxes import last_box

_BE = r"(?:is|be|would\ be|should\ be|must\ be|will\ be|was)\b"
# After one of these a text names its answer.
_CUE = re.compile(
    rf"""\b(?:answer|choice|option)\b [*_\s"']* (?: (?:to|for)\ [^.\n]{{1,60}}?\  )?
        (?: {_BE} | [:：=] | [-–—](?=\s) )
    | \b(?: choose | select | pick | chose | go\ with | going\ with | opt\ for | answer\ with )\b
    | <answer> | \banswer\s*(?=\() | ^\s*it(?:'s|\ is)\b
    | (?: 答案 | 答え | 正解 | 正答 )\s*(?: 是 | 为 | 為 | は | [:：=] )""",
    re.VERBOSE | re.IGNORECASE | re.MULTILINE,
)
_FILLER = re.compile(
    r"""(?: [\s,:*_]
      | \b(?: the | option | choice | letter | answer | alternative | indeed | therefore | thus | clearly
          | then | likely | probably | most | definitely | simply | actually | hence | correct | best
          | that )\b )*+""",
    re.VERBOSE | re.IGNORECASE,
)
# Bold, italics, code, quotes, dollar signs, brackets, commands of LaTeX.
_OPENING = re.compile(
    r"""(?: [*_`"'“‘$(\[{] | \\[(\[] | \s
      | \\(?:boxed|fbox|text|textbf|textit|mathrm|mathbf|mathsf)\s*\{ )*+""",
    re.VERBOSE,
)
_CLOSING = re.compile(r"""(?: [*_`"'”’$)\]}] | \\[)\]] | </\w+> )+""", re.VERBOSE)
_LAST_FENCES = re.compile(r"(?:\s*^[ \t]*(?:`{3,}|~{3,})[ \t]*$)+\s*\Z", re.MULTILINE)
_CALLED = re.compile(
    r"^\W*(?:the\s+)?(?:(?:final|correct|best|right)\s+)?(?:answer|option|choice|letter)\s+(?=\W*[A-Z]\b)",
    re.IGNORECASE,
)
# From here on scripts begin that write no blanks between words.
_FIRST_CJK = "\u2e80"
_END_OF_SENTENCE = re.compile(r"[.!?](?=\s|$)|\n")
_IN_A_SENTENCE = re.compile(
    r"(?<!not )(?:(?P<mark>[(*]|\\boxed\{|\\text\{)|\b(?:option|choice|letter) (?=[A-Z]\b))"
)
_LETTER_IS_RIGHT = re.compile(
    rf"""(?: ^ | [.,;:]\s
        | \b(?:option|choice|answer|so|thus|hence|therefore|but|actually|however|rather|instead),?\s ) \s*
    (?P<at> [*_(\[]*[A-Za-z] ) [^\w\s]* \s+ {_BE} \s+
    (?:\w+ly\s+|indeed\s+)? (?:the\s+)? (?:most\s+|best\s+)? (?:correct|right|best)\b
    (?! ,? \s+ (?:only|if|when|unless|provided) )""",
    re.VERBOSE | re.IGNORECASE | re.MULTILINE,
)
_OR = re.compile(r"\s*(?:,?\s*\b(?:or|and)\b|[/&,])\s*")
# "The answer is A because …" names an option; "the answer is A lot of work" does not.
_GOES_ON = re.compile(
    r"\s+(?:(?:because|since|as|and|but|not|which|so|due|given|or|rather|instead|by|for|with)\b|[^\w\s])"
)
_ALSO_WORDS = frozenset("AI")
_LONGEST_SENTENCE = 200


def settled_option(text: str, options: Mapping[str, str]) -> str | None:
    """The letter of the option that a text settles on, or None.

    The last statement counts: what follows "answer is" and its like, a box, "(C) is correct", or a last line
    that holds nothing but a letter (and its option). A statement that names two options settles on none.

    Args:
        text: What the model wrote.
        options: Capital letters to their options; other letters are not answers.
    """
    found = [*_after_cues(text, options), *_declared_right(text, options)]
    found += [*_in_a_box(text, options), *_alone_on_the_last_line(text, options)]
    return max(found, key=lambda each: each[0])[1] if found else None


Statement = tuple[int, str | None]
"""Where a statement is, and the letter that it settles on; None for several."""


def _after_cues(text: str, options: Mapping[str, str]) -> Iterator[Statement]:
    for cue in _CUE.finditer(text):
        start = cue.end()
        filled = _FILLER.match(text, start)
        found = _statement_at(text, filled.end() if filled else start, options)
        if found is None and cue[0][0] in "aA":
            end = _END_OF_SENTENCE.search(text, start, start + _LONGEST_SENTENCE)
            limit = end.start() if end else start + _LONGEST_SENTENCE
            for mark in _IN_A_SENTENCE.finditer(text, start, limit):
                position = mark.start() if mark["mark"] else mark.end()
                if (found := _statement_at(text, position, options)) is not None:
                    break
            found = found or _spelled_out(text, filled.end() if filled else start, limit, options)
        if found is not None:
            yield found


def _spelled_out(text: str, position: int, limit: int, options: Mapping[str, str]) -> Statement | None:
    """A statement that gives the text of one option in place of its letter."""
    said = text[position:limit]
    letters = [
        letter for letter, option in options.items() if any(map(str.isalnum, option)) and _same(said, option)
    ]
    return (position, letters[0]) if len(letters) == 1 else None


def _declared_right(text: str, options: Mapping[str, str]) -> Iterator[Statement]:
    for declared in _LETTER_IS_RIGHT.finditer(text):
        letter = declared["at"][-1].upper()
        if letter in options and (len(declared["at"]) > 1 or declared["at"].isupper()):
            yield declared.start("at"), letter


def _in_a_box(text: str, options: Mapping[str, str]) -> Iterator[Statement]:
    if (box := last_box(text)) is not None and (found := _statement_at(box[1], 0, options)) is not None:
        yield box[0], found[1]


def _alone_on_the_last_line(text: str, options: Mapping[str, str]) -> Iterator[Statement]:
    text = _LAST_FENCES.sub("", text).rstrip()
    line = text.rpartition("\n")[2]
    position = len(text) - len(line)
    line = _CALLED.sub("", line)
    named = _letter_at(line, 0, options)
    if named is None:
        return
    letter, end = named
    rest = line[end:].strip(" .:)*_`$\\]}\"'")
    if not rest or _same(rest, options[letter]):
        yield position, letter


def _statement_at(text: str, position: int, options: Mapping[str, str]) -> Statement | None:
    """The statement that begins here with a letter, if one does."""
    named = _letter_at(text, position, options)
    if named is None:
        return None
    letter, end = named
    joined = _OR.match(text, end)
    other = _letter_at(text, joined.end(), options) if joined else None
    if other is not None and other[0] != letter:
        after = text[other[1] : other[1] + 1]
        if not after.isspace() or not text[other[1] :].strip():
            return position, None
    return position, letter


def _letter_at(text: str, position: int, options: Mapping[str, str]) -> tuple[str, int] | None:
    """The letter of an option that is written here, and where it ends with its marks; None for a word."""
    opening = _OPENING.match(text, position)
    start = opening.end() if opening else position
    given, after = text[start : start + 1], text[start + 1 : start + 2]
    letter = given.upper()
    if letter not in options or not given.isascii():
        return None
    if after >= _FIRST_CJK and given.isupper():
        return letter, start + 1
    if after.isalnum():
        return None
    closing = _CLOSING.match(text, start + 1)
    if closing and not text[closing.end() : closing.end() + 1].isalnum():
        return letter, closing.end()
    if after and after in ".,;:!?":
        goes_on_as_a_word = text[start + 2 : start + 3].isalnum()
        return None if goes_on_as_a_word else (letter, start + 1)
    if not after or after == "\n" or after in "—–":
        return letter, start + 1
    if not after.isspace():
        return None
    rest = text[start + 1 :]
    is_name = given.isupper() and given not in _ALSO_WORDS
    return (letter, start + 1) if is_name or not rest.strip() or _GOES_ON.match(rest) else None


def _same(one: str, other: str) -> bool:
    return "".join(filter(str.isalnum, one.casefold())) == "".join(filter(str.isalnum, other.casefold()))
