"""Numbers that no machine makes, and files of nothing but mistakes: refused at once, in a few lines."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from evalkit.errors import UsageError
from evalkit.models.catalog import ModelCatalog
from evalkit.parameters import MAX_COUNT
from evalkit.plugins import load_plugins
from evalkit.runs.options import read_options
from evalkit.specs.conf import ConfEntry, read_conf
from evalkit.specs.expand import MAX_WRONG_SHOWN, ExpandOptions, expand_entries

HUGE = 10**20
NUM_WRONG = 20_000
PLAIN = "arithmetic:digits=3,num_test=10,model=simple/model1"


@pytest.fixture(scope="module")
def models() -> ModelCatalog:
    load_plugins([])
    return ModelCatalog.load([])


@pytest.mark.parametrize("number", [MAX_COUNT + 1, 10**12, 2**63, HUGE, int("9" * 4000)])
@pytest.mark.parametrize(
    "entry",
    [
        "arithmetic:digits=3,num_test=N,model=simple/model1",
        f"{PLAIN},num_train_trials=N",
        f"{PLAIN},num_trials=N",
        f"{PLAIN},num_outputs=N",
        f"{PLAIN},max_train_instances=N",
        f"{PLAIN},max_eval_instances=N",
    ],
)
@pytest.mark.parametrize("source", [None, "x.conf:3"])
def test_a_number_without_end_in_an_entry_is_refused_with_its_range(
    models: ModelCatalog, entry: str, number: int, source: str | None
) -> None:
    text = entry.replace("=N", f"={number}")
    with pytest.raises(UsageError, match=r"at most 20,000,000|is not between -\d+ and \d+|has no parameter"):
        expand_entries([ConfEntry(text, source=source)], models, ExpandOptions())


@pytest.mark.parametrize(
    "name", ["max_eval_instances", "num_train_trials", "num_threads", "max_loaded_models"]
)
@pytest.mark.parametrize("number", [10**13, HUGE])
def test_a_number_without_end_in_the_settings_is_refused(tmp_path: Path, name: str, number: int) -> None:
    path = tmp_path / "evalkit.yaml"
    path.write_text(f"{name}: {number}\n")
    with pytest.raises(UsageError, match="less than or equal to"):
        read_options(path, {})
    with pytest.raises(UsageError, match="less than or equal to"):
        read_options(None, {name: number})


@pytest.mark.parametrize("number", ["1" * 67, "-" + "1" * 67, "0x" + "f" * 66, "1_" * 60 + "1"])
def test_a_number_without_end_in_yaml_is_refused(tmp_path: Path, number: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(f"max_eval_instances: {number}\n")
    with pytest.raises(UsageError, match="a whole number of more than 66 digits"):
        read_options(path, {})


WRONG = {
    "run spec": "nosuch{}:x=1,model=simple/model1",
    "parameter": "mmlu:subjct=anatomy{},model=simple/model1",
    "model": "arithmetic:digits=1,model=nosuch/m{}",
    "value": "arithmetic:digits=x{},model=simple/model1",
    "form": "arithmetic:digits{}",
    "number": f"arithmetic:digits=1,num_test={HUGE}{{}},model=simple/model1",
}


@pytest.mark.parametrize("kind", WRONG)
def test_of_many_wrong_entries_the_first_are_shown_and_all_are_counted(
    tmp_path: Path, models: ModelCatalog, kind: str
) -> None:
    path = tmp_path / "x.conf"
    entries = "\n".join(f'{{description: "{WRONG[kind].format(number)}"}}' for number in range(NUM_WRONG))
    path.write_text(f"entries: [\n{entries}\n]")
    began = time.process_time()
    with pytest.raises(UsageError) as caught:
        expand_entries(read_conf(path), models, ExpandOptions())
    # A tenth of the 200,000 entries that took longer than 25 s.
    assert time.process_time() - began < 5
    text = str(caught.value)
    assert text.startswith(f"{NUM_WRONG:,} run entries are wrong\n")
    assert text.endswith(f"\n… and {NUM_WRONG - MAX_WRONG_SHOWN:,} more")
    assert text.count("\n") == 3 * MAX_WRONG_SHOWN + 1
    assert [f"x.conf:{number + 2})" in text for number in range(MAX_WRONG_SHOWN)] == [True] * MAX_WRONG_SHOWN


def test_those_left_out_are_all_known_and_the_right_ones_are_run(models: ModelCatalog) -> None:
    wrong = [ConfEntry(f"nosuch{number}:model=simple/model1", source="x") for number in range(300)]
    expansion = expand_entries([*wrong, ConfEntry(PLAIN)], models, ExpandOptions(skip_bad_entries=True))
    assert (len(expansion.bad), len(expansion.run_specs)) == (300, 1)
