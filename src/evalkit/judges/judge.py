"""What a judge asks about a unit of answers, and how its replies become numbers.

A judge is registered with `@judge("name")` and made by `build_judge`. Its questions are requests like any
other: evalkit sends them, keeps the replies in a separate journal, and hands each reply to `verdict`.
"""

from __future__ import annotations

import hashlib
import inspect
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from evalkit.errors import PluginError
from evalkit.parameters import bind_arguments
from evalkit.registry import JUDGES, origin_of
from evalkit.request import Message, Request
from evalkit.specs.digest import canonical_json

if TYPE_CHECKING:
    from evalkit.data import DataFile, DataStore
    from evalkit.instance import Instance
    from evalkit.response import Response
    from evalkit.scoring.run_level import Row
    from evalkit.scoring.unit import Unit
    from evalkit.specs.run_spec import AdapterSpec, JudgeSpec

MAX_TOKENS = 2048
"""The length limit of a judge's reply, where the judge sets no other."""
_QUESTION_NAME = re.compile(r"[A-Za-z0-9_.\-]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Question:
    """One thing that a judge asks about a unit.

    Attributes:
        request: What is sent. A repetition of the question gets another `random`.
        name: Distinguishes the questions about one unit (`turn_2`, `swapped`): letters, digits and _ . -
            only. It is part of the request's key.
        num_turns: Of a conversation, the turns that it is about, from the first on; None: all answers.

    Raises:
        PluginError: The name has other characters.
    """

    request: Request
    name: str = "verdict"
    num_turns: int | None = None

    def __post_init__(self) -> None:
        if not _QUESTION_NAME.fullmatch(self.name):
            raise PluginError(
                f"'{self.name}' can't be the name of a judge's question: letters, digits and _ . - only"
            )


@dataclass(frozen=True, slots=True)
class Reply:
    """What a judge has said to one question.

    Attributes:
        question: The question's name.
        text: The first completion.
        response: All that came back.
    """

    question: str
    text: str
    response: Response

    @property
    def is_cut(self) -> bool:
        """Whether it ends where the length limit was."""
        return any(each.finish_reason == "length" for each in self.response.completions[:1])


class Judge:
    """Grades units of answers. Parameters of `__init__` are what a judge spec may set.

    A parameter named `adapter_spec` receives the run's adapter spec and can't be set. Most judges override
    `questions` and `verdict` only. All methods are pure: they give the same for the same arguments, so that a
    run which was killed goes on where its journals end.

    Attributes:
        name: The registered name; set by `build_judge`.
        version: Raise it when the questions change: the judge is then asked again.
        verdict_version: Raise it when replies are read otherwise: stored replies are then read again, and
            nothing is asked.
        names: The scores that it gives. Where a reply fails or stays unclear, those of them that the other
            replies do not give have failed.
        run_level_names: What `run_level_scores` gives: numbers over all units at once, which are not means of
            scores.
        reading_args: Parameters that change only how replies are read: other values ask nothing again.
        lower_is_better: The scores of which less is better.
        shares: The scores that lie from 0 to 1 by their definition; their intervals end there.
        judges_turns: Whether `questions` takes conversations that go on, with the turns so far: what it asks
            then, it asks again of the whole conversation, with the same `num_turns`. Judging then need not
            wait for the last turn.
    """

    name: str = ""
    judges_turns: ClassVar[bool] = False
    version: ClassVar[int] = 1
    verdict_version: ClassVar[int] = 1
    names: tuple[str, ...] = ()
    run_level_names: tuple[str, ...] = ()
    reading_args: ClassVar[frozenset[str]] = frozenset()
    lower_is_better: frozenset[str] = frozenset()
    shares: frozenset[str] = frozenset()

    def files(self) -> Sequence[DataFile]:
        """The files that the questions are made from; their content is part of the run's identity."""
        return ()

    def load(self, data: DataStore) -> None:
        """Read the files, before the first question is made. `data.path(file)` is a file's local path.

        Raises:
            DataError: A file is missing or damaged.
        """

    def check_files(self, data: DataStore) -> None:
        """Find what is wrong with the files, before any model is asked; nothing that is read is used later.

        Override it where `load` takes long, and mistakes can be found without it.

        Raises:
            UsageError: A file that the user wrote is wrong.
            DataError: A file is missing or damaged.
        """
        self.load(data)

    def questions(self, unit: Unit) -> Iterable[Question]:
        """What to ask about a unit; nothing where the judge has nothing to say of it."""
        raise NotImplementedError

    def verdict(self, unit: Unit, reply: Reply) -> Mapping[str, float]:
        """The numbers that one reply gives, by name.

        Raises:
            UnclearVerdict: The reply can't be read; the question is asked again, at most twice.
        """
        raise NotImplementedError

    def combine(self, verdicts: Mapping[str, Mapping[str, float]]) -> Mapping[str, float]:
        """The scores of a unit, from the verdicts on its questions, by the names of the questions.

        Called with one verdict per question. Where a question has none, only a judge that does not override
        this gives the scores that the others have.
        """
        return {name: value for verdict in verdicts.values() for name, value in verdict.items()}

    def run_level_row(self, instance: Instance, scores: Mapping[str, float]) -> Row | None:
        """The little that `run_level_scores` needs of a unit; None if it plays no part there.

        Called only if the judge has `run_level_names`.

        Args:
            instance: What the unit is about.
            scores: Those that the judge has given it, of all opinions together.
        """
        return None

    def run_level_scores(self, rows: Sequence[Row]) -> Mapping[str, float]:
        """Finite numbers, by the names in `run_level_names`; see `Metric.run_level_scores`."""
        raise NotImplementedError

    @property
    def combines(self) -> bool:
        """Whether scores need the verdicts on all questions at once."""
        return type(self).combine is not Judge.combine


def chat_request(
    prompt: str,
    *,
    system: str = "",
    temperature: float = 0.0,
    max_tokens: int = MAX_TOKENS,
    response_schema: Mapping[str, Any] | None = None,
) -> Request:
    """A judge's request: a prompt, as a chat where there is a system message.

    Args:
        prompt: What the judge is asked.
        system: Who the judge is to be; "" for no system message.
        temperature: Sampling temperature; 0 is greedy.
        max_tokens: Longest reply.
        response_schema: A JSON Schema that the reply is to satisfy, for servers that take one.
    """
    request = Request(prompt, temperature=temperature, max_tokens=max_tokens)
    if response_schema is not None:
        request = replace(request, response_schema=canonical_json(response_schema))
    if not system:
        return request
    return replace(request, prompt="", messages=(Message("system", system), Message("user", prompt)))


def answers_digest(unit: Unit) -> str:
    """Eight hexadecimal digits over the answers of a unit: which answers a judgement is about."""
    sha = hashlib.sha256()
    for answer in unit.answers:
        for text in (answer.state.key, *(each.text for each in answer.response.completions)):
            sha.update(f"{len(text)}:{text}".encode("utf-8", "surrogatepass"))
    return sha.hexdigest()[:8]


def build_judge(spec: JudgeSpec, adapter_spec: AdapterSpec) -> Judge:
    """The judge that a spec names, with its arguments; it has not read its files yet.

    Raises:
        UnknownNameError: No judge has this name.
        UsageError: An argument is unknown, missing or of the wrong type.
        PluginError: What is registered is not a `Judge` class.
    """
    target: Any = JUDGES.get(spec.name)
    if not isinstance(target, type) or not issubclass(target, Judge):
        raise PluginError(f"judge '{spec.name}' ({origin_of(target)}) is not a Judge class")
    args = bind_arguments("judge", spec.name, target, spec.args, skip=("adapter_spec",))
    if "adapter_spec" in inspect.signature(target).parameters:
        args["adapter_spec"] = adapter_spec
    judge = target(**args)
    judge.name = spec.name
    if not judge.names:
        raise PluginError(f"judge '{spec.name}' ({origin_of(target)}) names no score; set `names`")
    return judge
