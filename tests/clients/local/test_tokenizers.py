"""One tokenizer for plan and run: what tokenizer.json describes. What stands before a text, as it says."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from evalkit.clients.transformers.client import TransformersClient
from evalkit.errors import BadRequestError
from evalkit.models.tokenizers import tokenizer as counting
from evalkit.request import Message, Request
from evalkit.response import Token

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from tokenizers import Regex, Tokenizer, pre_tokenizers, processors  # noqa: E402

MakeModel = Callable[..., Path]
TEXT = "it was the best of times, 1234 times"
SCORED = Request(TEXT, temperature=0.0, max_tokens=0, echo_prompt=True)
GREEDY = Request(TEXT, temperature=0.0, max_tokens=6)


@pytest.fixture(scope="module")
def model_of(tmp_path_factory: pytest.TempPathFactory) -> MakeModel:
    from evalkit.testing.models import make_model

    made: dict[str, Path] = {}

    def make(model_type: str = "llama", **config: Any) -> Path:
        key = repr((model_type, sorted(config.items())))
        if key not in made:
            made[key] = make_model(tmp_path_factory.mktemp(model_type), model_type, **config)
        return made[key]

    return make


def opened(folder: Path, *requests: Request, **args: Any) -> tuple[list[Any], tuple[str, ...]]:
    async def main() -> tuple[list[Any], tuple[str, ...]]:
        client = TransformersClient(model=str(folder), **{"device_map": "cpu", **args})
        try:
            await client.open()
            answers = await asyncio.gather(*map(client.send, requests), return_exceptions=True)
            return answers, client.notes
        finally:
            await client.close()

    return asyncio.run(main())


def with_tokenizer(folder: Path, target: Path, change: Callable[[Any], None], **config: Any) -> Path:
    """A copy of a model, its tokenizer.json changed, with other things said in tokenizer_config.json."""
    shutil.copytree(folder, target)
    made = Tokenizer.from_file(str(target / "tokenizer.json"))
    change(made)
    made.save(str(target / "tokenizer.json"))
    path = target / "tokenizer_config.json"
    said = {**json.loads(path.read_text()), **config}
    path.write_text(json.dumps({name: value for name, value in said.items() if value is not None}))
    return target


def begins_with(*tokens: str, end: str = "") -> Callable[[Any], None]:
    def change(made: Any) -> None:
        made.add_special_tokens(list(tokens))
        special = [(token, made.token_to_id(token)) for token in {*tokens, *([end] if end else [])}]
        single = " ".join([*tokens, "$A", *([end] if end else [])])
        made.post_processor = processors.TemplateProcessing(single=single, special_tokens=special)

    return change


def logprob(folder: Path, ids: Sequence[int]) -> float:
    """By one plain pass of transformers'."""
    model = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    given = torch.tensor([list(ids)])
    with torch.inference_mode():
        rows = model(given).logits[0, :-1].log_softmax(-1)
    found: float = rows.gather(-1, given[0, 1:, None]).sum().item()
    return found


def total(tokens: Sequence[Token]) -> float:
    return sum(token.logprob or 0.0 for token in tokens)


@pytest.mark.parametrize(
    ("before", "bos"),
    [
        (("[gMASK]", "<sop>"), None),
        (("</s>",), "<s>"),
        (("<s>",), "<s>"),
        (("<pad>", "</s>", "<s>"), "<s>"),
        ((), "<s>"),
    ],
    ids=["glm", "xglm", "bos", "three", "none"],
)
def test_a_text_begins_with_what_its_tokenizer_puts_there(
    model_of: MakeModel, tmp_path: Path, before: tuple[str, ...], bos: str | None
) -> None:
    folder = with_tokenizer(
        model_of("llama", vocab_size=500),
        tmp_path / "model",
        begins_with(*before),
        bos_token=bos,
        tokenizer_class="PreTrainedTokenizerFast",
    )
    made = transformers.AutoTokenizer.from_pretrained(folder)
    ids = made(TEXT)["input_ids"]
    own = made(TEXT, add_special_tokens=False)["input_ids"]
    assert ids == [*made.convert_tokens_to_ids(list(before)), *own]
    spelled = replace(SCORED, prompt="".join(before) + TEXT)
    option = replace(SCORED, scored_from=len(TEXT) - 6)
    chat = replace(GREEDY, prompt="", messages=(Message("user", "who?"),))
    (plain, twice, part, answer, said), _ = opened(folder, SCORED, spelled, option, GREEDY, chat)
    assert plain.usage.prompt_tokens == twice.usage.prompt_tokens == len(ids)
    found = plain.completions[0].tokens
    assert "".join(token.text for token in found) == TEXT
    # The beginning's own tokens are no part of the text.
    expected = logprob(folder, ids) - (logprob(folder, ids[: len(before)]) if len(before) > 1 else 0.0)
    assert total(found) == pytest.approx(expected, abs=1e-3)
    ending = part.completions[0].tokens
    assert total(ending) == pytest.approx(total(found[-len(ending) :]), abs=1e-4)
    assert answer.usage.prompt_tokens == len(ids)
    rendered = made.apply_chat_template([{"role": "user", "content": "who?"}], add_generation_prompt=True)
    assert said.usage.prompt_tokens == len(rendered["input_ids"])
    facts = TransformersClient.facts({"model": str(folder)})
    assert facts.max_request_length == 512 - max(1, len(before))


