"""jaster's files, built from upstream files: the real ones where they are, else made in upstream's format."""

from __future__ import annotations

import ast
import hashlib
import json
from pathlib import Path

import pytest

from evalkit.data.jaster_build import BuiltSplit, build_jaster
from evalkit.data.jaster_upstream import UPSTREAMS
from evalkit.data.knp import knp_sentences
from evalkit.errors import DataError
from evalkit.metrics.asserted_code import original_program
from evalkit.run_specs.jaster_datasets import DATASETS
from tests.data.jaster_made import MADE, NUM_ITEMS, program, write, write_lines

# Train and test items of the published files (the documented counts), for the datasets that are built.
COUNTS = {
    "jamp": (8955, 348),
    "janli": (12312, 720),
    "jnli": (None, 2434),
    "jsem": (12667, 3167),
    "jsick": (4500, 4927),
    "jcommonsenseqa": (8045, 1119),
    "commonsensemoralja": (13975, 3992),
    "jemhopqa": (953, 120),
    "niilc": (720, 200),
    "jsquad": (None, 4442),
    "jsts": (11205, 1457),
    "chabsa": (2572, 322),
    "mawps": (32, 250),
    "mgsm": (None, 250),
    "jcola-in-domain": (6919, 865),
    "jcola-out-of-domain": (None, 685),
}


def built(mirror: Path, root: Path, *datasets: str) -> dict[tuple[str, str], BuiltSplit]:
    found = build_jaster(mirror, root, "1.2.6", datasets or tuple(DATASETS))
    return {(each.dataset, each.split): each for each in found}


def content(root: Path, split: str, name: str) -> dict[str, list[dict[str, str]]]:
    made: dict[str, list[dict[str, str]]] = json.loads(
        (root / f"1.2.6/evaluation/{split}/{name}.json").read_text(encoding="utf-8")
    )
    return made


def checksums(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in root.rglob("*")
        if path.is_file()
    }


def test_the_counts_are_the_documented_ones_and_twice_the_same_bytes(data_dir: Path, tmp_path: Path) -> None:
    first = built(data_dir, tmp_path / "first")
    for name, (train, test) in COUNTS.items():
        for split, count in (("train", train), ("test", test)):
            found = first[name, split]
            assert (found.count, bool(found.refused)) == ((count, False) if count else (0, True)), found
            path = tmp_path / f"first/1.2.6/evaluation/{split}/{name}.json"
            assert path.exists() == (count is not None)
            if count:
                assert len(content(tmp_path / "first", split, name)["samples"]) == count
    assert sum(each.count for (name, split), each in first.items() if "jmmlu_" in name) == 7097
    assert [first["jmmlu", split].count for split in ("train", "dev", "test")] == [5677, 709, 711]
    assert len([1 for name, split in first if name.startswith("mmlu_en_") and split == "test"]) == 57
    built(data_dir, tmp_path / "second")
    assert checksums(tmp_path / "first") == checksums(tmp_path / "second")


def test_a_missing_upstream_file_is_named(data_dir: Path, tmp_path: Path) -> None:
    found = built(data_dir, tmp_path, "jnli", "mgsm", "jcola-out-of-domain", "wiki_ner", "alt-e-to-j")
    for split in ("train", "dev"):
        assert found["jnli", split].refused.endswith("jglue/jnli-v1.3/train-v1.3.json is missing")
    assert found["mgsm", "train"].refused.endswith("mgsm/exemplars.py is missing")
    assert found["jcola-out-of-domain", "train"].refused == "its upstream has no such split"
    assert found["wiki_ner", "test"].refused.endswith("wikipedia_annotated_corpus/id/test.id is missing")
    assert found["alt-e-to-j", "test"].refused.endswith("alt/URL-test.txt and 2 more are missing")


def outputs(tmp_path: Path, name: str) -> list[dict[str, str]]:
    """The test items of a dataset that is built of made upstream files."""
    MADE[name](tmp_path / "upstream")
    found = built(tmp_path / "upstream", tmp_path / "out", name)
    assert found[name, "test"].count == NUM_ITEMS
    assert found[name, "train"].count >= 4
    return content(tmp_path / "out", "test", name)["samples"]


