from __future__ import annotations

import math
import random
import warnings

import pytest

from evalkit.errors import DataError
from evalkit.metrics.correlation import answered_number, pearson, ranks
from tests.metrics.japanese_texts import text
from tests.scoring.units import built, instance, over_run, unit

NAMES = ("pearson", "spearman")


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("3.5", 3.5),
        ("類似度は4です", 4.0),
        ("-3", 3.0),  # the original drops the sign
        ("3,5", 35.0),
        ("3.5.1", None),
        ("", None),
        ("🙂", None),
        (".", None),
        ("4/5", 45.0),
        ("1" * 400, None),
    ],
)
def test_the_number_of_an_answer(text: str, number: float | None) -> None:
    assert answered_number(text) == number


def of_scipy(name: str, right: list[float], given: list[float]) -> float:
    stats = pytest.importorskip("scipy.stats", reason="scipy is not installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = {"pearson": stats.pearsonr, "spearman": stats.spearmanr}[name](right, given)
    return 0.0 if math.isnan(found[0]) else float(found[0])


@pytest.mark.parametrize("name", NAMES)
def test_as_scipy_over_1000_answers(name: str) -> None:
    generator = random.Random(3)
    rows, right, given = [], [], []
    for _ in range(1000):
        gold = generator.choice(["0.0", "1.2", "2.5", "3", "4.4", "５"])
        said = generator.choice([gold, f"{gold}点", str(generator.randint(0, 5)), "", text(generator)])
        rows.append(unit(instance(gold), said))
        right.append({"５": 5.0}.get(gold) or float(gold))
        # Not by answered_number: what the original does, after the reading that another test checks.
        kept = "".join(c for c in built(name).predictions(rows[-1])[0] if c in "0123456789.")  # type: ignore[attr-defined]
        try:
            given.append(float(kept))
        except ValueError:
            given.append(-2.0)
    num_unparsable = given.count(-2.0)
    assert 200 < num_unparsable < 500
    metric = built(name)
    shares = [metric.score(row)[f"{name}_unparsable"] for row in rows]
    assert sum(shares) == num_unparsable
    assert metric.remarks() == (
        f"{name}: {num_unparsable} of 1,000 answers held no number; counted as -2, as in llm-jp-eval",
    )
    assert over_run(metric, rows)[name] == pytest.approx(of_scipy(name, right, given), abs=1e-12)

    kept_pairs = [(r, g) for r, g in zip(right, given, strict=True) if g != -2.0]
    parsable = of_scipy(name, [r for r, _ in kept_pairs], [g for _, g in kept_pairs])
    found = over_run(built(name, unparsable="left_out"), rows)[name]
    assert found == pytest.approx(parsable, abs=1e-12)
    assert abs(found - over_run(metric, rows)[name]) > 0.001


@pytest.mark.parametrize("name", NAMES)
def test_ties_and_extremes_as_scipy(name: str) -> None:
    generator = random.Random(4)
    for size in (2, 3, 10, 50):
        for scale in (1, 1e-300, 1e150, 1e300):
            first = [scale * generator.randint(0, 3) for _ in range(size)]
            second = [generator.random() for _ in range(size)]
            ours = pearson(first, second) if name == "pearson" else pearson(ranks(first), ranks(second))
            if scale in (1, 1e150):  # SciPy itself overflows or underflows beyond
                assert (ours or 0.0) == pytest.approx(of_scipy(name, first, second), abs=1e-9)
            assert ours is None or -1 <= ours <= 1


@pytest.mark.parametrize("name", NAMES)
def test_not_a_mean_of_single_scores(name: str) -> None:
    """A number per item, as in later versions of the original, is always 0."""
    rows = [unit(instance(gold), said) for gold, said in (("1", "1"), ("2", "2"), ("3", "2.5"))]
    assert over_run(built(name), rows)[name] > 0.9
    assert [over_run(built(name), [row]) for row in rows] == [{}] * 3


@pytest.mark.parametrize("name", NAMES)
def test_answers_all_alike(name: str) -> None:
    rows = [unit(instance(gold), "3") for gold in ("1", "2", "5")]
    assert over_run(built(name), rows) == {name: 0.0}
    assert over_run(built(name, unparsable="left_out"), rows) == {}


def test_a_right_answer_must_be_a_number() -> None:
    for gold in ("近い", "nan", ""):
        with pytest.raises(DataError, match="id0"):
            built("pearson").check(instance(gold))
    built("pearson").check(instance("２.５"))


def test_right_answers_are_not_unparsable() -> None:
    metric = built("pearson")
    assert metric.full_marks == {"pearson_unparsable": 0.0}
    assert metric.lower_is_better == {"pearson_unparsable"}
    assert metric.score(unit(instance("2"), "2")) == {"pearson_unparsable": 0.0}
    assert metric.detail(unit(instance("2"), "x")) == "no number in the answer"
