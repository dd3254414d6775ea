from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

import evalkit.metrics.reference  # noqa: F401 - registers the metric
from evalkit.errors import DataError
from evalkit.instance import CORRECT, Instance, Reference
from evalkit.metrics.reference import reference_tokens
from evalkit.request import Request, RequestMode, RequestState
from evalkit.response import Completion, Response, Token
from evalkit.scoring.metric import build_metric
from evalkit.scoring.unit import Answer, Unit
from evalkit.specs.run_spec import AdapterSpec, MetricSpec

ORIGINAL = AdapterSpec(method="multiple_choice_separate_original", output_suffix="")
CALIBRATED = AdapterSpec(method="multiple_choice_separate_calibrated", output_suffix="")


def answer(
    tokens: list[tuple[str, float]], index: int = 0, mode: RequestMode = "original", prompt: str | None = None
) -> Answer:
    text = "".join(t for t, _ in tokens)
    request = Request(text if prompt is None else prompt, echo_prompt=True, max_tokens=0)
    state = RequestState(
        f"t0/id0/r{index}/{mode}", "id0", 0, request, reference_index=index, request_mode=mode, unit_size=2
    )
    return Answer(state, Response((Completion(text, tokens=tuple(Token(*t) for t in tokens)),)))


def instance(*references: tuple[str, bool]) -> Instance:
    return Instance("Q", tuple(Reference(t, (CORRECT,) if ok else ()) for t, ok in references), "test", "id0")


def score(adapter_spec: AdapterSpec, inst: Instance, *answers: Answer) -> dict[str, float]:
    built = build_metric(MetricSpec(name="basic_reference"), adapter_spec)
    return dict(built.score(Unit(inst, 0, 0, answers)))


def test_original_is_the_log_probability_per_token() -> None:
    inst = instance(("blue sky", False), ("red", True))
    scores = score(
        ORIGINAL,
        inst,
        answer([("Q", -9.0), (" blue", -1.0), (" sky", -2.0)], 0),
        answer([("Q", -9.0), (" red", -1.0)], 1),
    )
    # Per token: -1.5 against -1.0.
    assert scores["exact_match"] == 1
    assert scores["predicted_index"] == 1
    assert scores["max_prob"] == pytest.approx(1 / (1 + math.exp(-0.5)), abs=1e-12)


def test_calibrated_is_the_gain_over_the_bare_prompt() -> None:
    inst = instance(("blue sky", True), ("red", False))
    scores = score(
        CALIBRATED,
        inst,
        answer([("Q", -9.0), (" blue", -2.0), (" sky", -2.0)], 0),
        answer([("Answer:", -9.0), (" blue", -3.0), (" sky", -3.0)], 0, "calibration"),
        answer([("Q", -9.0), (" red", -1.0)], 1),
        answer([("Answer:", -9.0), (" red", -1.5)], 1, "calibration"),
    )
    # Gains of 2 and 0.5, not divided by the number of tokens.
    assert scores["exact_match"] == 1
    assert scores["max_prob"] == pytest.approx(1 / (1 + math.exp(-1.5)), abs=1e-12)


def test_ties_share_the_point() -> None:
    inst = instance(("a", False), ("b", True), ("c", False))
    scores = score(ORIGINAL, inst, *(answer([("Q", 0.0), (t, -1.0)], i) for i, t in enumerate("abc")))
    assert scores["exact_match"] == pytest.approx(1 / 3)
    assert scores["predicted_index"] == 0
    assert scores["max_prob"] == pytest.approx(1 / 3)


def test_generations_get_nothing() -> None:
    inst = instance(("a", True))
    assert score(AdapterSpec(method="generation"), inst, answer([("a", -1.0)])) == {}
    assert build_metric(MetricSpec(name="basic_reference"), AdapterSpec(method="generation")).names == ()


def test_a_missing_request_is_an_error() -> None:
    inst = instance(("a", True), ("b", False))
    with pytest.raises(DataError, match="reference 1 of instance 'id0' has no original request"):
        score(ORIGINAL, inst, answer([("Q", 0.0), ("a", -1.0)], 0))
    with pytest.raises(DataError, match="no calibration request"):
        score(CALIBRATED, instance(("a", True)), answer([("Q", 0.0), ("a", -1.0)], 0))


def test_an_instance_without_a_right_answer_is_refused() -> None:
    built = build_metric(MetricSpec(name="basic_reference"), ORIGINAL)
    with pytest.raises(DataError, match=r"'basic_reference' .* 'id0'"):
        built.check(instance(("a", False)))


