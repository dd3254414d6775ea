from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from evalkit.adapters.template import TemplateAdapter
from evalkit.data import DataStore
from evalkit.errors import DataError, UnknownNameError, UsageError
from evalkit.instance import Instance
from evalkit.run_specs.jaster import jaster
from evalkit.run_specs.jaster_datasets import DATASETS
from evalkit.scenarios.jaster import JasterScenario
from tests.scenarios.jaster_files import write_dataset


def made(root: Path, dataset: str, **args: Any) -> list[Instance]:
    scenario = JasterScenario(dataset, **args)
    return list(scenario.instances(DataStore(mirror=root, cache=root / "cache", offline=True)))


def rewrite(root: Path, change: Any, split: str = "test", name: str = "jnli") -> None:
    path = root / f"1.2.6/evaluation/{split}/{name}.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content = change(content) or content
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def test_the_first_items_of_the_file_with_their_labels_as_references(tmp_path: Path) -> None:
    found = made(write_dataset(tmp_path, "jnli"), "jnli", max_items=4)
    assert [instance.id for instance in found] == ["jnli-0", "jnli-1", "jnli-2", "jnli-3"]
    second = found[1]
    assert [(r.text, r.is_correct) for r in second.references] == [
        ("entailment", False),
        ("contradiction", True),
        ("neutral", False),
    ]
    assert second.split == "test"
    assert (second.extra or {})["instruction"].startswith("前提と仮説の関係を")


def test_train_items_come_first_and_only_where_examples_are_shown(tmp_path: Path) -> None:
    root = write_dataset(tmp_path, "jnli")
    assert {i.split for i in made(root, "jnli")} == {"test"}
    shown = made(root, "jnli", shots=4, max_items=2)
    assert [i.split for i in shown] == ["train"] * 12 + ["test"] * 2
    assert [i.id for i in shown[-2:]] == ["jnli-0", "jnli-1"]


def test_without_a_train_file_examples_are_refused_by_its_name(tmp_path: Path) -> None:
    root = write_dataset(tmp_path, "jnli", ("test",))
    assert len(made(root, "jnli")) == 12
    message = r"evaluation/train/jnli\.json.* is missing.*jnli` makes .* jglue/jnli-v1\.3/train-v1\.3\.json$"
    with pytest.raises(DataError, match=message):
        made(root, "jnli", shots=4)
    with pytest.raises(DataError, match=r"jnli` makes it below --output.*jnli-v1\.3/train"):
        made(root, "jnli", shots=4, folder=str(root / "1.2.6/evaluation"))


def test_without_any_file_each_dataset_says_how_it_is_made(tmp_path: Path) -> None:
    for dataset in DATASETS:
        for split in ("test", "dev"):
            with pytest.raises(DataError) as caught:
                made(tmp_path, dataset, split=split)
            said = str(caught.value)
            makes = f"`evalkit data build jaster --dataset {dataset}` makes it below --output, and needs the"
            assert (makes in said) is not (f"upstream, {dataset} has no such split" in said), said


def test_the_first_example_of_the_page_has_examples_to_show() -> None:
    page = (Path(__file__).parents[2] / "docs/japanese.md").read_text(encoding="utf-8")
    (dataset,) = re.findall(r"^\$ evalkit run .* (\w+):shots=4,model=local/m$", page, re.MULTILINE)
    row, *_ = re.findall(rf"^\| {dataset} \|(.*)\|$", page, re.MULTILINE)
    _, train, _, _, here = (cell.strip() for cell in row.split("|"))
    assert train.isdigit()
    assert here == "real"


def test_more_examples_than_the_train_split_has_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"train/jnli\.json: 12 items, 13 are to be shown; give shots=12 or fewer"
    ):
        made(write_dataset(tmp_path, "jnli"), "jnli", shots=13)


def test_dev_is_the_valid_split(tmp_path: Path) -> None:
    assert {i.split for i in made(write_dataset(tmp_path, "jnli"), "jnli", split="dev")} == {"valid"}
    only_train = write_dataset(tmp_path / "mgsm", "mgsm", ("train", "test"))
    assert len(made(only_train, "mgsm", split="dev")) == 12


