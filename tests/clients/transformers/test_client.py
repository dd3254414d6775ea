from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import threading
import warnings
import weakref
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest

from evalkit.clients.transformers.client import TransformersClient
from evalkit.clients.transformers.loading import load as real_load
from evalkit.errors import BadRequestError, EvalkitError, TransientError, UsageError
from evalkit.request import Message, Request
from evalkit.response import Response

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

MakeModel = Callable[..., Path]
Asked = TypeVar("Asked")
GREEDY = Request("it was the best of times", temperature=0.0, max_tokens=8)
DRAWN = replace(GREEDY, temperature=0.8, top_p=0.9, random="3")


def with_client(folder: Path, use: Callable[[TransformersClient], Awaitable[Asked]], **args: Any) -> Asked:
    """What `use` gives with an open client, which is closed afterwards."""

    async def main() -> Asked:
        client = TransformersClient(model=str(folder), **{"device_map": "cpu", **args})
        try:
            await client.open()
            return await use(client)
        finally:
            await client.close()

    return asyncio.run(main())


def ask(folder: Path, *requests: Request, **args: Any) -> list[Response]:
    async def use(client: TransformersClient) -> list[Response]:
        return await asyncio.gather(*map(client.send, requests))

    return with_client(folder, use, **args)


def texts(responses: Sequence[Response]) -> list[str]:
    return [response.completions[0].text for response in responses]


def engine_threads() -> int:
    return sum(thread.name == "evalkit-transformers" for thread in threading.enumerate())


def test_requests_of_every_kind_at_once(model_of: MakeModel) -> None:
    requests = [
        GREEDY,
        DRAWN,
        replace(GREEDY, echo_prompt=True, max_tokens=0),
        replace(GREEDY, embedding=True, max_tokens=0),
        replace(GREEDY, messages=(Message("user", "who?"),)),
    ] * 6
    responses = ask(model_of(), *requests)
    for request, response in zip(requests, responses, strict=True):
        assert response.efficiency is not None
        assert response.efficiency.started_at > 0
        assert response.efficiency.queue_s >= 0
        assert response.efficiency.batch_size is not None
        assert response.efficiency.peak_memory_bytes
        assert response.latency_s > 0
        assert response.usage.prompt_tokens > 0
        if request.embedding:
            assert response.embedding is not None
            assert len(response.embedding) == 64
        elif request.echo_prompt:
            assert response.completions[0].tokens
        else:
            assert response.completions[0].text
    assert texts(responses[:3]) == texts(responses[5:8])


@pytest.mark.parametrize("args", [{"max_batch_size": 1}, {"max_batch_size": 32}, {"max_batch_tokens": 40}])
def test_batch_sizes_change_no_answer(model_of: MakeModel, args: dict[str, Any]) -> None:
    prompts = [" ".join(["it was the best of times who would"] * (n % 5 + 1))[: 20 + n] for n in range(16)]
    requests = [replace(kind, prompt=prompt) for prompt in prompts for kind in (GREEDY, DRAWN)]
    expected = texts(ask(model_of(), *requests))
    assert texts(ask(model_of(), *requests, **args)) == expected


def test_two_models_in_one_process_never_mix(model_of: MakeModel) -> None:
    folders = [model_of("llama"), model_of("gpt2")]
    requests = [replace(kind, prompt=f"{kind.prompt} {n}") for n in range(12) for kind in (GREEDY, DRAWN)]
    alone = [texts(ask(folder, *requests)) for folder in folders]
    assert alone[0] != alone[1]

    async def main() -> list[list[str]]:
        clients = [TransformersClient(model=str(folder), device_map="cpu") for folder in folders]
        await asyncio.gather(*(client.open() for client in clients))
        try:
            # One request to one, one to the other, and so on.
            sent = [asyncio.create_task(client.send(request)) for request in requests for client in clients]
            answers = await asyncio.gather(*sent)
        finally:
            await asyncio.gather(*(client.close() for client in clients))
        return [texts(answers[at::2]) for at in (0, 1)]

    assert asyncio.run(main()) == alone


