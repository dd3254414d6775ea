from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.errors import ConfigError, UnclearVerdict
from evalkit.judges.verdicts import (
    JsonReader,
    PatternReader,
    PreferenceReader,
    RatingReader,
    Verdict,
    VerdictReader,
    verdict_reader,
)

UNCLEAR = None
RATINGS: list[tuple[str, float | None]] = [
    # Double brackets
    ("[[7]]", 7),
    ("[[ 8 ]]", 8),
    ("[[10/10]]", 10),
    ("[[7.5]]", 7.5),
    ("Rating: [[5]]", 5),
    ("評価：[[5]]", 5),
    ("Rating:[[8.0]]", 8),
    ("**[[9]]**", 9),
    ("[[**9**]]", 9),
    ("The answer is good. Rating: [[9]].", 9),
    ("[[1]]\n", 1),
    ("\\[\\[8\\]\\]", 8),
    ("[ [8] ]", 8),
    ("[[8]]/10", 8),
    ("[[8]] / [[10]]", 8),
    ("[[8 out of 10]]", 8),
    ("[[8/10点]]", 8),
    ("[[8点]]", 8),
    ("[[8 points]]", 8),
    ("[[Rating: 8]]", 8),
    ("[[評価: 8]]", 8),
    ("Rating[[8]]", 8),
    ("[[8.]]", 8),
    ("[[8 of 10]]", 8),
    ("[[10点中8点]]", 8),
    ("[[\u200b8\u200b]]", 8),
    ("[[４／５]]", UNCLEAR),
    ("[[7B]]", UNCLEAR),
    ("[[八]]", UNCLEAR),
    # Full width, other digits, other brackets
    ("［［８］］", 8),
    ("[[１０]]", 10),
    ("［［７．５］］", 7.5),
    ("［［１０／１０］］", 10),
    ("〚6〛", 6),
    ("⟦6⟧", 6),
    ("[[٨]]", 8),
    ("[[　８　]]", 8),
    # The same several times, and what is not a verdict
    ("[[8]], so [[8]]", 8),
    ("[[8]] and again [[8.0]]", 8),
    ('I use the format "[[rating]]". Rating: [[4]]', 4),
    ("形式は[[評価]]です。評価：[[4]]", 4),
    ("The matrix is [[1, 2], [3, 4]]. Rating: [[6]]", 6),
    ("In R, x[[2]] is the second element. Rating: [[6]]", 6),
    ("See [[Paris]]. Rating: [[6]]", 6),
    ("```python\nm = [[5]]\n```\nRating: [[6]]", 6),
    ("```\n[[6]]\n```", 6),
    ("Rating: [[rating]]", UNCLEAR),
    # Several that differ, other scales, out of the scale, ranges
    ("[[7]] or rather [[8]]", UNCLEAR),
    ("Assistant A: [[7]], Assistant B: [[8]]", UNCLEAR),
    ("[[7-8]]", UNCLEAR),
    ("[[7～8]]", UNCLEAR),
    ("[[7 or 8]]", UNCLEAR),
    ("[[0]]", UNCLEAR),
    ("[[11]]", UNCLEAR),
    ("[[-1]]", UNCLEAR),
    ("[[−1]]", UNCLEAR),
    ("[[4/5]]", UNCLEAR),
    ("[[80/100]]", UNCLEAR),
    ("[[80%]]", UNCLEAR),
    ("[[15/2]]", UNCLEAR),
    ("[[7½]]", UNCLEAR),
    ("[[N/A]]", UNCLEAR),
    ("[[eight]]", UNCLEAR),
    ("[[]]", UNCLEAR),
    ("[[99999999999999999999999999]]", UNCLEAR),
    # In words
    ("Rating: 8", 8),
    ("Rating: 8.", 8),
    ("評価：８", 8),
    ("評価: ８点", 8),
    ("評価は8です。", 8),
    ("スコアは９点", 9),
    ("**Rating**: **8**", 8),
    ("Score = 8/10", 8),
    ("Rating (1-10): 8", 8),
    ("Rating: [8]", 8),
    ("Rating: [[8]", 8),
    ("I would give it a score of 8.", 8),
    ("I'd rate this response an 8.", 8),
    ("I give it 8/10.", 8),
    ("10点満点中8点です", 8),
    ("この回答は8点と評価します。", 8),
    ("평가: 8", 8),
    ("评分：8分", 8),
    ("8", 8),
    ("8/10", 8),
    ("Short, but right.\n\n**8**", 8),
    ("Helpfulness score: 6\nAccuracy score: 9\nOverall score: 7", 7),
    ("The maximum score is 10. Score: 8", 8),
    ("Rating: 8 (out of 10)", 8),
    ("[[Rating]]: 8", 8),
    ("Rating - 8", 8),
    ("Score — 8/10", 8),
    ("Rating:\n8", 8),
    ("評価\n8", 8),
    ("Final rating: 8. My first rating: 6", 8),
    ("Rating -8", UNCLEAR),
    ("Rating: N/A", UNCLEAR),
    ("Rating: ⑧", UNCLEAR),
    ("Rating: 8\n- 3 good points", 8),
    ("Rating: 8\n9. Further remarks", 8),
    ("Rating: 8 on a scale of 1 to 10", 8),
    ("Rating: 4 (out of 5)", UNCLEAR),
    ("Rating: 4 on a scale of 1 to 5", UNCLEAR),
    ("Rating: 4 stars out of 5", UNCLEAR),
    ("評価：5段階中4", UNCLEAR),
    ("評価：10点満点", UNCLEAR),
    ("Score: 7B parameters", UNCLEAR),
    ("Score: 8th place", UNCLEAR),
    ("Rating: 7-8", UNCLEAR),
    ("Rating: 7 or 8", UNCLEAR),
    ("Rating: 8,5", UNCLEAR),
    ("Rating: 8½", UNCLEAR),
    ("Rating: 80%", UNCLEAR),
    ("Rating: -1", UNCLEAR),
    ("Rating: 4/5", UNCLEAR),
    ("Rating: 7\nRating: 8", UNCLEAR),
    ("I can't give it a score of 10.", UNCLEAR),
    ("The answer gets 3 facts wrong.", UNCLEAR),
    ("It solves 3/10 of the tasks.", UNCLEAR),
    ("The rating is excellent.", UNCLEAR),
    ("Rating: good", UNCLEAR),
    ("評価できません。", UNCLEAR),
    ("$ERROR$", UNCLEAR),
    ("", UNCLEAR),
    ("   \n", UNCLEAR),
    # Thinking is not part of the reply
    ("<think>Perhaps [[3]]?</think>\n[[8]]", 8),
    ("<think>Perhaps [[3]]? No, [[8]].", UNCLEAR),
    ("<think>[[3]]</think>", UNCLEAR),
    ("[THINK]Rating: 3[/THINK]Rating: 8", 8),
    ("<|channel|>analysis<|message|>[[3]]<|end|><|start|>assistant<|channel|>final<|message|>[[8]]", 8),
]
PREFERENCES: list[tuple[str, str | None]] = [
    ("[[A]]", "A"),
    ("My verdict: [[B]]", "B"),
    ("[[C]]", "tie"),
    ("[[tie]]", "tie"),
    ("[[Tie]]", "tie"),
    ("［［Ａ］］", "A"),
    ("[[ b ]]", "B"),
    ("[[Assistant A]]", "A"),
    ("[[引き分け]]", "tie"),
    ("[[A>>B]]", "A"),
    ("[[B>A]]", "B"),
    ("[[A<B]]", "B"),
    ("[[A=B]]", "tie"),
    ("[[A]], [[A]]", "A"),
    ("m[[A]] is an index. [[B]]", "B"),
    ("Final verdict: A", "A"),
    ("判定：Ｂ", "B"),
    ("The winner is B.", "B"),
    ("Verdict: tie", "tie"),
    ("Assistant A is better.", "A"),
    ("It's a tie.", "tie"),
    ("**B**", "B"),
    ("[[A]] or [[B]]", UNCLEAR),
    ("[[A/B/C]]", UNCLEAR),
    ("[[D]]", UNCLEAR),
    ("Verdict: A or B", UNCLEAR),
    ("Verdict: A better answer would be longer", UNCLEAR),
    ("Assistant A is not better.", UNCLEAR),
    ("A and B are both good.", UNCLEAR),
    ("[[Assistant A is better]]", "A"),
    ("Verdict: [A]", "A"),
    ("[[A ≫ B]]", "A"),
    ("[[ B > A ]]", "B"),
    ("Final answer: B", "B"),
    ("The winner is not A.", UNCLEAR),
    ("Winner: neither", UNCLEAR),
    ("Choice: A, B", UNCLEAR),
    ("[[\u200bA]]", "A"),
    ("", UNCLEAR),
    ("<think>[[A]]</think>[[B]]", "B"),
]


