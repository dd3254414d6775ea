from __future__ import annotations

import pytest

from evalkit.adapters.ranking import RankingBinaryAdapter
from evalkit.errors import DataError
from evalkit.instance import Instance, Reference
from evalkit.specs.run_spec import AdapterSpec

SPEC = AdapterSpec(
    method="ranking_binary",
    input_prefix="Query: ",
    reference_prefix="Passage: ",
    output_prefix="Relevant? ",
    max_train_instances=1,
    num_outputs=1,
)
DOCUMENTS = (Reference("good", ("correct",)), Reference("bad"))


def test_a_query_shows_all_its_documents_and_asks_one() -> None:
    train = [Instance("t", DOCUMENTS, "train", "id0")]
    states = list(RankingBinaryAdapter(SPEC).requests([Instance("q", DOCUMENTS, "test", "id1")], train))
    assert [(s.reference_index, s.request_mode, s.unit_size) for s in states] == [
        (0, "original", 2),
        (1, "original", 2),
    ]
    assert states[1].request.prompt == (
        "Passage: good\nQuery: t\nRelevant? Yes\n\n"
        "Passage: bad\nQuery: t\nRelevant? No\n\n"
        "Passage: bad\nQuery: q\nRelevant?"
    )
    assert states[1].num_train_instances == 1
    assert states[1].key == "t0/id1/r1/original"
    assert not states[1].request.echo_prompt
    assert states[1].request.scored_from is None


def test_a_query_without_documents_is_refused() -> None:
    with pytest.raises(DataError, match="no references to rank"):
        list(RankingBinaryAdapter(SPEC).requests([Instance("q", (), "test", "id1")], []))