def test_a_cancelled_request_is_given_up_and_the_others_are_answered(model_of: MakeModel) -> None:
    async def use(client: TransformersClient) -> list[Any]:
        long = replace(GREEDY, max_tokens=200)
        tasks = [asyncio.create_task(client.send(replace(long, prompt=f"it was {n}"))) for n in range(4)]
        quick = asyncio.create_task(client.send(replace(GREEDY, max_tokens=1)))
        await quick
        tasks[0].cancel()
        tasks[2].cancel()
        return await asyncio.gather(*tasks, return_exceptions=True)

    answers = with_client(model_of("llama", eos=False), use)
    assert isinstance(answers[0], asyncio.CancelledError)
    assert isinstance(answers[2], asyncio.CancelledError)
    assert all(answers[n].usage.completion_tokens == 200 for n in (1, 3))


def test_short_answers_do_not_wait_for_long_ones(model_of: MakeModel) -> None:
    async def use(client: TransformersClient) -> list[int]:
        done: list[int] = []

        async def send(max_tokens: int) -> None:
            await client.send(replace(GREEDY, max_tokens=max_tokens))
            done.append(max_tokens)

        await asyncio.gather(*(send(max_tokens) for max_tokens in (300, 2, 100, 20)))
        return done

    assert with_client(model_of("llama", eos=False), use) == [2, 20, 100, 300]


def test_what_comes_later_is_taken_into_the_running_batch(model_of: MakeModel) -> None:
    async def use(client: TransformersClient) -> tuple[Response, bool]:
        long = asyncio.create_task(client.send(replace(GREEDY, max_tokens=450)))
        await client.send(replace(GREEDY, max_tokens=1))
        late = await client.send(replace(GREEDY, prompt="who would", max_tokens=3))
        running = not long.done()
        await long
        return late, running

    late, running = with_client(model_of("llama", eos=False), use)
    assert running
    assert late.efficiency is not None
    assert late.efficiency.batch_size == 2


def test_too_long_a_prompt_is_refused_and_says_so(model_of: MakeModel) -> None:
    async def use(client: TransformersClient) -> tuple[Any, ...]:
        long = replace(GREEDY, prompt="it was " * 40)
        scored = replace(long, echo_prompt=True, max_tokens=0)
        return await asyncio.gather(
            client.send(long), client.send(scored), client.send(GREEDY), return_exceptions=True
        )

    refused, scored, answered = with_client(model_of(), use, max_length=30)
    for error in (refused, scored):
        assert isinstance(error, BadRequestError)
        assert "tokens, the model takes 30" in str(error)
    assert isinstance(answered, Response)