def read(reader: VerdictReader, reply: str) -> Verdict | None:
    try:
        return reader.read(reply)
    except UnclearVerdict:
        return UNCLEAR


@pytest.mark.parametrize(("reply", "rating"), RATINGS)
def test_ratings(reply: str, rating: float | None) -> None:
    assert read(RatingReader(), reply) == rating


@pytest.mark.parametrize(("reply", "preference"), PREFERENCES)
def test_preferences(reply: str, preference: str | None) -> None:
    assert read(PreferenceReader(), reply) == preference


@pytest.mark.parametrize("reply", ["Rating: 8", "評価：８", "8/10", "Rating: [8]", "I give it 8/10."])
def test_without_prose_only_double_brackets_count(reply: str) -> None:
    assert read(RatingReader(), reply) == 8
    assert read(RatingReader(prose=False), reply) is UNCLEAR
    assert read(RatingReader(prose=False), f"{reply} [[7]]") == 7


def test_published_judgements_are_read_as_their_score_says(shared_dir: Path) -> None:
    path = shared_dir / "data" / "japanese_mt_bench" / "model_judgment" / "gpt-4_single.part.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    ratings = [read(RatingReader(), row["judgment"]) for row in rows]
    assert [-1 if rating is None else rating for rating in ratings] == [row["score"] for row in rows]
    assert len(rows) > 300


