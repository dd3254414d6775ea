"""vLLM: 500 prompts of 20 to 400 tokens, 64 new tokens each, greedy, against one `LLM.generate` over all.

    python benchmarks/vllm_throughput.py [--runs N] [--json] [--prompts N] [--hidden N] [--layers N]
        [--dtype bfloat16] [--model PATH] [--max-num-seqs N]

A random Llama (or the model at PATH) answers the same prompts in processes that take turns: through a whole
`evalkit.run` with vLLM's engine, which journals and scores each answer, and through vLLM's own offline call.
Both get the same engine arguments. Starting the engine is not counted, everything after that is. Without a
GPU, nothing is compiled, in either.

The share of the work done is of the answers that had come when the first score was visible to an observer.
Run it in an environment with vLLM.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import evalkit
from measure import PYTHON, Figure, benchmark, run

if TYPE_CHECKING:
    from evalkit.response import Outcome
    from evalkit.results.run_result import RunResult

HERE = Path(__file__).absolute().parent
NEW_TOKENS = 64
SHORTEST_TOKENS, LONGEST_TOKENS = 20, 400
GOAL_RATIO, GOAL_SHARE = 0.9, 0.1


class Watch(evalkit.Observer):
    """When the engine was ready, the first score was visible, and the run was done."""

    def __init__(self) -> None:
        self.ready_s = self.done_s = 0.0
        self.first_score_s: float | None = None
        self.finished = 0
        self.finished_at_first_score = 0

    def note(self, message: str) -> None:
        """The model is loaded, among other things."""
        if ": loaded in " in message:
            self.ready_s = time.perf_counter()

    def finished_request(self, name: str, outcome: Outcome, cost_usd: float | None) -> None:
        """One more answer."""
        self.finished += 1

    def scored(self, name: str, num_scored: int, scores: Mapping[str, float]) -> None:
        """Some scores; the first ones count."""
        if num_scored and self.first_score_s is None:
            self.first_score_s, self.finished_at_first_score = time.perf_counter(), self.finished

    def finished_run(self, result: RunResult) -> None:
        """All is written."""
        self.done_s = time.perf_counter()


def through_evalkit(folder: Path, engine: Mapping[str, Any]) -> dict[str, Any]:
    """A whole run."""
    deployment = {"name": "test/vllm", "client_spec": {"class_name": "vllm", "args": dict(engine)}}
    # JSON is YAML.
    (folder / "deployments.yaml").write_text(json.dumps({"model_deployments": [deployment]}))
    watch = Watch()
    [result] = evalkit.run(
        f"prompt_list:path={folder / 'prompts.json'},max_tokens={NEW_TOKENS},model=test/vllm",
        model_deployments=folder / "deployments.yaml",
        plugins=str(HERE / "prompt_list.py"),
        output_path=folder / "out",
        observer=watch,
        fresh=True,
    )
    if result.status != "complete" or result.path is None:
        raise SystemExit(f"the run is {result.status}: {result.message} {result.failures}")
    records = sorted(evalkit.load_run(result.path).records(), key=lambda record: int(record.instance_id[2:]))
    first_s = watch.done_s if watch.first_score_s is None else watch.first_score_s
    return {
        "wall_s": watch.done_s - watch.ready_s,
        "first_score_s": first_s - watch.ready_s,
        "share": watch.finished_at_first_score / watch.finished,
        "tokens": sum(record.completion_tokens for record in records),
        "texts": [record.outputs[0] for record in records],
    }


def offline(folder: Path, engine: Mapping[str, Any]) -> dict[str, Any]:
    """One call of vLLM's."""
    from vllm import LLM, SamplingParams

    prompts = json.loads((folder / "prompts.json").read_text(encoding="utf-8"))
    llm = LLM(**engine)
    params = SamplingParams(temperature=0.0, max_tokens=NEW_TOKENS)
    began_s = time.perf_counter()
    outputs = llm.generate(prompts, params, use_tqdm=False)
    wall_s = time.perf_counter() - began_s
    answers = [output.outputs[0] for output in outputs]
    return {
        "wall_s": wall_s,
        "tokens": sum(len(answer.token_ids) for answer in answers),
        "texts": [answer.text for answer in answers],
    }


