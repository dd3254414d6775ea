from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from evalkit import Observer
from evalkit.checks.engine_parity import (
    CheckOptions,
    EngineParity,
    _Answers,
    _compare,
    check_engines,
    check_options,
)
from evalkit.errors import UsageError
from evalkit.response import Completion, Failure, Outcome, Response, Token, total_logprob
from evalkit.runs.options import RunOptions
from evalkit.runs.plan import open_plan_context
from evalkit.testing.models import make_model


def said(*tokens: tuple[str, float, dict[str, float]], greedy: bool | None = None) -> Response:
    made = tuple(Token(text, logprob, {text: logprob, **others}) for text, logprob, others in tokens)
    text = "".join(token.text for token in made)
    return Response((Completion(text, "stop", total_logprob(made), made, is_greedy=greedy),))


def compared(
    first: Mapping[str, Outcome], other: Mapping[str, Outcome], tolerance: float = 0.01
) -> EngineParity:
    ours, theirs = (
        _Answers({("run", key): outcome for key, outcome in side.items()}, {}) for side in (first, other)
    )
    return _compare("a", "b", ours, theirs, tolerance)


A, B = ("a", -0.1, {"b": -3.0}), ("b", -0.5, {"c": -2.0})


def test_equal_texts_with_last_digits_that_differ_agree() -> None:
    found = compared({"1": said(A, B)}, {"1": said(("a", -0.1001, {}), ("b", -0.502, {}))})
    assert found.ok
    assert (found.num_texts, found.num_equal, found.num_logprobs) == (1, 1, 2)
    assert found.largest_difference == pytest.approx(0.002)
    assert found.mean_difference == pytest.approx(0.00105)


def test_a_log_probability_too_far_off_is_told() -> None:
    found = compared({"1": said(A)}, {"1": said(("a", -0.2, {}))})
    assert not found.ok
    assert found.largest_difference == pytest.approx(0.1)


def test_texts_may_part_at_a_tie_and_nowhere_else() -> None:
    tie = said(A, ("b", -0.700, {"c": -0.705}), B)
    other = said(A, ("c", -0.7, {}), A)
    found = compared({"1": tie}, {"1": other})
    assert found.ok
    [parted] = found.divergences
    assert (parted.position, parted.tokens) == (1, ("b", "c"))
    assert parted.margin == pytest.approx(0.005)
    assert found.num_logprobs == 1  # after that they say different things

    clear = compared({"1": said(A, B)}, {"1": other})
    assert not clear.ok
    assert clear.divergences[0].margin == pytest.approx(1.5)


def test_where_the_first_one_ended_the_other_tells_how_near_the_end_it_was() -> None:
    ended, went_on = said(A), said(A, ("b", -0.70, {"</s>": -0.702}))
    found = compared({"1": ended}, {"1": went_on})
    assert found.ok
    assert found.divergences[0].tokens == ("", "b")


def test_the_clearest_choice_comes_first() -> None:
    firsts = {str(k): said(("x", -0.1, {"y": -0.1 - k})) for k in (1, 3, 2)}
    others = {key: said(("y", -0.1, {})) for key in firsts}
    assert [parted.key for parted in compared(firsts, others).divergences] == ["run 3", "run 2", "run 1"]


def test_a_request_without_an_answer_is_no_agreement() -> None:
    found = compared({"1": said(A)}, {"1": Failure("timeout", "too late")})
    assert not found.ok
    assert found.failures == {"run 1": "timeout: too late"}
    assert not compared({}, {}).ok


def check(folder: Path, model: Path, engines: tuple[str, ...], **deployments: Path) -> list[EngineParity]:
    listed = [
        {"name": f"test/{name}", "client_spec": {"class_name": "transformers", "args": {"model": str(path)}}}
        for name, path in deployments.items()
    ]
    path = folder / "models.yaml"
    path.write_text(json.dumps({"model_deployments": listed}))
    options = check_options(RunOptions(max_eval_instances=4, model_deployments=(path,)))
    chosen = CheckOptions(str(model), engines, engine_args={"dtype": "float32"})
    return asyncio.run(check_engines(chosen, open_plan_context(options), Observer()))


def test_real_engines_with_the_same_and_with_other_weights(tmp_path: Path) -> None:
    one, two = (make_model(tmp_path / name, seed=seed) for seed, name in enumerate(("one", "two")))
    same, other = check(tmp_path, one, ("transformers", "test/same", "test/other"), same=one, other=two)
    assert same.ok
    assert same.num_texts == same.num_equal == 8
    assert same.num_logprobs > same.num_texts
    assert same.scores
    assert all(a == b for a, b in same.scores.values())
    assert (other.reference, other.engine) == ("transformers", "test/other")
    assert not other.ok
    assert other.divergences
    assert other.largest_difference is not None
    assert other.largest_difference > 0.01


@pytest.mark.parametrize(
    ("engines", "model", "message"),
    [
        (("transformers",), "./x", "name at least two engines"),
        (("transformers", "transformers"), "./nowhere", "does not exist"),
        (("transformers", "test/same"), "", "needs a model"),
        (("transformers", "tranformers"), "./x", "did you mean 'transformers'"),
    ],
)
def test_mistakes_are_told_before_anything_is_loaded(
    engines: tuple[str, ...], model: str, message: str, tmp_path: Path
) -> None:
    context = open_plan_context(check_options(RunOptions()))
    with pytest.raises(UsageError, match=message):
        asyncio.run(check_engines(CheckOptions(model, engines), context, Observer()))
