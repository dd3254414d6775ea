from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any, cast

import pytest

from evalkit.clients.local.prompting import ChatStyle
from evalkit.clients.transformers.job import NO_PROMPT, Answer, Job
from evalkit.clients.transformers.loading import LoadedModel, ModelSource, load
from evalkit.errors import BadRequestError
from evalkit.request import Request
from evalkit.response import Completion, Response, total_logprob

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from evalkit.clients.transformers.generate.decoding import OwnCacheDecoder, RowDecoder, choose_decoder  # noqa: E402
from evalkit.clients.transformers.generate.generation import Generator  # noqa: E402
from evalkit.clients.transformers.model import LocalModel  # noqa: E402

MakeModel = Callable[..., Path]
MAMBA2 = {"num_heads": 16, "head_dim": 8, "n_groups": 1, "state_size": 8, "chunk_size": 32}
JAMBA = {"num_key_value_heads": 2, "num_experts": 2, "attn_layer_period": 2, "attn_layer_offset": 1}
QWEN2 = {
    "num_key_value_heads": 2,
    "use_sliding_window": True,
    "sliding_window": 16,
    "max_window_layers": 1,
}
# Architecture, its configuration, and the decoder that is right for it. Windows are shorter than the texts.
ARCHITECTURES: Mapping[str, tuple[str, Mapping[str, Any], str]] = {
    "llama": ("llama", {}, "rows"),
    "gpt2": ("gpt2", {}, "rows"),
    "mistral, sliding": ("mistral", {}, "rows"),
    "qwen2, partly sliding": ("qwen2", QWEN2, "rows"),
    "gemma2": ("gemma2", {}, "rows"),
    "gemma3": ("gemma3_text", {"num_key_value_heads": 2, "head_dim": 16, "sliding_window": 16}, "rows"),
    "bloom, ALiBi": ("bloom", {}, "rows"),
    "opt": ("opt", {}, "rows"),
    "gpt_neox": ("gpt_neox", {}, "rows"),
    "mamba": ("mamba", {}, "padded"),
    "mamba2": ("mamba2", MAMBA2, "any"),
    "jamba": ("jamba", JAMBA, "any"),
}
WORDS = [
    "the",
    "quick",
    "brown",
    "fox",
    "jumps",
    "over",
    "lazy",
    "dog",
    "it",
    "was",
    "best",
    "of",
    "times",
    "who",
    "would",
    "have",
    "thought",
]


def some_prompts(number: int, seed: int = 0) -> list[str]:
    random = Random(seed)
    return [" ".join(random.choices(WORDS, k=random.randint(1, 40))) for _ in range(number)]


def loaded_from(folder: Path) -> LoadedModel:
    loaded = load(ModelSource(str(folder), device_map="cpu", dtype="float32"))
    assert loaded is not None
    return loaded


def generate(
    loaded: LoadedModel, requests: Sequence[Request], *, rows: int = 64, with_logprobs: bool = False
) -> list[Response]:
    """Every answer, in order; so many at once, the next joining as rows become free."""
    model = LocalModel(loaded, ChatStyle(), with_logprobs=with_logprobs)
    jobs = [Job(request, NO_PROMPT, print, 0.0) for request in requests]
    model.prepare(jobs)
    waiting = list(jobs)

    def more(running: list[Job]) -> list[Job]:
        taken = [waiting.pop(0) for _ in range(min(len(waiting), rows - len(running)))]
        return taken

    answers = dict(model.generate(more([]), more))
    return [response_of(answers[job]) for job in jobs]


def response_of(answer: Response | Exception) -> Response:
    assert isinstance(answer, Response), answer
    return answer


def completions(loaded: LoadedModel, requests: Sequence[Request], **options: Any) -> list[Completion]:
    return [response.completions[0] for response in generate(loaded, requests, **options)]


def one_by_one(loaded: LoadedModel, prompt: str, max_tokens: int) -> tuple[str, list[int]]:
    """What the model's own `generate` gives for a prompt alone."""
    inputs = loaded.tokenizer(prompt, return_tensors="pt")["input_ids"]
    output = loaded.model.generate(
        inputs,
        attention_mask=torch.ones_like(inputs),
        do_sample=False,
        max_new_tokens=max_tokens,
        pad_token_id=loaded.tokenizer.pad_token_id,
    )
    ids = output[0, inputs.shape[1] :].tolist()
    return loaded.tokenizer.decode(ids, skip_special_tokens=True), ids


