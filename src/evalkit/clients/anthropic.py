"""Anthropic's Messages API."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from evalkit.clients.allowance import Allowance, length_limit, thinking_limit, tokens_at_most
from evalkit.clients.api_client import ApiClient
from evalkit.clients.completion_parsing import (
    answer_of_known_shape,
    billed_usage,
    finish_reason,
    is_broken_off,
    refuse_blocked,
    refuse_other_speaker,
    send_all,
)
from evalkit.clients.credentials import key_advice, names_header, read_key, sent_headers
from evalkit.clients.http import Endpoint, error_in, sent_before, served_model
from evalkit.clients.thinking import AnswerReader
from evalkit.clients.unsupported_parameters import RefusedParameters
from evalkit.errors import BadRequestError, UsageError
from evalkit.registry import client
from evalkit.request import Request
from evalkit.response import Completion, Response

_PROMPT_TOKENS = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")


@client("anthropic")
@dataclass(kw_only=True, eq=False, repr=False)
class AnthropicClient(ApiClient):
    """Anthropic's Messages API. It gives no log-probabilities and takes no seed; both are passed over.

    Args:
        model: What the API calls the model; if left out, taken from the deployment's model name.
        base_url: Without `/v1`.
        api_key_env: The environment variable with the key.
        api_key_file: A file with the key, instead.
        version: The value of the `anthropic-version` header.
        reasoning_tokens: Added to every length limit, as room for thinking.
        thinking: Whether the model thinks before it answers, or its marks (`{open: …, close: …}`);
            left out: what its name and its completions say.
        omit_fields: Request fields this model refuses, never sent (`temperature`, `top_p`, …); stop sequences
            are then applied here.
        extra_body: Fields sent with every request as they are, such as `thinking`.
        extra_headers: Headers sent with every request; never a key.
        headers_from_env: Headers with secrets: each name with the environment variable that holds the value.
            With `x-api-key` or `Authorization` among them, `api_key_env` is not read.
    """

    keeps_time: ClassVar[bool] = True
    over_http: ClassVar[bool] = True

    model: str | None = None
    base_url: str = "https://api.anthropic.com"
    api_key_env: str = "ANTHROPIC_API_KEY"
    api_key_file: str | None = None
    version: str = "2023-06-01"
    reasoning_tokens: int = 0
    thinking: bool | dict[str, Any] | None = None
    omit_fields: tuple[str, ...] = ()
    extra_body: dict[str, Any] | None = None
    extra_headers: dict[str, str] | None = None
    headers_from_env: dict[str, str] | None = None

    def __post_init__(self) -> None:
        if self.model is None:
            raise UsageError("the client 'anthropic' needs model")
        headers = sent_headers(self.extra_headers, self.headers_from_env)
        self.key_advice = key_advice(None, None, self.headers_from_env)
        if not names_header(headers, "x-api-key", "Authorization"):
            headers["x-api-key"] = read_key(self.api_key_env, self.api_key_file) or ""
            self.key_advice = key_advice(self.api_key_env, self.api_key_file, self.headers_from_env)
        headers["anthropic-version"] = self.version
        base_url = self.base_url.rstrip("/").removesuffix("/v1")
        self._endpoint = Endpoint(base_url + "/v1/messages", headers, find_error=_failure_in)
        server_stops = "stop_sequences" not in self.omit_fields
        self._refused = RefusedParameters()
        self._answers = AnswerReader(self.thinking, self.model, server_stops=server_stops, is_chat=True)

    @classmethod
    def allowance(cls, args: Mapping[str, Any], request: Request) -> Allowance:
        """One send for each completion; thinking is part of the API's `max_tokens`."""
        body: dict[str, Any] = {"max_tokens": request.max_tokens + args.get("reasoning_tokens", 0)}
        for name in args.get("omit_fields", ()):
            body.pop(name, None)
        extra_body = args.get("extra_body") or {}
        sends, added = request.num_completions, tokens_at_most(extra_body)
        if (limit := length_limit(body | extra_body)) is None:
            return Allowance(None, sends, added)
        limit = max(limit, thinking_limit(extra_body))
        return Allowance(sends * limit, sends, added, max(0, limit - request.max_tokens))

    async def _sent(self, request: Request, body: Mapping[str, Any]) -> Response:
        if request.num_completions == 1:
            return await self._send_one(request, body)
        sends = (self._send_one(request, body) for _ in range(request.num_completions))
        return await send_all(sends)

    def body(self, request: Request) -> dict[str, Any]:
        """The JSON that is sent for a request.

        Raises:
            BadRequestError: The API can't do what the request asks.
        """
        if request.echo_prompt:
            raise BadRequestError("Anthropic's API can't score a prompt")
        if request.presence_penalty or request.frequency_penalty:
            raise BadRequestError("Anthropic's API has no presence_penalty and no frequency_penalty")
        if request.repetition_penalty != 1:
            raise BadRequestError("Anthropic's API has no repetition_penalty")
        messages = [{"role": "user", "content": request.prompt}]
        system = ""
        if request.messages is not None:
            messages = [
                {"role": m.role, "content": m.content} for m in request.messages if m.role != "system"
            ]
            system = "\n\n".join(m.content for m in request.messages if m.role == "system")
        body: dict[str, Any] = {
            "model": self.model,
            "messages": messages,
            "max_tokens": request.max_tokens + self.reasoning_tokens,
            "temperature": min(request.temperature, 1.0),
        }
        if system:
            body["system"] = system
        if request.top_p != 1:
            body["top_p"] = request.top_p
        if request.top_k:
            body["top_k"] = request.top_k
        # The API refuses stop sequences of blanks only; those are applied to the answer.
        if stop := [s for s in self._answers.sent_stops(request) if s.strip()]:
            body["stop_sequences"] = stop
        for name in self.omit_fields:
            body.pop(name, None)
        if self.extra_body:
            body.update(self.extra_body)
        return body

    async def _send_one(self, request: Request, body: Mapping[str, Any]) -> Response:
        answer, latency_s = await self._endpoint.post(body)
        with answer_of_known_shape():
            completion = _completion(answer)
        refuse_blocked([completion])
        usage = billed_usage(
            answer.get("usage"), _PROMPT_TOKENS, "output_tokens", wrote=bool(completion.text)
        )
        completion = self._answers.answer(request, completion)
        return Response(
            (completion,), usage, latency_s, served_model(answer), efficiency=sent_before(latency_s)
        )


def _failure_in(answer: Mapping[str, Any]) -> Any:
    reason = answer.get("stop_reason")
    if is_broken_off(reason):
        return answer.get("error") or {"message": f"the server ended the answer early ({reason})"}
    return None if answer.get("content") else error_in(answer)


def _completion(answer: Mapping[str, Any]) -> Completion:
    refuse_other_speaker(answer.get("role"))
    blocks, reason = answer["content"], finish_reason(answer.get("stop_reason"))
    if isinstance(blocks, str):
        return Completion(blocks, reason)
    if blocks is not None and not isinstance(blocks, list):
        raise TypeError(f"the content is {type(blocks).__name__}")
    if not blocks and reason == "unknown":
        raise ValueError("it has neither a text nor a reason why it ended")
    texts, thoughts, has_thought = [], [], False
    for block in blocks or ():
        if block["type"] == "text":
            texts.append(block["text"])
        elif block["type"] in ("thinking", "redacted_thinking"):
            has_thought = True
            thoughts.append(block.get("thinking") or "")
        elif block["type"] != "tool_use":
            raise ValueError(f"a block of the content is '{block['type']}'")
    return Completion("".join(texts), reason, thinking="".join(thoughts) if has_thought else None)