def test_an_end_token_is_not_put_behind_a_prompt(model_of: MakeModel, tmp_path: Path) -> None:
    folder = with_tokenizer(
        model_of(),
        tmp_path / "model",
        begins_with("<s>", end="</s>"),
        tokenizer_class="PreTrainedTokenizerFast",
    )
    made = transformers.AutoTokenizer.from_pretrained(folder)
    ids = made(TEXT)["input_ids"]
    assert made.convert_ids_to_tokens(ids)[-1] == "</s>"
    (answer,), _ = opened(folder, GREEDY)
    assert answer.usage.prompt_tokens == len(ids) - 1


def test_windows_begin_as_texts_do(model_of: MakeModel, tmp_path: Path) -> None:
    folder = with_tokenizer(
        model_of("llama", vocab_size=500), tmp_path / "model", begins_with("[gMASK]", "<sop>"), bos_token=None
    )
    found = counting(str(folder))
    assert found.prefix_token == "[gMASK]<sop>"
    assert len(found.encode(found.prefix_token)) == 2


def split_digits(made: Any) -> None:
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(pattern=Regex(r"\d{1,3}|[^\d]+"), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


def test_the_file_holds_where_transformers_makes_another_tokenizer(
    model_of: MakeModel, tmp_path: Path
) -> None:
    folder = with_tokenizer(
        model_of("qwen2", num_key_value_heads=2),
        tmp_path / "model",
        split_digits,
        tokenizer_class="TokenizersBackend",
    )
    ids = Tokenizer.from_file(str(folder / "tokenizer.json")).encode(TEXT).ids
    auto = transformers.AutoTokenizer.from_pretrained(folder)(TEXT, add_special_tokens=False)["input_ids"]
    assert auto != ids[1:], "transformers has learned to read this file; another one is needed here"
    (answer,), notes = opened(folder, SCORED)
    assert answer.usage.prompt_tokens == len(ids)
    assert total(answer.completions[0].tokens) == pytest.approx(logprob(folder, ids), abs=1e-3)
    assert counting(str(folder)).count(TEXT) == len(ids) - 1
    (note,) = notes
    assert "tokenizer.json and transformers' Qwen2Tokenizer make different tokens of" in note
    assert "tokenizer.json is used" in note


@pytest.mark.parametrize("tokenizer_class", ["PreTrainedTokenizerFast", "TokenizersBackend"])
@pytest.mark.parametrize("model_type", ["llama", "gpt2", "mistral"])
def test_tokenizers_that_agree_are_not_noted(
    model_of: MakeModel, tmp_path: Path, model_type: str, tokenizer_class: str
) -> None:
    folder = with_tokenizer(
        model_of(model_type), tmp_path / "model", lambda made: None, tokenizer_class=tokenizer_class
    )
    assert opened(folder)[1] == ()


def test_a_prompt_with_a_token_that_the_model_lacks_is_refused_by_its_name(
    model_of: MakeModel, tmp_path: Path
) -> None:
    def add(made: Any) -> None:
        made.add_special_tokens(["<|new|>", "<|other|>"])

    folder = with_tokenizer(model_of(), tmp_path / "model", add)
    prompts = [TEXT, f"{TEXT}<|new|>", f"<|other|>{TEXT}"]
    kinds = [GREEDY, SCORED, replace(GREEDY, embedding=True, max_tokens=0)]
    answers, notes = opened(folder, *(replace(kind, prompt=prompt) for kind in kinds for prompt in prompts))
    for fine, *refused in (answers[:3], answers[3:6], answers[6:]):
        assert not isinstance(fine, Exception)
        for error, token in zip(refused, ("<|new|>", "<|other|>"), strict=True):
            assert isinstance(error, BadRequestError)
            assert f"the token '{token}'" in str(error)
    (note,) = notes
    assert "<|new|>, <|other|>" in note


def test_plans_know_tokens_that_only_the_config_names(model_of: MakeModel, tmp_path: Path) -> None:
    number = len(transformers.AutoTokenizer.from_pretrained(model_of()))
    flags = dict.fromkeys(("lstrip", "rstrip", "normalized", "single_word"), False)
    added = {
        str(number + at): {"content": text, "special": at == 0, **flags}
        for at, text in enumerate(("<|im_start|>", "<think>"))
    }
    folder = with_tokenizer(model_of(), tmp_path / "model", lambda made: None, added_tokens_decoder=added)
    text = "<|im_start|>user <think>well"
    expected = transformers.AutoTokenizer.from_pretrained(folder)(text, add_special_tokens=False)["input_ids"]
    assert counting(str(folder)).encode(text) == expected
    assert {number, number + 1} <= set(expected)
