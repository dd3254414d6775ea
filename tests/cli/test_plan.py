"""`evalkit plan`: JSON shapes, estimates, and agreement with HELM's requests through the command line."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Call

PORTED = {
    "gsm": ("gsm",),
    "mmlu": ("mmlu",),
    "simple": ("simple1", "simple_mcqa", "simple_classification", "simple_short_answer_qa"),
}


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_json_has_one_object_per_run_spec(call: Call) -> None:
    called = call(
        "plan", "--json", "-r", "simple_mcqa", "arithmetic:num_test=7", "--models-to-run", "evalkit/echo"
    )
    assert called.code == 0
    rows = lines(called.out)
    assert [row["name"] for row in rows] == [
        "simple_mcqa:model=evalkit_echo",
        "arithmetic:operation=add,digits=2,num_test=7,model=evalkit_echo",
    ]
    assert [row["num_requests"] for row in rows] == [79, 7]
    assert rows[0]["entry"] == "simple_mcqa"
    assert len(rows[0]["digest"]) == 64
    assert rows[0]["run_spec"]["adapter_spec"]["model"] == "evalkit/echo"
    assert rows[1]["prompt_tokens"] > 7 * 20


def test_requests_are_shown_as_they_would_be_sent(call: Call) -> None:
    called = call("plan", "--requests", "--json", "-r", "simple_mcqa:model=evalkit/echo", "-m", 2)
    rows = lines(called.out)
    assert len(rows) == 2
    assert rows[0]["prompt"].startswith(
        "Answer the following questions with a single letter only.\n\nQuestion:"
    )
    assert rows[0]["prompt"].endswith("\nAnswer:")
    assert rows[0]["output_mapping"] == {"A": "Even", "B": "Odd"}
    assert rows[0]["max_tokens"] == 5
    assert rows[0]["top_k_per_token"] == 5
    assert rows[0]["stop_sequences"] == []


def test_the_same_entry_twice_runs_once_and_is_said(call: Call) -> None:
    called = call("plan", "--json", "-r", "simple_mcqa:model=evalkit/echo", "simple_mcqa:model=evalkit/echo")
    assert len(lines(called.out)) == 1
    assert "runs once" in called.err


def test_two_runs_of_one_name_are_kept_and_told_apart(call: Call) -> None:
    called = call(
        "plan",
        "--json",
        "-r",
        "gsm:model=evalkit/echo",
        "gsm:model=evalkit/echo,temperature=0.5",
        "--data-dir",
        ".",
    )
    rows = lines(called.out)
    assert len({row["digest"] for row in rows}) == 2
    assert len({row["name"] for row in rows}) == 1
    assert "adapter_spec.temperature: 0 -> 0.5" in called.err


def test_data_that_is_not_local_is_not_fetched(
    call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("EVALKIT_CACHE_DIR", str(tmp_path / "cache"))
    called = call("plan", "--json", "-r", "gsm:model=evalkit/echo")
    assert called.code == 0
    (row,) = lines(called.out)
    assert row["num_requests"] is None
    assert row["digest"], "the pinned checksums are enough to know the digest"
    shown = call("plan", "-r", "gsm:model=evalkit/echo").out
    assert shown.splitlines()[-1].split()[-6:] == ["?"] * 6


@pytest.mark.parametrize("name", ["gsm", "mmlu", "simple"])
def test_prompts_agree_with_helm_through_the_command_line(
    call: Call, golden: Callable[[str], Any], data_dir: Path, name: str
) -> None:
    rows = [row for row in golden("requests.json") if row["entry"].split(":")[0] in PORTED[name]]
    assert len(rows) >= 3
    for row in rows:
        options = row["options"]
        called = call(
            *("plan", "--requests", "--json", "-r", row["entry"], "--data-dir", data_dir),
            *("-m", options["max_eval_instances"], "-t", options["num_train_trials"]),
            *("--models-to-run", "simple/model1", *(() if "window" in row else ("--no-window",))),
        )
        assert called.code == 0, called.err
        requests = lines(called.out)
        assert len(requests) == row["num_requests"], row["entry"]
        by_trial = defaultdict(list)
        for request in requests:
            by_trial[str(request["train_trial"])].append(request["prompt"])
        hashes = {
            trial: hashlib.sha256(
                json.dumps(prompts, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
            ).hexdigest()
            for trial, prompts in by_trial.items()
        }
        assert hashes == row["all_prompts_sha256"], row["entry"]


@pytest.mark.parametrize(
    "words", [("plan",), ("plan", "--json"), ("plan", "--requests"), ("run", "--dry-run")]
)
@pytest.mark.parametrize("others", [(), ("simple_mcqa:model=evalkit/echo",)])
def test_damaged_data_ends_a_plan_as_it_ends_the_run(
    call: Call, tmp_path: Path, words: tuple[str, ...], others: tuple[str, ...]
) -> None:
    (tmp_path / "gsm8k").mkdir()
    (tmp_path / "gsm8k" / "test.jsonl").write_text("{}\n", encoding="utf-8")
    called = call(*words, "-r", *others, "gsm:model=evalkit/echo", "--data-dir", tmp_path, "--offline")
    assert called.code == 3
    assert "test.jsonl is not the file that was pinned" in called.out + called.err