def test_exams_are_a_file_for_each_subject(tmp_path: Path) -> None:
    found = made(write_dataset(tmp_path, "jmmlu"), "jmmlu", max_items=5)
    assert len(found) == 53 * 5
    assert (found[0].id, found[0].sub_split) == ("jmmlu_abstract_algebra-0", "abstract_algebra")


@pytest.mark.parametrize("dataset", ["jmmlu", "mmlu_en"])
def test_a_question_of_an_exam_is_shown_examples_of_its_own_subject(tmp_path: Path, dataset: str) -> None:
    found = made(write_dataset(tmp_path, dataset), dataset, shots=4, max_items=1)
    train, asked = ([i for i in found if i.split == split] for split in ("train", "test"))
    spec = jaster(dataset).adapter_spec.model_copy(update={"max_train_instances": 4})
    states = list(TemplateAdapter(spec).requests(asked, train))
    assert len(states) == len(DATASETS[dataset].files)
    for file, state in zip(DATASETS[dataset].files, states, strict=True):
        prompt = state.request.prompt
        assert prompt.count(f"：train/{file}の第") == prompt.count("：train/") == 4
        assert [prompt.index(f"train/{file}の第{n}問") for n in range(4)] == sorted(
            prompt.index(f"train/{file}の第{n}問") for n in range(4)
        )


def test_a_wrong_prompt_of_before_is_another_run() -> None:
    """With the first subject's examples for all, as in version 1."""
    assert [JasterScenario("jmmlu", shots=shots).version for shots in (0, 4)] == [1, 2]
    assert JasterScenario("jnli", shots=4).version == 1


def test_jmmlu_in_one_file(tmp_path: Path) -> None:
    root = write_dataset(tmp_path, "jmmlu")
    found = made(root, "jmmlu", in_one_file=True, max_items=5)
    assert [i.id for i in found] == [f"jmmlu-{n}" for n in range(5)]
    assert found[0].sub_split is None
    assert "test/jmmluの第0問" in found[0].input
    with pytest.raises(UsageError, match="mmlu_en is not one file"):
        JasterScenario("mmlu_en", in_one_file=True)


def test_questions_on_one_passage_are_one_group(tmp_path: Path) -> None:
    groups = [i.group for i in made(write_dataset(tmp_path, "jsquad"), "jsquad")]
    assert groups[0] == groups[2] != groups[3]
    assert len(set(groups)) == 4


def test_programs_come_with_their_tests(tmp_path: Path) -> None:
    first = made(write_dataset(tmp_path, "jhumaneval"), "jhumaneval")[0]
    lines = ["assert add_0(1, 2) == 3", "assert add_0(0, 0) == 0"]
    assert (first.extra or {})["test_cases"] == {"test_list": lines}


def test_a_folder_elsewhere(tmp_path: Path) -> None:
    write_dataset(tmp_path / "artifact/jaster", "jnli")
    below = made(tmp_path, "jnli", folder="artifact/jaster/1.2.6/evaluation/")
    absolute = made(tmp_path / "nowhere", "jnli", folder=f"{tmp_path}/artifact/jaster/1.2.6/evaluation")
    assert below == absolute
    assert len(below) == 12


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda c: c.pop("instruction") and None, "no text 'instruction'"),
        (lambda c: c.update(samples=[]), "no list 'samples'"),
        (lambda c: c["samples"][3].update(output=3), "sample 3 needs the texts"),
        (lambda c: [c], "no text 'instruction'"),
    ],
)
def test_another_format_is_refused_by_name(tmp_path: Path, change: Any, problem: str) -> None:
    root = write_dataset(tmp_path, "jnli")
    rewrite(root, change)
    with pytest.raises(DataError, match=rf"test/jnli\.json.*{problem}"):
        made(root, "jnli")


def test_a_truncated_file_is_refused_by_name(tmp_path: Path) -> None:
    path = write_dataset(tmp_path, "jnli") / "1.2.6/evaluation/test/jnli.json"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DataError, match=r"jnli\.json: not valid JSON"):
        made(tmp_path, "jnli")


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'jnli'"):
        JasterScenario("jnly")
    with pytest.raises(UnknownNameError, match="split of jaster"):
        JasterScenario("jnli", split="train")
    with pytest.raises(UsageError, match="max_items=0"):
        JasterScenario("jnli", max_items=0)
