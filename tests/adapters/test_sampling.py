from __future__ import annotations

import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.adapters.sampling import downsample, few_shot, permutation
from evalkit.instance import Instance, Reference


def labelled(position: int, label: str | None, split: str = "train") -> Instance:
    references = () if label is None else (Reference(label, ("correct",)),)
    return Instance(f"q{position}", references, split, f"id{position}")


def ids(instances: list[Instance]) -> list[str | None]:
    return [instance.id for instance in instances]


@pytest.mark.parametrize("size", [*range(40), 63, 64, 65, 127, 128, 129, 1000, 1319, 65536, 65537, 100_000])
def test_permutation_is_numpys(size: int) -> None:
    assert permutation(size, 0) == np.random.RandomState(0).permutation(size).tolist()


@given(size=st.integers(0, 300), seed=st.integers(0, 2**32 - 1))
def test_permutation_is_numpys_for_any_seed(size: int, seed: int) -> None:
    assert permutation(size, seed) == np.random.RandomState(seed).permutation(size).tolist()


@given(size=st.integers(2, 300), data=st.data())
def test_downsample_is_numpys_choice(size: int, data: st.DataObject) -> None:
    wanted = data.draw(st.integers(1, size - 1))
    pool = [labelled(i, "x", "test") for i in range(size)]
    chosen = np.random.RandomState(0).choice(size, wanted, replace=False)
    assert downsample(pool, wanted) == [pool[i] for i in chosen]


def test_downsample_golden(golden: Callable[[str], Any]) -> None:
    pool = [labelled(i, "x", "valid" if i % 4 == 0 else "test") for i in range(50)]
    train = [labelled(100 + i, "x") for i in range(9)]
    cases = golden("sampling.json")["downsample"]["cases"]
    assert cases
    for case in cases:
        assert ids(downsample(train + pool, case["n"], case["eval_splits"])) == case["ids"]


def test_downsample_restricts_to_the_splits_in_scenario_order() -> None:
    instances = [labelled(i, "x", ("train", "valid", "test")[i % 3]) for i in range(9)]
    assert ids(downsample(instances)) == ["id1", "id2", "id4", "id5", "id7", "id8"]
    assert ids(downsample(instances, 100, ("valid",))) == ["id1", "id4", "id7"]
    assert ids(downsample(instances, None, ("train",))) == ["id0", "id3", "id6"]
    assert downsample([], 5) == []


def test_a_smaller_draw_begins_a_larger_one() -> None:
    pool = [labelled(i, "x", "test") for i in range(200)]
    assert downsample(pool, 150)[:20] == downsample(pool, 20)


def test_few_shot_golden(golden: Callable[[str], Any]) -> None:
    pool = [labelled(i, f"out{i % 3}") for i in range(11)]
    cases = golden("sampling.json")["few_shot"]
    assert cases
    for case in cases:
        assert ids(few_shot(pool, case["k"], case["seed"])) == case["ids"], case


@given(
    labels=st.lists(st.sampled_from(["", "a", "b", "c", None])), k=st.integers(0, 12), trial=st.integers(0, 3)
)
def test_few_shot_goes_round_the_labels(labels: list[str | None], k: int, trial: int) -> None:
    train = [labelled(i, label) for i, label in enumerate(labels)]
    drawn = few_shot(train, k, trial)
    assert len(drawn) == len(set(ids(drawn))) == min(k, len(train))
    assert {i.id for i in drawn} <= {i.id for i in train}
    names = [i.first_correct.text if i.first_correct else None for i in drawn]
    frequency = Counter(label for label in labels if label is not None)
    first_round = [name for name in names[: len(frequency)] if name is not None]
    counts = [frequency[name] for name in first_round]
    assert len(set(first_round)) == len(first_round)
    assert counts == sorted(counts, reverse=True)
    if None in names:
        assert names.count(None) == len(names) - sum(frequency.values())
        assert set(names[sum(frequency.values()) :]) == {None}


def test_few_shot_fills_up_from_unlabelled_where_helm_never_ends() -> None:
    train = [labelled(0, None), labelled(1, "a"), labelled(2, None), labelled(3, "b")]
    drawn = few_shot(train, 4, 0)
    assert set(ids(drawn[:2])) == {"id1", "id3"}
    assert set(ids(drawn[2:])) == {"id0", "id2"}


def test_few_shot_in_order() -> None:
    train = [labelled(i, "x") for i in range(5)]
    assert ids(few_shot(train, 2, 0, sample_train=False)) == ["id0", "id1"]
    assert ids(few_shot(train, 2, 2, sample_train=False)) == ["id4"]
    assert few_shot(train, 2, 3, sample_train=False) == []


def test_global_state_is_left_alone() -> None:
    random.seed(7)
    before = random.getstate()
    few_shot([labelled(i, "x") for i in range(5)], 3, 0)
    permutation(10, 0)
    assert random.getstate() == before


def test_no_numpy() -> None:
    code = (
        "import sys, evalkit.adapters.sampling as s, evalkit.adapters.multiple_choice\n"
        "s.permutation(9, 0)\n"
        "print('numpy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