def test_the_scale_and_its_steps_are_the_readers() -> None:
    zero_to_five = RatingReader(low=0, high=5, step=0.5)
    assert [read(zero_to_five, f"[[{text}]]") for text in ("0", "4.5", "4/5", "5/5")] == [0, 4.5, 4, 5]
    assert [read(zero_to_five, f"[[{text}]]") for text in ("4.2", "8/10", "6")] == [UNCLEAR] * 3
    assert read(RatingReader(step=1), "[[7.5]]") is UNCLEAR
    assert read(RatingReader(low=0, high=1), "[[0.1]]") == 0.1


def test_why_a_reply_is_unclear() -> None:
    reasons = {
        "[[11]]": "outside the scale from 1 to 10",
        "[[4/5]]": "on a scale up to 5, not 10",
        "[[7]] [[8]]": "several ratings: [[7]], [[8]]",
        "Fine.": "states no rating",
        "<think>Hm": "ends within its thinking",
    }
    for reply, reason in reasons.items():
        with pytest.raises(UnclearVerdict) as caught:
            RatingReader().read(reply)
        assert reason in str(caught.value)


def test_a_judge_that_must_choose() -> None:
    assert read(PreferenceReader(ties=False), "[[C]]") is UNCLEAR
    assert read(PreferenceReader(ties=False), "[[A]]") == "A"


