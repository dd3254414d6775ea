"""Generation: 500 prompts of 20 to 400 tokens, 64 new tokens each, greedy, against `generate` by hand.

    python benchmarks/generation.py [--runs N] [--json] [--prompts N] [--hidden N] [--device cuda] …

One small random Llama answers the same prompts through evalkit's executor and through the loop that one
would write by hand: prompts sorted by length, padded, `model.generate` batch by batch, at its best batch
size. Both run in the same process with the same threads, in turn. Loading is not counted; tokenising and
decoding are.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

from answering import answer_all
from evalkit.clients.transformers.client import TransformersClient
from evalkit.request import Request
from evalkit.response import Response
from measure import Figure, benchmark
from tiny_models import prompts_of, random_llama

BATCH_SIZES = (8, 16, 32, 64, 128)
NEW_TOKENS = 64
# Logits that differ by less, relative to their size, are equal up to rounding.
TIE = 1e-5


class Loop:
    """The loop written by hand."""

    def __init__(self, folder: Path, device: str, dtype: str) -> None:
        from transformers import AutoModelForCausalLM, AutoTokenizer
        from transformers.utils import logging

        logging.disable_progress_bar()
        self.tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
        self._model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).eval().to(device)
        self._device = device

    def __call__(self, prompts: Sequence[str], batch_size: int) -> tuple[float, list[str]]:
        """Seconds it takes, and the texts."""
        import torch

        began_s = time.perf_counter()
        order = sorted(range(len(prompts)), key=lambda index: -len(prompts[index]))
        texts = [""] * len(prompts)
        for at in range(0, len(order), batch_size):
            places = order[at : at + batch_size]
            inputs = self.tokenizer([prompts[p] for p in places], return_tensors="pt", padding=True)
            width = inputs["input_ids"].shape[1]
            with torch.inference_mode():
                output = self._model.generate(
                    input_ids=inputs["input_ids"].to(self._device),
                    attention_mask=inputs["attention_mask"].to(self._device),
                    do_sample=False,
                    max_new_tokens=NEW_TOKENS,
                    eos_token_id=self.tokenizer.eos_token_id,
                    pad_token_id=self.tokenizer.pad_token_id,
                )
            decoded = self.tokenizer.batch_decode(output[:, width:], skip_special_tokens=True)
            for place, text in zip(places, decoded, strict=True):
                texts[place] = text
        return time.perf_counter() - began_s, texts

    def is_tied(self, prompt: str) -> bool:
        """Whether, on the way of this text, two tokens were as good as equally likely.

        Then rounding decides between them, and may decide otherwise in a batch of another shape.
        """
        import torch

        ids = self.tokenizer(prompt, return_tensors="pt")["input_ids"].to(self._device)
        with torch.inference_mode():
            output = self._model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                do_sample=False,
                max_new_tokens=NEW_TOKENS,
                eos_token_id=self.tokenizer.eos_token_id,
                pad_token_id=self.tokenizer.pad_token_id,
            )
            best = self._model(output).logits[0, ids.shape[1] - 1 : -1].float().topk(2).values
        gaps = (best[:, 0] - best[:, 1]) / best.abs().amax(-1)
        return bool(gaps.min() < TIE)


async def through_evalkit(
    client: TransformersClient, prompts: Sequence[str]
) -> tuple[float, float, list[Response]]:
    """Seconds until all are answered and until the first is, and the answers in order."""

    def request(prompt: str, max_tokens: int) -> Request:
        return Request(prompt, temperature=0.0, max_tokens=max_tokens)

    return await answer_all(client, request("ba ce", 2), [request(prompt, NEW_TOKENS) for prompt in prompts])


def measure(options: argparse.Namespace, folder: Path) -> list[Figure]:
    """All figures."""
    import torch

    device = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
    model = options.model or random_llama(folder / "model", hidden=options.hidden, layers=options.layers)
    loop = Loop(model, device, options.dtype)
    random = Random(0)
    lengths = [random.randint(20, 400) for _ in range(options.prompts)]
    prompts = prompts_of(loop.tokenizer, lengths)
    sizes = options.batch_sizes
    loop(prompts[:8], 8)
    best = min(sizes, key=lambda size: loop(prompts, size)[0])
    loops: list[tuple[float, list[str]]] = []
    ours: list[tuple[float, float, list[Response]]] = []
    for _ in range(options.runs):
        arguments: dict[str, Any] = {"model": str(model), "device_map": device, "dtype": options.dtype}
        if options.max_batch_size:
            arguments["max_batch_size"] = options.max_batch_size
        ours.append(asyncio.run(through_evalkit(TransformersClient(**arguments), prompts)))
        loops.append(loop(prompts, best))
    loop_s = statistics.median(seconds for seconds, _ in loops)
    our_s = statistics.median(seconds for seconds, _, _ in ours)
    texts = [response.completions[0].text for response in ours[0][2]]
    others = [p for p, a, b in zip(prompts, texts, loops[0][1], strict=True) if a != b]
    tied = sum(map(loop.is_tied, others))
    tokens = sum(response.usage.completion_tokens for response in ours[0][2])
    padded = sum((r.efficiency.padded_tokens or 0) for r in ours[0][2] if r.efficiency is not None)
    true = sum(r.usage.total_tokens - 1 for r in ours[0][2])
    return [
        Figure(f"generate loop, its best batch size {best}", tokens / loop_s, "tokens/s"),
        Figure("evalkit", tokens / our_s, "tokens/s", ratios={"the loop": loop_s / our_s}),
        Figure("evalkit over the loop", loop_s / our_s, "", 1.0, at_least=True),
        Figure("identical texts", len(texts) - len(others), f"of {len(texts)}"),
        Figure(
            "the same, where rounding decides nothing", len(texts) - len(others) + tied, "", len(texts), True
        ),
        Figure("evalkit: first answer", ours[0][1], "s"),
        Figure("evalkit: positions computed over true ones", padded / true, ""),
    ]


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(prog="python benchmarks/generation.py")
    parser.add_argument("--prompts", type=int, default=500, help="how many (default 500)")
    parser.add_argument("--hidden", type=int, default=256, help="size of the random Llama (default 256)")
    parser.add_argument("--layers", type=int, default=4, help="its layers (default 4)")
    parser.add_argument("--model", type=Path, help="a model's folder, in place of the random Llama")
    parser.add_argument("--dtype", default="float32", help="of the weights (default float32)")
    parser.add_argument("--device", help="cpu or cuda; default: the GPU if there is one")
    parser.add_argument("--max-batch-size", type=int, help="evalkit's; default: its own choice")
    parser.add_argument(
        "--batch-sizes",
        type=lambda text: [int(size) for size in text.split(",")],
        default=BATCH_SIZES,
        help="what the loop tries (default 8,16,32,64,128)",
    )
    benchmark(parser, measure, runs=3)


if __name__ == "__main__":
    main()