@pytest.mark.parametrize(
    ("pieces", "reference", "suffix", "found"),
    [
        (["Q:", " two", " words"], "two words", "", [" two", " words"]),
        (["Q: ", "two", " words"], "two words", "", ["two", " words"]),
        (["Q: two", " words"], "two words", "", ["Q: two", " words"]),
        (["Q:", " two", "\n"], "two", "\n", [" two"]),
        (["Q:", " two", "\n", "\n"], "two", "\n\n", [" two"]),
        (["Q:", " two\n"], "two", "\n", [" two\n"]),
        (["Q:", " two", ""], "two", "", [" two"]),
    ],
)
def test_reference_tokens(pieces: list[str], reference: str, suffix: str, found: list[str]) -> None:
    tokens = reference_tokens(answer([(p, -1.0) for p in pieces]), reference, suffix)
    assert [t.text for t in tokens] == found


def test_reference_tokens_refuse_what_does_not_fit() -> None:
    with pytest.raises(DataError, match="does not end with the reference 'two'"):
        reference_tokens(answer([("Q: tw", -1.0)]), "two")
    with pytest.raises(DataError, match="the tokens of the answer"):
        reference_tokens(answer([("Q", -1.0), ("\ufffd", -1.0)], prompt="Q日"), "日")
    without = answer([], prompt="Q two")
    with pytest.raises(DataError, match="no token log-probabilities"):
        reference_tokens(without, "two")


@given(st.data(), st.text(min_size=1, max_size=12), st.text(max_size=12), st.text(max_size=3))
def test_reference_tokens_are_the_shortest_cover(
    data: st.DataObject, reference: str, before: str, suffix: str
) -> None:
    text = before + reference + suffix
    cuts = sorted(data.draw(st.sets(st.integers(1, len(text)))) | {len(text)})
    pieces = [text[a:b] for a, b in zip([0, *cuts], cuts, strict=False)]
    found = reference_tokens(answer([(p, -1.0) for p in pieces]), reference, suffix)
    start, stop = len(before), len(before) + len(reference)
    ends = [len("".join(pieces[: i + 1])) for i in range(len(pieces))]
    overlapping = [p for p, end in zip(pieces, ends, strict=True) if end > start and end - len(p) < stop]
    assert [t.text for t in found] == overlapping


def test_options_that_nobody_scored_do_not_tie() -> None:
    """At one in four, four options of "no probability" would be right by luck."""
    inst = instance(("blue", True), ("red", False))
    for logprob in (None, 0.0):
        tokens = (Token("Q", logprob), Token(" blue", logprob))
        unscored = Answer(answer([("Q blue", -1.0)]).state, Response((Completion("Q blue", tokens=tokens),)))
        with pytest.raises(DataError, match="no log-probability"):
            score(ORIGINAL, inst, unscored, answer([("Q", -9.0), (" red", -1.0)], 1))


def test_options_that_are_all_certain_were_not_scored() -> None:
    """Of different continuations of one text, one at most has the probability 1."""
    inst = instance(("blue", True), ("red", False))
    with pytest.raises(DataError, match="were not scored"):
        score(
            ORIGINAL, inst, *(answer([("Q", -9.0), (f" {t}", 0.0)], i) for i, t in enumerate(("blue", "red")))
        )
    one = score(
        ORIGINAL, inst, answer([("Q", -9.0), (" blue", 0.0)]), answer([("Q", -9.0), (" red", -30.0)], 1)
    )
    assert one["exact_match"] == 1


def test_an_option_and_its_beginning_may_both_be_certain() -> None:
    inst = instance(("2", False), ("20", True))
    scores = score(
        ORIGINAL, inst, answer([("Q", -9.0), (" 2", 0.0)]), answer([("Q", -9.0), (" 2", 0.0), ("0", 0.0)], 1)
    )
    assert scores["exact_match"] == 0.5


def test_options_of_which_none_has_a_probability_are_not_chosen_from() -> None:
    inst = instance(("blue", True), ("red", False))
    options = [answer([("Q", -9.0), (f" {name}", -math.inf)], n) for n, name in enumerate(("blue", "red"))]
    with pytest.raises(DataError, match="none can be chosen"):
        score(ORIGINAL, inst, *options)


def test_a_generated_token_behind_the_option_is_not_its_own() -> None:
    inst = instance(("blue", True), ("red", False))
    scores = score(
        ORIGINAL,
        inst,
        answer([("Q", -9.0), (" blue", -1.0), (" red", -0.1)], 0, prompt="Q blue"),
        answer([("Q", -9.0), (" red", -2.0), (" blue", -0.1)], 1, prompt="Q red"),
    )
    assert scores["predicted_index"] == 0
    assert scores["max_prob"] == pytest.approx(1 / (1 + math.exp(-1)))
