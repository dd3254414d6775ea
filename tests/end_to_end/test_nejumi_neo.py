"""Neo's template in testmode, all six parts, against a model and a judge on this machine."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from evalkit.run_specs.jaster_datasets import DATASETS
from evalkit.testing.server import ServerConfig, serve
from tests.interchange.nejumi.configs import NEO, replaced

# Of each: whether it has a train split.
HERE = {"jnli": True, "jsts": True, "chabsa": False, "mmlu_en": True}


@contextmanager
def double() -> Iterator[str]:
    """A model that says `neutral` to all, and as a judge rates with 7."""

    def answer(prompt: str) -> str:
        judges = ("[[", "Assistant A", "アシスタント")
        return "Rating: [[7]]" if any(mark in prompt for mark in judges) else "neutral"

    loop, ready, url = asyncio.new_event_loop(), threading.Event(), []
    ended = asyncio.Event()

    async def main() -> None:
        async with serve(ServerConfig(answers=answer)) as address:
            url.append(address)
            ready.set()
            await ended.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(main()))
    thread.start()
    assert ready.wait(60)
    try:
        yield url[0]
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join()
        loop.close()


@pytest.fixture
def folder(tmp_path: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the data of MT-Bench, four datasets of jaster, and the config."""
    data = tmp_path / "data"
    for name, has_train in HERE.items():
        samples = [{"input": f"{name} {n}", "output": "neutral"} for n in range(6)]
        content = json.dumps({"instruction": "i", "samples": samples})
        for split in ("test", "train") if has_train else ("test",):
            place = data / "jaster/1.2.6/evaluation" / split
            place.mkdir(parents=True, exist_ok=True)
            for file in DATASETS[name].files:
                (place / f"{file}.json").write_text(content)
    for name in ("mt_bench", "japanese_mt_bench"):
        (data / name).symlink_to(data_dir / name)
    (tmp_path / "config.yaml").write_text(replaced(NEO, ("testmode: false", "testmode: true")))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_all_six_parts_run_and_make_neos_row(folder: Path) -> None:
    with double() as url:
        (folder / "model_deployments.yaml").write_text(
            "model_deployments:\n"
            + "".join(
                f"  - name: local/{name}\n"
                f'    client_spec: {{class_name: openai, args: {{base_url: "{url}/v1", model: {name}}}}}\n'
                for name in ("m", "j")
            )
        )
        words = ("run", "--nejumi-config", "config.yaml", "--data-dir", "data", "--suite", "neo", "--offline")
        command = [sys.executable, "-c", "from evalkit.cli import main; main()", *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 3, done.stderr  # 16 datasets have no files here, and chabsa no examples
    assert "config.yaml: 44 run entries of the leaderboard 'neo'" in done.stderr
    row = done.stdout.partition("Nejumi Neo\n")[2]
    assert row.splitlines()[0].split() == ["part", "My", "Model"]
    cells = {line.split()[0]: line.split()[1:] for line in row.splitlines() if line.split()}
    assert cells["jnli_jaster_ja_0shot"][0] == cells["jnli_jaster_ja_4shot"][0] == "1.000"
    assert cells["mmlu_en_jaster_en_0shot"][0] == "0.000"  # its answers are in capitals, in the original too
    assert cells["chabsa_jaster_ja_0shot"][0] != "–"
    assert cells["chabsa_jaster_ja_4shot"] == cells["kuci_jaster_ja_0shot"] == ["–"]
    assert cells["AVG_jaster_ja_0shot"][:2] == ["1.000", "(2/19)"]
    assert cells["AVG_jaster_ja_4shot"][:2] == ["1.000", "(1/19)"]
    assert cells["AVG_MTbench_ja"][0] == cells["AVG_MTbench_en"][0] == "7.000"
    runs = folder / "benchmark_output/runs/neo"
    for language, first in (("ja", 1), ("en", 81)):
        (path,) = (each for each in runs.iterdir() if each.name.startswith(f"mt_bench_{language}"))
        asked = [json.loads(line)["id"] for line in (path / "instances.jsonl").read_text().splitlines()[0:]]
        assert {str(first + 10 * n) for n in range(8)} <= {str(name).removeprefix("id") for name in asked}
