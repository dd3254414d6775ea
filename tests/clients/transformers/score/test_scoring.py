from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest

from evalkit.clients.local.prompting import ChatStyle, Prompt, Prompter
from evalkit.clients.transformers.job import Job
from evalkit.clients.transformers.loading import LoadedModel, ModelSource, load
from evalkit.clients.transformers.network import Network
from evalkit.clients.transformers.score.scoring import Counts, PromptScorer, check_scoring
from evalkit.errors import BadRequestError
from evalkit.metrics.reference import reference_tokens
from evalkit.request import Request, RequestState
from evalkit.response import Completion, Response
from evalkit.scoring.unit import Answer
from evalkit.testing.models import make_model

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

VOCABULARY = 400
CONTEXT_TOKENS = 60
# Small windows, so that they lie inside the prompts and inside what the model is tried on.
ARCHITECTURES: Mapping[str, tuple[str, Mapping[str, Any], str]] = {
    "llama": ("llama", {}, "TREE"),
    "gpt2": ("gpt2", {}, "TREE"),
    "mistral": ("mistral", {}, "TREE"),
    "qwen2": (
        "qwen2",
        {"num_key_value_heads": 2, "use_sliding_window": True, "sliding_window": 16, "max_window_layers": 1},
        "TREE",
    ),
    "gemma2": ("gemma2", {}, "TREE"),
    "opt": ("opt", {}, "TREE"),
    "gpt_neox": ("gpt_neox", {}, "TREE"),
    "cohere": ("cohere", {"num_key_value_heads": 2}, "TREE"),
    "bloom": ("bloom", {}, "PREFIX"),
    "gpt_neo": (
        "gpt_neo",
        {
            "num_layers": 2,
            "num_heads": 4,
            "window_size": 16,
            "attention_types": [[["global", "local"], 1]],
        },
        "PREFIX",
    ),
    "mamba": ("mamba", {}, "NONE"),
    "jamba": (
        "jamba",
        {"num_key_value_heads": 2, "num_experts": 2, "attn_layer_period": 2, "attn_layer_offset": 1},
        "NONE",
    ),
    "dynamic": (
        "llama",
        {
            "max_position_embeddings": 100,
            "rope_parameters": {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 4.0},
        },
        "TREE",
    ),
}


@pytest.fixture(scope="module")
def load_tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], LoadedModel]:
    kept: dict[str, LoadedModel] = {}

    def loaded(name: str) -> LoadedModel:
        if name not in kept:
            model_type, config, _ = ARCHITECTURES[name]
            folder: Path = tmp_path_factory.mktemp(name)
            made = load(ModelSource(str(make_model(folder, model_type, **config)), device_map="cpu"))
            assert made is not None
            kept[name] = made
        return kept[name]

    return loaded


def job(ids: Sequence[int], first_scored: int, top_k_per_token: int = 1) -> Job:
    request = Request("x", echo_prompt=True, max_tokens=0, top_k_per_token=top_k_per_token)
    pieces = tuple(f"<{token}>" for token in ids)
    return Job(request, Prompt(tuple(ids), pieces, first_scored), lambda answer: None, 0.0)


def mixed_jobs(seed: int = 1) -> list[Job]:
    """Questions with choices after two contexts, texts of their own, equal prompts, single tokens."""
    random = Random(seed)

    def some(low: int, high: int) -> list[int]:
        return [random.randrange(3, VOCABULARY) for _ in range(random.randint(low, high))]

    jobs = []
    for _ in range(2):
        context = some(CONTEXT_TOKENS, CONTEXT_TOKENS)
        for _ in range(4):
            question = context + some(4, 15)
            jobs += [job(question + some(1, 4), len(question)) for _ in range(4)]
    first = jobs[0].prompt
    jobs += [job(first.ids, first.first_scored), job(first.ids, 0), job(first.ids[:40], 39)]
    jobs += [job(some(1, 120), 0) for _ in range(4)]
    jobs += [job([5], 0), job([5], 1)]
    random.shuffle(jobs)
    return jobs


