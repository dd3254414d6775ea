from __future__ import annotations

from pathlib import Path

import pytest

from evalkit.data import DataStore
from evalkit.errors import DataError
from evalkit.scenarios.narrative_qa import NarrativeQAScenario
from tests.scenarios.mirror import mirror

HEADER = "document_id,set,question,answer1,answer2\n"


def store_with(folder: Path, questions: str) -> DataStore:
    (qaps, summaries) = (file.path for file in NarrativeQAScenario().files())
    return mirror(
        folder,
        {qaps: HEADER + questions, summaries: 'document_id,set,summary\nd1,test," A\nstory. "\nd2,train,B\n'},
    )


def test_one_question_of_each_story_train_first(tmp_path: Path) -> None:
    questions = "d1,test,who,x, y\nd1,test,who,x, y\nd2,train,why? ,a,b\n"
    train, test = NarrativeQAScenario().instances(store_with(tmp_path, questions))
    assert (train.input, train.split) == ("B\nQuestion: why?", "train")
    assert (test.input, test.split) == ("A\nstory.\nQuestion: who?", "test")
    assert [(r.text, r.is_correct) for r in test.references] == [("x", True), (" y", True)]


@pytest.mark.parametrize(
    ("questions", "problem"),
    [
        ("d3,test,who,x,y\n", "holds no summary of the document d3"),
        ("d1,dev,who,x,y\n", "'dev' is none of train, valid, test"),
        ("d1,test,who,x\n", r"qaps\.csv:2: 4 fields, 5 are expected"),
    ],
)
def test_bad_rows_are_named(tmp_path: Path, questions: str, problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        list(NarrativeQAScenario().instances(store_with(tmp_path, questions)))
