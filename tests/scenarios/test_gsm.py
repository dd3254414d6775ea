from __future__ import annotations

from pathlib import Path

import pytest

from evalkit.data import DataStore
from evalkit.errors import DataError
from evalkit.scenarios.gsm import GSM8KScenario


def store_with(folder: Path, train: str) -> DataStore:
    (folder / "gsm8k").mkdir()
    (folder / "gsm8k" / "train.jsonl").write_text(train, "utf-8")
    (folder / "gsm8k" / "test.jsonl").write_text("", "utf-8")
    return DataStore(mirror=folder, cache=folder / "cache", offline=True, verify=False)


def test_answer_is_put_on_one_line(tmp_path: Path) -> None:
    store = store_with(tmp_path, '{"question": "1+1?", "answer": "1+1=<<1+1=2>>2\\n#### 2"}\n')
    (instance,) = GSM8KScenario().instances(store)
    assert [r.text for r in instance.references] == ["1+1=<<1+1=2>>2 The answer is 2."]
    assert (instance.input, instance.split) == ("1+1?", "train")


def test_bad_row_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"train\.jsonl:1: field 'answer' is missing"):
        list(GSM8KScenario().instances(store_with(tmp_path, '{"question": "1+1?"}\n')))