TEXT = "太郎0は東京大学に行った。彼0はJRのホンを読む。"


@pytest.mark.parametrize(
    ("name", "output"),
    [
        ("wiki_reading", "たろう0はとうきょうだいがくにいった。かれ0はじぇーあーるのほんをよむ。"),
        ("wiki_ner", "太郎0（人名） 東京大学（組織名）"),
        (
            "wiki_dependency",
            "太郎0は -> 行った。\n東京大学に -> 行った。\n彼0は -> 読む。\nJRのホンを -> 読む。",
        ),
        # Not the object that is outside of the text, nor the one that the annotators were not sure of.
        ("wiki_pas", "行った ガ：太郎0 ニ：東京大学\n読む ガ：彼0"),
        # Not the name in brackets, and not what is only nearly the same.
        ("wiki_coreference", "太郎0 彼0"),
    ],
)
def test_annotated_texts(tmp_path: Path, name: str, output: str) -> None:
    assert outputs(tmp_path, name)[0] == {"input": TEXT, "output": output}


def test_a_text_without_an_annotation_is_left_out(tmp_path: Path) -> None:
    MADE["wiki_ner"](tmp_path)
    path = tmp_path / "wikipedia_annotated_corpus/knp/wiki0002/wiki00020003.knp"
    path.write_text(path.read_text(encoding="utf-8").replace("<NE:", "<X:"), encoding="utf-8")
    found = built(tmp_path, tmp_path / "out", "wiki_ner", "wiki_dependency")
    assert [found[name, "test"].count for name in ("wiki_ner", "wiki_dependency")] == [11, 12]


def test_a_text_that_a_list_names_must_be_there(tmp_path: Path) -> None:
    MADE["wiki_ner"](tmp_path)
    (tmp_path / "wikipedia_annotated_corpus/knp/wiki0002/wiki00020003.knp").unlink()
    found = built(tmp_path, tmp_path / "out", "wiki_ner")
    assert found["wiki_ner", "test"].refused.endswith("wiki00020003.knp is missing")
    assert found["wiki_ner", "train"].count == 12


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("太郎 たろう 太郎 名詞\n", ":1: '# S-ID:'"),
        ("# S-ID:a\n* -1D\n+ -1D\n太郎\n", ":4: a phrase, a word or EOS"),
        ("# S-ID:a\n* -1D\n+ -1D\n太郎 たろう 太郎 名詞\n", "has no EOS"),
    ],
)
def test_a_damaged_text_is_refused_with_its_place(tmp_path: Path, text: str, problem: str) -> None:
    write(tmp_path / "x.knp", text)
    with pytest.raises(DataError, match=problem):
        knp_sentences(tmp_path / "x.knp")


def test_words_that_look_like_marks_are_words(tmp_path: Path) -> None:
    lines = [f"{sign} {sign} {sign} 特殊 1 記号 5 * 0 * 0 NIL" for sign in "#*+"]
    write(tmp_path / "x.knp", "\n".join(["# S-ID:a", "* -1D", "+ -1D", *lines, "EOS", ""]))
    (sentence,) = knp_sentences(tmp_path / "x.knp")
    assert sentence.text == "#*+"


def test_translations_of_sentences_that_both_languages_have(tmp_path: Path) -> None:
    english, japanese = "The sentence number 1 of test is short.", "testの1番目の文は短い。"
    assert outputs(tmp_path, "alt-e-to-j")[0] == {"input": english, "output": japanese}
    assert outputs(tmp_path, "alt-j-to-e")[0] == {"input": japanese, "output": english}


