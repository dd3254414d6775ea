"""Trains `evalkit/tiny`, the model that evalkit ships, on the tasks of the quickstart.

python examples/train_tiny/train.py --output my-tiny

What it reads is in `lessons.py`. Randomness is drawn from the seed; nothing is downloaded.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from lessons import BOS, EOS, NUM_HELD_OUT, ROLES, Lesson, lessons, rendered, tasks, vocabulary_texts
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch import Tensor
from torch.nn import functional
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from evalkit.plugins import load_plugins
from evalkit.request import Request
from evalkit.runs.load import load_instances
from evalkit.runs.options import RunOptions
from evalkit.runs.plan import make_plan, open_plan_context

CARD = Path(__file__).with_name("model_card.md")
NUM_POSITIONS = 2048
PAD = "<pad>"
CHAT_TEMPLATE = """\
{{- bos_token -}}
{%- for message in messages -%}
{%- if message.role not in ("system", "user", "assistant") -%}
{{- raise_exception("a message is by system, user or assistant") -}}
{%- endif -%}
{{- "<|" + message.role + "|>" + message.content + eos_token -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- "<|assistant|>" -}}
{%- endif -%}
"""
STEPS_SORTED = 8
"""Of how many steps the texts are sorted by length at a time."""
SUMS = f"arithmetic:operation=add,digits=2,num_test={NUM_HELD_OUT}"
ENTRIES = {
    "two-digit sums": SUMS,
    "two-digit sums, no examples": f"{SUMS},shots=0",
    "two-digit sums, as a chat": f"{SUMS},chat_style=turns",
    "two-digit differences": f"arithmetic:operation=subtract,digits=2,num_test={NUM_HELD_OUT}",
    "single functions": f"functions:num_test={NUM_HELD_OUT}",
    "even or odd, multiple choice": "simple_mcqa:max_train_instances=5",
    "even or odd, classification": "simple_classification:max_train_instances=5",
}
"""What is scored; none of these questions is trained on."""
WATCHED = ("two-digit sums", "single functions")
"""What is scored on the way too."""


@dataclass(frozen=True)
class Size:
    """How large the model is, and what it is trained on.

    Attributes:
        vocabulary: Tokens.
        batch: Texts per step.
        part: Texts computed at a time.
        pool: Function calls to draw questions from.
        max_scored: Questions per score; None: all.
    """

    hidden: int = 128
    layers: int = 4
    heads: int = 4
    intermediate: int = 384
    vocabulary: int = 544
    batch: int = 32
    part: int = 8
    pool: int = 40_000
    max_scored: int | None = None


SMOKE = Size(
    hidden=32, layers=1, heads=1, intermediate=64, vocabulary=300, batch=4, part=2, pool=400, max_scored=4
)


def trained_tokenizer(texts: Iterable[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer: any text can be written, and every digit is a token."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    special = [PAD, BOS, EOS, *ROLES]
    tokenizer.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=vocabulary,
            special_tokens=special,
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        ),
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A $B", special_tokens=[(BOS, special.index(BOS))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        bos_token=BOS,
        eos_token=EOS,
        additional_special_tokens=list(ROLES),
        clean_up_tokenization_spaces=False,
        chat_template=CHAT_TEMPLATE,
        model_max_length=NUM_POSITIONS,
    )


class Batch(NamedTuple):
    """Token ids, padded on the right, and which of them are learnt; both (texts, tokens)."""

    tokens: Tensor
    learnt: Tensor


def batch_of(texts: Sequence[Lesson], tokenizer: Tokenizer) -> Batch:
    """Lessons as tensors."""
    encodings = tokenizer.encode_batch([lesson.text for lesson in texts], add_special_tokens=False)
    width = max(len(encoding.ids) for encoding in encodings)
    tokens = torch.zeros((len(texts), width), dtype=torch.long)
    learnt = torch.zeros((len(texts), width), dtype=torch.bool)
    for row, (lesson, encoding) in enumerate(zip(texts, encodings, strict=True)):
        tokens[row, : len(encoding.ids)] = torch.tensor(encoding.ids)
        places = [
            place
            for place, (start, end) in enumerate(encoding.offsets)
            if any(first <= start and end <= last for first, last in lesson.answers)
        ]
        learnt[row, places] = True
    return Batch(tokens, learnt)


def batches_of(stream: Iterator[Lesson], tokenizer: Tokenizer, size: Size) -> Iterator[Sequence[Batch]]:
    """The batches of one step after the other.

    Lessons of similar length are put together, so that little is padded; a step has batches of several
    lengths.
    """
    rng = random.Random(0)
    while True:
        drawn = [next(stream) for _ in range(STEPS_SORTED * size.batch)]
        drawn.sort(key=lambda lesson: len(lesson.text))
        parts = [drawn[start : start + size.part] for start in range(0, len(drawn), size.part)]
        rng.shuffle(parts)
        per_step = size.batch // size.part
        for start in range(0, len(parts), per_step):
            yield [batch_of(part, tokenizer) for part in parts[start : start + per_step]]


# The model


def new_model(size: Size, seed: int) -> LlamaForCausalLM:
    """A Llama with random weights drawn from the seed."""
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=size.vocabulary,
            hidden_size=size.hidden,
            intermediate_size=size.intermediate,
            num_hidden_layers=size.layers,
            num_attention_heads=size.heads,
            num_key_value_heads=size.heads,
            head_dim=size.hidden // size.heads,
            max_position_embeddings=NUM_POSITIONS,
            tie_word_embeddings=True,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
        )
    )
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:  # the others scale, and begin at 1
                is_embedding = parameter.shape[0] == size.vocabulary
                spread = 0.02 if is_embedding else parameter.shape[1] ** -0.5
                parameter.normal_(0.0, spread, generator=generator)
    return model


def backward(model: LlamaForCausalLM, batches: Sequence[Batch]) -> float:
    """Add the gradient of the mean cross-entropy of all learnt tokens, and return that mean.

    Padding stands on the right, where no token sees it.
    """
    count = sum(int(batch.learnt.sum()) for batch in batches)
    total = 0.0
    for batch in batches:
        hidden = model.model(batch.tokens[:, :-1]).last_hidden_state
        wanted = batch.learnt[:, 1:]
        logits, targets = model.lm_head(hidden[wanted]), batch.tokens[:, 1:][wanted]
        loss = functional.cross_entropy(logits, targets, reduction="sum") / count
        loss.backward()
        total += loss.item()
    return total


def rate_at(step: int, steps: int) -> float:
    """The learning rate, as a part of the highest: up for a twentieth of the steps, then a cosine down."""
    warm = max(1, steps // 20)
    if step < warm:
        return (step + 1) / warm
    return 0.02 + 0.98 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm))) / 2


def train(
    model: LlamaForCausalLM,
    batches: Iterator[Sequence[Batch]],
    steps: int,
    report: Callable[[int, float], None],
) -> None:
    """Train in place; `report` gets each step, from 1, and its loss."""
    matrices = [parameter for parameter in model.model.layers.parameters() if parameter.ndim == 2]
    others = [parameter for parameter in model.parameters() if all(parameter is not one for one in matrices)]
    optimizers: list[tuple[torch.optim.Optimizer, float]] = [
        (torch.optim.Muon(matrices, lr=0.02, weight_decay=0.05), 0.02),
        (torch.optim.AdamW(others, lr=3e-3, betas=(0.9, 0.98), weight_decay=0.01), 3e-3),
    ]
    model.train()
    for step in range(steps):
        model.zero_grad()
        loss = backward(model, next(batches))
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer, highest in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = highest * rate_at(step, steps)
            optimizer.step()
        report(step + 1, loss)
    model.eval()


# Scores


def exact_match(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, entry: str, max_scored: int | None = None
) -> float:
    """The share of right answers to the questions of a run entry, or the first `max_scored` of them.

    Asked without an engine: greedily, prompts of one length together, so that nothing is padded.
    """
    place = open_plan_context(RunOptions(run_entries=(f"{entry},model=evalkit/echo",)))
    loaded = load_instances(make_plan(place).runs[0], place)
    asked: dict[int, list[tuple[list[int], Request, str]]] = defaultdict(list)
    pairs = list(zip(loaded.requests(), loaded.instances, strict=True))[:max_scored]
    for state, instance in pairs:
        ids = tokenizer.encode(rendered(state.request), add_special_tokens=False)
        asked[len(ids)].append((ids, state.request, loaded.adapter.shown(instance)))
    right = 0
    for rows in asked.values():
        tokens = torch.tensor([ids for ids, _, _ in rows])
        with torch.inference_mode():
            longer = model.generate(
                tokens, attention_mask=torch.ones_like(tokens), do_sample=False, max_new_tokens=8
            )
        texts = tokenizer.batch_decode(longer[:, tokens.shape[1] :], skip_special_tokens=True)
        right += sum(
            until(text, request.stop_sequences).strip() == answer
            for text, (_, request, answer) in zip(texts, rows, strict=True)
        )
    return right / len(pairs)


def until(text: str, stop_sequences: Sequence[str]) -> str:
    """The text before any stop sequence."""
    for stop in stop_sequences:
        text = text.partition(stop)[0]
    return text


class Progress:
    """Prints loss, scores and time while training.

    Args:
        score: The score of an entry.
        steps: How many steps there are.
    """

    def __init__(self, score: Callable[[str], float], steps: int) -> None:
        self._score, self._steps, self._losses = score, steps, list[float]()
        self._started, self._worked = time.monotonic(), time.process_time()

    def __call__(self, step: int, loss: float) -> None:
        """Note a step; every hundredth is printed, every five hundredth scored."""
        self._losses.append(loss)
        if step % 100 and step != self._steps:
            return
        recent = self._losses[-100:]
        wall_s, work_s = time.monotonic() - self._started, time.process_time() - self._worked
        spent = f"{wall_s:.0f} s, {work_s:.0f} s of processor time"
        print(f"step {step} of {self._steps}: loss {sum(recent) / len(recent):.4f}, {spent}", flush=True)
        if step % 500 == 0 and step != self._steps:
            shown = ", ".join(f"{what} {self._score(ENTRIES[what]):.3f}" for what in WATCHED)
            print(f"  exact match, held out: {shown}", flush=True)


# The folder


def save(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write what `from_pretrained` of transformers 4 and 5 reads."""
    model.generation_config = GenerationConfig(bos_token_id=1, eos_token_id=2, pad_token_id=0)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    # Version 5 writes a class name that version 4 does not know, and reads both.
    config["tokenizer_class"] = "PreTrainedTokenizerFast"
    config["additional_special_tokens"] = config.pop("extra_special_tokens", list(ROLES))
    config.pop("backend", None)
    path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def card(size: Size, num_parameters: int, options: argparse.Namespace, scores: dict[str, float]) -> str:
    """The model card."""
    rows = [f"| {what} | `{entry}` | {scores[what]:.3f} |" for what, entry in ENTRIES.items()]
    return CARD.read_text(encoding="utf-8").format(
        parameters=f"{num_parameters:,}",
        steps=f"{options.steps}",
        seed=options.seed,
        threads=options.threads,
        scores="\n".join(rows),
        **{name: getattr(size, name) for name in ("batch", "hidden", "layers", "heads", "vocabulary")},
    )