def scored(
    scorer: PromptScorer, jobs: Sequence[Job], max_batch_tokens: int = 1024, max_batch_size: int = 16
) -> dict[Job, tuple[Completion, Counts]]:
    batches = scorer.batches(jobs, max_batch_tokens, max_batch_size)
    found = {each: (done, counts) for batch in batches for each, done, counts in scorer.score(batch)}
    assert sum(map(len, batches)) == len(found) == len(jobs)
    return found


def plain_logprobs(loaded: LoadedModel, ids: Sequence[int]) -> Any:
    """Of each token that may come after each one of a text, which is computed alone and in full."""
    with torch.inference_mode():
        loaded.model(torch.tensor([[1]]))  # what a rope learned from longer texts is forgotten
        return loaded.model(torch.tensor([list(ids)])).logits[0].float().log_softmax(-1)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_agrees_with_every_prompt_alone_and_in_full(
    name: str, load_tiny: Callable[[str], LoadedModel]
) -> None:
    loaded = load_tiny(name)
    scorer = PromptScorer(loaded)
    assert scorer.sharing.name == ARCHITECTURES[name][2]
    for each, (completion, _) in scored(scorer, mixed_jobs()).items():
        ids, first = each.prompt.ids, each.prompt.first_scored
        plain = plain_logprobs(loaded, ids)
        assert completion.tokens is not None
        assert [token.text for token in completion.tokens] == [f"<{token}>" for token in ids[first:]]
        wanted = [float(plain[at - 1, ids[at]]) for at in range(max(first, 1), len(ids))]
        found = [token.logprob for token in completion.tokens]
        if first == 0:
            assert found.pop(0) is None  # it follows nothing
        assert found == pytest.approx(wanted, abs=1e-4)
        known = bool(wanted) or not completion.tokens
        assert completion.logprob == (pytest.approx(sum(wanted), abs=1e-3) if known else None)
        best = [int(plain[at - 1].argmax()) == ids[at] for at in range(max(first, 1), len(ids))]
        assert completion.is_greedy is all(best)
        assert completion.text == "".join(each.prompt.pieces[first:])
        assert completion.finish_reason == "length"


@pytest.mark.parametrize("name", ["llama", "bloom", "mamba"])
def test_the_batch_has_no_say(name: str, load_tiny: Callable[[str], LoadedModel]) -> None:
    jobs = mixed_jobs(2)
    together = scored(PromptScorer(load_tiny(name)), jobs, 4096, 32)
    alone = scored(PromptScorer(load_tiny(name)), jobs, 4096, 1)
    for each in jobs:
        one, other = together[each][0], alone[each][0]
        assert [t.logprob for t in one.tokens or ()] == pytest.approx(
            [t.logprob for t in other.tokens or ()], abs=1e-4
        )
        assert one.is_greedy == other.is_greedy


def test_a_greedy_continuation_is_told(load_tiny: Callable[[str], LoadedModel]) -> None:
    loaded = load_tiny("llama")
    ids = [7, 9, 11]
    for _ in range(4):
        ids.append(int(plain_logprobs(loaded, ids)[-1].argmax()))
    right, wrong = job(ids, 3), job([*ids[:-1], (ids[-1] + 1) % VOCABULARY], 3)
    found = scored(PromptScorer(loaded), [right, wrong])
    assert found[right][0].is_greedy is True
    assert found[wrong][0].is_greedy is False


def test_alternatives_are_the_likeliest_tokens(load_tiny: Callable[[str], LoadedModel]) -> None:
    loaded = load_tiny("llama")
    ids = (7, 9, 11, 13)
    with_tops, without = job(ids, 0, top_k_per_token=3), job(ids, 2)
    found = scored(PromptScorer(loaded), [with_tops, without])
    assert all(token.top_logprobs is None for token in found[without][0].tokens or ())
    first, *others = found[with_tops][0].tokens or ()
    assert first.top_logprobs is None
    plain = plain_logprobs(loaded, ids)
    for at, token in enumerate(others):
        top = plain[at].topk(3)
        wanted: dict[str, float] = {}
        for token_id, logprob in zip(top.indices.tolist(), top.values.tolist(), strict=True):
            wanted.setdefault(loaded.tokenizer.decode([token_id]), logprob)
        assert token.top_logprobs == pytest.approx(wanted, abs=1e-4)