def test_kyoto_articles_have_their_checked_translation(tmp_path: Path) -> None:
    into_english, into_japanese = (
        outputs(tmp_path, f"wikicorpus-{direction}") for direction in ("j-to-e", "e-to-j")
    )
    assert [(s["output"], s["input"]) for s in into_english] == [
        (s["input"], s["output"]) for s in into_japanese
    ]
    for sample in into_japanese:
        name, number = sample["output"].split("の寺")
        assert sample["input"] == f"The temple {number.removesuffix('は古い。')} of {name} is old."


def test_minimal_pairs_have_the_right_sentence_in_both_places(tmp_path: Path) -> None:
    samples = outputs(tmp_path, "jblimp")
    for sample in samples:
        lines = dict(line.split("：") for line in sample["input"].split("\n"))
        assert (lines[sample["output"]][-4:], sorted(lines)) == ("が来た。", ["a", "b"])
    assert {sample["output"] for sample in samples} == {"a", "b"}


def test_programs_have_statements_that_test_them(tmp_path: Path) -> None:
    numbers = []
    for sample in outputs(tmp_path, "jhumaneval"):
        number = int(sample["input"].split("に")[1].split("を")[0])
        numbers.append(number)
        statements = ast.literal_eval(sample["output"])
        assert f"assert add_{number}(1) == {1 + number}" in statements
        names: dict[str, object] = {}
        row = program(number)
        # An answer without the helper of the prompt.
        exec(original_program(f"def add_{number}(x):\n{row['canonical_solution']}"), names)
        for statement in statements:
            exec(statement, names)
    assert any(number % 3 == 0 for number in numbers)


