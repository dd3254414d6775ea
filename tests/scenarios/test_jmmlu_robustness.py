from __future__ import annotations

from pathlib import Path

import pytest

from evalkit.adapters.template import TemplateAdapter
from evalkit.data import DataStore
from evalkit.instance import Instance
from evalkit.run_specs.jmmlu_robustness import jmmlu_robustness
from evalkit.scenarios.jmmlu_robustness import JmmluRobustnessScenario, with_symbols
from tests.scenarios.jaster_files import write_dataset

VARIANTS = ("normal", "symbol", "incorrect")


def made(root: Path, shots: int = 0, in_one_file: bool = True, max_items: int = 4) -> list[Instance]:
    write_dataset(root, "jmmlu")
    scenario = JmmluRobustnessScenario(shots=shots, in_one_file=in_one_file, max_items=max_items)
    return list(scenario.instances(DataStore(mirror=root, cache=root / "cache", offline=True)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("質問：Aか？\n選択肢：A.x,B.y,C.z,D.w", "質問：Aか？\n選択肢：$.x,&.y,#.z,@.w"),
        # Letters in the question and in the options stay.
        ("質問：1,B.は？\n選択肢：A.A.B,B.b,C.C,D.d,D.e", "質問：1,B.は？\n選択肢：$.A.B,&.b,#.C,@.d,D.e"),
        ("選択肢：なし\n選択肢：A.x,B.y,C.z,D.w", "選択肢：なし\n選択肢：$.x,&.y,#.z,@.w"),
        ("なし", "なし"),
    ],
)
def test_letters_become_symbols(text: str, expected: str) -> None:
    assert with_symbols(text) == expected


def test_each_item_in_three_variants(tmp_path: Path) -> None:
    found = made(tmp_path)
    assert [i.id for i in found[:3]] == [f"jmmlu-0-{variant}" for variant in VARIANTS]
    assert [i.sub_split for i in found[:3]] == list(VARIANTS)
    assert {i.group for i in found[:3]} == {"jmmlu-0"}
    right = [[r.text for r in i.references if r.is_correct] for i in found]
    assert right == [
        *(["A"], ["$"], ["B,C,D"]),
        *(["B"], ["&"], ["A,C,D"]),
        *(["C"], ["#"], ["A,B,D"]),
        *(["D"], ["@"], ["A,B,C"]),
    ]
    instructions = [str((i.extra or {})["instruction"]) for i in found[:3]]
    assert ["アルファベット（例：A）" in instructions[0], "例：$" in instructions[1]] == [True, True]
    assert "不正解となる回答を全て" in instructions[2]
    assert "選択肢：$.Aの町0,&.Bの町0" in found[1].input


@pytest.mark.parametrize("in_one_file", [True, False])
def test_examples_are_of_the_same_variant_and_file(tmp_path: Path, in_one_file: bool) -> None:
    found = made(tmp_path, shots=2, in_one_file=in_one_file, max_items=1)
    train, asked = ([i for i in found if i.split == split] for split in ("train", "test"))
    edition = "nejumi4" if in_one_file else "nejumi3"
    spec = jmmlu_robustness(edition=edition, form="alpaca").adapter_spec  # type: ignore[arg-type]
    states = TemplateAdapter(spec.model_copy(update={"max_train_instances": 2})).requests(asked, train)
    prompts = {state.instance_id: state.request.prompt for state in states}
    assert len(prompts) == 3 * (1 if in_one_file else 53)
    for name, prompt in prompts.items():
        file = str(name).rsplit("-", 2)[0]
        assert prompt.count(f"train/{file}の第") == prompt.count("：train/") == 2
        assert ("選択肢：$." in prompt) == ("選択肢：A." not in prompt) == str(name).endswith("symbol")
        answers = [line for line in prompt.split("\n") if line in ("A", "B", "$", "&", "B,C,D", "A,C,D")]
        expected = {"normal": ["A", "B"], "symbol": ["$", "&"], "incorrect": ["B,C,D", "A,C,D"]}
        assert answers == expected[str(name).rsplit("-", 1)[1]]
