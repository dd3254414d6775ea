"""Judges that do what they should not: each costs its own scores, and nothing that was paid for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from evalkit.errors import BadRequestError, DataError, EntryError
from evalkit.instance import Instance
from evalkit.judges.judge import Question, Reply
from evalkit.plugins import load_builtins
from evalkit.registry import RUN_SPECS, isolated_registries, judge, run_spec_function
from evalkit.request import Request
from evalkit.response import Completion, Response, Usage
from evalkit.results.run_directory import RunDirectory, read_lines
from evalkit.results.scores import score_run
from evalkit.scoring.unit import Unit
from evalkit.specs.run_spec import JudgeSpec, RunSpec
from tests.judges.scripted import Rating, Script, ScriptedClient, number_in, register, replies, run
from tests.judges.test_judging import means_of, path_of, stage_of

JURY = ("own/judge", "own/other")


@pytest.fixture(autouse=True)
def script() -> Iterator[Script]:
    ScriptedClient.script = made = Script()
    with isolated_registries():
        register()
        yield made


def judged_by(*judges: JudgeSpec) -> str:
    """An entry about six numbers with these judges."""

    @run_spec_function("odd")
    def odd() -> RunSpec:
        """Numbers, judged oddly."""
        base: RunSpec = RUN_SPECS.get("judged")(num_test=6)
        return base.with_judges(*judges).named("odd")

    return "odd:model=own/model"


@pytest.mark.parametrize("pooling", ["mean", "median", "majority"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), "7", None])
@pytest.mark.parametrize("deployments", [JURY[:1], JURY])
def test_a_verdict_that_is_no_number_costs_one_score(
    deployments: tuple[str, ...], value: Any, pooling: Any, script: Script, tmp_path: Path
) -> None:
    """Of the others, of other judges and of metrics, nothing is lost, and no median is made of it."""

    class Odd(Rating):
        def verdict(self, unit: Unit, reply: Reply) -> Mapping[str, float]:
            numbers = super().verdict(unit, reply)
            is_odd = numbers["rating"] == 3 and not reply.text.startswith("other")
            return {"rating": value} if is_odd else numbers

    judge("odd")(Odd)
    script.reply = lambda who, request: f"{who} {replies(request.prompt)}"
    (result,) = run(tmp_path, judged_by(JudgeSpec(name="odd", deployments=deployments, pooling=pooling)))
    assert result.status == "partial"
    assert result.message == "1 not scored (rating: 1 judge_error)"
    assert means_of(result) == {"exact_match": (1.0, 6, 0), "rating": (2.4, 5, 1)}


@pytest.mark.parametrize("fails_in", ["rows", "numbers", "nan"])
def test_numbers_over_all_units_that_fail_cost_no_other(
    fails_in: str, script: Script, tmp_path: Path
) -> None:
    class Odd(Rating):
        run_level_names = ("overall",)

        def run_level_row(self, instance: Instance, scores: Mapping[str, float]) -> tuple[float]:
            if fails_in == "rows" and scores["rating"] == 3:
                raise KeyError("category")
            return (scores["rating"],)

        def run_level_scores(self, rows: Sequence[tuple[Any, ...]]) -> Mapping[str, float]:
            if fails_in == "numbers":
                raise ValueError("no")
            return {"overall": float("nan") if fails_in == "nan" else sum(row[0] for row in rows)}

    judge("odd")(Odd)
    (result,) = run(tmp_path, judged_by(JudgeSpec(name="odd", deployments=JURY[:1])))
    means = means_of(result)
    assert (means["exact_match"], means["rating"]) == ((1.0, 6, 0), (2.5, 6, 0))
    assert means["overall"] == ((12, 5, 1) if fails_in == "rows" else (None, 0, 6))
    assert (
        result.message == f"{6 - means['overall'][1]} not scored (overall: {means['overall'][2]} judge_error)"
    )
    assert score_run(RunDirectory(path_of(result))).stats == result.stats


def test_a_deployment_that_is_there_twice_is_refused_before_it_is_paid(
    script: Script, tmp_path: Path
) -> None:
    with pytest.raises(EntryError, match="names 'own/judge' twice; num_opinions asks one several times"):
        run(tmp_path, judged_by(JudgeSpec(name="own_rating", deployments=("own/judge", "own/judge"))))
    assert not script.requests


def test_more_opinions_than_there_are_cannot_be_needed(script: Script, tmp_path: Path) -> None:
    spec = JudgeSpec(name="own_rating", deployments=JURY, min_opinions=3)
    with pytest.raises(EntryError, match="needs min_opinions=3, but gives 2 opinions"):
        run(tmp_path, judged_by(spec))
    assert not script.requests
    (result,) = run(tmp_path, judged_by(spec.model_copy(update={"num_opinions": 2})))
    assert means_of(result)["rating"] == (2.5, 6, 0)


class Forgetful(Rating):
    """Has no reference for one instance, until it is found."""

    lacks = True

    def questions(self, unit: Unit) -> Iterator[Question]:
        if unit.instance.id == "n3" and Forgetful.lacks:
            raise DataError("no reference for n3")
        return super().questions(unit)


@pytest.mark.parametrize("are_scores_lost", [False, True])
def test_a_question_that_could_not_be_made_stays_owed_when_the_run_is_scored(
    are_scores_lost: bool, script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No journal knows of it: the scores say it, and where they are lost, the counts."""
    judge("forgetful")(Forgetful)
    entry = judged_by(JudgeSpec(name="forgetful", deployments=JURY[:1]))
    (result,) = run(tmp_path, entry)
    assert means_of(result)["rating"] == (2.4, 5, 1)
    assert stage_of(result, "judge:forgetful").failures == {"judge_error": 1}
    directory = RunDirectory(path_of(result))
    if are_scores_lost:
        directory.scores_path.unlink()
    rescored = score_run(directory)
    if not are_scores_lost:
        assert rescored.stats == result.stats
        rows = {row["instance_id"]: row for row in read_lines(directory.scores_path)}
        assert "no reference for n3" in rows["n3"]["failed_scores"]["rating"]["message"]
    manifest = directory.manifest()
    assert manifest is not None
    assert manifest.status == "partial"
    monkeypatch.setattr(Forgetful, "lacks", False)
    (again,) = run(tmp_path, entry)
    assert (again.status, means_of(again)["rating"]) == ("complete", (2.5, 6, 0))
    assert script.num_asked("judge") == 6


