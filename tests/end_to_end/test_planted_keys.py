"""A server that repeats the keys it is sent wherever it can: evalkit writes and prints none of them."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
from typing import Any

import pytest
from aiohttp import web

from tests.end_to_end.servers import ThreadedServer
from tests.end_to_end.workspace import Workspace
from tests.planted import KEYS, places_of, spellings

KEY = KEYS["plain"]
ENTRY = "arithmetic:num_test=400,model=test/a"
ESCAPES = "\x1b]0;owned\x07\x1b]52;c;aGk=\x07\x1b[2J\x9b2J\u202e\r\nnote: all is well"
Style = Callable[[str], web.Response]


def error(status: int, said: str, **more: Any) -> web.Response:
    return web.json_response({"error": {"message": said, **more}}, status=status)


def answer(**more: Any) -> web.Response:
    choice = {"index": 0, "message": {"role": "assistant", "content": "7"}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 10, "completion_tokens": 1}
    return web.json_response({"choices": [choice], "usage": usage, "model": "double", **more})


def broken(choice: dict[str, Any], **more: Any) -> web.Response:
    return answer(choices=[{"index": 0, **choice}], **more)


def named(said: str) -> web.Response:
    headers = {
        "Retry-After": said[:40].encode("ascii", "ignore").decode().translate({10: None, 13: None, 27: None})
    }
    return web.json_response({"error": said}, status=500, headers=headers)


STYLES: dict[str, Style] = {
    "message of 400": lambda said: error(400, said),
    "message of 500": lambda said: error(500, said),
    "message of 404": lambda said: error(404, said),
    "code and type": lambda said: error(400, "no", type=said, code=said, param=said),
    "text of 400": lambda said: web.Response(text=said, status=400),
    "html of 500": lambda said: web.Response(text=f"<p>{said}</p>", content_type="text/html", status=500),
    "list of 500": lambda said: web.json_response([{"error": {"message": said}}], status=500),
    "detail of 422": lambda said: web.json_response({"detail": [{"msg": said, "loc": [said]}]}, status=422),
    "gateway": lambda said: error(400, "Provider returned error", metadata={"raw": said}),
    "refused parameter": lambda said: error(
        400, f"Unsupported parameter: '{said}'", code="unsupported_parameter"
    ),
    "content filter": lambda said: error(400, f"{said} was flagged by content filter", code="content_filter"),
    "redirect": lambda said: web.Response(status=302, headers={"Location": "http://x/"}, text=said),
    "headers": named,
    "error in 200": lambda said: web.json_response({"error": said}),
    "error in 200, nested": lambda said: web.json_response(
        {"error": json.dumps({"error": {"message": said}})}
    ),
    "message in 200": lambda said: web.json_response({"object": "error", "message": said}),
    "no JSON": lambda said: web.Response(text=said),
    "no JSON object": lambda said: web.json_response(said),
    "stream": lambda said: web.Response(text=f"data: {said}"),
    "error of a choice": lambda said: broken({"finish_reason": "error", "error": said, "message": {}}),
    "object of a choice": lambda said: broken(
        {"finish_reason": "error", "error": {"message": said}, "message": {}}
    ),
    "reason": lambda said: broken({"finish_reason": said, "message": {"content": None}}),
    "broken off": lambda said: broken({"finish_reason": "abort", "message": {"content": said}}),
    "part": lambda said: broken({"message": {"content": [{"type": said}]}}),
    "content": lambda said: broken({"message": {"content": {said: said}}}),
    "log-probabilities": lambda said: broken(
        {"message": {"content": "7"}, "logprobs": {"content": [{"token": "7", "logprob": said}]}}
    ),
    "feedback": lambda said: web.json_response({"choices": [], "prompt_feedback": {"block_reason": said}}),
    "served model": lambda said: answer(model=said),
    "unknown fields": lambda said: answer(
        id=said, system_fingerprint=said, usage={said: said}, extra={said: said}
    ),
}


def keys_in(request: web.BaseRequest, header: str) -> str:
    """The secrets that a request brought, each in its spellings in turn."""
    return f"{request.headers[header].removeprefix('Bearer ')} {request.headers['X-Relay']}"


@contextmanager
def repeating(styles: list[Style], header: str = "Authorization") -> Iterator[ThreadedServer]:
    """A server that answers a third of the requests, and to the others says the keys back, in every way."""
    ways = list(itertools.product(styles, spellings(KEY), (" ", ESCAPES)))
    Random(9).shuffle(ways)
    turns = itertools.cycle(ways)
    numbers = itertools.count()

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        await request.read()
        if next(numbers) % 3 == 0 and len(styles) > 1:
            return answer()
        style, spelling, between = next(turns)
        said = between.join(spellings(key)[spelling] for key in keys_in(request, header).split())
        return style(f"key {said} refused")

    server = ThreadedServer(handle)
    server.start()
    try:
        yield server
    finally:
        server.close()


def deploy(workspace: Workspace, url: str, **args: Any) -> None:
    limits = {"max_attempts": 1, "backoff_s": 0.001, "max_backoff_s": 0.001, "timeout_s": 60}
    source = {"api_key_env": "TEST_KEY", "headers_from_env": {"X-Relay": "TEST_RELAY"}}
    prices = {"input_usd_per_million_tokens": 1.0, "output_usd_per_million_tokens": 1.0}
    workspace.deploy("test/a", url, limits=limits, prices=prices, **{**source, **args})


def plant(workspace: Workspace) -> None:
    workspace.plant("TEST_KEY")
    workspace.plant("TEST_RELAY", "header")


def obeyed(text: str) -> list[str]:
    """What of a text a terminal would obey, or a reader take for a line of evalkit's."""
    return re.findall(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]|^note: all is well", text, re.MULTILINE)


