from __future__ import annotations

import math
from collections import Counter
from random import Random

import pytest

from evalkit.clients.transformers.job import Settings
from evalkit.request import Message, Request

torch = pytest.importorskip("torch")

from evalkit.clients.transformers.generate.sampling import pick, private_random  # noqa: E402 - needs torch

GREEDY = Settings(0.0, 1.0, 0.0, 0.0, 1)
NONE: list[Counter[int]] = []


def test_greedy_takes_the_likeliest_with_its_raw_log_probability() -> None:
    logits = torch.tensor([[0.0, 2.0, 1.0], [3.0, 0.0, 0.0]])
    picked = pick(logits, GREEDY, [0.0, 0.0], NONE)
    assert picked.tokens == picked.ids.tolist() == [1, 0]
    expected = [2 - math.log(1 + math.e**2 + math.e), 3 - math.log(math.e**3 + 2)]
    assert picked.logprobs == pytest.approx(expected)
    assert picked.tops is None


def test_log_probabilities_are_those_before_temperature_and_cuts() -> None:
    logits = torch.tensor([[0.0, 2.0, 1.0]])
    hot = pick(logits, Settings(5.0, 0.5, 0.0, 0.0, 2), [0.0], NONE)
    raw = torch.log_softmax(logits, -1)[0]
    assert hot.logprobs[0] == pytest.approx(raw[hot.tokens[0]].item())
    assert hot.tops is not None
    assert [token for token, _ in hot.tops[0]] == [1, 2]
    assert [value for _, value in hot.tops[0]] == pytest.approx([raw[1].item(), raw[2].item()])


def test_draws_follow_the_distribution() -> None:
    random = Random(0)
    logits = torch.log(torch.tensor([0.5, 0.3, 0.2])).expand(20_000, 3)
    uniforms = [random.random() for _ in range(20_000)]
    seen = Counter(pick(logits, Settings(1.0, 1.0, 0.0, 0.0, 1), uniforms, NONE).tokens)
    assert [seen[token] / 20_000 for token in range(3)] == pytest.approx([0.5, 0.3, 0.2], abs=0.015)
    flat = Counter(pick(logits, Settings(1000.0, 1.0, 0.0, 0.0, 1), uniforms, NONE).tokens)
    assert [flat[token] / 20_000 for token in range(3)] == pytest.approx([1 / 3] * 3, abs=0.015)


def test_top_p_leaves_the_least_set_that_has_it() -> None:
    logits = torch.log(torch.tensor([[0.2, 0.5, 0.3]])).expand(999, 3)
    uniforms = [n / 999 for n in range(999)]

    def kept(top_p: float) -> set[int]:
        return set(pick(logits, Settings(1.0, top_p, 0.0, 0.0, 1), uniforms, NONE).tokens)

    assert kept(0.4) == {1}
    assert kept(0.6) == {1, 2}
    assert kept(0.79) == {1, 2}
    assert kept(0.9) == {0, 1, 2}
    assert kept(0.0) == {1}


def test_a_row_s_draw_does_not_depend_on_the_others() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(64, 1000, generator=generator)
    uniforms = [Random(n).random() for n in range(64)]
    for settings in (Settings(0.7, 1.0, 0.0, 0.0, 1), Settings(1.0, 0.8, 0.0, 0.0, 1)):
        together = pick(logits, settings, uniforms, NONE).tokens
        alone = [pick(logits[n : n + 1], settings, uniforms[n : n + 1], NONE).tokens[0] for n in range(64)]
        assert together == alone


def test_extreme_draws_stay_in_the_vocabulary() -> None:
    logits = torch.tensor([[0.0, 0.0, -1e9], [0.0, 0.0, -1e9]])
    picked = pick(logits, Settings(1.0, 1.0, 0.0, 0.0, 1), [0.0, 1 - 2**-53], NONE)
    assert picked.tokens == [0, 1]