def test_a_jury_says_why_a_score_is_missing(script: Script, tmp_path: Path) -> None:
    """A member that failed is another reason than replies that are unclear: the next start asks it again."""

    def reply(who: str, request: Request) -> str:
        if number_in(request.prompt) == 2:
            return "hm"
        if who == "other" and number_in(request.prompt) == 3:
            raise BadRequestError("no")
        return replies(request.prompt)

    script.reply = reply
    (result,) = run(tmp_path, judged_by(JudgeSpec(name="own_rating", deployments=JURY)))
    assert result.message == "2 not scored (rating: 1 unclear and 1 bad_request)"
    rows: Iterable[Mapping[str, Any]] = read_lines(path_of(result) / "scores.jsonl")
    messages = {
        row["instance_id"]: row["failed_scores"]["rating"]["message"]
        for row in rows
        if "failed_scores" in row
    }
    assert messages["n3"] == "1 of 2 judges gave a verdict, 2 are needed (own/other 1: bad_request)"
    script.reply = lambda who, request: replies(request.prompt)
    before = len(script.requests)
    (again,) = run(tmp_path, judged_by(JudgeSpec(name="own_rating", deployments=JURY)))
    assert again.message == "1 not scored (rating: 1 unclear)"
    assert len(script.requests) == before + 1


@pytest.mark.parametrize(("finish_reason", "rating"), [("stop", (1, 6, 0)), ("length", (None, 0, 6))])
def test_a_rating_at_the_end_of_a_reply_that_was_cut_off_is_no_number(
    finish_reason: Any, rating: Any, script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`Rating: 1` of which the second digit is missing."""
    send = ScriptedClient.send

    async def cut(self: ScriptedClient, request: Request) -> Response:
        if self.who == "judge":
            return Response((Completion("Fine. Rating: 1", finish_reason),), Usage(10, 5))
        return await send(self, request)

    monkeypatch.setattr(ScriptedClient, "send", cut)
    load_builtins()
    (result,) = run(tmp_path, judged_by(JudgeSpec(name="rating", deployments=JURY[:1])))
    assert means_of(result)["rating"] == rating