def test_no_byte_holds_a_key_that_the_server_repeats(workspace: Workspace) -> None:
    plant(workspace)
    with repeating(list(STYLES.values())) as server:
        deploy(workspace, server.url)
        printed = [
            workspace.evalkit("plan", "-r", ENTRY, "--json"),
            workspace.evalkit("run", "-r", ENTRY, "--cache"),
            workspace.evalkit("run", "-r", ENTRY, "--cache", "--json"),
            workspace.evalkit("run", "-r", ENTRY, "--cache", "--suite", "other", "-q"),
            workspace.evalkit("run", "-r", ENTRY, "-m", 100, "--suite", "other"),
        ]
    assert "taken from" in printed[-1].err
    for words in (["score"], ["summarize"], ["summarize", "--json"], ["summarize", "--format", "csv"]):
        printed.append(workspace.evalkit(*words, workspace.suite()))
    printed.append(workspace.evalkit("export", "helm", workspace.suite(), "--output-path", "exported"))
    assert not any("Traceback" in each.err for each in printed)
    assert not [found for each in printed for found in obeyed(each.out + each.err)]
    journal = workspace.run().journal_path.read_bytes()
    assert b"***" in journal
    assert b'"failure"' in journal
    assert b'"response"' in journal


def test_no_byte_holds_a_key_that_the_server_of_a_judge_repeats(workspace: Workspace) -> None:
    plant(workspace)
    entry = ENTRY.replace("model=test/a", "model=simple/model1,judge=test/a")
    with repeating(list(STYLES.values())) as server:
        deploy(workspace, server.url)
        printed = [workspace.evalkit("run", "-r", entry), workspace.evalkit("run", "-r", entry, "--json")]
    printed += [workspace.evalkit(word, workspace.suite()) for word in ("score", "verify", "summarize")]
    assert not any("Traceback" in each.err for each in printed)
    assert not [found for each in printed for found in obeyed(each.out + each.err)]
    journal = workspace.run().judgements_path("rating").read_bytes()
    assert b"***" in journal
    assert b'"failure"' in journal


@pytest.mark.parametrize("protocol", ["anthropic", "completions"])
def test_no_byte_holds_a_key_in_the_other_protocols(workspace: Workspace, protocol: str) -> None:
    workspace.plant("TEST_KEY")
    workspace.plant("TEST_RELAY", "header")
    with repeating(
        list(STYLES.values()), "x-api-key" if protocol == "anthropic" else "Authorization"
    ) as server:
        deploy(workspace, server.url, **({"mode": "completions"} if protocol == "completions" else {}))
        if protocol == "anthropic":
            text = workspace.deployments_path.read_text(encoding="utf-8")
            spelled = text.replace('"class_name": "openai"', '"class_name": "anthropic"')
            workspace.deployments_path.write_text(spelled, encoding="utf-8")
        printed = [workspace.evalkit("run", "-r", ENTRY), workspace.evalkit("run", "-r", ENTRY, "--json")]
    assert not any("Traceback" in each.err for each in printed)
    assert not [found for each in printed for found in obeyed(each.out + each.err)]
    assert b"***" in workspace.run().journal_path.read_bytes()


@pytest.mark.parametrize("status", [401, 402, 403])
def test_no_byte_holds_a_key_that_is_refused(workspace: Workspace, status: int) -> None:
    plant(workspace)
    with repeating([lambda said: error(status, said)]) as server:
        deploy(workspace, server.url)
        finished = workspace.evalkit("run", "-r", ENTRY)
        as_json = workspace.evalkit("run", "-r", ENTRY, "--json")
    assert finished.code == as_json.code == 3
    assert "***" in finished.err
    assert not obeyed(finished.out + finished.err)