def test_all_programs_of_humaneval_pass_the_statements(data_dir: Path, tmp_path: Path) -> None:
    """HumanEval's rows are JHumanEval's but for the prompt's language."""
    rows = [
        json.loads(line)
        for line in (data_dir / "humaneval/HumanEval.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    write_lines(tmp_path / "jhumaneval/jhuman-eval.jsonl", rows)
    found = built(tmp_path, tmp_path / "out", "jhumaneval")
    assert [found["jhumaneval", split].count for split in ("train", "dev", "test")] == [32, 66, 66]
    solutions = {row["prompt"]: row["prompt"] + row["canonical_solution"] for row in rows}
    for split in ("train", "dev", "test"):
        for sample in content(tmp_path / "out", split, "jhumaneval")["samples"]:
            names: dict[str, object] = {}
            exec(solutions[sample["input"]], names)
            exec("\n".join(ast.literal_eval(sample["output"])), names)


def test_a_test_that_checks_nothing_is_refused(tmp_path: Path) -> None:
    write_lines(tmp_path / "jhumaneval/jhuman-eval.jsonl", [program(1) | {"test": "x = 1"}])
    found = built(tmp_path, tmp_path / "out", "jhumaneval")
    assert "add_1" in found["jhumaneval", "test"].refused


def test_kuci_from_files_in_its_format(tmp_path: Path) -> None:
    assert outputs(tmp_path, "kuci")[1] == {
        "input": "文脈：testに雨1\n選択肢：0.a1,1.b1,2.c1,3.d1",
        "output": "1",
    }


def test_quiz_questions_with_the_first_of_their_answers(tmp_path: Path) -> None:
    samples = outputs(tmp_path, "aio")
    assert samples[:2] == [{"input": f"質問：testの{n}番目の町は？", "output": f"町{n}"} for n in range(2)]
    write_lines(tmp_path / "upstream/aio/aio_01_test.jsonl", [{"question": "何？"}])
    found = built(tmp_path / "upstream", tmp_path / "again", "aio")
    assert "'何？' has neither 'answers' nor" in found["aio", "test"].refused


def test_questions_with_up_to_ten_options(tmp_path: Path) -> None:
    samples = outputs(tmp_path, "mmlu_prox_ja")
    assert samples[0] == {"input": "質問：testの問0\n選択肢：A.選0,B.選1,C.選2", "output": "A"}
    assert samples[7]["input"].endswith(",J.選9")
    row = {"question": "問", "answer": "D", "option_0": "ア", "option_1": "イ", "option_2": "N/A"}
    write_lines(tmp_path / "upstream/mmlu_prox_ja/test.jsonl", [row])
    found = built(tmp_path / "upstream", tmp_path / "again", "mmlu_prox_ja")
    assert "'問' has no option 'D'" in found["mmlu_prox_ja", "test"].refused


def test_every_dataset_has_a_reader() -> None:
    assert {file for dataset in DATASETS.values() for file in dataset.all_files} == set(UPSTREAMS)


def test_the_table_of_the_docs_says_what_is_there(data_dir: Path, tmp_path: Path) -> None:
    """Each row: how many items are built of the files at hand, and whether those are the real ones."""
    found = built(data_dir, tmp_path)
    page = Path(__file__).parents[2] / "docs/japanese.md"
    _, _, table = page.read_text(encoding="utf-8").partition("| dataset | upstream files |")
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in table.split("\n\n")[0].split("\n")[2:]
    ]
    listed = {name for row in rows for name in row[0].split(", ")}
    assert listed == {*DATASETS, "jmmlu.json"}
    for names, _, *cells, here in rows:
        for name in names.split(", "):
            files = DATASETS[name].files if name in DATASETS else (name.removesuffix(".json"),)
            for split, cell in zip(("train", "dev", "test"), cells, strict=True):
                splits = [found[file, split] for file in files]
                if cell == "none":
                    assert {each.refused for each in splits} == {"its upstream has no such split"}, (
                        name,
                        split,
                    )
                elif cell == "refused":
                    assert all(each.refused.endswith("missing") for each in splits), (name, split)
                else:
                    assert sum(each.count for each in splits) == int(cell), (name, split)
            is_real = all(not found[file, "test"].refused for file in files)
            assert here.startswith("real" if is_real else "made"), name
            assert is_real != (name in MADE), name


def test_mgsm_examples_are_read_from_the_python_file_and_not_run(tmp_path: Path) -> None:
    examples = {"ja": {"1": {"q": "問題：一足す一は？", "a": "答えは2です。", "number_answer": 2}}}
    write(tmp_path / "mgsm/exemplars.py", f"EXEMPLARS = {examples!r}\nopen('ran', 'w')\n")
    write(tmp_path / "mgsm/mgsm_ja.tsv", "千足す二百は？\t1,200\n")
    found = built(tmp_path, tmp_path / "out", "mgsm")
    assert found["mgsm", "train"].count == found["mgsm", "test"].count == 1
    assert content(tmp_path / "out", "train", "mgsm")["samples"] == [{"input": "一足す一は？", "output": "2"}]
    assert content(tmp_path / "out", "test", "mgsm")["samples"][0]["output"] == "1200"
    assert not Path("ran").exists()


def test_a_small_set_without_splits_has_32_train_items_and_halves(tmp_path: Path) -> None:
    rows = "".join(f"問{n},ア,イ,ウ,エ,{'ABCD'[n % 4]}\n" for n in range(99))
    write(tmp_path / "jmmlu/anatomy.csv", "\ufeff" + rows)
    found = built(tmp_path, tmp_path / "out", "jmmlu")
    assert [found["jmmlu_anatomy", split].count for split in ("train", "dev", "test")] == [32, 33, 34]
    parts = [
        content(tmp_path / "out", split, "jmmlu_anatomy")["samples"] for split in ("train", "dev", "test")
    ]
    assert len({sample["input"] for part in parts for sample in part}) == 99
    assert parts[0][0]["input"].startswith("質問：問")


@pytest.mark.parametrize(
    ("text", "reason"),
    [("{", "not valid JSON"), ('[{"question": "q"}]', "item 0 needs the texts question and answer")],
)
def test_a_damaged_upstream_file_is_named_and_nothing_is_written(
    tmp_path: Path, text: str, reason: str
) -> None:
    write(tmp_path / "jemhopqa/corpus/dev.json", text)
    found = built(tmp_path, tmp_path / "out", "jemhopqa")
    assert reason in found["jemhopqa", "test"].refused
    assert "dev.json" in found["jemhopqa", "test"].refused
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
