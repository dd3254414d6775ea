"""Whether two LaTeX answers are the same, as in MATH (Hendrycks et al. 2021, arXiv:2103.03874)."""

from __future__ import annotations

import re

from evalkit.metrics.text import exact_match
from evalkit.notation.boxes import boxed_answer, last_boxed
from evalkit.notation.numbers import number_of
from evalkit.registry import metric

_EXPRESSION = re.compile(r"[-+*/%\.\(\)\d]+")
_FORMULA = re.compile(r"\$\$?([^$]{1,500})\$|\\\((.{1,500}?)\\\)|\\\[(.{1,500}?)\\\]", re.DOTALL)
_WHOLE_FRACTION = re.compile(r"(0|-?[1-9]\d*)/(0|-?[1-9]\d*)", re.ASCII)

# In this order: each pair is a spelling and what it is written as instead.
_SPELLINGS = (
    ("\n", ""),
    (r"\!", ""),
    ("\\\\", "\\"),
    ("tfrac", "frac"),
    ("dfrac", "frac"),
    (r"\left", ""),
    (r"\right", ""),
    (r"^{\circ}", ""),
    (r"^\circ", ""),
    (r"\$", ""),
)
_POINTS = ((r"\%", ""), (" .", " 0."), ("{.", "{0."))


class _UnusualLatex(ValueError):
    """The text is not written as the rules expect; texts are then compared as they are."""


@metric("math_equiv")
def math_equiv(gold: str, prediction: str) -> float:
    """Whether both texts are the same LaTeX expression after MATH's normalisation of spelling and units.

    A text that the rules can't read (two units, a root of nothing) is compared unchanged.
    """
    try:
        return float(normalize_latex(gold) == normalize_latex(prediction))
    except _UnusualLatex:
        return float(gold == prediction)


@metric("math_equiv_chain_of_thought")
def math_equiv_chain_of_thought(gold: str, prediction: str) -> float:
    r"""`math_equiv` of what the last `\boxed{…}` of each text holds, by HELM's rule.

    `\boxed 5` and `\fbox{5}` are not boxes of a prediction, an empty or unclosed box hides those before it,
    and two texts without a box count as equal: a gold text without a box gives 1 to every answer without one.
    `math_equiv_boxed` does better. Only the gold text's box is read better than HELM does.
    """
    wanted, given = last_boxed(gold), last_boxed(prediction)
    if wanted is None:
        wanted = boxed_answer(gold)
    if wanted is None and given is None:
        return 1.0
    return 0.0 if wanted is None or given is None else math_equiv(wanted, given)


@metric("math_equiv_boxed", full_marks=None)
def math_equiv_boxed(gold: str, prediction: str) -> float:
    r"""`math_equiv` of what the last box of each text holds, or their values if these are numbers; 0 without.

    `\boxed{5}`, `\boxed 5` and `\fbox{5}` are boxes. One that is empty or never closes hides no earlier one.
    """
    wanted, given = boxed_answer(gold), boxed_answer(prediction)
    return _same_expression(wanted, given) if wanted and given else 0.0


@metric("math_equiv_final")
def math_equiv_final(gold: str, prediction: str) -> float:
    r"""`math_equiv` of the final expressions of the texts, or their values if these are numbers.

    Final is what the last box holds, without one the last formula between dollar signs, `\(…\)` or `\[…\]`,
    else the whole text without a full stop at its end.
    """
    return _same_expression(_final_expression(gold), _final_expression(prediction))


@metric("cleva_math_result_match", full_marks=None)
def cleva_math_result_match(gold: str, prediction: str) -> float:
    """Whether the last arithmetic expression of the prediction (all of it, without one) is the answer."""
    expressions = _EXPRESSION.findall(prediction)
    return exact_match(gold, expressions[-1].lstrip(")") if expressions else prediction)


def normalize_latex(text: str) -> str:
    r"""The expression in MATH's normal spelling: `.5` is `\frac{1}{2}`, units and blanks are gone.

    Raises:
        ValueError: The text has several units, or a root or fraction of nothing.
    """
    for spelling, normal in _SPELLINGS:
        text = text.replace(spelling, normal)
    text = _without_unit(text)
    for spelling, normal in _POINTS:
        text = text.replace(spelling, normal)
    if not text:
        return text
    if text.startswith("."):
        text = "0" + text
    name, equals, value = text.partition("=")
    if equals and "=" not in value and len(name) <= 2:
        text = value
    text = _braced_fractions(_braced_roots(text).replace(" ", ""))
    if text == "0.5":
        return r"\frac{1}{2}"
    if fraction := _WHOLE_FRACTION.fullmatch(text):
        return rf"\frac{{{fraction[1]}}}{{{fraction[2]}}}"
    return text


def _same_expression(wanted: str, given: str) -> float:
    if math_equiv(wanted, given):
        return 1.0
    value = number_of(wanted)
    return float(value is not None and value == number_of(given))


def _final_expression(text: str) -> str:
    if boxed := boxed_answer(text):
        return boxed
    formulas = _FORMULA.findall(text)
    return next(filter(None, formulas[-1])).strip() if formulas else text.strip().removesuffix(".")


def _without_unit(text: str) -> str:
    r"""Without a trailing `\text{ …}`, which MATH uses for units."""
    value, *units = text.split(r"\text{ ")
    if len(units) > 1:
        raise _UnusualLatex(text)
    return value


def _braced_roots(text: str) -> str:
    r"""`\sqrt3` as `\sqrt{3}`."""
    first, *rest = text.split(r"\sqrt")
    made = first
    for part in rest:
        if not part:
            raise _UnusualLatex(text)
        made += r"\sqrt" + (part if part[0] == "{" else f"{{{part[0]}}}{part[1:]}")
    return made


def _braced_fractions(text: str) -> str:
    r"""`\frac12` and `\frac1{2}` as `\frac{1}{2}`; unchanged if a fraction ends before its denominator."""
    first, *rest = text.split(r"\frac")
    made = first
    for part in rest:
        if not part:
            raise _UnusualLatex(text)
        if part[0] == "{":
            made += r"\frac" + part
            continue
        if len(part) < 2:
            return text
        denominator = part[1] if part[1] == "{" else f"{{{part[1]}}}"
        made += rf"\frac{{{part[0]}}}{denominator}{part[2:]}"
    return made
