from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from evalkit.errors import EntryError, UsageError
from evalkit.specs.conf import ConfEntry
from evalkit.specs.expand import ExpandOptions, expand_entries
from evalkit.specs.helm_names import HELM_RUN_SPECS, NotPortedError, refuse_if_helms

if TYPE_CHECKING:
    from tests.specs.conftest import FakeModels

MISSING = "interactive_qa_mmlu:subject=global_facts,model=openai/gpt2"


def test_all_of_helms_run_specs_are_known() -> None:
    assert len(HELM_RUN_SPECS) == 309
    assert {"mmlu", "ifeval", "winogrande_afr"} <= HELM_RUN_SPECS


def test_what_is_nearest_is_told() -> None:
    with pytest.raises(NotPortedError, match=r"'lsat_qa' is not ported yet; the nearest here: mmlu$"):
        refuse_if_helms("lsat_qa", ["gsm", "mmlu"])
    with pytest.raises(NotPortedError, match=r"'audio_mnist' is not ported yet$"):
        refuse_if_helms("audio_mnist", ["gsm", "mmlu"])
    refuse_if_helms("mmlux", ["gsm", "mmlu"])


def test_on_the_command_line_it_is_an_error_with_its_place(models: FakeModels) -> None:
    with pytest.raises(EntryError, match="not ported yet; the nearest here: mmlu") as caught:
        expand_entries([ConfEntry(MISSING)], models, ExpandOptions())
    assert caught.value.span == (0, len("interactive_qa_mmlu"))


def test_in_a_conf_file_it_is_left_out_and_the_rest_goes_on(models: FakeModels) -> None:
    entries = [ConfEntry(MISSING, source="a.conf:1"), ConfEntry("gsm:model=openai/gpt2", source="a.conf:2")]
    expansion = expand_entries(entries, models, ExpandOptions())
    assert [run.run_spec.name for run in expansion.run_specs] == ["gsm:model=openai_gpt2"]
    ((entry, reason),) = expansion.skipped
    assert entry is entries[0]
    assert reason == "HELM's run spec 'interactive_qa_mmlu' is not ported yet; the nearest here: mmlu"
    with pytest.raises(UsageError, match=r"nothing is left to run\n  interactive_qa_mmlu.*not ported"):
        expand_entries(entries[:1], models, ExpandOptions())


def test_a_misspelt_name_in_a_conf_file_is_an_error(models: FakeModels) -> None:
    with pytest.raises(EntryError, match="unknown run spec 'gsmm'; did you mean 'gsm'"):
        expand_entries([ConfEntry("gsmm:model=openai/gpt2", source="a.conf:1")], models, ExpandOptions())
