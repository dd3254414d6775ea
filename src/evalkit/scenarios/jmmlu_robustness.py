"""JMMLU in three variants, by which the Nejumi leaderboard sees whether answers hold."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from evalkit.data import DataStore
from evalkit.instance import CORRECT, Instance, Reference
from evalkit.registry import scenario
from evalkit.run_specs.jaster_datasets import DEFAULT_VERSION
from evalkit.scenarios.jaster import EXAMPLES, INSTRUCTION, JasterScenario

_OPTIONS = "選択肢："
_LETTERS = "ABCD"
_SYMBOLS = dict(zip(_LETTERS, "$&#@", strict=True))
_ONLY = "他には何も含めないことを厳守してください。"
_INSTRUCTIONS = {
    "symbol": "与えられた質問と選択肢から、最も適切な回答を選択してください。"
    f"なお、回答には選択肢の記号（例：$）のみを含め、{_ONLY}",
    "incorrect": "与えられた質問と選択肢から、不正解となる回答を全て選択してください。なお、回答には選択肢の"
    f"記号（例：A）のみを含め、回答となるアルファベットはカンマ区切りで出力してください。{_ONLY}",
}


@scenario("jmmlu_robustness")
class JmmluRobustnessScenario(JasterScenario):
    """Each item of JMMLU three times: as it is, with `$ & # @` for `A` to `D`, and asking for the wrong ones.

    The variants are made of jaster's files of JMMLU, examples included: each question is shown examples of
    its own variant. An item's variants are one group, and each variant is a sub-split.

    Args:
        folder: Where `train`, `dev` and `test` are: below the data directory, or a path that begins with
            `/`, `~` or `.`.
        split: `test` or `dev`.
        max_items: How many items of each file; None: all.
        shots: How many examples a prompt shows.
        in_one_file: Whether JMMLU is the one file `jmmlu.json`, as in Nejumi 4.
    """

    def __init__(
        self,
        folder: str = f"{DEFAULT_VERSION}/evaluation",
        split: str = "test",
        max_items: int | None = None,
        shots: int = 0,
        in_one_file: bool = False,
    ) -> None:
        super().__init__("jmmlu", folder, split, max_items, shots, in_one_file)

    def instances(self, data: DataStore) -> Iterator[Instance]:
        """Train items where examples are shown, then the first items of each file, each in three variants.

        Raises:
            DataError: A file is not in jaster's format, or the train split has fewer items than are shown.
        """
        for instance in super().instances(data):
            yield _variant(instance, "normal")
            yield _variant(instance, "symbol")
            yield _variant(instance, "incorrect")


def _variant(instance: Instance, variant: str) -> Instance:
    """An item of JMMLU as one of its variants."""
    extra = dict(instance.extra or {})
    extra |= {"variant": variant, "variant_of": instance.id}
    extra[EXAMPLES] = f"{extra.get(EXAMPLES, 'jmmlu')}/{variant}"
    if variant in _INSTRUCTIONS and INSTRUCTION in extra:
        extra[INSTRUCTION] = _INSTRUCTIONS[variant]
    text, references = instance.input, instance.references
    right = next(r.text for r in references if r.is_correct)
    if variant == "symbol":
        text = with_symbols(text)
        references = tuple(Reference(_SYMBOLS.get(r.text, r.text), r.tags) for r in references)
    elif variant == "incorrect":
        wrong = ",".join(letter for letter in _LETTERS if letter != right)
        references = (Reference(wrong, (CORRECT,)),)
    return replace(
        instance,
        input=text,
        references=references,
        id=f"{instance.id}-{variant}",
        sub_split=variant,
        group=instance.id,
        extra=extra,
    )


def with_symbols(text: str) -> str:
    """A question whose options are named `$`, `&`, `#` and `@`; letters outside of the options stay."""
    question, mark, options = text.rpartition(_OPTIONS)
    if not mark:
        return text
    place = 0
    for letter, symbol in _SYMBOLS.items():
        name = f"{letter}." if letter == "A" else f",{letter}."
        found = options.find(name, place)
        if found < 0:
            continue
        place = found + len(name)
        options = f"{options[:found]}{name.replace(letter, symbol)}{options[place:]}"
    return f"{question}{mark}{options}"
