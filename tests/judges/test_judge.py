"""What a judge is made of: specs, digests, keys, and the requests of a run entry."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from evalkit.errors import EntryError, PluginError, StoreError, UsageError
from evalkit.execution.journal import Journal
from evalkit.execution.journal_index import scan_journal
from evalkit.execution.journal_line import JournalOwner
from evalkit.instance import Instance
from evalkit.judges.judge import Judge, Question, Reply, answers_digest, build_judge, chat_request
from evalkit.registry import isolated_registries, judge, run_spec_function
from evalkit.request import JudgementPlace, Request, RequestState, request_key
from evalkit.response import Completion, Response
from evalkit.run_specs.layouts import generation
from evalkit.runs.options import RunOptions
from evalkit.runs.plan import Plan, make_plan, open_plan_context
from evalkit.scoring.unit import Answer, Unit
from evalkit.specs.run_spec import AdapterSpec, JudgeSpec, RunSpec, ScenarioSpec, metric_specs


class Length(Judge):
    """Asks about nothing but the length."""

    names = ("length",)
    reading_args = frozenset({"scale"})

    def __init__(self, wording: str = "How long is", scale: float = 1.0) -> None:
        self._wording, self._scale = wording, scale

    def questions(self, unit: Unit) -> Iterator[Question]:
        yield Question(chat_request(f"{self._wording} {unit.answer.response.completions[0].text}?"))

    def verdict(self, unit: Unit, reply: Reply) -> Mapping[str, float]:
        return {"length": float(reply.text) * self._scale}


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    with isolated_registries():
        judge("length")(Length)

        @run_spec_function("judged_words")
        def judged_words(wording: str = "How long is", scale: float = 1.0) -> RunSpec:
            """Words, judged."""
            return RunSpec(
                name="judged_words",
                scenario_spec=ScenarioSpec(name="gsm"),
                adapter_spec=generation("", "Question", "Answer"),
                metric_specs=metric_specs("exact_match"),
                judge_specs=(JudgeSpec(name="length", args={"wording": wording, "scale": scale}),),
            )

        yield


def plan(tmp_path: Path, *entries: str) -> Plan:
    options = RunOptions(run_entries=entries, data_dir=tmp_path, offline=True, output_path=tmp_path)
    return make_plan(open_plan_context(options))


def test_the_digest_of_judges_has_a_part_for_questions_and_one_for_reading(tmp_path: Path) -> None:
    entry = "judged_words:{}model=simple/model1,judge={}"
    runs = [
        plan(tmp_path, entry.format(*parts)).runs[0]
        for parts in (
            ("", "simple/model1"),
            ("wording=Count,", "simple/model1"),
            ("scale=2,", "simple/model1"),
            ("", "evalkit/tiny"),
        )
    ]
    from evalkit.specs.digest import run_digest

    plain, worded, scaled, other = (run_digest(run.identity) for run in runs)
    assert len({each.requests for each in (plain, worded, scaled, other)}) == 1
    assert len({plain.judgements, worded.judgements, other.judgements}) == 3
    assert scaled.judgements == plain.judgements
    assert scaled.scores != plain.scores == worded.scores == other.scores
    assert runs[0].name == "judged_words:model=simple_model1,judge=simple_model1"
    assert [each.name for each in runs[3].asked] == ["simple/model1", "evalkit/tiny"]


def test_a_jury_is_named_with_bars(tmp_path: Path) -> None:
    (run,) = plan(tmp_path, "judged_words:model=simple/model1,judge=simple/model1|evalkit/tiny").runs
    assert run.run_spec.judge_specs[0].deployments == ("simple/model1", "evalkit/tiny")
    assert run.name.endswith("judge=simple_model1+evalkit_tiny")
    with pytest.raises(EntryError, match="is there twice"):
        plan(tmp_path, "judged_words:model=simple/model1,judge=evalkit/tiny|evalkit/tiny")


def test_a_judge_that_nobody_plays_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="add judge=<deployment>"):
        plan(tmp_path, "judged_words:model=simple/model1")


def test_a_run_spec_without_judges_is_written_as_before() -> None:
    plain = RunSpec(name="a", scenario_spec=ScenarioSpec(name="gsm"), adapter_spec=AdapterSpec())
    assert "judge_specs" not in plain.model_dump()
    assert "judge_specs" not in plain.model_dump(mode="json")
    judged = plain.with_judges(JudgeSpec(name="length", deployments=("a/b",)))
    assert RunSpec.model_validate(judged.model_dump(mode="json")) == judged


def state(place: JudgementPlace, instance_id: str = "id1") -> RequestState:
    key = request_key(instance_id, 0, 2, perturbation="x") + place.key_part
    return RequestState(
        key, instance_id, 0, Request("p"), sample=2, perturbation="x", judgement=place, member="a/b"
    )


@pytest.mark.parametrize(
    "place",
    [
        JudgementPlace("verdict", "0a1b2c3d"),
        JudgementPlace("turn_2", "0a1b2c3d", num_questions=3, opinion=4, again=2),
    ],
)
def test_a_judgement_is_kept_in_its_place(place: JudgementPlace, tmp_path: Path) -> None:
    from evalkit.execution.journal_index import read_winners

    path = tmp_path / "j.jsonl"
    with Journal.open(path, JournalOwner("d")) as journal:
        journal.append(state(place), Response((Completion("[[3]]"),)))
        other = RequestState(
            state(JudgementPlace("x", "0a1b2c3d")).key, "id1", 0, Request("p"), judgement=place
        )
        with pytest.raises(StoreError, match="its key does not match its parts"):
            journal.append(other, Response(()))
    index = scan_journal(path, "d")
    assert not index.damage
    (record,) = read_winners(path, index)
    assert record.state == state(place)


def test_keys_of_judgements_are_as_documented() -> None:
    assert (
        state(JudgementPlace("turn_2", "0a1b2c3d", 2, 1, 2)).key == "t0/id1~x/s2/q:turn_2@0a1b2c3d/o1/again2"
    )


@pytest.mark.parametrize("name", ["", "a/b", "a b", "ü", "a@b"])
def test_the_name_of_a_question_can_be_part_of_a_key(name: str) -> None:
    with pytest.raises(PluginError, match="can't be the name"):
        Question(Request("p"), name)


def test_another_answer_is_another_judgement() -> None:
    def unit(*texts: str) -> Unit:
        answers = (
            Answer(RequestState(f"t0/id1/u{i}", "id1", 0, Request("q")), Response((Completion(text),)))
            for i, text in enumerate(texts)
        )
        return Unit(Instance("q", (), "test", id="id1"), 0, 0, tuple(answers))

    digests = [answers_digest(unit(*texts)) for texts in (["a"], ["b"], ["a", "b"], ["ab", ""], ["\ud800"])]
    assert len(set(digests)) == 5
    assert answers_digest(unit("a")) == digests[0]


def test_a_judge_without_scores_is_refused() -> None:
    judge("nameless")(type("Nameless", (Judge,), {"__doc__": "None."}))
    with pytest.raises(PluginError, match="names no score"):
        build_judge(JudgeSpec(name="nameless"), AdapterSpec())