def prepare(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """The model, the prompts, and what both engines are started with."""
    import torch
    from transformers import AutoTokenizer

    from tiny_models import prompts_of, random_llama

    model = options.model or random_llama(folder / "model", hidden=options.hidden, layers=options.layers)
    random = Random(0)
    lengths = [random.randint(SHORTEST_TOKENS, LONGEST_TOKENS) for _ in range(options.prompts)]
    prompts = prompts_of(AutoTokenizer.from_pretrained(model), lengths)
    (folder / "prompts.json").write_text(json.dumps(prompts), encoding="utf-8")
    engine = {"model": str(model), "dtype": options.dtype, "enforce_eager": not torch.cuda.is_available()}
    if options.max_num_seqs is not None:
        engine["max_num_seqs"] = options.max_num_seqs
    return engine


def child(options: argparse.Namespace) -> None:
    """What one of the processes does; its result is left in a file."""
    folder = Path(options.folder)
    engine_path = folder / "engine.json"
    if options.child == "prepare":
        result = prepare(folder, options)
        engine_path.write_text(json.dumps(result))
        return
    engine = json.loads(engine_path.read_text())
    result = (through_evalkit if options.child == "evalkit" else offline)(folder, engine)
    (folder / f"{options.child}.json").write_text(json.dumps(result), encoding="utf-8")


def measure(options: argparse.Namespace, folder: Path) -> list[Figure]:
    """Both in turn, as often as asked."""
    words = [f"--hidden={options.hidden}", f"--layers={options.layers}", f"--dtype={options.dtype}"]
    words += [f"--prompts={options.prompts}"]
    words += [f"--model={options.model}"] if options.model else []
    words += [f"--max-num-seqs={options.max_num_seqs}"] if options.max_num_seqs else []

    def result_of(what: str) -> dict[str, Any]:
        run(
            [PYTHON, str(Path(__file__).absolute()), "--child", what, "--folder", str(folder), *words], folder
        )
        path = folder / f"{what}.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}

    result_of("prepare")
    pairs = [(result_of("evalkit"), result_of("offline")) for _ in range(options.runs)]
    ours = [a["tokens"] / a["wall_s"] for a, _ in pairs]
    theirs = [b["tokens"] / b["wall_s"] for _, b in pairs]
    same = sum(
        (x or "").rstrip("\ufffd") == y.rstrip("\ufffd")
        for x, y in zip(pairs[0][0]["texts"], pairs[0][1]["texts"], strict=True)
    )
    ratio = statistics.median(ours) / statistics.median(theirs)
    return [
        Figure("evalkit.run", statistics.median(ours), "tokens/s"),
        Figure("LLM.generate", statistics.median(theirs), "tokens/s"),
        Figure("throughput against LLM.generate", ratio, "", GOAL_RATIO, at_least=True),
        Figure(
            "work done when the first score was visible",
            statistics.median(a["share"] for a, _ in pairs),
            "",
            GOAL_SHARE,
        ),
        Figure("first score after", statistics.median(a["first_score_s"] for a, _ in pairs), "s"),
        Figure("same texts", same / options.prompts * 100, "%"),
    ]


def main() -> None:
    """Measure, or be one of the processes that are measured."""
    parser = argparse.ArgumentParser(prog="vllm_throughput", description=__doc__.partition("\n")[0])
    parser.add_argument("--prompts", type=int, default=500, help="how many prompts (default 500)")
    parser.add_argument("--hidden", type=int, default=256, help="size of the random model (default 256)")
    parser.add_argument("--layers", type=int, default=4, help="its layers (default 4)")
    parser.add_argument("--dtype", default="float32", help="what its numbers are kept as (default float32)")
    parser.add_argument("--model", help="a folder with a model, in place of a random one")
    parser.add_argument("--max-num-seqs", type=int, help="sequences computed at once")
    parser.add_argument("--child", choices=["prepare", "evalkit", "offline"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    known, _ = parser.parse_known_args()
    # Without a GPU, vLLM would take nearly all memory for keys and values, or refuse to start.
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "2")
    if known.child:
        child(known)
    else:
        benchmark(parser, measure, runs=3)


if __name__ == "__main__":
    main()
