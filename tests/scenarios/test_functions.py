from __future__ import annotations

import contextlib
import hashlib
import io
import json
import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from evalkit.data import DataStore
from evalkit.errors import UsageError
from evalkit.instance import Instance
from evalkit.run_specs.functions import functions
from evalkit.scenarios.functions import DEFINITIONS, NAMES, OUT_OF_DISTRIBUTION, FunctionsScenario

# The authors' generator with seed 100 and their names: how the SHA-256 of 200 chats as JSON begins.
AUTHORS_OUT_OF_DISTRIBUTION = "58cc915186c2"


def made(**args: Any) -> list[Instance]:
    return list(FunctionsScenario(**args).instances(DataStore(cache=Path("unused"), offline=True)))


def evaluated(instances: list[Instance]) -> list[Instance]:
    return [instance for instance in instances if instance.split == "test"]


def test_the_questions_are_the_authors_to_the_letter() -> None:
    system = functions().adapter_spec.instructions.strip()
    chats = [
        [
            {"role": "system", "content": system},
            {"role": "user", "content": instance.input},
            {"role": "assistant", "content": instance.references[0].text},
        ]
        for instance in evaluated(made(num_test=200, input_ranges=OUT_OF_DISTRIBUTION, min_imports=1))
    ]
    digest = hashlib.sha256(json.dumps(chats).encode()).hexdigest()
    assert digest.startswith(AUTHORS_OUT_OF_DISTRIBUTION)


def test_the_answer_is_what_the_code_prints(monkeypatch: pytest.MonkeyPatch) -> None:
    module = SimpleNamespace(**{name: DEFINITIONS[definition] for name, definition in NAMES.items()})
    monkeypatch.setitem(sys.modules, "functions", module)
    instances = made(num_test=400)
    for instance in instances:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(instance.input, {})
        assert [(r.text, r.is_correct) for r in instance.references] == [(printed.getvalue().strip(), True)]
    answers = {instance.references[0].text for instance in instances}
    assert {"True", "False"} <= answers
    assert any("." in answer for answer in answers)


def test_all_functions_and_all_forms_occur() -> None:
    instances = made(num_test=1000)
    assert {instance.sub_split for instance in instances} == set(NAMES.values())
    assert {len(instance.input.split("\n\n")) for instance in instances} == {2, 3, 4}
    starts = {line.split(" = ")[0] for i in instances for line in i.input.split("\n") if " = " in line}
    assert starts == {"x", "a", "out", "y"}


def test_what_was_drawn_is_kept() -> None:
    for instance in made(num_test=200):
        extra = instance.extra
        assert extra is not None
        assert extra["kind"] == "single_function"
        assert extra["function"] == NAMES[extra["variable"]] == instance.sub_split
        assert -99 <= extra["input"] < 99
        assert instance.references[0].text == str(DEFINITIONS[extra["function"]](extra["input"]))
        imported = instance.input.split("\n")[0].removeprefix("from functions import ").split(", ")
        assert extra["variable"] in imported
        assert 1 <= len(imported) == len(set(imported)) <= 2


def test_the_train_split_is_of_the_same_kind_but_its_own() -> None:
    instances = made(num_test=50)
    assert [instance.split for instance in instances] == ["train"] * 20 + ["test"] * 50
    assert [i.input for i in instances[:20]] != [i.input for i in instances[20:40]]
    assert instances[:20] == made(num_test=5)[:20]


def test_more_questions_go_on_where_fewer_end() -> None:
    assert evaluated(made(num_test=100))[:30] == evaluated(made(num_test=30))


def test_the_seed_decides() -> None:
    assert made(num_test=30, seed=1) == made(num_test=30, seed=1)
    assert made(num_test=30, seed=1) != made(num_test=30, seed=2)


def test_inputs_and_imports_are_as_asked() -> None:
    instances = made(num_test=300, input_ranges=((5, 7), (-3, -2)), min_imports=4)
    assert {(i.extra or {})["input"] for i in instances} == {5, 6, -3}
    sizes = {len(re.findall("[a-z]{6}", i.input.split("\n")[0].split(" import ")[1])) for i in instances}
    assert max(sizes) == 4
    assert {len(i.input.split("\n")[0].split(",")) for i in made(min_imports=1, num_test=50)} == {1}


def test_names_of_ones_own() -> None:
    instances = made(names={"twice": "multiply_3", "less": "subtract_1"}, num_test=100)
    assert {(i.extra or {})["variable"] for i in instances} == {"twice", "less"}


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"num_test": 0}, "num_test=0"),
        ({"seed": -1}, "seed=-1"),
        ({"min_imports": 0}, "min_imports=0"),
        ({"input_ranges": ()}, "input_ranges"),
        ({"input_ranges": ((3, 3),)}, "input_ranges"),
        ({"names": {}}, "names is empty"),
        ({"names": {"two words": "add_5"}}, "'two words' can't be the name"),
        ({"names": {"lambda": "add_5"}}, "'lambda' can't be the name"),
        ({"names": {"f": "ad_5"}}, "no definition 'ad_5'; did you mean 'add_5'"),
    ],
)
def test_impossible_arguments(args: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        FunctionsScenario(**args)
