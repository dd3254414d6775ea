from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pytest

from evalkit.data import DataStore
from evalkit.errors import DataError
from evalkit.instance import Instance
from evalkit.scenarios.natural_qa import NaturalQAScenario
from tests.scenarios.mirror import json_lines, mirror

PAGE = "<P>Bern\u00a0is&#160;<b>old</b>.</P>"


def span(text: str) -> dict[str, int]:
    start = PAGE.encode().index(text.encode())
    return {"start_byte": start, "end_byte": start + len(text.encode())}


def row(*short: str, question: str = "how OLD is Bern") -> dict[str, Any]:
    annotation = {"long_answer": span(PAGE), "short_answers": [span(text) for text in short]}
    tokens = [{"token": "<P>"}, {"token": "Bern is"}, {"token": "&quot;old&quot;"}]
    return {
        "document_title": "Bern",
        "document_html": PAGE,
        "document_tokens": tokens,
        "question_text": question,
        "annotations": [{"long_answer": span(PAGE), "short_answers": []}, annotation],
    }


def store_with(folder: Path, *rows: dict[str, Any]) -> DataStore:
    paths = [file.path for file in NaturalQAScenario("closedbook").files()]
    return mirror(folder, {**dict.fromkeys(paths, ""), paths[1]: json_lines(rows)})


def made(
    mode: Literal["closedbook", "openbook_longans", "openbook_wiki"], store: DataStore
) -> list[Instance]:
    return list(NaturalQAScenario(mode).instances(store))


def test_splits_alternate_among_answered_questions(tmp_path: Path) -> None:
    store = store_with(tmp_path, row(), row("old"), row(), row("Bern", "old", "Bern"), row("Bern"))
    first, second, third = made("closedbook", store)
    assert [i.split for i in (first, second, third)] == ["train", "valid", "train"]
    assert [r.text for r in first.references] == ["old"]
    assert [r.text for r in second.references] == ["Bern", "old"], "a valid question has all, each once"


def test_the_question_loses_its_capitals_and_gets_its_mark(tmp_path: Path) -> None:
    store = store_with(tmp_path, row("old"), row("old", question="is it?"))
    assert [i.input for i in made("closedbook", store)] == ["How old is bern?", "Is it?"]


def test_what_is_shown_beside_the_question(tmp_path: Path) -> None:
    store = store_with(tmp_path, row("old"))
    (long,) = made("openbook_longans", store)
    assert long.input == "Passage: Bern is\u00a0old.\n\nQuestion: How old is bern?"
    (page,) = made("openbook_wiki", store)
    assert page.input == 'Title: Bern\n\nPassage:  Bern_is "old"\n\nQuestion: How old is bern?'


def test_a_malformed_annotation_is_named(tmp_path: Path) -> None:
    broken = {**row("old"), "annotations": [{"short_answers": [{}]}]}
    with pytest.raises(DataError, match=r"nq-dev-01\.jsonl\.gz: row 2 has a malformed annotation"):
        made("closedbook", store_with(tmp_path, row("old"), broken))
