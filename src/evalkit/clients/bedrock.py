"""Amazon Bedrock's Converse, one protocol for the models of all makers."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar
from urllib.parse import quote

from evalkit.clients.allowance import Allowance, thinking_limit, tokens_at_most
from evalkit.clients.api_client import ApiClient
from evalkit.clients.completion_parsing import (
    answer_of_known_shape,
    billed_usage,
    finish_reason,
    refuse_blocked,
    refuse_other_speaker,
    send_all,
)
from evalkit.clients.credentials import key_advice, read_key
from evalkit.clients.http import Endpoint, error_in, sent_before
from evalkit.clients.sigv4 import AwsKeys, Signer
from evalkit.clients.thinking import AnswerReader
from evalkit.clients.unsupported_parameters import RefusedParameters
from evalkit.errors import BadRequestError, UsageError
from evalkit.redaction import remember
from evalkit.registry import client
from evalkit.request import Request
from evalkit.response import Completion, Response

_BEARER = "AWS_BEARER_TOKEN_BEDROCK"
_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
_REGIONS = ("AWS_REGION", "AWS_DEFAULT_REGION")
_MAX_STOPS = 4

_PROMPT_TOKENS = ("inputTokens", "cacheReadInputTokens", "cacheWriteInputTokens")


@client("bedrock")
@dataclass(kw_only=True, eq=False, repr=False)
class BedrockClient(ApiClient):
    """Bedrock's Converse over HTTP. It gives no log-probabilities and takes no seed; both are passed over.

    A Bedrock API key is sent as it is; without one, requests are signed (Signature Version 4) with the keys
    of AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and, for temporary ones, AWS_SESSION_TOKEN.

    Args:
        model: The id of a model or an inference profile; if left out, taken from the deployment's model name.
        region: The region, such as us-east-1; left out: AWS_REGION or AWS_DEFAULT_REGION.
        base_url: Where Bedrock is, if not at the region's public address.
        api_key_env: The environment variable with a Bedrock API key, if not AWS_BEARER_TOKEN_BEDROCK.
        api_key_file: A file with a Bedrock API key, instead.
        reasoning_tokens: Added to every length limit, as room for thinking.
        thinking: Whether the model thinks before it answers, or its marks (`{open: …, close: …}`);
            left out: what its name and its completions say.
        omit_fields: Settings this model refuses, never sent (`temperature`, `topP`, `stopSequences`).
        extra_body: Fields sent with every request as they are, such as `additionalModelRequestFields`.
    """

    keeps_time: ClassVar[bool] = True
    over_http: ClassVar[bool] = True
    model: str | None = None
    region: str | None = None
    base_url: str | None = None
    api_key_env: str | None = None
    api_key_file: str | None = None
    reasoning_tokens: int = 0
    thinking: bool | dict[str, Any] | None = None
    omit_fields: tuple[str, ...] = ()
    extra_body: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.model is None:
            raise UsageError("the client 'bedrock' needs model")
        region = self.region or next(filter(None, map(os.environ.get, _REGIONS)), None)
        if region is None:
            raise UsageError("Bedrock's region is not known; set AWS_REGION, or region in the deployment")
        base_url = (self.base_url or f"https://bedrock-runtime.{region}.amazonaws.com").rstrip("/")
        variable = self.api_key_env
        if variable is None and self.api_key_file is None and os.environ.get(_BEARER, "").strip():
            variable = _BEARER
        key = read_key(variable, self.api_key_file)
        headers, signer = {}, None
        if key is not None:
            headers["Authorization"] = f"Bearer {key}"
            self.key_advice = key_advice(variable, self.api_key_file, None)
        else:
            signer = Signer(_keys(), region, "bedrock")
            self.key_advice = f"check {' and '.join(_KEYS)}, and that they may use this model"
        url = f"{base_url}/model/{quote(self.model, safe='')}/converse"

        def sign(body: bytes) -> Mapping[str, str]:
            assert signer is not None
            return signer.headers("POST", url, body, datetime.now(UTC))

        self._endpoint = Endpoint(url, headers, find_error=_failure_in, sign=sign if signer else None)
        self._refused = RefusedParameters()
        stops = "stopSequences" not in self.omit_fields
        self._answers = AnswerReader(self.thinking, self.model, server_stops=stops, is_chat=True)

    @classmethod
    def allowance(cls, args: Mapping[str, Any], request: Request) -> Allowance:
        """One send for each completion; thinking is part of the limit."""
        extra_body = args.get("extra_body") or {}
        limit = request.max_tokens + args.get("reasoning_tokens", 0)
        limit = max(limit, thinking_limit(extra_body))
        sends, added = request.num_completions, tokens_at_most(extra_body)
        return Allowance(sends * limit, sends, added, max(0, limit - request.max_tokens))

    async def _sent(self, request: Request, body: Mapping[str, Any]) -> Response:
        if request.num_completions == 1:
            return await self._send_one(request, body)
        return await send_all(self._send_one(request, body) for _ in range(request.num_completions))

    def body(self, request: Request) -> dict[str, Any]:
        """The JSON that is sent for a request.

        Raises:
            BadRequestError: The API can't do what the request asks.
        """
        if request.echo_prompt:
            raise BadRequestError("Bedrock's Converse can't score a prompt")
        for name, value in (
            ("presence_penalty", request.presence_penalty),
            ("frequency_penalty", request.frequency_penalty),
            ("top_k", request.top_k),
            ("repetition_penalty", request.repetition_penalty - 1),
        ):
            if value:
                raise BadRequestError(
                    f"Bedrock's Converse has no {name}; name the model's own field in extra_body: "
                    "{additionalModelRequestFields: …}"
                )
        messages, system = [_message("user", request.prompt)], []
        if request.messages is not None:
            messages = [_message(m.role, m.content) for m in request.messages if m.role != "system"]
            system = [{"text": m.content} for m in request.messages if m.role == "system"]
        settings: dict[str, Any] = {
            "maxTokens": request.max_tokens + self.reasoning_tokens,
            "temperature": min(request.temperature, 1.0),
        }
        if request.top_p != 1:
            settings["topP"] = request.top_p
        if stop := [s for s in self._answers.sent_stops(request) if s.strip()]:
            settings["stopSequences"] = stop[:_MAX_STOPS]
        for name in self.omit_fields:
            settings.pop(name, None)
        body: dict[str, Any] = {"messages": messages, "inferenceConfig": settings}
        if system:
            body["system"] = system
        return body | (self.extra_body or {})

    async def _send_one(self, request: Request, body: Mapping[str, Any]) -> Response:
        answer, latency_s = await self._endpoint.post(body)
        with answer_of_known_shape():
            completion = _completion(answer)
        refuse_blocked([completion])
        usage = billed_usage(answer.get("usage"), _PROMPT_TOKENS, "outputTokens", wrote=bool(completion.text))
        completion = self._answers.answer(request, completion)
        return Response((completion,), usage, latency_s, self.model, efficiency=sent_before(latency_s))


def _keys() -> AwsKeys:
    """The keys of the environment.

    Raises:
        UsageError: One is not set.
    """
    found = [os.environ.get(name, "").strip() for name in _KEYS]
    if missing := [name for name, value in zip(_KEYS, found, strict=True) if not value]:
        raise UsageError(
            f"the environment variable {missing[0]} is not set; Bedrock wants {' and '.join(_KEYS)}, or an "
            f"API key in {_BEARER}"
        )
    token = os.environ.get("AWS_SESSION_TOKEN", "").strip() or None
    for secret in filter(None, (found[1], token)):
        remember(secret)
    return AwsKeys(found[0], found[1], token)


def _message(role: str, text: str) -> dict[str, Any]:
    return {"role": role, "content": [{"text": text}]}


def _failure_in(answer: Mapping[str, Any]) -> Any:
    return None if answer.get("output") else error_in(answer)


def _completion(answer: Mapping[str, Any]) -> Completion:
    message = answer["output"]["message"]
    refuse_other_speaker(message.get("role"))
    texts, thoughts, has_thought = [], [], False
    for block in message["content"] or ():
        if "text" in block:
            texts.append(block["text"])
        elif "reasoningContent" in block:
            has_thought = True
            thoughts.append((block["reasoningContent"].get("reasoningText") or {}).get("text") or "")
        elif "toolUse" not in block:
            raise ValueError(f"a block of the content is '{next(iter(block), '')}'")
    reason = finish_reason(answer.get("stopReason"))
    if not texts and not has_thought and reason == "unknown":
        raise ValueError("it has neither a text nor a reason why it ended")
    return Completion("".join(texts), reason, thinking="".join(thoughts) if has_thought else None)
