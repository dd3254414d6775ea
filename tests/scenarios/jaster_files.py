"""Twelve items of each dataset of jaster, made in its format."""

from __future__ import annotations

import json
from pathlib import Path

from evalkit.run_specs.jaster_datasets import DATASETS, JasterDataset

NUM_ITEMS = 12
_FREE = {
    "jsts": lambda n: f"{n % 6}.0",
    "mawps": lambda n: str(3 * n),
    "mgsm": lambda n: str(7 * n),
    "chabsa": lambda n: f"売上高{n} positive\n利益{n} negative",
    "wiki_ner": lambda n: f"東京{n}（地名） 太郎{n}（人名）",
    "wiki_dependency": lambda n: f"太郎{n}は -> 走る\n速く -> 走る",
    "wiki_pas": lambda n: f"読む ガ：太郎{n} ヲ：本{n}\n行く ガ：彼{n}",
    "wiki_coreference": lambda n: f"太郎{n} 彼{n}\n東京{n} 首都{n}",
    "jhumaneval": lambda n: f"['assert add_{n}(1, 2) == {3 + n}', 'assert add_{n}(0, 0) == {n}']",
}


def item(dataset: JasterDataset, number: int, place: str = "") -> dict[str, str]:
    """One item: its input names its number, and that of an exam its file too."""
    if dataset.labels:
        output = dataset.labels[number % len(dataset.labels)]
    elif dataset.name in _FREE:
        output = _FREE[dataset.name](number)
    elif dataset.name.endswith("j-to-e"):
        output = f"It is raining in town number {number} today."
    else:
        output = f"これは{number}番目の答えです"
    if dataset.subjects:
        options = ",".join(f"{letter}.{letter}の町{number}" for letter in "ABCD")
        return {"input": f"質問：{place}の第{number}問のAは何か？\n選択肢：{options}", "output": output}
    return {"input": f"文章：町{number // 3}では雨が降る。\n質問：第{number}問は何か？", "output": output}


def write_dataset(root: Path, name: str, splits: tuple[str, ...] = ("train", "dev", "test")) -> Path:
    """The files of one dataset below `<root>/1.2.6/evaluation`; returns the root."""
    dataset = DATASETS[name]
    for split in splits:
        for file in dataset.all_files:
            content = {
                "instruction": dataset.instruction,
                "output_length": dataset.output_length,
                "metrics": list(dataset.metrics),
                "few_shots": [],
                "samples": [item(dataset, number, f"{split}/{file}") for number in range(NUM_ITEMS)],
            }
            path = root / f"1.2.6/evaluation/{split}/{file}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    return root
