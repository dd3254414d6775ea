"""What transformers itself says of the model: the plainest loops, one prompt at a time."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import Any


class Reference:
    """A model and its tokenizer, as transformers load them.

    Args:
        folder: The model's files.
    """

    def __init__(self, folder: Path) -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self.torch = torch
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        self.model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()

    def generated(self, prompt: str, max_tokens: int) -> str:
        """The greedy continuation; halves of characters are not joined over a special token between them."""
        inputs = self.tokenizer(prompt, return_tensors="pt")
        with self.torch.inference_mode():
            ids = self.model.generate(**inputs, max_new_tokens=max_tokens, do_sample=False)[0]
        special = set(self.tokenizer.all_special_ids)
        new = ids[inputs["input_ids"].shape[1] :].tolist()
        runs = [list(run) for is_special, run in groupby(new, special.__contains__) if not is_special]
        return "".join(self.tokenizer.decode(run) for run in runs)

    def distributions(self, text: str) -> tuple[list[int], Any]:
        """The tokens, and [tokens, vocabulary] the log-probabilities of what comes after each."""
        ids = self.tokenizer(text)["input_ids"]
        with self.torch.inference_mode():
            logits = self.model(self.torch.tensor([ids])).logits[0]
        return ids, logits.float().log_softmax(-1)

    def logprobs(self, text: str) -> list[float]:
        """The log-probability of each token but the first."""
        ids, after = self.distributions(text)
        return [float(after[at, token]) for at, token in enumerate(ids[1:])]
