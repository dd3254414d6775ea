"""Perplexity from end to end: over all tokens of all texts, of a model in this process and of servers."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest

import evalkit
from evalkit.registry import isolated_registries
from evalkit.results.run_directory import RunDirectory
from evalkit.results.run_result import RunResult
from evalkit.testing.models import make_model
from tests.end_to_end.workspace import records_of

WINDOW_TOKENS = 64
PLUGIN = '''
from pathlib import Path
import evalkit
from evalkit import AdapterSpec, Instance, RunSpec, ScenarioSpec

TEXTS = {texts!r}


@evalkit.scenario("texts")
class Texts(evalkit.Scenario):
    """Texts of different length."""

    def instances(self, data):
        for text in TEXTS:
            yield Instance(text, (), split="test")


@evalkit.run_spec_function("texts")
def texts() -> RunSpec:
    return RunSpec(
        name="texts",
        scenario_spec=ScenarioSpec(name="texts"),
        adapter_spec=AdapterSpec(
            method="language_modeling", max_train_instances=0, max_tokens=0, input_prefix="", output_prefix=""
        ),
        metric_specs=evalkit.metric_specs("basic_generation"),
        groups=("texts",),
    )
'''
WORDS = ("the quick brown fox", " naïve café", " 質問：答え", " jumps over", "\n\nthe lazy dog.")


@pytest.fixture(autouse=True)
def _apart() -> Iterator[None]:
    with isolated_registries():
        yield


def run(folder: Path, texts: Sequence[str], client: Mapping[str, Any]) -> RunResult:
    """One run of language modelling over these texts."""
    (folder / "texts_plugin.py").write_text(PLUGIN.format(texts=tuple(texts)))
    deployment = {"name": "test/a", "client_spec": client}
    deployments = folder / "model_deployments.yaml"
    deployments.write_text(json.dumps({"model_deployments": [deployment]}))
    (result,) = evalkit.run(
        "texts:model=test/a",
        plugins=str(folder / "texts_plugin.py"),
        model_deployments=deployments,
        output_path=folder / "out",
    )
    return result


def numbers(result: RunResult) -> dict[str, float]:
    """The stats over everything."""
    return {stat.name: stat.mean for stat in result.stats if stat.mean is not None}


def test_texts_longer_than_the_window_are_scored_as_by_a_loop_over_windows(tmp_path: Path) -> None:
    """Right: each token of each text once, given what stands before it in its window."""
    torch = pytest.importorskip("torch")
    from transformers import AutoModelForCausalLM, AutoTokenizer

    random = Random(0)
    texts = ["".join(random.choices(WORDS, k=count)) for count in (60, 1, 25)]
    folder = make_model(tmp_path / "model", "llama", max_position_embeddings=WINDOW_TOKENS)
    result = run(tmp_path, texts, {"class_name": "transformers", "args": {"model": str(folder)}})
    assert result.status == "complete"
    found = numbers(result)

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    ids = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
    assert found["num_perplexity_tokens"] == pytest.approx(sum(map(len, ids)) / len(ids))
    assert found["num_bytes"] == pytest.approx(sum(len(text.encode()) for text in texts) / len(texts))

    total = 0.0
    for prompts in windows_of(result):
        for prompt, num_context in prompts:
            # As the engine takes a prompt: with one start token.
            given = tokenizer(prompt.removeprefix("<s>"))["input_ids"]
            hidden = 0 if prompt.startswith("<s>") else 1
            with torch.inference_mode():
                logprobs = model(torch.tensor([given])).logits[0].float().log_softmax(-1)
            assert len(given) <= WINDOW_TOKENS
            total += sum(float(logprobs[p - 1, given[p]]) for p in range(num_context + hidden, len(given)))
    assert found["perplexity"] == pytest.approx(math.exp(-total / sum(map(len, ids))), rel=1e-4)


def windows_of(result: RunResult) -> list[list[tuple[str, int]]]:
    """What was asked of each text, and how many tokens of that are context, as the journal has it."""
    found: dict[str, list[tuple[str, int]]] = {}
    for record in records_of(RunDirectory(Path(str(result.path)))):
        state = record.state
        asked = (state.request.prompt, state.num_conditioning_tokens)
        found.setdefault(state.instance_id, []).append(asked)
    return list(found.values())


def words(text: str) -> list[str]:
    return re.findall(r"\s*\S+", text)


def chance(word: str) -> float:
    """The log-probability that the server gives a word, wherever it stands."""
    return -len(word) / 2


TEXTS = ("one two three", "a rather long sentence of words", "and the last")
Echo = Callable[[str], tuple[list[str], list[float | None]]]
ECHOES: Mapping[str, Echo] = {
    "all scored": lambda text: (words(text), [chance(w) for w in words(text)]),
    "after a start token": lambda text: (["<s>", *words(text)], [None, *(chance(w) for w in words(text))]),
    "first unscored": lambda text: (words(text), [None, *(chance(w) for w in words(text)[1:])]),
    "and one generated": lambda text: (
        [*words(text), " more"],
        [None, *(chance(w) for w in words(text)[1:]), -9.0],
    ),
    "generated only": lambda text: ([" more"], [-0.001]),
    "none scored": lambda text: (words(text), [None] * len(words(text))),
    "zeros": lambda text: (words(text), [0.0] * len(words(text))),
    "a hole": lambda text: (words(text), [None, None, *(chance(w) for w in words(text)[2:])]),
}


def perplexity_of(scored: Sequence[str]) -> float:
    return math.exp(-sum(map(chance, scored)) / len(scored))


ALL = [word for text in TEXTS for word in words(text)]
BUT_FIRST = [word for text in TEXTS for word in words(text)[1:]]
RIGHT: Mapping[str, list[str] | None] = {
    "all scored": ALL,
    "after a start token": ALL,
    "first unscored": BUT_FIRST,
    "and one generated": BUT_FIRST,
    "generated only": None,
    "none scored": None,
    "zeros": None,
    "a hole": None,
}


@pytest.mark.parametrize("name", ECHOES)
def test_only_what_a_client_computed_of_the_prompt_is_counted(name: str, tmp_path: Path) -> None:
    """By a client of a plugin, which nobody but the metric checks."""
    from evalkit.clients.client import Client
    from evalkit.registry import client
    from evalkit.request import Request
    from evalkit.response import Completion, Response, Token

    @client("echoing")
    class Echoing(Client):
        async def send(self, request: Request) -> Response:
            texts, logprobs = ECHOES[name](request.prompt)
            tokens = tuple(map(Token, texts, logprobs))
            return Response((Completion("".join(texts), logprob=sum(filter(None, logprobs)), tokens=tokens),))

    result = run(tmp_path, TEXTS, {"class_name": "echoing", "args": {}})
    found, scored = numbers(result), RIGHT[name]
    if scored is None:
        assert result.status == "partial"
        assert "perplexity" not in found
        assert all(stat.n == 0 for stat in result.stats if stat.name == "logprob")
    else:
        assert result.status == "complete"
        assert found["perplexity"] == pytest.approx(perplexity_of(scored))
        assert found["num_bytes"] == pytest.approx(sum(map(len, scored)) / 3)


def test_a_model_that_gives_nan_stops_the_run_and_says_why(tmp_path: Path) -> None:
    """A checkpoint with damaged weights, or float16 that overflows."""
    torch = pytest.importorskip("torch")
    from transformers import AutoModelForCausalLM

    folder = make_model(tmp_path / "model")
    model = AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        model.get_input_embeddings().weight.fill_(1e30)
    model.save_pretrained(folder)
    spec = {"class_name": "transformers", "args": {"model": str(folder), "dtype": "float16"}}
    deployments = tmp_path / "model_deployments.yaml"
    deployments.write_text(json.dumps({"model_deployments": [{"name": "test/a", "client_spec": spec}]}))
    for entry in ("arithmetic:digits=1,num_test=40", "arithmetic:digits=1,num_test=40,temperature=1"):
        (result,) = evalkit.run(
            f"{entry},model=test/a", model_deployments=deployments, output_path=tmp_path / "out"
        )
        assert result.status == "stopped"
        assert set(result.failures) == {"not_finite"}
        assert "float32" in str(result.message)