@pytest.fixture
def llama(model_of: MakeModel) -> LoadedModel:
    return loaded_from(model_of("llama"))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_texts_are_those_of_generate_in_any_batch(model_of: MakeModel, name: str) -> None:
    model_type, config, way = ARCHITECTURES[name]
    loaded = loaded_from(model_of(model_type, **config))
    decoder = choose_decoder(loaded)
    if way != "any":
        assert isinstance(decoder, RowDecoder if way == "rows" else OwnCacheDecoder)
        assert decoder.pads
    context = "it was the best of times, it was the worst of times. " * 3
    prompts = some_prompts(10) + [context + prompt for prompt in some_prompts(4, seed=1)]
    # Of different length, so that rows leave and others join.
    requests = [
        Request(prompt, temperature=0.0, max_tokens=4 + 5 * (n % 4)) for n, prompt in enumerate(prompts)
    ]
    expected = [one_by_one(loaded, r.prompt, r.max_tokens)[0] for r in requests]
    assert len(set(expected)) > len(expected) // 2
    for rows in (1, 4, 32):
        assert [c.text for c in completions(loaded, requests, rows=rows)] == expected


def test_sampled_texts_do_not_depend_on_the_batch(llama: LoadedModel) -> None:
    requests = [
        Request(
            prompt, temperature=0.9, top_p=0.95, max_tokens=12, num_completions=1 + n % 3, random=str(n % 2)
        )
        for n, prompt in enumerate(some_prompts(12))
    ]
    alone = generate(llama, requests, rows=1)
    together = generate(llama, requests, rows=32)
    assert [[c.text for c in r.completions] for r in alone] == [
        [c.text for c in r.completions] for r in together
    ]
    assert [len(r.completions) for r in together] == [r.num_completions for r in requests]
    assert len({c.text for r in together for c in r.completions}) > 20


def test_seeds(llama: LoadedModel) -> None:
    request = Request("the quick brown", temperature=1.0, max_tokens=16, num_completions=3, random="1")
    first, again, other = generate(llama, [request, request, replace(request, random="2")])
    assert [c.text for c in first.completions] == [c.text for c in again.completions]
    for one, other_one in zip(first.completions, again.completions, strict=True):
        assert one.logprob == pytest.approx(
            other_one.logprob
        )  # other neighbours in the batch, other last digits
    assert len({c.text for c in (*first.completions, *other.completions)}) == 6


def test_sampling_leaves_the_global_generators_alone(llama: LoadedModel) -> None:
    before = torch.random.get_rng_state()
    generate(llama, [Request("the", temperature=1.0, max_tokens=5)])
    assert torch.equal(before, torch.random.get_rng_state())


def test_log_probabilities_are_the_model_s(llama: LoadedModel) -> None:
    request = Request("it was the best", temperature=0.0, max_tokens=8, top_k_per_token=3)
    (completion,) = completions(llama, [request])
    _, ids = one_by_one(llama, request.prompt, 8)
    prompt = llama.tokenizer(request.prompt)["input_ids"]
    with torch.inference_mode():
        logits = llama.model(torch.tensor([[*prompt, *ids]])).logits[0, len(prompt) - 1 : -1]
    expected = logits.log_softmax(-1)
    assert completion.tokens is not None
    assert [t.logprob for t in completion.tokens] == pytest.approx(
        [expected[n, token].item() for n, token in enumerate(ids)], abs=1e-4
    )
    assert completion.logprob == pytest.approx(total_logprob(completion.tokens))
    assert "".join(t.text for t in completion.tokens) == completion.text
    for token, row in zip(completion.tokens, expected, strict=True):
        assert token.top_logprobs is not None
        best = sorted(token.top_logprobs.values(), reverse=True)
        assert best == pytest.approx(row.topk(3).values[: len(best)].tolist(), abs=1e-4)


def test_tokens_only_where_they_are_wanted(llama: LoadedModel) -> None:
    request = Request("it was", temperature=0.0, max_tokens=5)
    (plain,), (with_tokens,) = (
        completions(llama, [request]),
        completions(llama, [request], with_logprobs=True),
    )
    assert plain.tokens is None
    assert plain.logprob == with_tokens.logprob
    assert with_tokens.tokens is not None
    assert all(token.top_logprobs is None for token in with_tokens.tokens)


