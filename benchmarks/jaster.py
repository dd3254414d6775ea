"""A leaderboard's runs: 20 datasets, each without and with 4 examples, 100 items, against a bare client.

    python benchmarks/jaster.py [--runs N] [--json] [--data-dir ROOT]

4,000 requests in 40 runs go to a loopback double that answers after 50 ms, 64 requests in flight, from one
`evalkit run`, which also reads the data, scores the answers and writes the results; and the very same bodies
from a bare aiohttp client, which keeps no answer. Both are measured in turn, in changing order. The goal is
the whole process of evalkit, with its start: 1.35 times the bare client's sending, and 2 s.

With `--data-dir` the items are those of jaster's files there (`evalkit data build jaster`), else made ones.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import statistics
from pathlib import Path

from evalkit.run_specs.jaster_datasets import DATASETS, JasterDataset
from measure import EVALKIT, MODEL, PYTHON, Figure, benchmark, double, run, write_deployment

HERE = Path(__file__).resolve().parent
IN_FLIGHT, LATENCY_MS, NUM_ITEMS = 64, 50, 100
MOST_OVER_BARE, START_S = 1.35, 2.0
_NAMES = """
    jamp janli jnli jsem jsick jcommonsenseqa kuci commonsensemoralja jemhopqa niilc jsquad jsts chabsa
    wiki_reading wiki_ner wiki_dependency wiki_pas wiki_coreference mawps mgsm
"""
_REAL = """
    jamp janli jsem jsick jcommonsenseqa commonsensemoralja jemhopqa niilc jsts chabsa mawps jcola-in-domain
"""
_TEXT = "東京都は日本の首都であり、多くの人が住んでいる。彼は大学で経済を学び、卒業した後に会社を始めた。"


def write_files(root: Path) -> None:
    """Jaster's files with made items, of about the length of the real ones."""
    generator = random.Random(0)
    for name in _NAMES.split():
        for split in ("train", "test"):
            samples = [sample(DATASETS[name], n, generator) for n in range(NUM_ITEMS)]
            content = {"instruction": DATASETS[name].instruction, "samples": samples}
            path = root / f"1.2.6/evaluation/{split}/{name}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def sample(dataset: JasterDataset, number: int, generator: random.Random) -> dict[str, str]:
    """One item."""
    if dataset.labels:
        output = generator.choice(dataset.labels)
    elif dataset.name in ("jsts", "mawps", "mgsm"):
        output = str(generator.randint(0, 5))
    elif dataset.name == "chabsa":
        output = f"売上高{number} positive\n利益{number} negative"
    else:
        output = f"{_TEXT[: generator.randint(5, 40)]}{number}"
    text = "".join(generator.choices(_TEXT, k=generator.randint(30, 120)))
    return {"input": f"文章：{text}\n質問：第{number}問は何か？", "output": output}


def entries(names: list[str]) -> list[str]:
    """The run entries: each dataset without examples, and with four."""
    return [f"{name}:items={NUM_ITEMS},shots={shots},model={MODEL}" for shots in (0, 4) for name in names]


def write_bodies(arguments: list[str], folder: Path) -> int:
    """Let evalkit plan the requests, and write them as bodies for the bare client; how many there are."""
    deployments = write_deployment(folder, "http://127.0.0.1:9", IN_FLIGHT)
    plan = [EVALKIT, "plan", *arguments, "--model-deployments", str(deployments), "--requests", "--json"]
    run(plan, folder)
    requests = [json.loads(line) for line in (folder / "output.txt").read_bytes().splitlines()]
    with (folder / "bodies.jsonl").open("w", encoding="utf-8") as file:
        for request in requests:
            body = {
                "model": MODEL,
                "messages": [{"role": "user", "content": request["prompt"]}],
                "max_tokens": request["max_tokens"],
                "temperature": request["temperature"],
            }
            file.write(json.dumps(body) + "\n")
    return len(requests)


def measure(options: argparse.Namespace, folder: Path) -> list[Figure]:
    """Both clients, in turn."""
    names = (_NAMES if options.data_dir is None else _REAL).split()
    root = options.data_dir.resolve() if options.data_dir else folder / "data"
    if options.data_dir is None:
        write_files(root)
    arguments = ["--data-dir", str(root), "--run-entries", *entries(names)]
    num_requests = write_bodies(arguments, folder)
    ours_s, bare_s, cpu_ratios, over_goal = [], [], [], []
    with double(LATENCY_MS, folder) as url:
        deployments = write_deployment(folder, url, IN_FLIGHT)
        ours = [EVALKIT, "run", *arguments, "--model-deployments", str(deployments), "-o"]
        bare = [PYTHON, str(HERE / "bare_client.py"), "aiohttp", url, "bodies.jsonl", str(IN_FLIGHT)]
        for number in range(options.runs):
            for is_bare in (number % 2 == 0, number % 2 == 1):
                if is_bare:
                    bare_used = run(bare, folder)
                    bare_s.append(float((folder / "output.txt").read_text(encoding="utf-8")))
                else:
                    used = run([*ours, str(folder / f"output-{number}")], folder)
                    ours_s.append(used.wall_s)
            check(folder / f"output-{number}", num_requests)
            cpu_ratios.append(used.cpu_s / bare_used.cpu_s)
            over_goal.append(ours_s[-1] / (MOST_OVER_BARE * bare_s[-1] + START_S))
    least_s = math.ceil(num_requests / IN_FLIGHT) * LATENCY_MS / 1000
    ours_median_s, bare_median_s = statistics.median(ours_s), statistics.median(bare_s)
    name = f"{num_requests:,} requests in {2 * len(names)} runs at {LATENCY_MS} ms"
    return [
        Figure(
            f"{name}: evalkit, whole process",
            ours_median_s,
            "s",
            MOST_OVER_BARE * bare_median_s + START_S,
            ratios={"bare": ours_median_s / bare_median_s, "latency": ours_median_s / least_s},
        ),
        Figure("… over its goal, pair by pair", statistics.median(over_goal), "", 1.0),
        Figure("the bare client's sending", bare_median_s, "s", ratios={"latency": bare_median_s / least_s}),
        Figure("CPU of the whole process over the bare client's", statistics.median(cpu_ratios), ""),
    ]


def check(output: Path, num_requests: int) -> None:
    """End if evalkit has not answered and scored everything."""
    manifests = [json.loads(path.read_bytes()) for path in output.glob("runs/*/*/manifest.json")]
    answered = sum(manifest["counts"]["num_answered"] for manifest in manifests)
    if answered != num_requests or any(manifest["status"] != "complete" for manifest in manifests):
        raise SystemExit(f"{output}: {answered} answers to {num_requests} requests")


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(prog="python benchmarks/jaster.py")
    parser.add_argument("--data-dir", type=Path, help="the folder that evalkit data build jaster has written")
    benchmark(parser, measure, runs=5)


if __name__ == "__main__":
    main()
