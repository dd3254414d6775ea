"""Token estimates with the model's own tokenizer."""

from __future__ import annotations

from pathlib import Path

from evalkit.execution.budget import TokenEstimator
from evalkit.models.tokenizers import tokenizer
from evalkit.request import Message, Request
from evalkit.response import Usage
from tests.models.made_tokenizers import byte_level, save


def test_with_a_tokenizer_only_what_a_server_adds_is_learned(tmp_path: Path) -> None:
    found = tokenizer(str(save(byte_level(), tmp_path)))
    text = "The following are multiple choice questions (with answers) about anatomy."
    tokens = found.count(text)
    assert 0 < tokens < len(text)
    estimator = TokenEstimator(found.count)
    asked = Request(text, max_tokens=7, num_completions=2)
    assert estimator.estimate(asked) == Usage(tokens + 16, 14)
    chat = Request("", (Message("system", text), Message("user", text)), max_tokens=0)
    assert estimator.estimate(chat) == Usage(2 * tokens + 16, 0)
    estimator.learn(asked, Usage(2 * tokens, 1))
    assert estimator.estimate(asked).prompt_tokens == 2 * tokens + 16
