from __future__ import annotations

from evalkit.run_specs.natural_qa import natural_qa


def test_a_passage_brings_its_own_headings() -> None:
    assert natural_qa("closedbook").adapter_spec.input_prefix == "Question: "
    assert natural_qa("openbook_wiki").adapter_spec.input_prefix == ""
    assert natural_qa("openbook_longans").groups == ("natural_qa_openbook_longans",)
