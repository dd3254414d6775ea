"""Mistakes in a judge's plugin: found when it is registered, else kept to the numbers that they spoil."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

import evalkit
from evalkit import Instance, JudgeSpec, Metric, MetricSpec, RunSpec, Unit
from evalkit.errors import PluginError
from evalkit.registry import RUN_SPECS, isolated_registries, run_spec_function
from evalkit.results.run_directory import RunDirectory
from evalkit.results.run_result import RunResult
from tests.judges.scripted import Rating, Script, ScriptedClient, register, run

N = 6


@pytest.fixture(autouse=True)
def script() -> Iterator[Script]:
    ScriptedClient.script = made = Script()
    with isolated_registries():
        register()
        yield made


class Largest(Rating):
    """Rates, and says which rating is the largest."""

    run_level_names = ("largest",)
    row: ClassVar[Any] = staticmethod(lambda instance, scores: (scores["rating"],))

    def run_level_row(self, instance: Instance, scores: Mapping[str, float]) -> tuple[float]:
        found: tuple[float] = type(self).row(instance, scores)
        return found

    def run_level_scores(self, rows: Sequence[tuple[Any, ...]]) -> Mapping[str, float]:
        return {"largest": max(rating for (rating,) in rows)}


def judged_by(tmp_path: Path, largest: type[Largest], *more: str) -> RunResult:
    evalkit.judge("largest")(largest)
    base: RunSpec = RUN_SPECS.get("judged")(N)

    @run_spec_function("largest_of")
    def largest_of() -> RunSpec:
        """Numbers, judged by this judge."""
        metrics = (*base.metric_specs, *(MetricSpec(name=name) for name in more))
        spec = base.model_copy(update={"metric_specs": metrics}).named("largest_of")
        return spec.with_judges(JudgeSpec(name="largest"))

    (result,) = run(tmp_path, "largest_of:model=own/model,judge=own/judge")
    return result


def means_of(result: RunResult) -> dict[str, tuple[float | None, int, int]]:
    return {stat.name: (stat.mean, stat.n, stat.n_failed) for stat in result.stats if stat.split == "all"}


def test_a_judge_that_makes_rows_well(tmp_path: Path) -> None:
    result = judged_by(tmp_path, Largest)
    assert (result.status, means_of(result)["largest"]) == ("complete", (N - 1, N, 0))


def test_a_row_that_can_not_be_made_takes_no_other_number(tmp_path: Path) -> None:
    class Broken(Largest):
        row = staticmethod(lambda instance, scores: (scores["no_such_score"],))

    result = judged_by(tmp_path, Broken)
    means = means_of(result)
    assert (means["exact_match"], means["rating"]) == ((1.0, N, 0), ((N - 1) / 2, N, 0))
    assert means["largest"] == (None, 0, N)
    assert result.status == "partial"
    assert "largest" in result.message
    assert result.path is not None
    manifest = RunDirectory(result.path).manifest()
    assert manifest is not None
    assert manifest.status == "partial"


def test_numbers_that_can_not_be_made_name_the_judge(tmp_path: Path) -> None:
    class Broken(Largest):
        row = staticmethod(lambda instance, scores: ("six",) * 2)

    result = judged_by(tmp_path, Broken)
    assert (result.status, means_of(result)["largest"][0]) == ("partial", None)
    assert means_of(result)["rating"] == ((N - 1) / 2, N, 0)


def test_a_bug_where_none_is_expected_ends_the_run_and_says_where(tmp_path: Path) -> None:
    @evalkit.metric("remarks_badly")
    class RemarksBadly(Metric):
        names = ("one",)

        def score(self, unit: Unit) -> Mapping[str, float]:
            return {"one": 1.0}

        def remarks(self) -> tuple[str, ...]:
            raise TypeError("no remarks")

    result = judged_by(tmp_path, Largest, "remarks_badly")
    assert result.status == "error"
    assert "no remarks" in result.message
    assert "test_plugin_mistakes.py" in result.message
    (path,) = (tmp_path / "out" / "runs" / "default").iterdir()
    manifest = RunDirectory(path).manifest()
    assert manifest is not None
    assert manifest.status == "error"
    assert "no remarks" in manifest.message


def test_methods_with_other_arguments_are_refused_when_registered() -> None:
    class AsAMetric(Rating):
        def run_level_row(self, unit: Unit) -> tuple[float]:  # type: ignore[override]
            return (1.0,)

    class WithoutReply(Rating):
        def verdict(self, unit: Unit) -> Mapping[str, float]:  # type: ignore[override]
            return {}

    for broken, method in ((AsAMetric, "run_level_row"), (WithoutReply, "verdict")):
        with pytest.raises(
            PluginError, match=rf"evalkit calls {method}\(self, .*defined as {method}\(self, unit\)"
        ):
            evalkit.judge("broken")(broken)

    class AsAJudge(Metric):
        def run_level_row(self, instance: Instance, scores: Mapping[str, float]) -> None:  # type: ignore[override]
            pass

    with pytest.raises(PluginError, match=r"metric 'broken' .*run_level_row\(self, unit\)"):
        evalkit.metric("broken")(AsAJudge)


def test_methods_that_take_more_are_fine() -> None:
    class Wide(Rating):
        def questions(self, *given: Any, **more: Any) -> Iterator[Any]:
            return iter(())

        def run_level_row(self, instance: Instance, scores: Mapping[str, float], more: int = 1) -> None:
            return None

    assert evalkit.judge("wide")(Wide) is Wide