def test_stop_sequences_cut_exactly(llama: LoadedModel) -> None:
    prompts = some_prompts(8)
    requests = [Request(prompt, temperature=0.0, max_tokens=24) for prompt in prompts]
    whole = [c.text for c in completions(llama, requests)]
    # A piece out of the middle of each text, which does not begin where a token does.
    stops = [text[len(text) // 2 : len(text) // 2 + 3] for text in whole]
    stopped = completions(
        llama, [replace(r, stop_sequences=(stop,)) for r, stop in zip(requests, stops, strict=True)]
    )
    for text, stop, completion in zip(whole, stops, stopped, strict=True):
        assert stop
        assert completion.text == text[: text.find(stop)]
        assert completion.finish_reason == "stop"


def test_what_comes_after_a_stop_is_not_counted(llama: LoadedModel) -> None:
    request = Request("it was the best", temperature=0.0, max_tokens=10)
    (whole,) = completions(llama, [request], with_logprobs=True)
    assert whole.tokens is not None
    stop = whole.tokens[4].text + whole.tokens[5].text
    (cut,) = completions(llama, [replace(request, stop_sequences=(stop,))], with_logprobs=True)
    assert cut.tokens is not None
    assert cut.tokens == whole.tokens[: len(cut.tokens)]
    assert cut.logprob == pytest.approx(total_logprob(cut.tokens))
    assert len(cut.text) < len(whole.text)


def test_the_end_token_ends_a_text_and_is_no_part_of_it(model_of: MakeModel) -> None:
    loaded = loaded_from(model_of("llama", eos=False))
    request = Request("it was the best of times", temperature=0.0, max_tokens=12)
    _, ids = one_by_one(loaded, request.prompt, 12)
    third = ids[2]
    loaded.model.generation_config.eos_token_id = [third, 1]
    first = ids.index(third)
    (response,) = generate(loaded, [request])
    assert response.completions[0].finish_reason == "stop"
    assert response.completions[0].text == loaded.tokenizer.decode(ids[:first])
    assert response.usage.completion_tokens == first + 1
    loaded.model.generation_config.eos_token_id = None
    (response,) = generate(loaded, [request])
    assert response.completions[0].finish_reason == "length"
    assert response.usage.completion_tokens == 12


def test_usage_counts_true_tokens(llama: LoadedModel) -> None:
    requests = [Request(p, temperature=0.0, max_tokens=3 + n) for n, p in enumerate(some_prompts(6))]
    for request, response in zip(requests, generate(llama, requests), strict=True):
        assert response.usage.prompt_tokens == len(llama.tokenizer(request.prompt)["input_ids"])
        assert response.usage.completion_tokens == len(
            one_by_one(llama, request.prompt, request.max_tokens)[1]
        )
        assert response.efficiency is not None
        assert response.efficiency.batch_size == 6


def test_equal_prompts_and_common_beginnings_are_computed_once(llama: LoadedModel) -> None:
    context = "it was the best of times, it was the worst of times. " * 8
    prompts = [context + ending for ending in ("who", "who would", "who", "the fox", "a dog jumps over")]
    responses = generate(llama, [Request(p, temperature=0.0, max_tokens=2) for p in prompts])
    shared = len(llama.tokenizer(context)["input_ids"]) - 2
    padded = [r.efficiency.padded_tokens or 0 for r in responses if r.efficiency is not None]
    reused = [r.efficiency.reused_tokens or 0 for r in responses if r.efficiency is not None]
    assert sum(padded) < shared + 5 * 12
    assert sorted(reused)[0] == 0
    assert sorted(reused)[1] >= shared
    texts = [r.completions[0].text for r in responses]
    assert texts == [one_by_one(llama, p, 2)[0] for p in prompts]


def test_several_completions_share_the_prompt(llama: LoadedModel) -> None:
    request = Request(some_prompts(1)[0] * 5, temperature=1.0, max_tokens=1, num_completions=8)
    (response,) = generate(llama, [request])
    assert response.efficiency is not None
    assert response.efficiency.padded_tokens == response.usage.prompt_tokens
    assert response.usage.completion_tokens == 8


def test_greedy_completions_are_computed_once(llama: LoadedModel) -> None:
    (response,) = generate(llama, [Request("it was", temperature=0.0, max_tokens=5, num_completions=3)])
    assert len(response.completions) == 3
    assert len(set(response.completions)) == 1
    assert response.usage.completion_tokens == 15


def test_penalties_make_texts_less_repetitive(model_of: MakeModel) -> None:
    loaded = loaded_from(model_of("gpt2"))
    request = Request("it was the", temperature=0.0, max_tokens=30)
    plain, penalised = (
        completions(loaded, [request], with_logprobs=True),
        completions(loaded, [replace(request, frequency_penalty=2.0)], with_logprobs=True),
    )

    def distinct(found: Sequence[Completion]) -> int:
        assert found[0].tokens is not None
        return len({token.text for token in found[0].tokens})

    assert distinct(penalised) > distinct(plain)


def test_a_text_that_reaches_the_model_s_length_is_cut(model_of: MakeModel) -> None:
    source = ModelSource(str(model_of("llama")), device_map="cpu", max_length=20)
    loaded = load(source)
    assert loaded is not None
    prompt = "the quick brown fox"
    room = 20 - len(loaded.tokenizer(prompt)["input_ids"])
    (response,) = generate(loaded, [Request(prompt, temperature=0.0, max_tokens=100)])
    assert response.completions[0].finish_reason == "length"
    assert response.usage.completion_tokens == room
    assert response.completions[0].text == one_by_one(loaded, prompt, room)[0]


def test_nothing_to_generate(llama: LoadedModel) -> None:
    (nothing, something) = completions(llama, [Request("it", temperature=0.0, max_tokens=n) for n in (0, 2)])
    assert (nothing.text, nothing.finish_reason) == ("", "length")
    assert something.text


def test_jobs_cancelled_while_they_run_leave_the_batch(llama: LoadedModel) -> None:
    model = LocalModel(llama, ChatStyle())
    jobs = [
        Job(Request(p, temperature=0.0, max_tokens=10 + n), NO_PROMPT, print, 0.0)
        for n, p in enumerate(some_prompts(4))
    ]
    model.prepare(jobs)
    steps: Iterator[int] = iter(range(100))

    def more(_: list[Job]) -> list[Job]:
        if next(steps) == 3:
            jobs[1].cancelled = jobs[2].cancelled = True
        return []

    answers = dict(model.generate(jobs, more))
    assert set(answers) == {jobs[0], jobs[3]}
    for job in answers:
        expected = one_by_one(llama, job.request.prompt, job.request.max_tokens)[0]
        assert response_of(answers[job]).completions[0].text == expected


def test_ropes_that_change_with_the_length(model_of: MakeModel) -> None:
    ropes = {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 4.0}
    loaded = loaded_from(model_of("llama", max_position_embeddings=40, rope_parameters=ropes))
    # The config's length is where the ropes begin to change, not where the model ends.
    loaded = replace(loaded, max_length_tokens=None)
    prompts = some_prompts(12)
    requests = [Request(prompt, temperature=0.0, max_tokens=20) for prompt in prompts]
    assert [c.text for c in completions(loaded, requests)] == [one_by_one(loaded, p, 20)[0] for p in prompts]


def changing_llama(model_of: MakeModel) -> LoadedModel:
    """Its ropes change beyond 64 tokens, and remember the longest text that they have seen."""
    ropes = {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 4.0}
    loaded = loaded_from(model_of("llama", max_position_embeddings=64, rope_parameters=ropes))
    return replace(loaded, max_length_tokens=512)


def words_of_length(loaded: LoadedModel, num_tokens: int, seed: int) -> str:
    random, text = Random(seed), ""
    while len(loaded.tokenizer(text)["input_ids"]) < num_tokens:
        text += " " + random.choice(WORDS)
    return text


@pytest.mark.parametrize("kind", ["generate", "score", "embed"])
def test_a_longer_neighbour_changes_nothing(model_of: MakeModel, kind: str) -> None:
    llama = changing_llama(model_of)
    texts = [words_of_length(llama, n, n) for n in (213, 98, 150, 64, 20)]

    def asked(prompt: str) -> Request:
        match kind:
            case "generate":
                return Request(prompt, temperature=0.0, max_tokens=30)
            case "score":
                return Request(prompt, temperature=0.0, max_tokens=0, echo_prompt=True)
            case _:
                return Request(prompt, embedding=True)

    def work(model: LocalModel, jobs: list[Job]) -> dict[Job, Answer]:
        ready = model.prepare(jobs)
        match kind:
            case "generate":
                return dict(model.generate(ready, lambda _: []))
            case "score":
                batches = model.score_batches(ready, model.limit(None, None))
                return {job: answer for batch in batches for job, answer in model.score(batch)}
            case _:
                return dict(model.embed(ready))

    def found(model: LocalModel, prompts: Sequence[str]) -> list[Response]:
        jobs = [Job(asked(prompt), NO_PROMPT, print, 0.0) for prompt in prompts]
        answers = work(model, jobs)
        return [response_of(answers[job]) for job in jobs]

    def numbers(response: Response) -> list[float]:
        if response.embedding is not None:
            return list(response.embedding)
        (completion,) = response.completions
        return [token.logprob or 0.0 for token in completion.tokens or ()]

    used = LocalModel(changing_llama(model_of), ChatStyle())
    together = found(used, texts)
    in_turn = [found(used, [text])[0] for text in texts]
    for text, one, other in zip(texts, together, in_turn, strict=True):
        fresh = changing_llama(model_of)
        if kind == "generate":
            assert one.completions[0].text == other.completions[0].text == one_by_one(fresh, text, 30)[0]
        else:
            (alone,) = found(LocalModel(fresh, ChatStyle()), [text])
            assert numbers(one) == pytest.approx(numbers(alone), abs=1e-4)
            assert numbers(other) == pytest.approx(numbers(alone), abs=1e-4)


def spoilt(loaded: LoadedModel, word: str) -> LoadedModel:
    """The model, whose embedding of a word is NaN."""
    (token,) = loaded.tokenizer(word, add_special_tokens=False)["input_ids"]
    with torch.no_grad():
        loaded.model.get_input_embeddings().weight[token] = math.nan
    return loaded


@pytest.mark.parametrize("temperature", [0.0, 1.0, 1e-30])
def test_nan_is_no_answer_and_spoils_no_neighbour(model_of: MakeModel, temperature: float) -> None:
    loaded = spoilt(loaded_from(model_of("llama")), " lazy")
    model = LocalModel(loaded, ChatStyle())
    prompts = [f"{'the quick ' * n}brown{' lazy' * (n % 3 == 1)} fox" for n in range(9)]
    jobs = [
        Job(Request(p, temperature=temperature, max_tokens=12, num_completions=2), NO_PROMPT, print, 0.0)
        for p in prompts
    ]
    waiting = list(model.prepare(jobs))

    def more(running: list[Job]) -> list[Job]:
        # Rows come where others were.
        return [waiting.pop() for _ in range(min(len(waiting), 3 - len(running)))]

    answers = dict(model.generate(more([]), more))
    for job, prompt in zip(jobs, prompts, strict=True):
        answer = answers[job]
        if "lazy" in prompt:
            assert isinstance(answer, BadRequestError)
            assert answer.reason == "not_finite"
            assert "try dtype=bfloat16 or dtype=float32" in str(answer)
        else:
            (alone,) = generate(loaded, [job.request])
            assert [c.text for c in response_of(answer).completions] == [c.text for c in alone.completions]


def test_a_crash_between_batches_leaves_a_clean_generator(llama: LoadedModel) -> None:
    generator = Generator(llama)
    model = LocalModel(llama, ChatStyle())
    jobs = [Job(Request(p, temperature=0.0, max_tokens=9), NO_PROMPT, print, 0.0) for p in some_prompts(3)]
    model.prepare(jobs)
    running = generator.run(jobs[:2], lambda _: [])
    with closing(cast(Any, running)):
        next(running)
    ((_, response),) = generator.run(jobs[2:], lambda _: [])
    assert response_of(response).completions[0].text == one_by_one(llama, jobs[2].request.prompt, 9)[0]


def test_a_repetition_penalty_counts_the_prompt_and_the_answer(llama: LoadedModel) -> None:
    prompt = "it was the best of times it was the"
    inputs = llama.tokenizer(prompt, return_tensors="pt")["input_ids"]
    output = llama.model.generate(
        inputs,
        attention_mask=torch.ones_like(inputs),
        do_sample=False,
        repetition_penalty=1.4,
        max_new_tokens=24,
        pad_token_id=llama.tokenizer.pad_token_id,
    )
    ids = output[0, inputs.shape[1] :].tolist()
    request = Request(prompt, temperature=0.0, max_tokens=24, repetition_penalty=1.4)
    others = [replace(request, prompt=f"{prompt} {n}") for n in range(3)]
    first, *_ = completions(llama, [request, *others])
    assert first.text == llama.tokenizer.decode(ids, skip_special_tokens=True)
    assert first.text != completions(llama, [replace(request, repetition_penalty=1.0)])[0].text
