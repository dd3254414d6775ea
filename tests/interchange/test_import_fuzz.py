"""Seeded damage in the files of other harnesses: an import works, or says in words what is wrong.

Whatever an import takes can be read, scored again and shown; whatever it refuses leaves nothing behind.
"""

from __future__ import annotations

import copy
import json
import random
import shutil
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from evalkit.errors import EvalkitError
from evalkit.interchange.foreign_files import ForeignFiles
from evalkit.interchange.helm_import import find_helm_runs, read_helm_run
from evalkit.interchange.import_writer import keep_runs
from evalkit.interchange.imported_run import ImportedRun
from evalkit.interchange.inspect_import import find_inspect_logs, read_inspect_log
from evalkit.interchange.lm_eval_import import find_lm_eval_results, read_lm_eval
from evalkit.interchange.mt_bench_import import MtBenchFiles, find_judgement_files, read_mt_bench
from evalkit.results.scores import score_run
from evalkit.results.stored_run import StoredRun
from tests.interchange.harnesses import (
    helm_run_spec,
    helm_stat,
    helm_state,
    inspect_header,
    inspect_sample,
    lm_eval_choice,
    lm_eval_generation,
    write_helm_run,
    write_inspect,
    write_lm_eval,
)
from tests.interchange.test_mt_bench_import import FULL, bench, judged

PER_SOURCE = 170
LIMIT_BYTES = 4 << 20
# Each of these once put some importer into an endless loop, out of memory, or into a traceback.
ODD_VALUES: tuple[Any, ...] = (
    None,
    True,
    False,
    "",
    "hot",
    "..",
    "../../x",
    "a\0b",
    "a\x1b]0;t\x07\n",
    "\ud83d",
    "x" * 5000,
    -1,
    0,
    1,
    10**8,
    10**30,
    10**4000,
    -(10**30),
    0.5,
    1e308,
    -1e308,
    float("nan"),
    float("inf"),
    float("-inf"),
    [],
    [None],
    [[]],
    ["a", 1],
    {},
    {"a": {"b": [1]}},
    {"": None},
)


def helm(folder: Path) -> Path:
    states = [helm_state(f"id{i}", f"{i}?", "4", " 4", i % 2) for i in range(3)]
    states.append(helm_state("id3", "?", "6", None))
    scores = {
        (f"id{i}", i % 2): {"exact_match": 1.0, "toxic_frac": 0.25, "num_prompt_tokens": 3} for i in range(3)
    }
    stats = [helm_stat("exact_match", 0.75), helm_stat("perplexity", 4.5), helm_stat("num_instances", 4.0)]
    return write_helm_run(folder, states, scores, stats, helm_run_spec(num_train_trials=2))


def lm_eval(folder: Path) -> Path:
    return write_lm_eval(
        folder,
        {
            "mc": {"acc,none": 1.0, "acc_stderr,none": 0.1, "ppl,none": 9.5},
            "gen": {"exact_match,strict": 0.5},
        },
        {
            "mc": {"output_type": "multiple_choice", "test_split": "test"},
            "gen": {
                "output_type": "generate_until",
                "generation_kwargs": {"until": ["\n"], "temperature": 0.5},
            },
        },
        {
            "mc": [lm_eval_choice(i, "?", 0, [-0.2, -0.9]) for i in range(3)],
            "gen": [lm_eval_generation(i, "yes", "strict", i / 2) for i in range(3)],
        },
        group_subtasks={"all": ["mc", "gen"]},
    )


def inspect(folder: Path) -> Path:
    header = inspect_header(epochs=2)
    metrics = {"accuracy": {"name": "accuracy", "value": 0.5}, "stderr": {"name": "stderr", "value": 0.1}}
    header["results"]["scores"] = [
        {"name": "choice", "scorer": "choice", "reducer": "max", "metrics": metrics}
    ]
    samples = [inspect_sample(i, "A", "CI"[i % 2], epoch) for i in (1, 2) for epoch in (1, 2)]
    return write_inspect(folder / "log.eval", header, samples)


def inspect_json(folder: Path) -> Path:
    path = folder / "log.json"
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(
        json.dumps({**inspect_header(), "samples": [inspect_sample(i, "A", "C") for i in (1, 2)]})
    )
    return path


def mt_bench(folder: Path) -> Path:
    rows = [
        *FULL,
        judged(1, 7),
        judged(2, -1),
        judged(3, 4, model="n"),
        judged(3, 5, judge=["k", "single-v1"]),
    ]
    return bench(folder, rows)


def runs_of(kind: str, folder: Path) -> Iterator[ImportedRun]:
    files = ForeignFiles(LIMIT_BYTES)
    if kind == "helm":
        for path in find_helm_runs(folder):
            yield read_helm_run(path, files)
    elif kind == "lm-eval":
        for path in find_lm_eval_results(folder):
            yield from read_lm_eval(path, files)
    elif kind == "mt-bench":
        (path,) = folder.iterdir()
        yield from read_mt_bench(MtBenchFiles(tuple(find_judgement_files(path))), files)
    else:
        for path in find_inspect_logs(folder):
            yield read_inspect_log(path, files)


SOURCES: dict[str, Callable[[Path], Path]] = {
    "helm": helm,
    "lm-eval": lm_eval,
    "inspect": inspect,
    "inspect-json": inspect_json,
    "mt-bench": mt_bench,
}


