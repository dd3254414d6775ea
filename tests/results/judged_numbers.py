"""A benchmark with a judge, which reads the last digit of what it was shown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import evalkit
from evalkit import (
    DataStore,
    Instance,
    Judge,
    JudgeSpec,
    Question,
    Reference,
    Reply,
    RunSpec,
    ScenarioSpec,
    Unit,
)
from evalkit.judges.judge import chat_request


@evalkit.scenario("judged_numbers")
class JudgedNumbers(evalkit.Scenario):
    """Numbers to be said again."""

    def __init__(self, num_test: int = 5) -> None:
        self.num_test = num_test

    def instances(self, data: DataStore) -> Iterator[Instance]:
        """One after the other."""
        for number in range(self.num_test):
            yield Instance(f"Say {number}", (Reference(str(number), ("correct",)),), "test")


@evalkit.judge("last_digit")
class LastDigit(Judge):
    """Rates by the last digit of the reply; of an odd one it is unclear once."""

    names = ("last_digit",)

    def questions(self, unit: Unit) -> Iterator[Question]:
        """Show the answer."""
        yield Question(chat_request(f"{unit.answer.response.completions[0].text} {unit.instance.input}"))

    def verdict(self, unit: Unit, reply: Reply) -> Mapping[str, float]:
        """The last digit."""
        digits = [char for char in reply.text if char.isdigit()]
        if not digits:
            raise evalkit.UnclearVerdict("the reply has no digit")
        return {"last_digit": float(digits[-1])}


@evalkit.run_spec_function("judged_numbers")
def judged_numbers(num_test: int = 5) -> RunSpec:
    """Say numbers again, judged."""
    return RunSpec(
        name=f"judged_numbers:num_test={num_test}",
        scenario_spec=ScenarioSpec(name="judged_numbers", args={"num_test": num_test}),
        adapter_spec=evalkit.generation("", input_noun="Task", output_noun="Answer", max_tokens=30),
        metric_specs=evalkit.metric_specs("exact_match"),
        judge_specs=(JudgeSpec(name="last_digit"),),
    )
