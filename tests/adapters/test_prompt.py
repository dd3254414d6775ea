from __future__ import annotations

from typing import Any

import pytest

from evalkit.adapters.prompt import Context, Layout, Prompt
from evalkit.adapters.window import NO_WINDOW, TokenWindow
from evalkit.errors import UsageError
from evalkit.specs.run_spec import AdapterSpec, Substitution
from tests.adapters.golden_rows import CharacterTokenizer


def layout(**fields: Any) -> Layout:
    return Layout(AdapterSpec(**fields))


def test_blocks() -> None:
    made = layout(
        input_prefix="Q: ", input_suffix="|", output_prefix="A:  \n", output_suffix=";", instance_prefix="-"
    )
    assert made.question("why", "opts ") == "Q: why|opts A:"
    assert made.example("why", "so") == "Q: why|A:  \nso;"


def test_only_filled_blocks_are_joined() -> None:
    made = layout(instructions="I", instance_prefix="--", global_prefix="[", global_suffix="]")
    assert Context(made, NO_WINDOW, ["t1", "t2"]).prompt("q") == Prompt("[I--t1--t2--q]", 2, False)
    bare = layout(instance_prefix="--", global_prefix="[", global_suffix="]")
    assert Context(bare, NO_WINDOW, []).prompt("q") == Prompt("[q]", 0, False)
    assert Context(made, NO_WINDOW, ["t1"]).prompt("q", few_shot=False) == Prompt("[I--q]", 0, False)


def test_substitutions_apply_to_the_whole_in_order() -> None:
    made = layout(
        global_prefix="ab",
        substitutions=(
            Substitution(source="a(.)", target=r"<\1>"),
            Substitution(source="<", target="("),
        ),
    )
    assert Context(made, NO_WINDOW, []).prompt("ac").text == "(b>(c>"


@pytest.mark.parametrize(("source", "target"), [("(", "x"), ("a", r"\1")])
def test_bad_substitution_is_an_error(source: str, target: str) -> None:
    with pytest.raises(UsageError, match="substitution"):
        Context(layout(substitutions=(Substitution(source=source, target=target),)), NO_WINDOW, []).prompt(
            "a"
        )


@pytest.mark.parametrize(
    ("length", "text", "kept", "truncated"),
    [
        (100, "I-t1-t2-question", 2, False),
        (18, "I-t1-t2-question", 2, False),
        (17, "I-t1-question", 1, False),
        (14, "I-question", 0, False),
        (12, "I-question", 0, False),
        (11, "I-questio", 0, True),
        (3, "I", 0, True),
    ],
)
def test_fitting_drops_the_last_example_then_cuts(length: int, text: str, kept: int, truncated: bool) -> None:
    made = layout(instructions="I", instance_prefix="-", max_tokens=2)
    window = TokenWindow(CharacterTokenizer(), length)
    assert Context(made, window, ["t1", "t2"]).prompt("question") == Prompt(text, kept, truncated)


def test_what_is_fitted_is_the_text_after_substitutions() -> None:
    made = layout(instance_prefix="-", max_tokens=1, substitutions=(Substitution(source="long", target="s"),))
    window = TokenWindow(CharacterTokenizer(), 4)
    assert Context(made, window, ["long"]).prompt("q") == Prompt("s-q", 1, False)