@given(
    value=st.integers(1, 10),
    before=st.text(
        alphabet=st.characters(blacklist_characters="[]［］〚⟦<`~\\", blacklist_categories=["Cs"])
    ),
    wide=st.booleans(),
    blanks=st.text(alphabet=" \u3000", max_size=3),
)
def test_a_rating_in_brackets_is_read_behind_any_text(
    value: int, before: str, wide: bool, blanks: str
) -> None:
    inside = f"{blanks}{value}{blanks}"
    rating = f" [[{inside}]]"
    if wide:
        rating = rating.translate({ord(plain): ord(plain) + 0xFEE0 for plain in "[]0123456789"})
    if not before.strip().lower().startswith("analysis"):
        assert RatingReader().read(before + rating) == value


@given(
    preferred=st.sampled_from(["A", "B"]),
    before=st.text(
        alphabet=st.characters(blacklist_characters="[]［］〚⟦<`~\\", blacklist_categories=["Cs"])
    ),
    lower=st.booleans(),
)
def test_a_preference_in_brackets_is_read_behind_any_text(preferred: str, before: str, lower: bool) -> None:
    verdict = f" [[{preferred.lower() if lower else preferred}]]"
    if not before.strip().lower().startswith("analysis"):
        assert PreferenceReader().read(before + verdict) == preferred


@given(
    rating=st.integers(1, 10),
    more=st.dictionaries(
        # Without the end of a thought, before which nothing is part of a reply.
        st.text(min_size=1, max_size=5).filter("rating".__ne__),
        st.text(alphabet=st.characters(blacklist_characters="<[◁", blacklist_categories=["Cs"]), max_size=20),
        max_size=3,
    ),
    around=st.text(
        alphabet=st.characters(blacklist_characters="{}<[◁", blacklist_categories=["Cs"]), max_size=40
    ),
    indent=st.sampled_from([None, 2]),
)
def test_a_rating_in_json_is_read_between_any_texts(
    rating: int, more: dict[str, str], around: str, indent: int | None
) -> None:
    if not around.strip().lower().startswith("analysis"):
        reply = f"{around}\n```json\n{json.dumps({**more, 'rating': rating}, indent=indent)}\n```\n{around}"
        assert read(JsonReader(), reply) == rating


@given(
    st.integers(-50, 60).filter(lambda value: not 1 <= value <= 10), st.sampled_from(["[[{}]]", "Rating: {}"])
)
def test_what_is_outside_the_scale_is_never_moved_into_it(value: int, form: str) -> None:
    assert read(RatingReader(), form.format(value)) is UNCLEAR


@given(
    st.lists(st.integers(1, 10), min_size=2, max_size=4),
    st.sampled_from(["[[{}]]", "Rating: {}.", "評価：{}。"]),
)
def test_several_verdicts_are_one_or_unclear(values: list[int], form: str) -> None:
    reply = "\n".join(form.format(value) for value in values)
    assert read(RatingReader(), reply) == (values[0] if len(set(values)) == 1 else UNCLEAR)


@given(st.text(max_size=200))
def test_any_text_is_a_verdict_on_the_scale_or_unclear(reply: str) -> None:
    rating = read(RatingReader(), reply)
    assert rating is None or (isinstance(rating, float) and 1 <= rating <= 10)
    assert read(PreferenceReader(), reply) in ("A", "B", "tie", None)
    assert read(JsonReader(), reply) in (None, *range(1, 11)) or "{" in reply