@pytest.mark.parametrize("kind", SOURCES)
def test_an_import_works_or_says_what_is_wrong(tmp_path: Path, kind: str) -> None:
    generator = random.Random(kind)
    whole = tmp_path / "whole"
    SOURCES[kind](whole)
    outcomes: Counter[str] = Counter()
    for number in range(PER_SOURCE):
        source, suite = tmp_path / f"{number}", tmp_path / f"{number}-out" / "runs" / "s"
        shutil.copytree(whole, source)
        what = mutate(generator, source)
        try:
            kept = keep_runs(runs_of(kind, source), suite)
        except EvalkitError as error:
            check_message(str(error), what)
            assert not suite.parent.parent.exists(), f"{what}: a refused import leaves something"
            outcomes["refused"] += 1
        else:
            outcomes["taken"] += 1
            for each in kept:
                check_run(each.path, suite, what)
        shutil.rmtree(source)
        shutil.rmtree(suite.parent.parent, ignore_errors=True)
    assert min(outcomes["taken"], outcomes["refused"]) > PER_SOURCE // 10, outcomes


def check_message(message: str, what: str) -> None:
    assert message, what
    assert len(message) < 1500, f"{what}: {message[:200]}"
    assert "Traceback" not in message, what
    assert "evalkit/interchange" not in message, what


def check_run(path: Path, suite: Path, what: str) -> None:
    assert path.parent == suite, what
    stored = StoredRun.open(path)
    before = {stat.place: stat.mean for stat in stored.stats}
    if stored.directory.instances_path.exists():
        list(stored.records())
        score_run(stored.directory)
    assert {stat.place: stat.mean for stat in StoredRun.open(path).stats} == before, what


def mutate(generator: random.Random, folder: Path) -> str:
    """Damage one file; says how."""
    path = generator.choice(sorted(file for file in folder.rglob("*") if file.is_file()))
    way = generator.choice((bits, cut, double, values, values, values, deep, long_number))
    how = way(generator, path)
    return f"{way.__name__} in {path.name}: {how}"


def bits(generator: random.Random, path: Path) -> str:
    raw = bytearray(path.read_bytes())
    places = [generator.randrange(len(raw)) for _ in range(generator.choice((1, 1, 1, 4)))]
    for place in places:
        raw[place] ^= 1 << generator.randrange(8)
    path.write_bytes(raw)
    return f"bytes {places}"


def cut(generator: random.Random, path: Path) -> str:
    raw = path.read_bytes()
    start, end = sorted(generator.randrange(len(raw)) for _ in range(2))
    path.write_bytes(raw[:end] if generator.random() < 0.5 else raw[:start] + raw[end:])
    return f"{start} to {end}"


def double(generator: random.Random, path: Path) -> str:
    raw = path.read_bytes()
    start, end = sorted(generator.randrange(len(raw)) for _ in range(2))
    path.write_bytes(raw[:end] + raw[start:])
    return f"{start} to {end}"


def values(generator: random.Random, path: Path) -> str:
    """Put something odd in the place of some value of the JSON, or take it away."""

    def change(value: Any) -> tuple[Any, str]:
        place = generator.choice([*places(value)])
        if generator.random() < 0.15:
            return without(value, place), f"{place} removed"
        odd = copy.deepcopy(generator.choice(ODD_VALUES))
        return replaced(value, place, odd), f"{place} = {repr(odd)[:40]}"

    return edited(generator, path, change)


def deep(generator: random.Random, path: Path) -> str:
    def change(value: Any) -> tuple[Any, str]:
        place, levels = generator.choice([*places(value)]), generator.choice((90, 150, 400))
        nested: Any = 1
        for _ in range(levels):
            nested = {"a": nested} if generator.random() < 0.5 else [nested]
        return replaced(value, place, nested), f"{place}, {levels} levels"

    return edited(generator, path, change)


def long_number(generator: random.Random, path: Path) -> str:
    """A number that is longer than Python's reader takes, or nesting that is deeper."""
    raw = path.read_bytes()
    odd = generator.choice((b"9" * 6000, b"1e999999", b"[" * 100_000, b'{"a":' * 50_000))
    digits = [at for at, byte in enumerate(raw) if chr(byte).isdigit()] or [0]
    place = generator.choice(digits)
    path.write_bytes(raw[:place] + odd + raw[place + 1 :])
    return f"byte {place}"


def edited(generator: random.Random, path: Path, change: Callable[[Any], tuple[Any, str]]) -> str:
    """Change the JSON in a file, in one of its lines, or in one member of an archive."""
    if path.suffix == ".jsonl":
        lines = path.read_text().splitlines()
        number = generator.randrange(len(lines))
        value, how = change(json.loads(lines[number]))
        lines[number] = json.dumps(value)
        path.write_text("\n".join(lines) + "\n")
        return how
    if path.suffix != ".eval":
        value, how = change(json.loads(path.read_bytes()))
        path.write_text(json.dumps(value))
        return how
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = generator.choice(sorted(members))
    value, how = change(json.loads(members[name]))
    members[name] = json.dumps(value).encode()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for each, content in members.items():
            archive.writestr(each, content)
    return f"{name}: {how}"


Place = tuple[str | int, ...]


def places(value: Any, place: Place = ()) -> Iterator[Place]:
    yield place
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inner:
        yield from places(each, (*place, key))


def replaced(value: Any, place: Place, other: Any) -> Any:
    if not place:
        return other
    changed = copy.copy(value)
    changed[place[0]] = replaced(value[place[0]], place[1:], other)
    return changed


def without(value: Any, place: Place) -> Any:
    if not place:
        return None
    changed = copy.copy(value)
    if len(place) == 1:
        del changed[place[0]]
    else:
        changed[place[0]] = without(value[place[0]], place[1:])
    return changed