def parsed_options() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description="Train evalkit/tiny.")
    parser.add_argument("--output", type=Path, required=True, help="folder for the model")
    parser.add_argument("--steps", type=int, default=3600, help="optimizer steps")
    parser.add_argument("--seed", type=int, default=0, help="other seeds give other weights and questions")
    parser.add_argument("--threads", type=int, default=2, help="processor cores to use")
    parser.add_argument("--smoke", action="store_true", help="a much smaller model, to try the script")
    return parser.parse_args()


def main() -> None:
    """The command line."""
    options = parsed_options()
    load_plugins()
    torch.set_num_threads(options.threads)
    size = SMOKE if options.smoke else Size()
    mixture = tasks(size.pool, options.seed)
    tokenizer = trained_tokenizer(vocabulary_texts(mixture), size.vocabulary)
    model = new_model(size, options.seed)
    num_parameters = sum(parameter.numel() for parameter in model.parameters())
    print(f"{num_parameters:,} parameters, {len(tokenizer)} tokens", flush=True)

    def score(entry: str) -> float:
        model.eval()
        try:
            return exact_match(model, tokenizer, entry, size.max_scored)
        finally:
            model.train()

    stream = lessons(mixture, random.Random(options.seed))
    batches = batches_of(stream, tokenizer.backend_tokenizer, size)
    train(model, batches, options.steps, Progress(score, options.steps))
    scores = {what: exact_match(model, tokenizer, entry, size.max_scored) for what, entry in ENTRIES.items()}
    for what, share in scores.items():
        print(f"{what}: {share:.3f}")
    save(model, tokenizer, options.output)
    text = card(size, num_parameters, options, scores)
    (options.output / "README.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
