from __future__ import annotations

import importlib
import json
import os
import random
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import evalkit
from evalkit.plugins import load_plugins

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

SCRIPT = Path(__file__).parents[2] / "examples" / "train_tiny" / "train.py"
SHIPPED = Path(evalkit.__file__).with_name("tiny")
MAX_BYTES = 5_000_000
CHAT = [
    {"role": "system", "content": "Answer."},
    {"role": "user", "content": "What is 1 + 2?"},
    {"role": "assistant", "content": "3"},
    {"role": "user", "content": "And 3 + 4?"},
]


@pytest.fixture
def lessons(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    load_plugins()
    return importlib.import_module("lessons")


@pytest.fixture(scope="module")
def shipped_model() -> Any:
    return transformers.AutoModelForCausalLM.from_pretrained(SHIPPED, local_files_only=True)


@pytest.fixture(scope="module")
def shipped_tokenizer() -> Any:
    return transformers.AutoTokenizer.from_pretrained(SHIPPED, local_files_only=True)


def options_of(output: Path, seed: int) -> list[str]:
    """What makes the script train its smallest model."""
    return ["--output", str(output), "--steps", "12", "--seed", str(seed), "--threads", "1", "--smoke"]


@pytest.mark.slow
def test_the_script_makes_the_same_model_from_the_same_seed(
    tmp_path: Path, lessons: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(SCRIPT), *options_of(tmp_path / "one", seed=3)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
    assert "step 12 of 12: loss" in printed
    assert "single functions: 0." in printed
    # In this process, whose hashes of texts differ from those of the process above.
    script = importlib.import_module("train")
    for name, seed in (("same", 3), ("other", 4)):
        monkeypatch.setattr(sys, "argv", [str(SCRIPT), *options_of(tmp_path / name, seed)])
        script.main()
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("one", "same", "other")]
    assert weights[0] == weights[1] != weights[2]
    tokenizers = [(tmp_path / name / "tokenizer.json").read_text() for name in ("one", "same")]
    assert tokenizers[0] == tokenizers[1]

    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "one")
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "one")
    prompt = tokenizer("Question: What is 12 + 34?\nAnswer:", return_tensors="pt")
    assert model.generate(**prompt, max_new_tokens=3, do_sample=False).shape[1] > prompt.input_ids.shape[1]
    card = (tmp_path / "one" / "README.md").read_text()
    assert "12 steps of 4 texts, seed 3" in card
    assert "{" not in card


def test_what_is_evaluated_is_not_trained_on(lessons: ModuleType) -> None:
    asked: dict[str, set[str]] = {}
    calls = set()
    for task in lessons.tasks(num_function_calls=2000, seed=1):
        for question in task.questions:
            asked.setdefault(task.adapters[0].spec.input_prefix, set()).add(question.input)
            if question.extra:
                calls.add((question.extra["function"], question.extra["input"]))
    sums = {
        instance.input
        for operation in ("add", "subtract")
        for instance in lessons.made(
            "arithmetic", operation=operation, digits=2, num_test=lessons.NUM_HELD_OUT
        )
        if instance.split == "test"
    }
    assert len(sums) == 2 * lessons.NUM_HELD_OUT
    assert not sums & asked["Question: "]
    numbers = {str(number) for number in range(21, 100)}
    assert not numbers & asked["Number: "]
    held_out = {
        (instance.extra["function"], instance.extra["input"])
        for instance in lessons.made("functions", num_test=lessons.NUM_HELD_OUT)
        if instance.split == "test"
    }
    assert held_out
    assert calls
    assert not held_out & calls


def test_a_lesson_learns_each_answer_where_it_stands(lessons: ModuleType) -> None:
    tasks = lessons.tasks(num_function_calls=500, seed=1)
    rng = random.Random(0)
    for task in tasks:
        for _ in range(20):
            text, spans = lessons.lesson(task, rng)
            assert text.startswith("<s>")
            assert text.endswith("</s>")
            assert 1 <= len(spans) <= lessons.MAX_SHOTS + 1
            golds = {task.adapters[0].shown(question) for question in task.questions}
            for start, end in spans:
                learnt = text[start:end]
                assert learnt.endswith(("</s>", "\n"))
                assert learnt.removesuffix("</s>").strip() in golds


def test_the_shipped_model_is_small_and_complete() -> None:
    files = {path.name: path.stat().st_size for path in SHIPPED.iterdir()}
    assert sum(files.values()) <= MAX_BYTES
    assert {
        "README.md",
        "chat_template.jinja",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    } <= set(files)
    config = json.loads((SHIPPED / "config.json").read_text())
    assert config["architectures"] == ["LlamaForCausalLM"]
    assert config["max_position_embeddings"] >= 1024


@pytest.mark.parametrize(
    "text", ["What is 12 + 34?", "東京は日本の首都です。", "🦙 ö\tx\n\n  y ", "print(qcnqty(-7))"]
)
def test_the_shipped_tokenizer_writes_any_text(shipped_tokenizer: Any, text: str) -> None:
    ids = shipped_tokenizer(text).input_ids
    assert ids[0] == shipped_tokenizer.bos_token_id
    assert shipped_tokenizer.decode(ids, skip_special_tokens=True) == text


def test_every_digit_is_a_token(shipped_tokenizer: Any) -> None:
    tokens = shipped_tokenizer.tokenize("1234567890 and 42")
    assert [token for token in tokens if any(c.isdigit() for c in token)] == [*"1234567890", "4", "2"]


def test_the_chat_template_is_what_the_model_was_trained_on(shipped_tokenizer: Any) -> None:
    shown = shipped_tokenizer.apply_chat_template(CHAT, tokenize=False, add_generation_prompt=True)
    start = "<s><|system|>Answer.</s><|user|>What is 1 + 2?</s><|assistant|>3</s>"
    assert shown == f"{start}<|user|>And 3 + 4?</s><|assistant|>"
    ids = shipped_tokenizer.apply_chat_template(CHAT, return_dict=False)
    assert ids.count(shipped_tokenizer.bos_token_id) == 1


def test_the_shipped_model_can_do_sums(
    shipped_model: Any, shipped_tokenizer: Any, lessons: ModuleType
) -> None:
    instances = lessons.made("arithmetic", operation="add", digits=2, num_test=60)
    questions = [instance for instance in instances if instance.split == "test"]
    prompts = [f"Question: {question.input}\nAnswer:" for question in questions]
    tokens = shipped_tokenizer(prompts, return_tensors="pt").input_ids  # all of one length: nothing is padded
    with torch.inference_mode():
        longer = shipped_model.generate(
            tokens, attention_mask=torch.ones_like(tokens), do_sample=False, max_new_tokens=5
        )
    texts = shipped_tokenizer.batch_decode(longer[:, tokens.shape[1] :], skip_special_tokens=True)
    right = [
        text.split("\n")[0].strip() == question.references[0].text
        for text, question in zip(texts, questions, strict=True)
    ]
    assert sum(right) / len(right) > 0.8
