"""What the golden files do not show: odd rows and wrong arguments."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from evalkit.errors import DataError, UsageError
from evalkit.instance import Instance
from evalkit.scenarios.babi_qa import BabiQAScenario
from evalkit.scenarios.bbq import BBQScenario, category_of
from evalkit.scenarios.blimp import BLiMPScenario
from evalkit.scenarios.code import CodeScenario
from evalkit.scenarios.disinformation import DisinformationScenario
from evalkit.scenarios.dyck_language import DyckLanguageScenario
from evalkit.scenarios.gpqa import GPQAScenario
from evalkit.scenarios.ifeval import IFEvalScenario
from evalkit.scenarios.mmlu_pro import MMLUProScenario
from evalkit.scenarios.scenario import Scenario
from evalkit.scenarios.synthetic_reasoning import SyntheticReasoningScenario
from evalkit.scenarios.synthetic_reasoning_natural import SyntheticReasoningNaturalScenario
from evalkit.scenarios.truthful_qa import TruthfulQAScenario
from tests.scenarios.mirror import json_lines, mirror

BABI = "scenarios/babi_qa/data/tasks_1-20_v1-2/en-valid"


def made(folder: Path, scenario: Scenario, files: dict[str, str]) -> list[Instance]:
    return list(scenario.instances(mirror(folder, files)))


def bbq_row(**changes: Any) -> dict[str, Any]:
    row = {
        "context": "Two people met.",
        "question": "Who is rich?",
        "label": 2,
        "category": "SES",
        "question_polarity": "nonneg",
        "context_condition": "disambig",
        "answer_info": {
            "ans0": ["Ann", "highSES"],
            "ans1": ["Bob", "lowSES"],
            "ans2": ["Unknown", "unknown"],
        },
        "additional_metadata": {"stereotyped_groups": ["low SES"]},
        "ans0": "Ann",
        "ans1": "Bob",
        "ans2": "Unknown",
    }
    return {**row, **changes}


def bbq_tags(folder: Path, category: str, **changes: Any) -> tuple[str, ...]:
    text = json_lines([bbq_row(category=category, **changes)])
    (instance,) = made(folder, BBQScenario(category), {f"bbq/{category}.jsonl": text})
    return instance.references[0].tags


def info(first: str, second: str) -> dict[str, list[str]]:
    return {"ans0": ["Ann", first], "ans1": ["Bob", second], "ans2": ["Unknown", "unknown"]}


def test_bbq_finds_the_stereotyped_group_in_each_category(tmp_path: Path) -> None:
    assert bbq_tags(tmp_path, "SES") == ("non-negative", "non-ambiguous", "C", "B", "A", "C")
    about = {"answer_info": info("F-Black", "F-White")}
    groups = {"additional_metadata": {"stereotyped_groups": ["Black"]}}
    assert bbq_tags(tmp_path, "Race_ethnicity", **about, **groups)[-3:] == ("A", "B", "C")
    assert bbq_tags(tmp_path, "Race_x_gender", **about, **groups)[-3:] == ("", "B", "C")
    about = {"answer_info": info("lowSES-F-Black", "highSES-White")}
    assert bbq_tags(tmp_path, "Race_x_SES", **about, **groups)[-3:] == ("A", "B", "C")


def test_bbq_takes_subjects_in_any_letter_case() -> None:
    assert category_of("race_x_ses") == "Race_x_SES"
    assert len(BBQScenario("all").files()) == 11


def test_bbq_refuses_rows_that_are_none(tmp_path: Path) -> None:
    wrong = json_lines([bbq_row(label=3)])
    with pytest.raises(DataError, match="label 3"):
        made(tmp_path, BBQScenario("SES"), {"bbq/SES.jsonl": wrong})
    wrong = json_lines([bbq_row(answer_info={})])
    with pytest.raises(DataError, match="must be lists"):
        made(tmp_path, BBQScenario("SES"), {"bbq/SES.jsonl": wrong})


def test_babi_stories_begin_at_one_and_ways_are_words(tmp_path: Path) -> None:
    story = "1 A is here.\n2 B is there.\n3 How?\ts,w\t1\n1 C is new.\n2 How?\tn,e\t1\n"
    files = {f"{BABI}/qa19_{split}.txt": story for split in ("train", "valid", "test")}
    instances = made(tmp_path, BabiQAScenario(19), files)
    assert [i.split for i in instances] == ["train", "train", "valid", "valid", "test", "test"]
    assert instances[0].input == "A is here.\nB is there.\nQuestion: How?"
    assert instances[1].input == "C is new.\nQuestion: How?"
    assert [i.references[0].text for i in instances[:2]] == ["south west", "north east"]


@pytest.mark.parametrize(
    ("line", "message"), [("nonsense", "begins with its number"), ("1 How?", "no answer")]
)
def test_babi_refuses_lines_that_are_none(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(DataError, match=f"qa1_train.txt:1.*{message}"):
        made(tmp_path, BabiQAScenario(1), {f"{BABI}/qa1_train.txt": line})


def test_truthful_qa_turns_the_answers(tmp_path: Path) -> None:
    header = "\ufeffType,Category,Question,Best Answer,Correct Answers,Incorrect Answers,Source\n"
    row = "x,y, What? ,Best,Best,one; two.; ;three,z\n"
    instances = made(tmp_path, TruthfulQAScenario(), {"truthfulqa/TruthfulQA.csv": header + row * 5})
    assert [i.split for i in instances] == ["train", *["valid"] * 4]
    assert instances[0].input == "What?"
    # ord("B") % 4 is 2.
    assert [r.text for r in instances[0].references] == ["three.", "Best.", "one.", "two."]
    assert [r.text for r in instances[0].correct_references] == ["Best."]


def test_mmlu_pro_can_show_the_reasoning(tmp_path: Path) -> None:
    row = {"question_id": 7, "question": "?", "options": ["x", "y", "x"], "answer": "A", "answer_index": 0}
    text = json_lines([{**row, "category": "law", "cot_content": "A: so."}])
    files = {f"hf/TIGER-Lab_MMLU-Pro/{part}.jsonl": text for part in ("validation", "test")}
    train, test = made(tmp_path, MMLUProScenario("law", with_reasoning=True), files)
    assert (train.id, train.extra, test.extra) == ("id7", {"chain_of_thought": "A: so."}, None)
    assert [r.is_correct for r in test.references] == [True, False, True]
    assert made(tmp_path, MMLUProScenario("law"), files)[0].extra == {"chain_of_thought": ""}
    assert made(tmp_path, MMLUProScenario("math"), files) == []


def test_humaneval_keeps_its_tests(data_dir: Path) -> None:
    from evalkit.data import DataStore

    store = DataStore(mirror=data_dir, offline=True)
    first = next(CodeScenario("humaneval").instances(store))
    assert first.extra is not None
    assert first.extra["test_cases"]["entry_point"] == "has_close_elements"


def test_ifeval_wants_arguments_for_each_instruction(tmp_path: Path) -> None:
    row = {"key": 1, "prompt": "Write.", "instruction_id_list": ["a:b"], "kwargs": []}
    with pytest.raises(DataError, match="prompt 1"):
        made(tmp_path, IFEvalScenario(), {"hf/google_IFEval/train.jsonl": json.dumps(row)})


def test_disinformation_without_topic_takes_all(tmp_path: Path) -> None:
    rows = [{"thesis": t, "headlines": ["a", "b"], "split": "x"} for t in ("one", "two")]
    rows[1]["topic"] = "climate"
    files = {"scenarios/disinformation/reiteration": json_lines(rows)}
    assert [i.input for i in made(tmp_path, DisinformationScenario(), files)] == ["one", "two"]
    climate = made(tmp_path, DisinformationScenario(topic="climate"), files)
    assert [i.input for i in climate] == ["two"]
    assert climate[0].references[0].text == "a\nHeadline: b"


WRONG_ARGUMENTS: list[tuple[type[Scenario], dict[str, Any]]] = [
    (BBQScenario, {"subject": "Agee"}),
    (BabiQAScenario, {"task": 21}),
    (BLiMPScenario, {"phenomenon": "elipsis"}),
    (CodeScenario, {"dataset": "apps"}),
    (DisinformationScenario, {"capability": "wedge"}),
    (DyckLanguageScenario, {"num_parenthesis_pairs": 0}),
    (GPQAScenario, {"subset": "main"}),
    (MMLUProScenario, {"subject": "laws"}),
    (SyntheticReasoningScenario, {"mode": "deduction"}),
    (SyntheticReasoningNaturalScenario, {"difficulty": "harder"}),
    (TruthfulQAScenario, {"task": "mc_multi"}),
]


@pytest.mark.parametrize(("scenario", "args"), WRONG_ARGUMENTS)
def test_wrong_arguments_are_refused(scenario: type[Scenario], args: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=str(next(iter(args.values())))):
        scenario(**args)
