from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.errors import UsageError
from evalkit.instance import Instance
from evalkit.response import Failure
from evalkit.scoring.score_table import ScoreTable


def table(n: int = 3, num_train_trials: int = 1, num_samples: int = 1) -> ScoreTable:
    return ScoreTable(
        [Instance("?", (), "test", id=f"id{i}") for i in range(n)], num_train_trials, num_samples
    )


@given(st.integers(1, 5), st.integers(1, 3), st.integers(1, 3))
def test_slots_count_up_by_trial_then_instance_then_sample(
    n: int, num_train_trials: int, num_samples: int
) -> None:
    made = table(n, num_train_trials, num_samples)
    units = [(f"id{i}", t, s) for t in range(num_train_trials) for i in range(n) for s in range(num_samples)]
    assert [made.slot(*unit) for unit in units] == list(range(made.num_slots))
    assert [made.instance_at(slot).id for slot in range(made.num_slots)] == [unit[0] for unit in units]
    assert [(r.instance_id, r.trial, r.sample) for r in made.rows()] == units


@pytest.mark.parametrize("unit", [("id3", 0, 0), ("id0", 1, 0), ("id0", 0, 1), ("id0", 0, -1)])
def test_units_outside_the_plan_have_no_slot(unit: tuple[str, int, int]) -> None:
    with pytest.raises(UsageError, match="not part of this run"):
        table().slot(*unit)


def test_columns_are_listed_by_their_smallest_rank_scores_first() -> None:
    made = table()
    made.column("tokens", "usage", (0, 0))
    made.column("late", "score", (2, 0)).set(0, 1.0)
    made.column("middle", "score", (1, 1)).set(0, 2.0)
    assert [s.name for s in made.stats()] == ["middle", "late", "tokens"]
    made.column("late", "score", (0, 3)).set(1, 2.0)
    assert [s.name for s in made.stats()] == ["late", "middle", "tokens"]
    assert made.means() == {"late": 1.5, "middle": 2.0}


def test_a_stat_that_only_some_units_have_counts_those() -> None:
    made = table()
    made.answered[:] = b"\1\1\0"
    made.column("some", "score", (0, 0)).set(1, 4.0)
    made.failures[2] = Failure("timeout", "too slow")
    stat = made.stats()[0]
    assert (stat.n, stat.n_failed, stat.n_total, stat.mean) == (1, 1, 3, 4.0)
    assert [(r.status, dict(r.scores)) for r in made.rows()] == [
        ("scored", {}),
        ("scored", {"some": 4.0}),
        ("failed", {}),
    ]


def test_rows_are_plain_json() -> None:
    made = table(1)
    made.failures[0] = Failure("timeout", "too slow")
    row = json.loads(json.dumps(next(made.rows()).to_json()))
    assert (row["status"], row["reason"], row["message"], row["scores"]) == (
        "failed",
        "timeout",
        "too slow",
        {},
    )
    assert "sub_split" not in row
