"""What a judge's prompt shows of a unit: the question, the answer, the right answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from evalkit.errors import DataError
from evalkit.scoring.unit import Answer, Unit


def texts_of(unit: Unit, name: str = "Assistant") -> Mapping[str, str]:
    """The texts of the placeholders `question`, `answer` and `reference`.

    `question` is the instance's input, `reference` its first right answer, "" without one. `answer` is the
    first completion; of a conversation of several turns, all of it, turn by turn.

    Args:
        unit: The answers.
        name: How the answering side is called in a conversation.

    Raises:
        UsageError: Nothing was generated: the unit has several requests that do not form a conversation.
        DataError: An answer holds no completion.
    """
    first_correct = unit.instance.first_correct
    return {
        "question": unit.instance.input,
        "answer": conversation([(_asked(turn), first_text(turn)) for turn in unit.turns], name),
        "reference": "" if first_correct is None else first_correct.text,
    }


def conversation(turns: Sequence[tuple[str, str]], name: str) -> str:
    """An answer; of several turns, what was asked and answered in each."""
    if len(turns) == 1:
        return turns[0][1]
    return "\n\n".join(f"### User:\n{asked}\n\n### {name}:\n{answer}" for asked, answer in turns)


def first_text(answer: Answer) -> str:
    """The first completion of an answer.

    Raises:
        DataError: There is none.
    """
    completions = answer.response.completions
    if not completions:
        raise DataError(f"the answer to '{answer.state.key}' holds no completion")
    return completions[0].text


def _asked(answer: Answer) -> str:
    """What the model was asked in a turn; all of a prompt that is not a chat."""
    request = answer.state.request
    return request.messages[-1].content if request.messages else request.prompt
