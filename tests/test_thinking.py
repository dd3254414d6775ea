from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.errors import UsageError
from evalkit.thinking import (
    KNOWN_MARKS,
    KNOWN_STYLE,
    Marks,
    ThinkingStyle,
    is_only_thinking,
    thinks_by_name,
    without_thinking,
)


def parts(text: str, opened: str = "", style: ThinkingStyle = KNOWN_STYLE) -> tuple[str, str | None, bool]:
    """Answer, thinking, and whether the text ends before an answer."""
    reading = style.read(text, opened)
    return "".join(text[start:end] for start, end in reading.answer), reading.thinking, reading.is_open


@pytest.mark.parametrize("marks", KNOWN_MARKS, ids=lambda marks: marks.opening)
def test_known_marks(marks: Marks) -> None:
    label = f"{marks.label}\n" if marks.label else ""
    before, after = marks.answer or ("", "")
    thought = f"{label}Is it B?\n\nNo."
    answer = f"\n\n{before}It is C.{after}"
    assert parts(f"{marks.opening}{thought}{marks.closing}{answer}") == ("It is C.", "Is it B?\n\nNo.", False)
    assert parts(f"{thought}{marks.closing}{answer}") == ("It is C.", "Is it B?\n\nNo.", False)
    assert parts(f"\n{marks.opening}\n{thought}") == ("", "Is it B?\n\nNo.", True)
    assert parts(thought, opened=marks.opening) == ("", "Is it B?\n\nNo.", True)
    assert is_only_thinking(f" {marks.opening}{thought}")


@pytest.mark.parametrize(
    ("text", "answer", "thinking"),
    [
        ("plain <b>text</b> [1]", "plain <b>text</b> [1]", None),
        ("", "", None),
        ("<think>\n\n</think>\n\nA", "A", None),
        ("<think>a</think>\n    return 1", "    return 1", "a"),
        ("<think>a</think> A", " A", "a"),
        ("Sure. <think>a</think> A", "Sure.  A", "a"),
        ("<think>a</think>x<think>b</think>y", "xy", "a\n\nb"),
        ("<think>a</think>x<think>b", "x<think>b", "a"),
        ("<think>says </think> here</think>A", "A", "says </think> here"),
        ("a</think>b</think>A", "A", "a</think>b"),
        ("Write <think> before it.", "Write <think> before it.", None),
        ("</think>\n\nA", "A", None),
        # gpt-oss
        (
            "<|channel|>analysis<|message|>B or C?<|end|>"
            "<|start|>assistant<|channel|>final<|message|>It is C.<|return|>",
            "It is C.",
            "B or C?",
        ),
        (
            "<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>commentary to=f "
            "<|constrain|>json<|message|>{}<|call|><|start|>assistant<|channel|>final<|message|>C",
            "C",
            "a\n\n{}",
        ),
        ("<|channel|>final<|message|>C", "C", None),
        ("<|channel|>think<|message|>B or C?<|end|><|start|>say D<|return|>", "say D", "B or C?"),
        ("analysisB or C? The final one.assistantfinalIt is C.", "It is C.", "B or C? The final one."),
        ("analysis of the final text", "analysis of the final text", None),
    ],
)
def test_answer_and_thinking(text: str, answer: str, thinking: str | None) -> None:
    assert parts(text) == (answer, thinking, False)
    assert without_thinking(text) == answer


@pytest.mark.parametrize(
    "text",
    [
        "<think>",
        "<think>Step one.\n\nStep",
        "<|channel|>analysis<|message|>B or",
        "<|channel|>analysis<|message|>B.<|end|>",
        "<|channel|>analysis<|message|>B.<|end|><|start|>assistant",
        "<|channel|>analysis<|message|>B.<|end|><|start|>assistant<|channel|>fin",
        "<|channel|>analysis",
    ],
)
def test_texts_that_end_before_an_answer(text: str) -> None:
    answer, _, is_open = parts(text)
    assert (answer, is_open) == ("", True)
    assert is_only_thinking(text)
    assert without_thinking(text) == ""