def test_a_request_that_breaks_the_model_fails_alone(
    model_of: MakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    from evalkit.clients.transformers.generate.decoding import RowDecoder

    real = RowDecoder.admit

    def admit(self: RowDecoder, prompts: Any, more: int) -> Any:
        if any(len(prompt) > 40 for prompt in prompts):
            raise IndexError("a bug of the model's")
        return real(self, prompts, more)

    monkeypatch.setattr(RowDecoder, "admit", admit)

    async def use(client: TransformersClient) -> list[Any]:
        bad = replace(GREEDY, prompt="who would have thought " * 12)
        return await asyncio.gather(
            *(client.send(r) for r in (GREEDY, bad, DRAWN, GREEDY)), return_exceptions=True
        )

    first, bad, *rest = with_client(model_of(), use)
    assert isinstance(bad, BadRequestError)
    assert bad.reason == "engine_error"
    assert "a bug of the model's" in str(bad)
    assert all(isinstance(answer, Response) for answer in (first, *rest))


def test_a_text_that_can_not_be_tokenised_fails_alone(model_of: MakeModel) -> None:
    async def use(client: TransformersClient) -> list[Any]:
        bad = replace(GREEDY, prompt="half a character: \ud800")
        return await asyncio.gather(*(client.send(r) for r in (GREEDY, bad, DRAWN)), return_exceptions=True)

    first, bad, last = with_client(model_of(), use)
    assert isinstance(first, Response)
    assert isinstance(bad, Response) or "can't be tokenised" in str(bad)
    assert isinstance(last, Response)


def test_out_of_memory_is_survived(model_of: MakeModel, monkeypatch: pytest.MonkeyPatch) -> None:
    from evalkit.clients.transformers.generate.decoding import RowDecoder

    real, sizes = RowDecoder.step, []

    def step(self: RowDecoder, ids: Any) -> Any:
        sizes.append(len(ids))
        if len(ids) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(self, ids)

    folder = model_of()
    requests = [replace(GREEDY, prompt=f"it was {n}") for n in range(20)]
    expected = texts(ask(folder, *requests))
    monkeypatch.setattr(RowDecoder, "step", step)
    assert texts(ask(folder, *requests)) == expected
    assert max(sizes) > 3


def test_closing_ends_the_thread_and_lets_the_model_go(
    model_of: MakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = []

    def load(*args: Any) -> Any:
        loaded = real_load(*args)
        assert loaded is not None
        models.append(weakref.ref(loaded.model))
        return loaded

    monkeypatch.setattr("evalkit.clients.transformers.client.load", load)
    before = engine_threads()
    ask(model_of(), GREEDY, DRAWN)
    assert engine_threads() == before
    gc.collect()
    assert [model() for model in models] == [None]


def test_closing_while_requests_run_leaves_nobody_waiting(model_of: MakeModel) -> None:
    async def main() -> list[Any]:
        client = TransformersClient(model=str(model_of("llama", eos=False)), device_map="cpu")
        await client.open()
        tasks = [asyncio.create_task(client.send(replace(GREEDY, max_tokens=450))) for _ in range(3)]
        await client.send(replace(GREEDY, max_tokens=1))
        await client.close()
        return await asyncio.gather(*tasks, return_exceptions=True)

    assert all(isinstance(answer, TransientError) for answer in asyncio.run(main()))


def test_loading_that_is_cancelled_ends_the_thread(
    model_of: MakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    loading, go_on = threading.Event(), threading.Event()

    def load(source: Any, wanted: Callable[[], bool]) -> Any:
        loading.set()
        go_on.wait()
        return real_load(source, wanted)

    monkeypatch.setattr("evalkit.clients.transformers.client.load", load)

    async def main() -> None:
        client = TransformersClient(model=str(model_of()), device_map="cpu")
        opening = asyncio.create_task(client.open())
        await asyncio.to_thread(loading.wait)
        opening.cancel()
        await asyncio.wait([opening])
        closing = asyncio.create_task(client.close())
        await asyncio.sleep(0)
        go_on.set()
        await closing

    before = engine_threads()
    asyncio.run(main())
    assert engine_threads() == before


def test_a_chat_goes_through_the_template(model_of: MakeModel, tmp_path: Path) -> None:
    chat = replace(GREEDY, prompt="", messages=(Message("user", "who?"),))
    plain = replace(GREEDY, prompt="<|user|>who?</s><|assistant|>")
    own = replace(GREEDY, prompt="user: who?")
    wrapped = replace(GREEDY, prompt="who?")
    template = tmp_path / "own.jinja"
    template.write_text("{{ bos_token }}{{ role }}: {{ messages[0].content }}")
    said = [r.completions[0].text for r in ask(model_of(), chat, plain)]
    assert said[0] == said[1]
    args = {"chat_template": str(template), "chat_template_args": {"role": "user"}, "chat_prompts": True}
    by_file = [r.completions[0].text for r in ask(model_of(), chat, wrapped, **args)]
    assert by_file[0] == by_file[1] == ask(model_of(), own)[0].completions[0].text
    assert by_file[0] != said[0]


def test_a_model_without_a_template_refuses_chats(model_of: MakeModel, tmp_path: Path) -> None:
    import shutil

    folder = tmp_path / "bare"
    shutil.copytree(model_of(), folder)
    (folder / "chat_template.jinja").unlink()

    async def use(client: TransformersClient) -> tuple[Any, ...]:
        chat = replace(GREEDY, messages=(Message("user", "who?"),))
        return await asyncio.gather(client.send(chat), client.send(GREEDY), return_exceptions=True)

    refused, answered = with_client(folder, use)
    assert "no chat template" in str(refused)
    assert isinstance(answered, Response)


def test_a_model_that_is_nowhere_says_how_to_get_it() -> None:
    with pytest.raises(UsageError, match="hf download nobody/nothing"):
        with_client(Path("nobody/nothing"), lambda client: client.send(GREEDY))


def test_a_folder_that_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"has no config\.json"):
        with_client(tmp_path, lambda client: client.send(GREEDY))
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UsageError, match="can't be loaded"):
        with_client(tmp_path, lambda client: client.send(GREEDY))


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ({"dtype": "float12"}, "dtype is 'float12'"),
        ({"quantization": "int3"}, "int8, int4"),
        ({"pooling": "max"}, "mean or last"),
        ({"max_batch_size": 0}, "at least 1"),
    ],
)
def test_arguments_are_checked(args: dict[str, Any], said: str) -> None:
    with pytest.raises(EvalkitError, match=said):
        TransformersClient(model="evalkit/tiny", **args)


