"""jaster's files, built from upstream files: the real ones where they are, else made in upstream's format."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from evalkit.data.jaster_build import BuiltSplit, build_jaster
from evalkit.run_specs.jaster_datasets import DATASETS

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
    assert len([1 for name, split in first if name.startswith("mmlu_en_") and split == "test"]) == 57
    built(data_dir, tmp_path / "second")
    assert checksums(tmp_path / "first") == checksums(tmp_path / "second")


def test_a_missing_upstream_file_is_named(data_dir: Path, tmp_path: Path) -> None:
    found = built(data_dir, tmp_path, "jnli", "mgsm", "jcola-out-of-domain", "wiki_ner")
    for split in ("train", "dev"):
        assert found["jnli", split].refused.endswith("jglue/jnli-v1.3/train-v1.3.json is missing")
    assert found["mgsm", "train"].refused.endswith("mgsm/exemplars.py is missing")
    assert found["jcola-out-of-domain", "train"].refused == "its upstream has no such split"
    assert "1.2.6/evaluation/test/wiki_ner.json" in found["wiki_ner", "all"].refused


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def test_kuci_from_files_in_its_format(tmp_path: Path) -> None:
    rows = [
        {"context": f"雨{n}", "label": "abcd"[n % 4]} | {f"choice_{x}": f"{x}{n}" for x in "abcd"}
        for n in range(12)
    ]
    for name in ("train", "development", "test"):
        write(tmp_path / f"kuci/{name}.jsonl", "".join(f"{json.dumps(row)}\n" for row in rows))
    found = built(tmp_path, tmp_path / "out", "kuci")
    assert [each.count for each in found.values()] == [12, 12, 12]
    sample = content(tmp_path / "out", "test", "kuci")["samples"][1]
    assert sample == {"input": "文脈：雨1\n選択肢：0.a1,1.b1,2.c1,3.d1", "output": "1"}


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
