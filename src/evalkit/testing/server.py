"""A double of the commercial APIs on this machine, faults included; for tests, benchmarks and dry runs.

It speaks OpenAI's `/v1/chat/completions`, `/v1/completions` and `/v1/models`, Anthropic's `/v1/messages` and
Bedrock's `/model/…/converse`, and tells what it has seen at `/_stats` and `/_bodies`. In a test: `async with
serve(config) as url`; from a shell: `python -m evalkit.testing.server --port 0`, which prints the URL on its
first line.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any
from zlib import crc32

import orjson

if TYPE_CHECKING:
    from aiohttp import web

Answers = Mapping[str, str] | Callable[[str], str]
FAULTS = ("rate_limited", "overloaded", "server_error", "dropped", "malformed", "stalled")
_TOKEN = re.compile(r"\s*\S+|\s+")
_JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True, slots=True)
class Faults:
    """Which share of the requests goes wrong, and how; the shares add up to 1 at most.

    Attributes:
        rate_limited: Answered with 429 and Retry-After.
        overloaded: Answered with 503, or 529 in Anthropic's protocol.
        server_error: Answered with 500.
        dropped: The connection is cut without an answer.
        malformed: Answered with 200 and half of a JSON body.
        stalled: Never answered.
        retry_after_s: What Retry-After says.
    """

    rate_limited: float = 0.0
    overloaded: float = 0.0
    server_error: float = 0.0
    dropped: float = 0.0
    malformed: float = 0.0
    stalled: float = 0.0
    retry_after_s: float = 0.05


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """How the double behaves.

    Attributes:
        latency_s: How long an answer takes.
        jitter: By which share of it the latency varies, up and down.
        answers: Prompt (a chat's last message) to answer, or a function; else its last line comes back.
        faults: What goes wrong how often.
        capacity: Requests in flight beyond this are answered with 429; None: no limit.
        seed: Of the faults and the jitter, by order of arrival.
        required_key: Other keys are answered with 401.
        record_bodies: Keep every request's path and body for `/_bodies`.
        log_path: A file that gets one line, the prompt's SHA-256, for each request answered.
    """

    latency_s: float = 0.0
    jitter: float = 0.0
    answers: Answers | None = None
    faults: Faults = field(default_factory=Faults)
    capacity: int | None = None
    seed: int = 0
    required_key: str | None = None
    record_bodies: bool = False
    log_path: Path | None = None


class ApiDouble:
    """The server's state and its one handler."""

    def __init__(self, config: ServerConfig) -> None:
        self.config = config
        self._random = Random(config.seed)
        self._shares = [(name, share) for name in FAULTS if (share := getattr(config.faults, name))]
        self._log = None
        if config.log_path is not None:
            self._log = os.open(config.log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self.outcomes: Counter[str] = Counter()
        self.bodies: Counter[str] = Counter()
        self.recorded: list[dict[str, Any]] = []
        self.in_flight = self.max_in_flight = 0

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        answer = _PROTOCOLS.get(request.path) or (_converse if _CONVERSE.fullmatch(request.path) else None)
        if answer is None:
            return self._page(request)
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        try:
            return await self._answer(request, answer)
        finally:
            self.in_flight -= 1

    def close(self) -> None:
        """Close the log."""
        if self._log is not None:
            os.close(self._log)

    def stats(self) -> dict[str, Any]:
        """Requests by outcome (a status, or the fault), answered bodies by SHA-256, and how many at once."""
        return {
            "requests": dict(self.outcomes),
            "bodies": dict(self.bodies),
            "in_flight": self.in_flight,
            "max_in_flight": self.max_in_flight,
        }

    async def _answer(self, request: web.BaseRequest, answer: Protocol) -> web.StreamResponse:
        raw = await request.read()
        config = self.config
        anthropic = request.path == "/v1/messages"
        if config.required_key is not None and _key_of(request) != config.required_key:
            return self._refuse(401, "authentication_error", "the key is wrong", anthropic)
        try:
            body = json.loads(raw) if b"\\ud" in raw else orjson.loads(raw)
            prompt = _prompt_of(body)
        except (ValueError, KeyError, TypeError, IndexError) as error:
            return self._refuse(400, "invalid_request_error", f"bad body: {error}", anthropic)
        if config.record_bodies:
            self.recorded.append({"path": request.path, "body": body})
        fault = self._draw()
        if config.latency_s:
            spread = config.jitter * (2 * self._random.random() - 1) if config.jitter else 0.0
            import asyncio

            await asyncio.sleep(config.latency_s * (1 + spread))
        if fault is not None:
            return await self._fail(fault, request, anthropic)
        answered = _reply(answer(body, prompt, self._text(prompt)))
        self.outcomes["200"] += 1
        self.bodies[hashlib.sha256(raw).hexdigest()] += 1
        if self._log is not None:
            digest = hashlib.sha256(prompt.encode("utf-8", "surrogatepass")).hexdigest()
            os.write(self._log, f"{digest}\n".encode("ascii"))
        return answered

    def _text(self, prompt: str) -> str:
        answers = self.config.answers
        if callable(answers):
            return answers(prompt)
        if answers is not None and prompt in answers:
            return answers[prompt]
        return prompt.rstrip().rsplit("\n", 1)[-1]

    def _draw(self) -> str | None:
        if self.config.capacity is not None and self.in_flight > self.config.capacity:
            return "rate_limited"
        if not self._shares:
            return None
        drawn = self._random.random()
        for name, share in self._shares:
            if drawn < share:
                return name
            drawn -= share
        return None

    async def _fail(self, fault: str, request: web.BaseRequest, anthropic: bool) -> web.StreamResponse:
        if fault == "rate_limited":
            after = {"Retry-After": f"{self.config.faults.retry_after_s:g}"}
            return self._refuse(429, "rate_limit_error", "too many requests", anthropic, after)
        if fault == "overloaded":
            status = 529 if anthropic else 503
            return self._refuse(status, "overloaded_error", "overloaded", anthropic)
        if fault == "server_error":
            return self._refuse(500, "api_error", "internal error", anthropic)
        self.outcomes[fault] += 1
        if fault == "malformed":
            return _reply(b'{"id": "x", "choices": [{"mess')
        if fault == "stalled":
            import asyncio

            await asyncio.Event().wait()
        if request.transport is not None:
            request.transport.abort()
        return _reply(b"")

    def _refuse(
        self, status: int, kind: str, message: str, anthropic: bool, headers: Mapping[str, str] | None = None
    ) -> web.Response:
        self.outcomes[str(status)] += 1
        error: dict[str, Any] = {"type": kind, "message": message}
        body = {"type": "error", "error": error} if anthropic else {"error": error | {"code": kind}}
        return _reply(body, status, headers)

    def _page(self, request: web.BaseRequest) -> web.Response:
        pages: dict[str, Callable[[], Any]] = {
            "/_stats": self.stats,
            "/_bodies": lambda: self.recorded,
            "/v1/models": lambda: {"object": "list", "data": [{"id": "double", "object": "model"}]},
        }
        if request.path not in pages:
            return self._refuse(404, "not_found_error", f"no such path: {request.path}", anthropic=False)
        return _reply(pages[request.path]())


Protocol = Callable[[dict[str, Any], str, str], dict[str, Any]]


def _chat(body: dict[str, Any], prompt: str, text: str) -> dict[str, Any]:
    limit = body.get("max_tokens", body.get("max_completion_tokens"))
    tokens, reason = _generate(text, limit, body.get("stop"))
    choice: dict[str, Any] = {
        "message": {"role": "assistant", "content": "".join(tokens), "refusal": None},
        "finish_reason": reason,
        "logprobs": None,
    }
    if body.get("logprobs"):
        count = body.get("top_logprobs", 0)
        choice["logprobs"] = {"content": [_chat_token(token, count) for token in tokens], "refusal": None}
    return _openai(body, prompt, "chat.completion", choice, len(tokens))


def _completion(body: dict[str, Any], prompt: str, text: str) -> dict[str, Any]:
    generated, reason = _generate(text, body.get("max_tokens", 16), body.get("stop"))
    echoed = _TOKEN.findall(prompt) if body.get("echo") else []
    tokens = echoed + generated
    choice: dict[str, Any] = {"text": "".join(tokens), "finish_reason": reason, "logprobs": None}
    if (count := body.get("logprobs")) is not None:
        values: list[float | None] = [logprob_of(token) for token in tokens]
        tops: list[dict[str, float] | None] = [_alternatives(token, count) for token in tokens]
        if echoed:
            values[0] = tops[0] = None
        choice["logprobs"] = {"tokens": tokens, "token_logprobs": values, "top_logprobs": tops}
    return _openai(body, prompt, "text_completion", choice, len(generated))


def _messages(body: dict[str, Any], prompt: str, text: str) -> dict[str, Any]:
    tokens, reason = _generate(text, body["max_tokens"], body.get("stop_sequences"))
    return {
        "id": "msg_double",
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": [{"type": "text", "text": "".join(tokens)}],
        "stop_reason": "max_tokens" if reason == "length" else "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": len(prompt) // 4 + 1, "output_tokens": len(tokens)},
    }


def _converse(body: dict[str, Any], prompt: str, text: str) -> dict[str, Any]:
    settings = body.get("inferenceConfig", {})
    tokens, reason = _generate(text, settings.get("maxTokens"), settings.get("stopSequences"))
    num_prompt_tokens = len(prompt) // 4 + 1
    return {
        "output": {"message": {"role": "assistant", "content": [{"text": "".join(tokens)}]}},
        "stopReason": "max_tokens" if reason == "length" else "end_turn",
        "usage": {
            "inputTokens": num_prompt_tokens,
            "outputTokens": len(tokens),
            "totalTokens": num_prompt_tokens + len(tokens),
        },
        "metrics": {"latencyMs": 1},
    }


_CONVERSE = re.compile(r"/model/[^/]+/converse")
_PROTOCOLS: Mapping[str, Protocol] = {
    "/v1/chat/completions": _chat,
    "/v1/completions": _completion,
    "/v1/messages": _messages,
}


def logprob_of(token: str) -> float:
    """The log-probability the double gives a token: always the same for the same text, in (-5, 0)."""
    return -(crc32(token.encode("utf-8", "surrogatepass")) % 4999 + 1) / 1000


def _openai(
    body: Mapping[str, Any], prompt: str, kind: str, choice: dict[str, Any], num_tokens: int
) -> dict[str, Any]:
    count = body.get("n") or 1
    num_prompt_tokens = len(prompt) // 4 + 1
    return {
        "id": "double",
        "object": kind,
        "created": 1700000000,
        "model": body["model"],
        "choices": [{"index": index, **choice} for index in range(count)],
        "usage": {
            "prompt_tokens": num_prompt_tokens,
            "completion_tokens": num_tokens * count,
            "total_tokens": num_prompt_tokens + num_tokens * count,
        },
    }


def _generate(text: str, max_tokens: int | None, stop: str | list[str] | None) -> tuple[list[str], str]:
    """The answer's tokens, cut at a stop sequence and at the length limit, and why it ended."""
    for sequence in [stop] if isinstance(stop, str) else stop or ():
        text = text.split(sequence, 1)[0]
    tokens = _TOKEN.findall(text)
    if max_tokens is not None and len(tokens) > max_tokens:
        return tokens[:max_tokens], "length"
    return tokens, "stop"


def _chat_token(token: str, count: int) -> dict[str, Any]:
    top = [{"token": t, "logprob": p, "bytes": None} for t, p in _alternatives(token, count).items()]
    return {"token": token, "logprob": logprob_of(token), "bytes": None, "top_logprobs": top}


def _alternatives(token: str, count: int) -> dict[str, float]:
    value = logprob_of(token)
    return {token if i == 0 else f"{token}~{i}": value - i for i in range(count)}


def _prompt_of(body: Mapping[str, Any]) -> str:
    prompt = body["messages"][-1]["content"] if "messages" in body else body["prompt"]
    if isinstance(prompt, list):
        prompt = "".join(block["text"] for block in prompt)
    if not isinstance(prompt, str):
        raise TypeError("the prompt must be a string")
    return prompt


def _key_of(request: web.BaseRequest) -> str:
    """The key that a request names; of a signed one the id of the key that has signed it."""
    if signed := re.match(r"AWS4-HMAC-SHA256 Credential=([^/]+)/", request.headers.get("Authorization", "")):
        return signed[1]
    return request.headers.get("x-api-key") or request.headers.get("Authorization", "").removeprefix(
        "Bearer "
    )


def _reply(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """Bytes as they are, anything else as JSON."""
    from aiohttp import web

    body = value if isinstance(value, bytes) else _dump(value)
    return web.Response(status=status, body=body, headers={**_JSON, **headers} if headers else _JSON)


def _dump(value: Any) -> bytes:
    try:
        return orjson.dumps(value)
    except TypeError:
        return json.dumps(value).encode("ascii")


@asynccontextmanager
async def serve(
    config: ServerConfig | None = None, host: str = "127.0.0.1", port: int = 0
) -> AsyncIterator[str]:
    """Run the double; gives its URL, without `/v1`. Port 0 takes a free one."""
    from aiohttp import web
    from aiohttp.web_runner import ServerRunner

    double = ApiDouble(config or ServerConfig())
    runner = ServerRunner(web.Server(double.handle, access_log=None), shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port, backlog=4096)
        await site.start()
        yield f"http://{host}:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
        double.close()


def main(argv: list[str] | None = None) -> None:
    """Run the double until the process is ended."""
    parser = argparse.ArgumentParser(prog="python -m evalkit.testing.server", description="An API double.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0: a free one")
    parser.add_argument("--latency-ms", type=float, default=0.0)
    parser.add_argument("--jitter", type=float, default=0.0, help="share of the latency")
    parser.add_argument("--answers", type=Path, help="JSON file: an object of prompt to answer")
    parser.add_argument("--capacity", type=int, help="requests in flight beyond this get a 429")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--required-key")
    parser.add_argument("--log", type=Path, help="file that gets the SHA-256 of each answered prompt")
    parser.add_argument("--retry-after-s", type=float, default=Faults().retry_after_s)
    for name in FAULTS:
        parser.add_argument(f"--{name.replace('_', '-')}", type=float, default=0.0, help="share of requests")
    options = parser.parse_args(argv)
    answers = json.loads(options.answers.read_text(encoding="utf-8")) if options.answers else None
    config = ServerConfig(
        latency_s=options.latency_ms / 1000,
        jitter=options.jitter,
        answers=answers,
        faults=Faults(
            **{name: getattr(options, name) for name in FAULTS}, retry_after_s=options.retry_after_s
        ),
        capacity=options.capacity,
        seed=options.seed,
        required_key=options.required_key,
        log_path=options.log,
    )
    import asyncio

    try:
        asyncio.run(_serve_forever(config, options.host, options.port))
    except KeyboardInterrupt:
        sys.exit(130)


async def _serve_forever(config: ServerConfig, host: str, port: int) -> None:
    import asyncio

    async with serve(config, host, port) as url:
        sys.stdout.write(f"{url}\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


if __name__ == "__main__":
    main()
