"""`evalkit agreement` and `evalkit rank`, called as a user would."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from evalkit.instance import CORRECT, Instance, Reference
from evalkit.judges.pairwise import FIRST_PLACE, ORDER_CONSISTENT, WIN_AGREED, WIN_RATE
from evalkit.request import Request, RequestState, request_key
from evalkit.response import Completion, Response
from evalkit.results.manifest import Manifest
from evalkit.results.run_directory import RunDirectory, read_lines
from evalkit.results.scores import write_scores
from evalkit.scoring.metric import Metric
from evalkit.scoring.scorer import Scorer
from evalkit.scoring.unit import Unit
from evalkit.specs.run_spec import AdapterSpec, JudgeSpec, RunSpec, ScenarioSpec, metric_specs
from tests.cli.conftest import Call


class Said(Metric):
    """The numbers that the model answered, as JSON."""

    def __init__(self, names: Sequence[str]) -> None:
        self.name, self.names = "said", tuple(names)

    def score(self, unit: Unit) -> Mapping[str, float]:
        found: dict[str, float] = json.loads(unit.answer.response.completions[0].text)
        return found


def stored(
    path: Path,
    rows: Sequence[Mapping[str, float]],
    *,
    model: str = "m/a",
    against: Path | None = None,
    extra: Sequence[Mapping[str, Any] | None] = (),
    groups: Sequence[str | None] = (),
) -> Path:
    """A run with these scores; with `against`, those of a pairwise judge."""
    judges = () if against is None else (JudgeSpec(name="pairwise", args={"against": str(against)}),)
    run_spec = RunSpec(
        name=path.name,
        scenario_spec=ScenarioSpec(name="gsm"),
        adapter_spec=AdapterSpec(method="generation", model=model, model_deployment=model),
        metric_specs=metric_specs(),
        judge_specs=judges,
    )
    instances = [
        Instance(f"q{i}", (Reference("a", (CORRECT,)),), "test", f"id{i}",
                 extra=extra[i] if extra else None, group=groups[i] if groups else None)
        for i in range(len(rows))
    ]  # fmt: skip
    directory = RunDirectory(path)
    path.mkdir(parents=True)
    directory.write_run_spec(run_spec)
    directory.write_instances(instances)
    scorer = Scorer([Said(tuple(rows[0]) if rows else ())], instances)
    for instance, row in zip(instances, rows, strict=True):
        state = RequestState(request_key(str(instance.id), 0), str(instance.id), 0, Request(""))
        scorer.add(state, Response((Completion(json.dumps(dict(row))),)))
    write_scores(directory, scorer)
    directory.write_manifest(
        Manifest(
            name=path.name, entry=path.name, digest="d", request_digest="r", identity={}, status="complete"
        )
    )
    return path


def table_of(pairs: Mapping[tuple[float, float], int]) -> list[dict[str, float]]:
    return [{"one": a, "two": b} for (a, b), n in pairs.items() for _ in range(n)]


def game(won: float, consistent: bool = True) -> dict[str, float]:
    agreed = won if consistent else 0.5
    return {
        WIN_RATE: won,
        WIN_AGREED: agreed,
        ORDER_CONSISTENT: float(consistent),
        FIRST_PLACE: 0.5,
    }


def test_two_scores_of_a_run(call: Call, tmp_path: Path) -> None:
    run = stored(tmp_path / "run", table_of({(1, 1): 45, (1, 0): 5, (0, 1): 10, (0, 0): 40}))
    called = call("agreement", run, "--score", "one", "--score", "two", "--json")
    assert called.code == 0
    (pair,) = json.loads(called.out)["pairs"]
    assert (pair["first"], pair["second"], pair["n"], pair["num_alone"]) == ("one", "two", 100, 0)
    assert pair["agreement"]["value"] == pytest.approx(0.85)
    assert pair["kappa"]["value"] == pytest.approx(0.7)
    assert pair["kappa"]["ci95"] == pytest.approx([0.5607322, 0.8392678], abs=1e-6)
    assert {"first": 1, "second": 0, "n": 5} in pair["counts"]
    shown = call("agreement", run, "--score", "one", "--score", "two").out
    assert "0.700 (0.561 – 0.839)" in shown


def test_a_number_that_is_not_defined_has_its_reason(call: Call, tmp_path: Path) -> None:
    run = stored(tmp_path / "run", table_of({(1, 1): 5}))
    called = call("agreement", run, "--score", "one", "--score", "two")
    assert called.code == 0
    assert "not defined" in called.out
    assert "both give every item the verdict 1.0" in called.err
    plain = json.loads(call("agreement", run, "--score", "one", "--score", "two", "--json").out)
    assert plain["pairs"][0]["kappa"]["value"] is None
    assert "nan" not in called.out.lower()


def test_groups_are_clusters(call: Call, tmp_path: Path) -> None:
    rows = table_of({(1, 1): 8, (1, 0): 4, (0, 0): 8})
    alone = stored(tmp_path / "alone", rows)
    grouped = stored(tmp_path / "grouped", rows, groups=[f"g{i // 4}" for i in range(20)])
    errors = [
        json.loads(call("agreement", run, "--score", "one", "--score", "two", "--json").out)["pairs"][0][
            "kappa"
        ]
        for run in (alone, grouped)
    ]
    assert errors[0]["value"] == errors[1]["value"]
    assert errors[0]["stderr"] < errors[1]["stderr"]


@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
def test_labels_in_a_file(call: Call, tmp_path: Path, suffix: str) -> None:
    # T10: 2,000 items without label, of which the judge calls 70% right; 50 right and 50 wrong ones by label.
    rows = [{"one": float(i < 1400)} for i in range(2000)]
    rows += [{"one": float(i < 45)} for i in range(50)] + [{"one": float(i >= 40)} for i in range(50)]
    run = stored(tmp_path / "run", rows)
    labels = [(f"id{2000 + i}", int(i < 50)) for i in range(100)]
    path = tmp_path / f"labels.{suffix}"
    if suffix == "csv":
        text = "id,label\n" + "".join(f"{name},{label}\n" for name, label in labels)
    else:
        text = "".join(
            json.dumps({"instance_id": name, "label": bool(label)}) + "\n" for name, label in labels
        )
    path.write_text(text, encoding="utf-8")
    called = call("agreement", run, "--score", "one", "--labels", path, "--json")
    assert called.code == 0, called.err
    (judge,) = json.loads(called.out)["judges"]
    assert judge["sensitivity"]["value"] == 0.9
    assert judge["specificity"]["value"] == 0.8
    assert judge["corrected"]["value"] == pytest.approx(0.7142857, abs=1e-6)
    assert judge["corrected"]["stderr"] == pytest.approx(0.0512017, abs=1e-6)
    assert judge["human_mean"]["value"] == 0.5
    assert 0 < judge["tuning"] <= 1
    assert judge["prediction_powered"]["ci95"][0] < judge["prediction_powered"]["value"]
    assert json.loads(called.out)["pairs"][0]["num_alone"] == 2000


def test_labels_in_the_data_and_a_threshold(call: Call, tmp_path: Path) -> None:
    ratings, human = [9, 8, 3, 2, 7, 6, 4, 10], [9, 7, 4, 1, None, 3, 8, None]
    extra = [{"human": label, "kind": "x"} for label in human]
    run = stored(tmp_path / "run", [{"rating": float(rating)} for rating in ratings], extra=extra)
    plain = json.loads(call("agreement", run, "--score", "rating", "--label-field", "human", "--json").out)
    assert plain["pairs"][0]["n"] == 6
    assert plain["judges"][0]["sensitivity"]["value"] is None
    assert "--right-from" in plain["judges"][0]["sensitivity"]["reason"]
    assert plain["judges"][0]["prediction_powered"]["n"] == 8
    plain = json.loads(
        call("agreement", run, "--score", "rating", "--label-field", "human", "--right-from", 5, "--json").out
    )
    assert plain["judges"][0]["sensitivity"] == {
        **plain["judges"][0]["sensitivity"],
        "value": pytest.approx(2 / 3),
        "n": 3,
    }
    assert plain["judges"][0]["specificity"]["value"] == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--score", "one"), "takes two who judge"),
        (("--score", "on"), "has no score 'on'; it has one, two"),
        (("--score", "one", "--label-field", "none"), "no instance of run has a number as 'none'"),
        (("--score", "one", "--labels", "missing.csv"), "no such file"),
        (("--score", "one", "--labels", "bad.jsonl"), "bad.jsonl, line 2: the label 'good' is not a number"),
        (("--score", "one", "--labels", "twice.csv"), "twice.csv, line 3: 'id1' has two labels that differ"),
        (("--score", "one", "--labels", "other.csv"), "other.csv, line 2: it has none of instance_id"),
        (("--score", "one", "--labels", "a.csv", "--label-field", "b"), "exclude each other"),
    ],
)
def test_mistakes(call: Call, tmp_path: Path, flags: tuple[str, ...], message: str) -> None:
    stored(tmp_path / "run", table_of({(1, 1): 3}))
    (tmp_path / "bad.jsonl").write_text('{"id": "id0", "label": 1}\n{"id": "id1", "label": "good"}\n')
    (tmp_path / "twice.csv").write_text("id,label\nid1,1\nid1,0\n")
    (tmp_path / "other.csv").write_text("name,label\nid1,1\n")
    called = call("agreement", "run", *flags)
    assert called.code in (2, 3)
    assert message in called.err


def test_runs_that_asked_differently_are_not_compared(call: Call, tmp_path: Path) -> None:
    one, two = (stored(tmp_path / name, table_of({(1, 1): 3, (0, 0): 3})) for name in ("a", "b"))
    directory = RunDirectory(two)
    manifest = directory.manifest()
    assert manifest is not None
    directory.write_manifest(replace(manifest, request_digest="other"))
    called = call("agreement", one, two, "--score", "one")
    assert called.code == 2
    assert "these runs asked differently" in called.err


def test_ranking_of_models(call: Call, tmp_path: Path) -> None:
    wins = {("m/a", "m/b"): (7, 3), ("m/a", "m/c"): (8, 2), ("m/b", "m/c"): (6, 4)}
    bases = {
        model: stored(tmp_path / "base" / model[-1], [{"x": 0.0}], model=model) for model in ("m/b", "m/c")
    }
    for (first, second), (won, lost) in wins.items():
        rows = [game(1) for _ in range(won)] + [game(0, i % 2 == 0) for i in range(lost)]
        stored(tmp_path / "judged" / f"{first[-1]}{second[-1]}", rows, model=first, against=bases[second])
    called = call("rank", tmp_path / "judged", "--json")
    assert called.code == 0, called.err
    plain = json.loads(called.out)
    assert [(pair["model"], pair["against"], pair["won"], pair["lost"]) for pair in plain["pairs"]] == [
        ("m/a", "m/b", 7, 3), ("m/a", "m/c", 8, 2), ("m/b", "m/c", 6, 4)
    ]  # fmt: skip
    assert plain["pairs"][0]["win_rate"]["value"] == pytest.approx(0.7)
    assert plain["pairs"][0]["order_consistency"]["value"] == pytest.approx(0.9)
    strengths = {each["model"]: each["strength"]["value"] for each in plain["strengths"]}
    assert list(strengths) == ["m/a", "m/b", "m/c"]
    assert sum(strengths.values()) == pytest.approx(0)
    assert plain["strengths"][0]["best_rank"] == 1
    shown = call("rank", tmp_path / "judged").out
    for text in ("won/tied/lost", "7/0/3", "Elo", "m/c"):
        assert text in shown


def test_a_model_that_never_lost_has_no_strength(call: Call, tmp_path: Path) -> None:
    base = stored(tmp_path / "base", [{"x": 0.0}], model="m/b")
    stored(tmp_path / "judged", [game(1)] * 5, model="m/a", against=base)
    called = call("rank", tmp_path / "judged")
    assert called.code == 2
    assert "m/a won every game against m/b" in called.err
    assert "5/0/0" in called.out
    called = call("rank", tmp_path / "judged", "--ridge", 0.5, "--json")
    assert called.code == 0
    assert json.loads(called.out)["strengths"][0]["model"] == "m/a"
    called = call("rank", base)
    assert called.code == 2
    assert "--against" in called.err


def test_answers_without_a_verdict_are_counted(call: Call, tmp_path: Path) -> None:
    base = stored(tmp_path / "base", [{"x": 0.0}], model="m/b")
    run = stored(tmp_path / "judged", [game(1), game(0), game(0.5)], model="m/a", against=base)
    assert len(list(read_lines(run / "scores.jsonl"))) == 3
    plain = json.loads(call("rank", run, "--json").out)
    assert plain["pairs"][0]["num_missing"] == 0
    assert (plain["pairs"][0]["won"], plain["pairs"][0]["tied"], plain["pairs"][0]["lost"]) == (1, 1, 1)