def test_dtype_and_attention_are_as_asked(model_of: MakeModel) -> None:
    (half,) = ask(model_of(), GREEDY, dtype="bfloat16", attn_implementation="eager")
    assert half.completions[0].text


def test_identity_knows_the_files_and_not_the_way(model_of: MakeModel, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "elsewhere"
    shutil.copytree(model_of(), copy)

    def identity(model: Path, **args: Any) -> dict[str, Any]:
        return TransformersClient.identity({"model": str(model), **args})

    same = identity(model_of())
    assert identity(copy) == same
    assert identity(copy, max_batch_size=4, device_map="cpu", max_batch_tokens=9) == same
    assert identity(copy, dtype="bfloat16") != same
    assert identity(copy, max_length=10) != same
    assert identity(model_of("llama", seed=1)) != same


def test_facts_come_from_the_files(model_of: MakeModel) -> None:
    facts = TransformersClient.facts({"model": str(model_of())})
    assert facts.tokenizer_name == str(model_of())
    assert facts.max_sequence_length == 512
    assert TransformersClient.facts({"model": "nobody/nothing"}).tokenizer_name is None


def test_importing_the_client_imports_no_engine() -> None:
    code = (
        "import sys, evalkit.clients.transformers.client\n"
        "assert not {'torch', 'transformers', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_adapter_is_put_on_top(model_of: MakeModel, tmp_path: Path) -> None:
    pytest.importorskip("peft")
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    base = AutoModelForCausalLM.from_pretrained(model_of())
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        config = LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
        adapted = get_peft_model(base, config)
    adapted.save_pretrained(tmp_path / "adapter")
    ids = torch.tensor([AutoTokenizer.from_pretrained(model_of())(GREEDY.prompt)["input_ids"]])
    with torch.inference_mode():
        expected = adapted(ids).logits[0, :-1].log_softmax(-1).gather(-1, ids[0, 1:, None]).sum().item()
    scored = replace(GREEDY, echo_prompt=True, max_tokens=0, scored_from=0)
    (plain,) = ask(model_of(), scored)
    (response,) = ask(model_of(), scored, adapter=str(tmp_path / "adapter"))
    assert response.completions[0].logprob == pytest.approx(expected, abs=1e-3)
    assert response.completions[0].logprob != pytest.approx(plain.completions[0].logprob, abs=1e-2)
    identity = TransformersClient.identity
    args = {"model": str(model_of()), "adapter": str(tmp_path / "adapter")}
    assert identity(args) != identity({"model": str(model_of())})


def test_a_conversation_format_takes_the_place_of_the_chat_template(model_of: MakeModel) -> None:
    conversation = {"system": "the", "roles": ["it", "was"], "separator": " ", "role_only_separator": ""}
    chat = replace(GREEDY, messages=(Message("user", "best of"),))
    as_text = replace(GREEDY, prompt="the it: best of was")
    assert texts(ask(model_of(), chat, conversation=conversation)) == texts(ask(model_of(), as_text))
    with_template = texts(ask(model_of(), chat))
    assert with_template != texts(ask(model_of(), as_text))
    # A token that ends answers is a stop.
    (whole,) = ask(model_of(), as_text, logprobs=True)
    tokens = whole.completions[0].tokens
    assert tokens is not None

    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(model_of()))
    word = tokens[2].text.strip()
    (token,) = tokenizer(word, add_special_tokens=False)["input_ids"]
    stopped = ask(model_of(), chat, conversation={**conversation, "stop_token_ids": [token]})
    assert texts(stopped)[0].strip() == whole.completions[0].text.split(word)[0].strip()
