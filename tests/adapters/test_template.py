from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from evalkit.adapters.template import TemplateAdapter, filled
from evalkit.adapters.window import Window
from evalkit.errors import DataError, UsageError
from evalkit.instance import CORRECT, TEST, TRAIN, Instance, Reference
from evalkit.specs.run_spec import AdapterSpec

PROMPT = "Head\n# Do\n{instruction}{few_shots}\n# In\n{input}\n# Out\n"
EXAMPLE = "\n# In\n{input}\n# Out\n{output}"


def instance(text: str, answer: str, split: str = TEST, instruction: str = "Add.") -> Instance:
    return Instance(
        text,
        (Reference(answer, (CORRECT,)),),
        split,
        id=f"{split}-{text}",
        extra={"instruction": instruction},
    )


TRAINED = [instance("1+1", "2", TRAIN), instance("2+2", "4", TRAIN), instance("3+3", "6", TRAIN)]
ASKED = [instance("4+4", "8"), instance("5+5", "10")]


def adapter(window: Window | None = None, **changed: Any) -> TemplateAdapter:
    spec = AdapterSpec(
        method="template",
        prompt_template=PROMPT,
        example_template=EXAMPLE,
        max_train_instances=0,
        sample_train=False,
        num_outputs=1,
        max_tokens=5,
    ).model_copy(update=changed)
    return TemplateAdapter(spec, window) if window else TemplateAdapter(spec)


def prompts(made: TemplateAdapter, asked: Sequence[Instance] = ASKED) -> list[str]:
    return [state.request.prompt for state in made.requests(asked, TRAINED)]


def test_without_examples_the_template_is_filled_to_its_last_character() -> None:
    assert prompts(adapter())[0] == "Head\n# Do\nAdd.\n# In\n4+4\n# Out\n"


def test_examples_are_the_first_of_the_train_split_in_order() -> None:
    shown = "\n# In\n1+1\n# Out\n2\n# In\n2+2\n# Out\n4"
    assert prompts(adapter(max_train_instances=2)) == [
        f"Head\n# Do\nAdd.{shown}\n# In\n4+4\n# Out\n",
        f"Head\n# Do\nAdd.{shown}\n# In\n5+5\n# Out\n",
    ]


def test_a_template_without_a_place_for_examples_has_them_behind_the_instruction() -> None:
    made = adapter(prompt_template="{instruction}|{input}", max_train_instances=1)
    assert prompts(made)[0] == "Add.\n# In\n1+1\n# Out\n2|4+4"


def test_braces_in_the_data_stay_as_they_are() -> None:
    odd = instance("{output} {{x}} {instruction}", "8", instruction="Copy {input}.")
    assert (
        prompts(adapter(), [odd])[0]
        == "Head\n# Do\nCopy {input}.\n# In\n{output} {{x}} {instruction}\n# Out\n"
    )
    assert filled("{a}{b}{c}{a}", {"a": "{b}", "b": "{a}"}) == "{b}{a}{c}{b}"


def test_each_instance_is_asked_with_its_own_instruction() -> None:
    both = [instance("1", "1", instruction="First."), instance("2", "2", instruction="Second.")]
    assert ["First." in text for text in prompts(adapter(), both)] == [True, False]


def test_the_specs_instructions_take_the_place_of_the_datas() -> None:
    assert "Subtract." in prompts(adapter(instructions="Subtract."))[0]


def test_a_chat_has_the_instruction_in_its_first_message_and_examples_as_turns() -> None:
    made = adapter(prompt_template="{instruction}\n\n{input}", max_train_instances=2, chat_style="turns")
    first = next(iter(made.requests(ASKED, TRAINED))).request
    assert [(m.role, m.content) for m in first.messages or ()] == [
        ("user", "Add.\n\n1+1"),
        ("assistant", "2"),
        ("user", "2+2"),
        ("assistant", "4"),
        ("user", "4+4"),
    ]


def test_a_chat_without_examples_is_one_message() -> None:
    made = adapter(prompt_template="{instruction}\n\n{input}", chat_style="turns", global_suffix="!")
    first = next(iter(made.requests(ASKED, TRAINED))).request
    assert [(m.role, m.content) for m in first.messages or ()] == [("user", "Add.\n\n4+4!")]


def test_what_exceeds_the_window_loses_its_last_examples_first() -> None:
    class Characters(Window):
        fitted_at_once = 1

        def fits(self, text: str, max_tokens: int) -> bool:
            return len(text) + max_tokens <= 60

        def fits_many(self, texts: Sequence[str], max_tokens: int) -> list[bool]:
            return [self.fits(text, max_tokens) for text in texts]

        def truncate(self, text: str, max_tokens: int) -> str:
            return text[: 60 - max_tokens]

    states = list(adapter(Characters(), max_train_instances=2).requests(ASKED, TRAINED))
    assert [state.num_train_instances for state in states] == [1, 1]
    long = instance("9" * 80, "9")
    (cut,) = adapter(Characters(), max_train_instances=2).requests([long], TRAINED)
    assert (cut.prompt_truncated, cut.num_train_instances, len(cut.request.prompt)) == (True, 0, 55)


@pytest.mark.parametrize(
    ("changed", "missing"),
    [
        ({"prompt_template": "{input}"}, r"prompt_template must hold \{instruction\}"),
        ({"prompt_template": ""}, r"\{instruction\} and \{input\}"),
        ({"example_template": "{input}", "max_train_instances": 1}, r"example_template must hold \{output\}"),
    ],
)
def test_a_template_without_its_marks_is_refused(changed: dict[str, Any], missing: str) -> None:
    with pytest.raises(UsageError, match=missing):
        adapter(**changed)


def test_an_instance_without_an_instruction_is_refused() -> None:
    bare = Instance("1", (Reference("1", (CORRECT,)),), TEST, id="x")
    with pytest.raises(DataError, match="instance x has no 'instruction'"):
        prompts(adapter(), [bare])