def test_what_is_shared_is_computed_once(load_tiny: Callable[[str], LoadedModel]) -> None:
    scorer = PromptScorer(load_tiny("llama"))
    context, question = list(range(3, 103)), [5, 6, 7, 8]
    jobs = [job([*context, *question, choice, 9], 104) for choice in (10, 20, 30, 40)]
    counts = [counts for _, counts in scored(scorer, jobs).values()]
    # The context, the question, and the first token of each choice: the second needs no state.
    assert sum(c.padded_tokens for c in counts) == 100 + 4 + 4
    assert sum(c.reused_tokens for c in counts) == 3 * 104
    assert [c.batch_size for c in counts] == [4] * 4


def test_questions_that_share_nothing_are_computed_in_one_pass_each(
    load_tiny: Callable[[str], LoadedModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    scorer = PromptScorer(load_tiny("llama"))
    scored(scorer, [job([3, 4, 5], 1)])  # it finds out what the model can share
    passes = []
    states = Network.states

    def counted(self: Network, ids: Any, **options: Any) -> Any:
        passes.append(ids.numel())
        return states(self, ids, **options)

    monkeypatch.setattr(Network, "states", counted)
    random = Random(0)
    questions = [[random.randrange(3, 400) for _ in range(200)] for _ in range(5)]
    jobs = [job([*question, choice, 9, 8], 200) for question in questions for choice in (10, 20, 30)]
    found = scored(scorer, jobs)
    assert passes == [200 + 3 * 2] * 5
    assert sum(counts.padded_tokens for _, counts in found.values()) == 5 * 206
    context = [random.randrange(3, 400) for _ in range(200)]
    passes.clear()
    after = [job([*context, *question, choice, 9], 400) for question in questions for choice in (10, 20, 30)]
    assert sum(counts.padded_tokens for _, counts in scored(scorer, after).values()) <= 200 + 5 * (200 + 3)


def test_choices_of_one_token_cost_nothing(load_tiny: Callable[[str], LoadedModel]) -> None:
    jobs = [job([3, 4, 5, 6, choice], 4) for choice in range(10, 30)]
    for name in ("llama", "mamba"):
        counts = [counts for _, counts in scored(PromptScorer(load_tiny(name)), jobs, 64, 32).values()]
        assert sum(c.padded_tokens for c in counts) == 4


@pytest.mark.parametrize("name", ["llama", "bloom"])
def test_the_next_batch_goes_on_from_the_same_context(
    name: str, load_tiny: Callable[[str], LoadedModel]
) -> None:
    scorer = PromptScorer(load_tiny(name))
    context = list(range(3, 103))
    first = scored(scorer, [job([*context, 5, choice], 101) for choice in (10, 20)])
    assert sum(counts.padded_tokens for _, counts in first.values()) >= 100
    then = scored(scorer, [job([*context, 6, choice], 101) for choice in (10, 20)])
    assert sum(counts.padded_tokens for _, counts in then.values()) <= 2
    assert all(counts.reused_tokens >= 100 for _, counts in then.values())
    scorer.forget()
    again = scored(scorer, [job([*context, 7, choice], 101) for choice in (10, 20)])
    assert sum(counts.padded_tokens for _, counts in again.values()) >= 100


def test_out_of_memory_yields_nothing_and_keeps_nothing(
    load_tiny: Callable[[str], LoadedModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = load_tiny("llama")
    scorer = PromptScorer(loaded)
    context = list(range(3, 103))
    jobs = [job([*context, 5, choice], 101) for choice in (10, 20)]
    wanted = scored(scorer, jobs)
    with monkeypatch.context() as patched:

        def fail(*args: Any, **kwargs: Any) -> Any:
            raise torch.OutOfMemoryError("CUDA out of memory")

        patched.setattr(loaded.model.model.layers[1], "forward", fail)
        with pytest.raises(torch.OutOfMemoryError):
            list(scorer.score(jobs))
    again = scored(scorer, jobs)
    assert sum(counts.padded_tokens for _, counts in again.values()) >= 100
    assert [again[each][0] for each in jobs] == [wanted[each][0] for each in jobs]


def test_a_model_that_has_its_own_mind_about_masks_is_found_out(
    load_tiny: Callable[[str], LoadedModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = load_tiny("gpt_neox")
    trunk = loaded.model.base_model
    forward = trunk.forward

    def deaf(*args: Any, attention_mask: Any = None, **kwargs: Any) -> Any:
        return forward(*args, **kwargs)

    def without_cache(*args: Any, past_key_values: Any = None, **kwargs: Any) -> Any:
        return deaf(*args, **kwargs)

    for wrong, left in ((deaf, "PREFIX"), (without_cache, "NONE")):
        with monkeypatch.context() as patched:
            patched.setattr(trunk, "forward", wrong)
            scorer = PromptScorer(loaded)
            assert scorer.sharing.name == left
            jobs = mixed_jobs(3)
            found = scored(scorer, jobs)
        for each in jobs:
            plain = plain_logprobs(loaded, each.prompt.ids)
            token = (found[each][0].tokens or (None,))[-1]
            if token is not None and len(each.prompt.ids) > 1:
                assert token.logprob == pytest.approx(float(plain[-2, each.prompt.ids[-1]]), abs=1e-4)


def test_running_out_of_memory_is_no_finding(
    load_tiny: Callable[[str], LoadedModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = load_tiny("llama")
    scorer = PromptScorer(loaded)

    def fail(*args: Any, **kwargs: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with monkeypatch.context() as patched:
        patched.setattr(loaded.model.base_model, "forward", fail)
        with pytest.raises(torch.OutOfMemoryError):
            _ = scorer.sharing
        jobs = mixed_jobs()
        batches = scorer.batches(jobs, 1024, 16)
        assert sum(map(len, batches)) == len(jobs)
        with pytest.raises(torch.OutOfMemoryError):
            list(scorer.score(batches[0]))
    assert scorer.sharing.name == "TREE"


def test_logits_are_made_in_parts(
    load_tiny: Callable[[str], LoadedModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded, jobs = load_tiny("llama"), mixed_jobs(4)
    wanted = scored(PromptScorer(loaded), jobs)
    monkeypatch.setattr("evalkit.clients.transformers.network._MAX_LOGITS", 3 * VOCABULARY)
    found = scored(PromptScorer(loaded), jobs)
    for each in jobs:
        tokens, others = found[each][0].tokens or (), wanted[each][0].tokens or ()
        assert [t.logprob for t in tokens] == pytest.approx([t.logprob for t in others], abs=1e-5)


def test_the_metric_finds_in_the_scored_part_what_it_finds_in_the_whole(
    load_tiny: Callable[[str], LoadedModel],
) -> None:
    loaded = load_tiny("llama")
    option = "the worst of times"
    prompt = f"Question: what was it?\nAnswer: {option}"
    states = [
        RequestState(
            str(index),
            "id0",
            0,
            Request(prompt, echo_prompt=True, max_tokens=0, scored_from=scored_from),
            reference_index=0,
        )
        for index, scored_from in enumerate((None, len(prompt) - len(option)))
    ]
    prompts = Prompter(loaded.tokenizer, ChatStyle()).prompts([state.request for state in states])
    jobs = [
        Job(state.request, made, lambda answer: None, 0.0)
        for state, made in zip(states, prompts, strict=True)
        if isinstance(made, Prompt)
    ]
    found = scored(PromptScorer(loaded), jobs)
    whole, part = (found[each][0] for each in jobs)
    # A beginning token was put before the text, so that its first token has a probability too.
    assert whole.text == prompt
    assert len(whole.tokens or ()) == len(jobs[0].prompt.ids) - 1
    assert len(part.tokens or ()) < len(whole.tokens or ())
    one, other = (
        reference_tokens(Answer(state, Response((completion,))), option)
        for state, completion in zip(states, (whole, part), strict=True)
    )
    assert [token.text for token in one] == [token.text for token in other]
    assert [t.logprob for t in one] == pytest.approx([t.logprob for t in other], abs=1e-5)


def test_a_prompt_is_scored_or_continued() -> None:
    check_scoring(Request("x", echo_prompt=True, max_tokens=0))
    with pytest.raises(BadRequestError, match="set max_tokens to 0"):
        check_scoring(Request("x", echo_prompt=True, max_tokens=5))
    with pytest.raises(BadRequestError, match="set num_completions to 1"):
        check_scoring(Request("x", echo_prompt=True, max_tokens=0, num_completions=2))