@pytest.mark.parametrize(
    "args",
    [
        {"base_url": f"http://user:{KEY}@127.0.0.1:9/v1"},
        {"base_url": f"http://127.0.0.1:9/v1?key={KEY}"},
        {"extra_headers": {"X-Auth-Token": KEY}},
        {"extra_headers": {"Authorization ": f"Bearer {KEY}"}},
        {"extra_headers": {"X-A": f"1\r\nX-Api-Key: {KEY}"}},
        {"extra_body": {"api_key": KEY}},
        {"extra_body": {"metadata": {"auth": {"token": KEY}}}},
        {"api_key_env": KEY},
        {"headers_from_env": {"Authorization": KEY}},
        {"api_key": KEY},
        {"model": ["m", KEY], "api_key_env": "TEST_KEY"},
        {"extra_body": {"note": f"session_token={KEY}; path=/"}},
        {"extra_body": {"note": f"curl -H 'X-Api-Key: {KEY}'"}},
        {"extra_body": {"note": f'text {{"access_key_id": "{KEY}"}} text'}},
        {"extra_headers": {"X-Note": f"to https://user:{KEY}@host"}},
        {"extra_body": {f"api_key={KEY}; x": 1}},
        {KEY: "text"},
        {"extra_body": {"api_key": {KEY: "text"}}, "headers_from_env": {KEY: "V"}},
        {"extra_headers": {KEY: "a\nb"}},
    ],
    ids=str,
)
def test_a_key_in_the_wrong_place_is_refused_before_anything_is_written(
    workspace: Workspace, args: dict[str, Any]
) -> None:
    plant(workspace)
    deploy(workspace, "http://127.0.0.1:9", **args)
    for command in ("plan", "run"):
        finished = workspace.evalkit(command, "-r", ENTRY, "--json")
        assert finished.code == 2, finished
        assert not workspace.suite().exists()


def test_a_key_in_the_place_of_its_file_is_not_shown(workspace: Workspace) -> None:
    plant(workspace)
    deploy(workspace, "http://127.0.0.1:9", api_key_env=None, api_key_file=KEY)
    finished = workspace.evalkit("run", "-r", ENTRY, "--json")
    assert finished.code == 2, finished
    assert "test/a" in finished.err
    assert "the path of a file with the key, not the key itself" in finished.err


def test_a_key_file_and_a_proxy_with_a_password(workspace: Workspace) -> None:
    plant(workspace)
    (workspace.path / "key.txt").write_text(workspace.planted.use("file"), encoding="utf-8")
    workspace.planted.own.add("key.txt")
    workspace.planted.use("proxy")
    workspace.env["http_proxy"] = "http://user:Wren-1969%3Aover%2Fthe_Moor@127.0.0.1:9"
    deploy(workspace, "http://evaluated.example", api_key_env=None, api_key_file="key.txt")
    finished = workspace.evalkit("run", "-r", "arithmetic:num_test=3,model=test/a")
    assert finished.code == 3
    assert "connection to http://evaluated.example" in finished.err


def test_rotating_a_key_changes_no_digest(workspace: Workspace) -> None:
    plant(workspace)
    with repeating([lambda said: answer()]) as server:
        deploy(workspace, server.url)
        assert workspace.evalkit("run", "-r", ENTRY, "-q").code == 0
        workspace.plant("TEST_RELAY", "other header")
        deploy(workspace, "http://127.0.0.1:9", headers_from_env={"X-Relay": "OTHER_VARIABLE"})
        workspace.plant("OTHER_VARIABLE", "third header")
        finished = workspace.evalkit("run", "-r", ENTRY)
    assert finished.code == 0
    assert "nothing to send" in finished.err


def test_the_search_finds_what_is_there(workspace: Workspace) -> None:
    for spelling, spelled in spellings(KEY).items():
        (workspace.path / "file").write_text(f"text {spelled} text", encoding="utf-8")
        assert places_of({KEY}, workspace.path, frozenset()), spelling


def test_a_shipped_name_on_another_host_is_told_before_the_key_goes_there(workspace: Workspace) -> None:
    plant(workspace)
    with repeating([lambda said: answer()]) as server:
        workspace.deploy("openai/gpt-4o-mini", server.url, api_key_env="TEST_KEY")
        workspace.env["OPENAI_API_KEY"] = workspace.env["TEST_RELAY"]
        entry = "arithmetic:num_test=2,model=openai/gpt-4o-mini"
        for command in ("plan", "run"):
            told = workspace.evalkit(command, "-r", entry).err
            host = server.url.removeprefix("http://")
            assert f"'openai/gpt-4o-mini' sends requests to {host}, not to api.openai.com" in told
        assert "sends requests to" not in workspace.evalkit("plan", "-r", "arithmetic:model=evalkit/echo").err