def test_a_tiny_temperature_is_greedy() -> None:
    logits = torch.tensor([[0.0, 2.0, 1.999]])
    assert pick(logits, Settings(1e-7, 1.0, 0.0, 0.0, 1), [0.999], NONE).tokens == [1]


def test_penalties_count_what_was_generated() -> None:
    logits = torch.tensor([[1.0, 0.9, 0.0], [1.0, 0.9, 0.0]])
    seen = [Counter({0: 3}), Counter({1: 1})]
    for settings in (Settings(0.0, 1.0, 0.2, 0.0, 1), Settings(0.0, 1.0, 0.0, 0.1, 1)):
        picked = pick(logits, settings, [0.0, 0.0], seen)
        assert picked.tokens == [1, 0]
        assert picked.logprobs[0] == pytest.approx(torch.log_softmax(logits, -1)[0, 1].item())
    # Nothing was generated yet.
    assert pick(logits, Settings(0.0, 1.0, 2.0, 2.0, 1), [0, 0], [Counter(), Counter()]).tokens == [0, 0]


def test_generators_are_private_and_stable() -> None:
    request = Request("p", random="1")
    first = private_random(request, 0).random()
    assert first == private_random(Request("p", random="1", max_tokens=7), 0).random()
    others = [
        private_random(request, 1),
        private_random(Request("p", random="2"), 0),
        private_random(Request("p"), 0),
        private_random(Request("q", random="1"), 0),
        private_random(Request("p", (Message("user", "p"),), random="1"), 0),
    ]
    assert first not in [other.random() for other in others]
    # Written down: a change would change everyone's sampled texts.
    assert first == 0.5583125620122985


def test_top_k_leaves_the_likeliest() -> None:
    logits = torch.log(torch.tensor([[0.2, 0.5, 0.3]])).expand(999, 3)
    uniforms = [n / 999 for n in range(999)]

    def kept(top_k: int, top_p: float = 1.0) -> Counter[int]:
        return Counter(pick(logits, Settings(1.0, top_p, 0.0, 0.0, 1, top_k), uniforms, NONE).tokens)

    assert set(kept(1)) == {1}
    assert set(kept(2)) == {1, 2}
    assert kept(0) == kept(3) == kept(99)
    # Among the two that are left, the likelier has 0.625 of the probability, and top_p goes by that.
    assert kept(2)[1] / 999 == pytest.approx(0.625, abs=0.01)
    assert set(kept(2, 0.6)) == {1}


def test_a_repetition_penalty_is_that_of_transformers() -> None:
    from transformers.generation.logits_process import RepetitionPenaltyLogitsProcessor, TopKLogitsWarper

    logits = torch.tensor([[2.0, -1.0, 1.9, 0.0], [2.0, 1.9, -1.0, 0.5]])
    texts = torch.tensor([[0, 1, 1], [3, 3, 3]])
    seen = torch.zeros_like(logits, dtype=torch.bool).scatter_(1, texts, True)
    wanted = RepetitionPenaltyLogitsProcessor(1.3)(texts, logits.clone())
    picked = pick(logits, Settings(0.0, 1.0, 0.0, 0.0, 1, 0, 1.3), [0.0, 0.0], NONE, seen)
    assert picked.tokens == wanted.argmax(-1).tolist() == [2, 0]
    # Log-probabilities are the model's own.
    assert picked.logprobs == pytest.approx(torch.log_softmax(logits, -1)[[0, 1], [2, 0]].tolist())
    uniforms = [0.3, 0.6]
    wanted = TopKLogitsWarper(2)(texts, wanted / 0.7)
    drawn = pick(logits, Settings(0.7, 1.0, 0.0, 0.0, 1, 2, 1.3), uniforms, NONE, seen)
    cumulative = wanted.softmax(-1).cumsum(-1)
    assert drawn.tokens == [int((row <= u).sum()) for row, u in zip(cumulative, uniforms, strict=True)]