@pytest.mark.parametrize(
    ("prompt", "opened"),
    [
        ("<|im_start|>assistant\n<think>\n", "<think>"),
        ("<|Assistant|><think>", "<think>"),
        ("Q: 1+1\nA: [THINK]", "[THINK]"),
        (
            "<|start|>assistant<|channel|>analysis<|message|>",
            "<|start|>assistant<|channel|>analysis<|message|>",
        ),
        ("<start_of_turn>model\n<|channel>thought\n", "<|channel>"),
        ("<|im_start|>assistant\n<think>\n\n</think>\n\n", ""),
        ("<|start|>assistant<|channel|>final<|message|>", ""),
        ("Does <think> open it? Answer:", ""),
        ("", ""),
    ],
)
def test_what_a_prompt_opens(prompt: str, opened: str) -> None:
    assert KNOWN_STYLE.opened_by(prompt) == opened
    if opened:
        assert parts("still thinking", opened)[2]


def test_a_mark_that_is_repeated_is_no_thought() -> None:
    assert parts("<think>\na</think>b", opened="<think>") == ("b", "a", False)


@given(st.text(alphabet="ab\n <>/[]", max_size=30))
def test_texts_without_marks_are_answers(text: str) -> None:
    assert parts(text) == (text, None, False)


MARK = st.sampled_from(
    ["<think>", "</think>", "a", "\n", " b", "[/THINK]", "<|channel|>", "final", "<|message|>"]
)


@given(st.lists(MARK, max_size=8).map("".join), st.sampled_from(["", "<think>"]))
def test_the_answer_lies_in_the_text_in_order(text: str, opened: str) -> None:
    reading = KNOWN_STYLE.read(text, opened)
    ends = [place for span in reading.answer for place in span]
    assert ends == sorted(ends)
    assert all(0 <= place <= len(text) for place in ends)
    assert not (reading.is_open and reading.answer)


def test_stops_pass_over_thinking() -> None:
    text = "<think>Step one.\n\nStep two.</think>\n\nThe answer is 5.\n\nQ:"
    reading = KNOWN_STYLE.read(text)
    place = reading.first_stop(text, ("\n\n", ""))
    assert place == text.index("\n\nQ:")
    assert "".join(text[a:b] for a, b in reading.cut_at(place)) == "The answer is 5."


def test_what_a_deployment_says() -> None:
    assert ThinkingStyle.of(None) == KNOWN_STYLE
    assert ThinkingStyle.of(None, "deepseek-ai/DeepSeek-R1").is_known
    assert parts("<think>a</think>b", style=ThinkingStyle.of(False)) == ("<think>a</think>b", None, False)
    own = ThinkingStyle.of({"open": "Thoughts:", "close": "Reply:"})
    assert own.is_known
    assert parts("Thoughts: a Reply: b", style=own) == (" b", "a", False)
    assert parts("<think>a</think>b", style=own) == ("b", "a", False)
    begun = ThinkingStyle.of({"begins_open": True})
    assert parts("It may be", style=begun) == ("", "It may be", True)


@pytest.mark.parametrize("declared", [{"open": "<a>"}, {"close": "</a>"}, {"opening": "<a>"}])
def test_marks_that_are_not_complete_are_refused(declared: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="thinking"):
        ThinkingStyle.of(declared)


@pytest.mark.parametrize(
    ("model", "thinks"),
    [
        ("deepseek-ai/DeepSeek-R1-Distill-Qwen-7B", True),
        ("qwen/qwen3-235b-a22b-thinking-2507", True),
        ("Qwen/QwQ-32B", True),
        ("openai/gpt-oss-20b", True),
        ("xai/grok-4-fast-reasoning", True),
        ("xai/grok-4-fast-non-reasoning", False),
        ("qwen/qwen2.5-7b-instruct", False),
        ("openai/gpt-4o", False),
        ("meta/llama-3.1-8b", False),
    ],
)
def test_names_that_say_that_a_model_thinks(model: str, thinks: bool) -> None:
    assert thinks_by_name(model) == thinks


def test_every_mark_is_seen_at_first_sight() -> None:
    for marks in KNOWN_MARKS:
        assert not KNOWN_STYLE.is_plain(f"a {marks.opening}")
        assert not KNOWN_STYLE.is_plain(f"a {marks.closing}")
    assert not ThinkingStyle.of({"open": "Thoughts:", "close": "Reply:"}).is_plain("a Reply:")
    assert KNOWN_STYLE.is_plain("It is 5.")
