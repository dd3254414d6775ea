from __future__ import annotations

import asyncio
import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from evalkit.testing.server import Faults, ServerConfig, logprob_of, serve


def body(prompt: str = "a\nb", **more: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": prompt}], **more}


async def post(session: aiohttp.ClientSession, url: str, plain: Any, path: str = "chat/completions") -> Any:
    async with session.post(f"{url}/v1/{path}", json=plain) as answer:
        return await answer.json()


async def get(session: aiohttp.ClientSession, url: str, page: str) -> Any:
    async with session.get(f"{url}{page}") as answer:
        return await answer.json()


def chat(config: ServerConfig, *bodies: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """The answers (or the errors' names) to several bodies sent at once, and the statistics."""

    async def main() -> tuple[list[Any], dict[str, Any]]:
        async with serve(config) as url, aiohttp.ClientSession() as session:
            sends = (post(session, url, plain) for plain in bodies)
            answers = await asyncio.gather(*sends, return_exceptions=True)
            return answers, await get(session, url, "/_stats")

    return asyncio.run(main())


def text(answer: Any) -> str:
    return str(answer["choices"][0]["message"]["content"])


def test_answers_from_the_prompt_a_mapping_or_a_function() -> None:
    assert text(chat(ServerConfig(), body("a\nb"))[0][0]) == "b"
    assert text(chat(ServerConfig(answers={"a\nb": "yes"}), body())[0][0]) == "yes"
    assert text(chat(ServerConfig(answers=str.upper), body("q"))[0][0]) == "Q"


def test_stop_length_and_logprobs() -> None:
    config = ServerConfig(answers=lambda prompt: "one two three")
    plain = body(max_tokens=2, logprobs=True, top_logprobs=1, n=2)
    answers, _ = chat(config, plain, body(stop=[" three"]), body(stop="two"))
    choice = answers[0]["choices"][1]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("one two", "length")
    assert [t["logprob"] for t in choice["logprobs"]["content"]] == [logprob_of("one"), logprob_of(" two")]
    assert answers[0]["usage"]["completion_tokens"] == 4
    assert [text(a) for a in answers[1:]] == ["one two", "one "]


def test_stats_count_requests_bodies_and_how_many_at_once() -> None:
    answers, stats = chat(ServerConfig(latency_s=0.05), *[body("q")] * 5, body("other"))
    assert len(answers) == 6
    assert stats["requests"] == {"200": 6}
    assert sorted(stats["bodies"].values()) == [1, 5]
    assert stats["max_in_flight"] == 6
    assert stats["in_flight"] == 0


def test_faults_come_at_their_rate_and_the_same_for_the_same_seed() -> None:
    faults = Faults(rate_limited=0.2, server_error=0.2, malformed=0.1)
    counts = [chat(ServerConfig(faults=faults, seed=s), *[body()] * 300)[1]["requests"] for s in (1, 1, 2)]
    assert counts[0] == counts[1] != counts[2]
    assert 35 < counts[0]["429"] < 85
    assert 35 < counts[0]["500"] < 85
    assert 15 < counts[0]["malformed"] < 50
    assert sum(counts[0].values()) == 300


def test_a_dropped_connection() -> None:
    answers, stats = chat(ServerConfig(faults=Faults(dropped=1)), body())
    assert isinstance(answers[0], aiohttp.ServerDisconnectedError | aiohttp.ClientOSError)
    assert stats["requests"] == {"dropped": 1}


def test_beyond_its_capacity_it_says_so() -> None:
    _, stats = chat(ServerConfig(capacity=2, latency_s=0.05), *[body()] * 5)
    assert stats["requests"] == {"429": 3, "200": 2}


def test_retry_after_is_given() -> None:
    async def main() -> tuple[int, str]:
        config = ServerConfig(faults=Faults(rate_limited=1, retry_after_s=1.5))
        async with (
            serve(config) as url,
            aiohttp.ClientSession() as session,
            session.post(f"{url}/v1/messages", json=body(max_tokens=1)) as answer,
        ):
            return answer.status, answer.headers["Retry-After"]

    assert asyncio.run(main()) == (429, "1.5")


@pytest.mark.parametrize("plain", [{}, {"messages": []}, {"prompt": 3}, []])
def test_bad_bodies_are_refused(plain: Any) -> None:
    answers, stats = chat(ServerConfig(), plain)
    assert answers[0]["error"]["type"] == "invalid_request_error"
    assert stats["requests"] == {"400": 1}


def test_other_pages() -> None:
    async def main() -> tuple[Any, Any]:
        async with serve() as url, aiohttp.ClientSession() as session:
            return await get(session, url, "/v1/models"), await get(session, url, "/nothing")

    models, nothing = asyncio.run(main())
    assert models["data"][0]["id"] == "double"
    assert nothing["error"]["type"] == "not_found_error"


def test_the_log_has_a_line_for_each_answer_and_only_those(tmp_path: Path) -> None:
    path = tmp_path / "log"
    config = ServerConfig(log_path=path, faults=Faults(server_error=0.5))
    _, stats = chat(config, *[body(f"q{i}") for i in range(40)])
    lines = path.read_text(encoding="ascii").splitlines()
    assert len(lines) == stats["requests"]["200"] < 40
    assert set(lines) <= {hashlib.sha256(f"q{i}".encode()).hexdigest() for i in range(40)}


def test_as_a_process_it_prints_its_url_first(tmp_path: Path) -> None:
    answers = tmp_path / "answers.json"
    answers.write_text(json.dumps({"q": "yes"}), encoding="utf-8")
    command = [sys.executable, "-m", "evalkit.testing.server", "--port", "0", "--latency-ms", "1"]
    with subprocess.Popen(
        [*command, "--answers", str(answers)], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            assert url.startswith("http://127.0.0.1:")

            async def main() -> Any:
                async with aiohttp.ClientSession() as session:
                    return await post(session, url, body("q"))

            assert text(asyncio.run(main())) == "yes"
        finally:
            process.terminate()