@pytest.mark.parametrize(
    "piece",
    ["[", "[[", "[[8", "*", "rating ", "rating: ", "{", '{"a":', "```a\n", "give ", "\\[", "8/", "-", "评分",
     "max ", "not ", " ", "Assistant A ", "verdict "],
)  # fmt: skip
def test_hostile_replies_are_read_in_time(piece: str) -> None:
    reply = piece * (100_000 // len(piece))
    begun = time.process_time()
    for reader in (RatingReader(), PreferenceReader(), JsonReader()):
        read(reader, reply)
    assert time.process_time() - begun < 5


def test_patterns_are_tried_in_order() -> None:
    # FastChat's two expressions, of which the first match counts.
    reader = PatternReader(patterns=(r"\[\[(\d+\.?\d*)\]\]", r"\[(\d+\.?\d*)\]"), which="first")
    assert read(reader, "[[7]] [[8]]") == 7
    assert read(reader, "[7] then [[8]]") == 8
    assert read(reader, "[7]") == 7
    assert read(reader, "[[５]]") == 5
    assert read(reader, "[[ 7 ]]") is UNCLEAR
    assert read(reader, "[[0]]") is UNCLEAR


def test_what_patterns_find_may_be_words() -> None:
    reader = PatternReader(
        patterns=(r"(?im)^\s*grade:\s*(?P<verdict>\w+)\s*$",), values={"Correct": 1, "incorrect": 0}
    )
    assert read(reader, "Grade: CORRECT") == 1
    assert read(reader, "because …\ngrade: incorrect") == 0
    assert read(reader, "grade: correct\ngrade: incorrect") is UNCLEAR
    assert read(reader, "grade: partly") is UNCLEAR
    assert read(reader, "correct") is UNCLEAR
    assert read(reader, "<think>\ngrade: incorrect\n</think>\ngrade: correct") == 1
    last = reader.model_copy(update={"which": "last"})
    assert read(last, "grade: correct\ngrade: incorrect") == 0


NEJUMI_4 = {
    "type": "object",
    "properties": {
        "explanation": {"type": "string"},
        "rating": {"enum": [f"[[{rating}]]" for rating in range(11)]},
    },
    "required": ["explanation", "rating"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("reply", "rating"),
    [
        ('{"explanation": "fine", "rating": "[[8]]"}', 8),
        ('```json\n{"explanation": "fine", "rating": "[[8]]"}\n```', 8),
        ('Here it is: {"explanation": "a } and a {", "rating": "[[0]]"} Done.', 0),
        ('{"note": 1} {"explanation": "", "rating": "[[3]]"}', 3),
        ('<think>{"explanation": "", "rating": "[[3]]"}</think>{"explanation": "", "rating": "[[4]]"}', 4),
        ('{"explanation": "", "rating": "[[3]]"} {"explanation": "", "rating": "[[4]]"}', UNCLEAR),
        ('{"explanation": "", "rating": "[[3]]", "rating": "[[4]]"}', UNCLEAR),
        ('{"explanation": "fine", "rating": "[[11]]"}', UNCLEAR),
        ('{"explanation": "fine", "rating": 8}', UNCLEAR),
        ('{"explanation": 8, "rating": "[[8]]"}', UNCLEAR),
        ('{"rating": "[[8]]"}', UNCLEAR),
        ('{"explanation": "fine", "rating": "[[8]]", "other": 1}', UNCLEAR),
        ('{"explanation": "fine", "rating": "[[8]]"', UNCLEAR),
        ('[["fine", 8]]', UNCLEAR),
        ("Rating: [[8]]", UNCLEAR),
    ],
)
def test_json_by_a_schema(reply: str, rating: float | None) -> None:
    plain = {"kind": "json", "schema": NEJUMI_4, "then": {"kind": "rating", "low": 0}}
    assert read(verdict_reader(plain, "judge"), reply) == rating


@pytest.mark.parametrize(
    ("value", "rating"),
    [
        (8, 8), (8.0, 8), (7.5, 7.5), ("8", 8), ("8/10", 8), ("８", 8),
        (11, UNCLEAR), (True, UNCLEAR), (None, UNCLEAR), ([8], UNCLEAR), ("good", UNCLEAR), ("", UNCLEAR),
    ],
)  # fmt: skip
def test_the_values_of_a_field(value: object, rating: float | None) -> None:
    reply = json.dumps({"scores": {"overall": value}})
    assert read(JsonReader(field="scores.overall"), reply) == rating


def test_numbers_that_json_does_not_have() -> None:
    for number in ("NaN", "Infinity", "1e999", "-1", "9" * 5000):
        assert read(JsonReader(), f'{{"rating": {number}}}') is UNCLEAR


def test_fields_with_words() -> None:
    reader = JsonReader(field="correct", values={"yes": 1, "no": 0, "true": 1, "false": 0})
    replies = ['{"correct": "Yes"}', '{"correct": "no"}', '{"correct": true}', '{"correct": "perhaps"}']
    assert [read(reader, reply) for reply in replies] == [1, 0, 1, UNCLEAR]
    preference = JsonReader(field="winner", then=PreferenceReader())
    assert [read(preference, f'{{"winner": "{name}"}}') for name in ("A", "tie", "D")] == [
        "A",
        "tie",
        UNCLEAR,
    ]


@pytest.mark.parametrize(
    ("plain", "place"),
    [
        ({"kind": "number"}, "kind"),
        ({"kind": "rating", "lowest": 0}, "lowest"),
        ({"kind": "rating", "low": 10}, "kind"),
        ({"kind": "rating", "step": 0}, "step"),
        ({"kind": "patterns", "patterns": ["(", "a"]}, "patterns"),
        ({"kind": "patterns", "patterns": []}, "patterns"),
        ({"kind": "json", "schema": {"properties": {"a": {"oneOf": []}}}}, "schema.properties.a.oneOf"),
        ({"kind": "json", "schema": {"type": "float"}}, "schema.type"),
        ({"kind": "json", "schema": {"pattern": "("}}, "schema.pattern"),
    ],
)
def test_a_wrong_reader_is_refused_with_its_place(plain: dict[str, object], place: str) -> None:
    with pytest.raises(ConfigError) as caught:
        verdict_reader(plain, "judge.yaml")
    assert str(caught.value).startswith(f"judge.yaml: verdict reader, '{place}")


def test_a_reader_is_what_its_configuration_says_and_back() -> None:
    for plain in ({"kind": "rating", "low": 0}, {"kind": "json", "schema": NEJUMI_4}, {}):
        reader = verdict_reader(plain, "here")
        again = verdict_reader(reader.model_dump(by_alias=True, exclude_unset=True), "here")
        assert again == reader


@pytest.mark.parametrize(
    ("reader", "text", "verdict"),
    [
        (RatingReader(), "Rating: 1", UNCLEAR),  # would have been 10
        (RatingReader(), "I give it 8/10. Overall rating: 7", UNCLEAR),
        (RatingReader(), "Helpfulness score: 6. The tone", UNCLEAR),  # an overall score may have followed
        (RatingReader(), "8\n", UNCLEAR),
        (RatingReader(), "[[1", UNCLEAR),
        (RatingReader(), "[[8]] The answer is", 8),
        (RatingReader(), "評価：［［８］］", 8),
        (PreferenceReader(), "Verdict: A", UNCLEAR),
        (PreferenceReader(), "Verdict: [[B]]", "B"),
        (PatternReader(patterns=(r"score (\d+)",)), "score 1", UNCLEAR),
        (PatternReader(patterns=(r"score ([\d.]+)",)), "score 7.", UNCLEAR),
        (PatternReader(patterns=(r"score (\d+)",)), "score 1 of", 1),
        (PatternReader(patterns=(r"\[\[(\d+)\]\]",)), "so [[8]]", 8),
        (JsonReader(), '{"rating": 1', UNCLEAR),
        (JsonReader(), '{"rating": 1} I', 1),
    ],
)
def test_a_reply_that_was_cut_off_has_no_verdict_that_may_go_on(
    reader: VerdictReader, text: str, verdict: Verdict | None
) -> None:
    if verdict is UNCLEAR:
        with pytest.raises(UnclearVerdict, match="it was cut off at its length limit"):
            reader.read(text, is_cut=True)
    else:
        assert reader.read(text, is_cut=True) == verdict
