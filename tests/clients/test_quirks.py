"""What servers and gateways have been seen to send, and what each must become.

A server on this machine sends each row; the client's own reading of it is what is tested.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from evalkit.clients.anthropic import AnthropicClient
from evalkit.clients.client import Client
from evalkit.clients.openai import OpenAIClient
from evalkit.errors import (
    AuthenticationError,
    BadRequestError,
    ClientError,
    ContentFilterError,
    OverloadError,
    TransientError,
)
from evalkit.request import Request
from evalkit.response import Completion, Response, Token, Usage
from tests.planted import Planted

Canned = Callable[..., AbstractAsyncContextManager[str]]


@dataclass(frozen=True)
class Quirk:
    """One answer.

    Attributes:
        seen: Who sends it.
        body: Bytes as they are, else JSON.
        becomes: The completion, or the class of the error.
        reason: The error's.
        says: Words in the error.
    """

    seen: str
    body: Any
    becomes: Completion | type[ClientError]
    reason: str = ""
    says: str = ""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    usage: Usage | None = None
    mode: Literal["chat", "completions", "anthropic"] = "chat"
    retry_after_s: float | None = None


def chat(message: Any = None, finish: Any = "stop", **more: Any) -> dict[str, Any]:
    message = {"role": "assistant", **message} if isinstance(message, dict) else message
    return {"choices": [{"index": 0, "message": message, "finish_reason": finish}], **more}


def used(usage: Any) -> dict[str, Any]:
    return chat({"content": "a"}, usage=usage)


def error(message: Any, **more: Any) -> dict[str, Any]:
    return {"error": {"message": message, **more}}


NULLS = dict.fromkeys(("id", "choices", "created", "model", "object", "usage", "system_fingerprint"))
A = Completion("a", "stop")
AZURE_WORDS = (
    "The response was filtered due to the prompt triggering Azure OpenAI's content management policy."
)
AZURE = {
    "message": AZURE_WORDS,
    "type": None,
    "param": "prompt",
    "code": "content_filter",
    "status": 400,
    "innererror": {
        "code": "ResponsibleAIPolicyViolation",
        "content_filter_result": {"violence": {"filtered": True, "severity": "medium"}},
    },
}
HIDDEN = {"hate": {"filtered": False, "severity": "safe"}, "violence": {"filtered": True, "severity": "high"}}

QUIRKS = [
    # Errors that HTTP calls fine.
    Quirk(
        "OpenRouter: choices null, 429",
        {**NULLS, **error("Provider returned error", code=429, metadata={"raw": "Too Many Requests"})},
        OverloadError,
        "overload",
        "Provider returned error (Too Many Requests)",
    ),
    Quirk(
        "OpenRouter: no choices, 429 and Retry-After",
        error("Rate limit exceeded: free-models-per-day", code=429),
        OverloadError,
        "overload",
        "free-models-per-day",
        headers={"Retry-After": "7"},
        retry_after_s=7.0,
    ),
    Quirk(
        "a gateway: choices empty, code as text",
        {"choices": [], **error("slow down", code="429")},
        OverloadError,
        "overload",
        "slow down",
    ),
    Quirk(
        "OpenRouter with Kluster: an empty message beside the error",
        chat({"content": None}, **error("Provider returned error", code=429, metadata={"raw": "code 1015"})),
        OverloadError,
        "overload",
        "code 1015",
    ),
    Quirk(
        "OpenRouter: the choice has the error",
        {"choices": [{"finish_reason": "error", "message": {"content": "ha"}, **error("gone", code=502)}]},
        TransientError,
        "server_error",
        "gone",
    ),
    Quirk(
        "OpenRouter: the choice has a 429",
        {"choices": [{"finish_reason": "error", "message": {"content": ""}, **error("busy", code=429)}]},
        OverloadError,
        "overload",
        "busy",
    ),
    Quirk(
        "a choice that broke off without a word",
        chat({"content": "ha"}, "error"),
        TransientError,
        "server_error",
        "ended the answer early",
    ),
    Quirk(
        "OpenRouter: no credit",
        {"choices": None, **error("Insufficient credits. Add more", code=402)},
        AuthenticationError,
        "quota",
        "Insufficient credits",
    ),
    Quirk(
        "OpenRouter: refused for good",
        {"choices": None, **error("qwen/x is not a valid model ID", code=400)},
        BadRequestError,
        "bad_request",
        "not a valid model ID",
    ),
    Quirk(
        "OpenRouter: wrong key",
        {"choices": None, **error("No auth credentials found", code=401)},
        AuthenticationError,
        "authentication",
        "No auth credentials",
    ),
    Quirk(
        "a gateway: error as text",
        {"error": "Rate limit reached, try again"},
        OverloadError,
        "overload",
        "Rate limit reached",
    ),
    Quirk(
        "LM Studio: error as text, context too long",
        {"error": "The model has crashed: Context size has been exceeded."},
        BadRequestError,
        "bad_request",
        "Context size has been exceeded",
    ),
    Quirk(
        "LM Studio: the same in its older words",
        {"error": "Trying to keep the first 111490 tokens when context the overflows."},
        BadRequestError,
        "bad_request",
        "111490 tokens",
    ),
    Quirk(
        "one-api: flat",
        {"code": 429, "message": "no channel"},
        OverloadError,
        "overload",
        "no channel",
    ),
    Quirk(
        "vLLM before 0.10: object error",
        {"object": "error", "message": "max_tokens is too large", "type": "BadRequestError", "code": 400},
        BadRequestError,
        "bad_request",
        "max_tokens is too large",
    ),
    Quirk("error without a code", error("oops"), TransientError, "server_error", "oops"),
    Quirk(
        "code as a word",
        {"choices": None, **error("busy", code="rate_limit_exceeded")},
        OverloadError,
        "overload",
        "busy",
    ),
    Quirk(
        "code null, type a word", error("m", type="overloaded_error", code=None), OverloadError, "overload"
    ),
    Quirk(
        "Google: a list",
        [error("Resource exhausted", code=429, status="RESOURCE_EXHAUSTED")],
        OverloadError,
        "overload",
        "Resource exhausted",
    ),
    Quirk(
        "LiteLLM: an error null beside the answer",
        chat({"content": "a"}, error=None),
        A,
    ),
    Quirk("a warning beside an answer", chat({"content": "a"}, error="deprecated"), A),
    # Errors that HTTP calls such.
    Quirk(
        "OpenAI: context length",
        error("This model's maximum context length is 8192 tokens.", code="context_length_exceeded"),
        BadRequestError,
        "bad_request",
        "maximum context length",
        status=400,
    ),
    Quirk(
        "llama.cpp: context length as a 500",
        error("Context size has been exceeded.", code=500, type="server_error"),
        BadRequestError,
        "bad_request",
        "Context size",
        status=500,
    ),
    Quirk(
        "llama.cpp: its own type",
        error("the request exceeds it", code=500, type="exceed_context_size_error", n_ctx=256),
        BadRequestError,
        "bad_request",
        status=500,
    ),
    Quirk(
        "llama.cpp while it loads",
        error("Loading model", code=503, type="unavailable_error"),
        OverloadError,
        "overload",
        "Loading model",
        status=503,
    ),
    Quirk(
        "FastAPI (SGLang, text-generation-inference)",
        {"detail": [{"loc": ["body", "n"], "msg": "must be 1"}]},
        BadRequestError,
        "bad_request",
        "must be 1",
        status=422,
    ),
    Quirk(
        "Azure: no such deployment",
        error("The API deployment does not exist.", code="DeploymentNotFound"),
        BadRequestError,
        "bad_request",
        "no such model or path",
        status=404,
    ),
    Quirk(
        "OpenAI: no money, as 429",
        error("You exceeded your current quota", type="insufficient_quota", code="insufficient_quota"),
        AuthenticationError,
        "quota",
        status=429,
    ),
    Quirk(
        "Cloudflare: HTML with 502",
        b"<html><title>502 Bad Gateway</title></html>",
        TransientError,
        "server_error",
        "502 Bad Gateway",
        status=502,
    ),
    # Content filters: one event, whatever its shape.
    Quirk("Azure: 400", {"error": AZURE}, ContentFilterError, "content_filter", AZURE_WORDS[:40], status=400),
    Quirk(
        "Azure behind LiteLLM: the code is the status",
        error(
            f"litellm.BadRequestError: litellm.ContentPolicyViolationError: AzureException - {AZURE_WORDS}",
            code="400",
            provider_specific_fields={"innererror": AZURE["innererror"]},
        ),
        ContentFilterError,
        "content_filter",
        status=400,
    ),
    Quirk("Azure in a 200", {"choices": None, "error": AZURE}, ContentFilterError, "content_filter"),
    Quirk("finish reason, content null", chat({"content": None}, "content_filter"), ContentFilterError),
    Quirk("finish reason, no content", chat({}, "content_filter"), ContentFilterError, "content_filter"),
    Quirk("finish reason, part of a text", chat({"content": "The"}, "content_filter"), ContentFilterError),
    Quirk(
        "Azure: only the results tell",
        {
            "choices": [
                {"message": {"content": ""}, "finish_reason": "stop", "content_filter_results": HIDDEN}
            ]
        },
        ContentFilterError,
        "content_filter",
    ),
    Quirk("Gemini's own words", chat({"content": ""}, "SAFETY"), ContentFilterError, "content_filter"),
    Quirk("Gemini: recitation", chat({"content": None}, "RECITATION"), ContentFilterError),
    Quirk(
        "Gemini: the prompt was blocked",
        {"choices": [], "promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}},
        ContentFilterError,
        "content_filter",
        "PROHIBITED_CONTENT",
    ),
    Quirk(
        "OpenRouter: moderation is a 403, and no matter of the key",
        error(
            "Your chosen model requires moderation and your input was flagged",
            code=403,
            metadata={"reasons": ["violence"], "flagged_input": "…"},
        ),
        ContentFilterError,
        "content_filter",
        "requires moderation",
        status=403,
    ),
    Quirk(
        "OpenRouter: flagged, as a 502 in a 200",
        error("This content was flagged for possible cybersecurity risk...", code=502),
        ContentFilterError,
        "content_filter",
    ),
    Quirk(
        "DeepSeek",
        error("Content Exists Risk", type="invalid_request_error", code="invalid_request_error"),
        ContentFilterError,
        "content_filter",
        "Content Exists Risk",
        status=400,
    ),
    Quirk(
        "DeepSeek, older",
        {"detail": "Content Exists Risk"},
        ContentFilterError,
        "content_filter",
        status=400,
    ),
    Quirk(
        "DashScope (Qwen)",
        error("<400> InternalError.Algo.DataInspectionFailed: Input text data may contain", code=None),
        ContentFilterError,
        "content_filter",
        status=400,
    ),
    Quirk(
        "xAI",
        {"code": "The caller has no permission", "error": "Content violates usage guidelines."},
        ContentFilterError,
        "content_filter",
        status=403,
    ),
    Quirk("Zhipu", chat({"content": ""}, "sensitive"), ContentFilterError, "content_filter"),
    Quirk(
        "a policy named in the answer is an answer",
        chat({"content": "content filter"}),
        Completion("content filter", "stop"),
    ),
    # Usage in other shapes: never a reason to lose an answer.
    Quirk("usage as text", used({"prompt_tokens": "12", "completion_tokens": "3"}), A, usage=Usage(12, 3)),
    Quirk(
        "usage with fractions", used({"prompt_tokens": 12.0, "completion_tokens": 3.5}), A, usage=Usage(12, 3)
    ),
    Quirk("usage null", used(None), A, usage=Usage()),
    Quirk("usage of nulls", used({"prompt_tokens": None, "completion_tokens": 2}), A, usage=Usage()),
    Quirk("usage as a number", used(3), A, usage=Usage()),
    Quirk("usage as a list", used([]), A, usage=Usage()),
    Quirk("usage without sense", used({"prompt_tokens": {}, "completion_tokens": "n/a"}), A, usage=Usage()),
    Quirk(
        "usage with details",
        used(
            {"prompt_tokens": 5, "completion_tokens": 9, "completion_tokens_details": {"reasoning_tokens": 8}}
        ),
        A,
        usage=Usage(5, 9),
    ),
    # Bodies that are no plain UTF-8.
    Quirk(
        "Latin-1, declared",
        '{"choices": [{"message": {"content": "café"}, "finish_reason": "stop"}]}'.encode("latin-1"),
        Completion("café", "stop"),
        headers={"Content-Type": "application/json; charset=iso-8859-1"},
    ),
    Quirk(
        "an error in GBK, declared",
        '{"error": {"message": "余额不足"}}'.encode("gbk"),
        BadRequestError,
        "bad_request",
        "余额不足",
        status=400,
        headers={"Content-Type": 'application/json; charset="GBK"'},
    ),
    Quirk(
        "UTF-8, declared as Latin-1",
        '{"choices": [{"message": {"content": "東"}, "finish_reason": "stop"}]}'.encode(),
        Completion("東", "stop"),
        headers={"Content-Type": "application/json; charset=iso-8859-1"},
    ),
    Quirk("byte order mark", b"\xef\xbb\xbf" + json.dumps(chat({"content": "a"})).encode(), A),
    Quirk(
        "a character set that is none",
        b'{"a": "\xff"}',
        TransientError,
        "malformed",
        headers={"Content-Type": "application/json; charset=klingon"},
    ),
    Quirk(
        "a stream, which evalkit did not ask for",
        b'data: {"choices": [{"delta": {"content": "a"}}]}\n\ndata: [DONE]\n\n',
        TransientError,
        "malformed",
        "streams",
    ),
    Quirk(
        "a proxy's page", b"<!DOCTYPE html><title>Log in</title>", TransientError, "malformed", "<!DOCTYPE"
    ),
    Quirk("an empty body", b"", TransientError, "malformed", "empty"),
    Quirk("blanks for a body (keep-alive of a gateway)", b"\n\n  ", TransientError, "malformed", "empty"),
    Quirk("OpenRouter: blanks before the body", b"\n  \n" + json.dumps(chat({"content": "a"})).encode(), A),
    # Messages.
    Quirk("content null, ended", chat({"content": None}), Completion("", "stop")),
    Quirk("Gemini: no content, out of tokens", chat({}, "length"), Completion("", "length")),
    Quirk(
        "content null, and no reason",
        chat({"content": None}, None),
        TransientError,
        "malformed",
        "neither a text nor a reason",
    ),
    Quirk("no reason (llama.cpp, older)", chat({"content": "a"}, None), Completion("a", "unknown")),
    Quirk("a reason of one's own", chat({"content": "a"}, "eos_token"), Completion("a", "unknown")),
    Quirk("content as parts", chat({"content": [{"type": "text", "text": "a"}]}), A),
    Quirk("content as parts without type", chat({"content": ["a"]}), A),
    Quirk(
        "Mistral: thinking as a part",
        chat(
            {
                "content": [
                    {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
                    {"type": "text", "text": "a"},
                ]
            }
        ),
        Completion("a", "stop", thinking="hm"),
    ),
    Quirk(
        "an unknown part",
        chat({"content": [{"type": "image_url", "image_url": {"url": "data:"}}]}),
        TransientError,
        "malformed",
        "image_url",
    ),
    Quirk("content as an object", chat({"content": {"text": "a"}}), TransientError, "malformed"),
    Quirk(
        "DeepSeek: reasoning apart",
        chat({"content": "a", "reasoning_content": "hm"}),
        Completion("a", "stop", thinking="hm"),
    ),
    Quirk(
        "OpenRouter: reasoning apart",
        chat({"content": "a", "reasoning": "hm", "reasoning_details": []}),
        Completion("a", "stop", thinking="hm"),
    ),
    Quirk(
        "all tokens spent on reasoning",
        chat({"content": None, "reasoning": "hm"}, "length"),
        Completion("", "length", thinking="hm"),
    ),
    Quirk(
        "OpenAI: a refusal", chat({"content": None, "refusal": "I can't."}), Completion("I can't.", "stop")
    ),
    Quirk(
        "a tool call",
        chat({"content": None, "tool_calls": [{"id": "x"}]}, "tool_calls"),
        Completion("", "tool_calls"),
    ),
    Quirk("message null", chat(None), TransientError, "malformed"),
    Quirk(
        "delta instead of message",
        {"choices": [{"delta": {"content": "a"}, "finish_reason": "stop"}]},
        TransientError,
        "malformed",
        "message",
    ),
    Quirk("a text where a message should be", {"choices": [{"text": "a"}]}, TransientError, "malformed"),
    Quirk(
        "LiteLLM with Gemini: no choice, no error",
        {"choices": [], "usage": {}},
        TransientError,
        "malformed",
        "0 of 1",
    ),
    Quirk("choices null, no error", NULLS, TransientError, "malformed", "0 of 1"),
    Quirk(
        "Ollama's own protocol",
        {"model": "m", "message": {"role": "assistant", "content": "a"}, "done": True},
        TransientError,
        "malformed",
    ),
    # Continued texts.
    Quirk(
        "text null",
        {"choices": [{"text": None, "finish_reason": "stop"}]},
        TransientError,
        "malformed",
        mode="completions",
    ),
    Quirk("a text", {"choices": [{"text": "a", "finish_reason": "stop"}]}, A, mode="completions"),
    Quirk(
        "a message where a text should be",
        chat({"content": "a"}),
        TransientError,
        "malformed",
        mode="completions",
    ),
    Quirk(
        "a blocked text",
        {"choices": [{"text": "", "finish_reason": "content_filter"}]},
        ContentFilterError,
        mode="completions",
    ),
    # Anthropic and those who speak its protocol.
    Quirk(
        "blocks",
        {
            "content": [{"type": "text", "text": "a"}],
            "stop_reason": "end_turn",
            "usage": {"input_tokens": 2, "output_tokens": 1},
        },
        A,
        usage=Usage(2, 1),
        mode="anthropic",
    ),
    Quirk(
        "no usage",
        {"content": [{"type": "text", "text": "a"}], "stop_reason": "end_turn"},
        A,
        usage=Usage(),
        mode="anthropic",
    ),
    Quirk("content as text", {"content": "a", "stop_reason": "end_turn", "usage": None}, A, mode="anthropic"),
    Quirk(
        "nothing said", {"content": [], "stop_reason": "end_turn"}, Completion("", "stop"), mode="anthropic"
    ),
    Quirk(
        "nothing said, and no reason",
        {"content": [], "stop_reason": None},
        TransientError,
        "malformed",
        mode="anthropic",
    ),
    Quirk(
        "content null", {"content": None, "stop_reason": None}, TransientError, "malformed", mode="anthropic"
    ),
    Quirk(
        "an unknown block",
        {"content": [{"type": "image", "source": {}}], "stop_reason": "end_turn"},
        TransientError,
        "malformed",
        "image",
        mode="anthropic",
    ),
    Quirk(
        "thinking kept back",
        {
            "content": [{"type": "redacted_thinking", "data": "x"}, {"type": "text", "text": "a"}],
            "stop_reason": "end_turn",
        },
        Completion("a", "stop", thinking=""),
        mode="anthropic",
    ),
    Quirk(
        "refusal",
        {"content": [], "stop_reason": "refusal"},
        ContentFilterError,
        "content_filter",
        mode="anthropic",
    ),
    Quirk(
        "refusal midway",
        {"content": [{"type": "text", "text": "Mix"}], "stop_reason": "refusal"},
        ContentFilterError,
        "content_filter",
        mode="anthropic",
    ),
    Quirk(
        "output blocked",
        {
            "type": "error",
            **error("Output blocked by content filtering policy", type="invalid_request_error"),
        },
        ContentFilterError,
        "content_filter",
        status=400,
        mode="anthropic",
    ),
    Quirk(
        "overloaded in a 200",
        {"type": "error", **error("Overloaded", type="overloaded_error")},
        OverloadError,
        "overload",
        mode="anthropic",
    ),
    Quirk(
        "too long",
        {
            "type": "error",
            **error("prompt is too long: 200001 tokens > 200000 maximum", type="invalid_request_error"),
        },
        BadRequestError,
        "bad_request",
        "too long",
        status=400,
        mode="anthropic",
    ),
    # Answers that broke off.
    *(
        Quirk(f"broken off: {word}", chat({"content": text}, word), TransientError, "server_error", word)
        for word, text in (
            ("insufficient_system_resource", "Par"),
            ("abort", ""),
            ("cancelled", "Par"),
            ("timeout", "Par"),
            ("MALFORMED_FUNCTION_CALL", ""),
        )
    ),
    Quirk(
        "a gateway: half an answer and an error beside it",
        chat({"content": "Par"}, None, **error("upstream gone", code=502)),
        TransientError,
        "server_error",
        "upstream gone",
    ),
    Quirk(
        "a gateway: an answer up to the length limit and an error beside it",
        chat({"content": "Par"}, "length", **error("slow down", code=429)),
        OverloadError,
        "overload",
        "slow down",
    ),
    Quirk("a whole answer with a warning", chat({"content": "a"}, error={"message": "deprecated"}), A),
    *(
        Quirk(f"a filter: {word}", chat({"content": "Par"}, word), ContentFilterError, "content_filter")
        for word in ("contentFilter", "content-filter", "IMAGE_SAFETY", "blocked")
    ),
    # Errors in other places and spellings.
    Quirk(
        "MiniMax: base_resp",
        {"choices": None, "base_resp": {"status_code": 1002, "status_msg": "rate limit"}},
        OverloadError,
        "overload",
        "rate limit",
    ),
    Quirk(
        "Cloudflare: a list of errors",
        {"success": False, "errors": [{"code": 429, "message": "too fast"}]},
        OverloadError,
        "overload",
        "too fast",
    ),
    Quirk(
        "FastAPI: a list of details",
        {"detail": [{"msg": "field required", "type": "missing"}]},
        TransientError,
        "server_error",
        "field required",
    ),
    *(
        Quirk(f"429 as {value!r}", error("busy", code=value), OverloadError, "overload", "busy")
        for value in ("429 Too Many Requests", 429.0)
    ),
    Quirk("429 beside the error", {"status_code": 429, "error": "busy"}, OverloadError, "overload", "busy"),
    Quirk(
        "an error that is JSON in a text",
        {"error": '{"message": "busy", "code": 429}'},
        OverloadError,
        "overload",
        "busy",
    ),
    Quirk(
        "a refusal that mentions rate limits",
        error("Invalid request: the prompt mentions a rate limit policy", code="invalid_request_error"),
        BadRequestError,
        "bad_request",
        "mentions",
    ),
    Quirk(
        "a blocked account",
        error("Your account was flagged for unusual activity", code=401),
        AuthenticationError,
        "authentication",
        "flagged",
        status=401,
    ),
    Quirk(
        "a parameter with the name of a filter",
        error("Unknown parameter: 'content_filter'", type="invalid_request_error"),
        BadRequestError,
        "bad_request",
        "content_filter",
        status=400,
    ),
    # Shapes.
    Quirk("choices as an object", {"choices": {"0": {}}}, TransientError, "malformed", "list of objects"),
    Quirk("choices of null", {"choices": [None]}, TransientError, "malformed", "list of objects"),
    Quirk(
        "a choice without a message",
        {"choices": [{"finish_reason": "stop"}]},
        TransientError,
        "malformed",
        "no 'message'",
    ),
    Quirk("usage beyond all bounds", used({"prompt_tokens": 10**30}), A, usage=Usage(0, 0)),
    Quirk(
        "probabilities for log-probabilities",
        {
            "choices": [
                {
                    "text": "q",
                    "finish_reason": "stop",
                    "logprobs": {"tokens": ["q"], "token_logprobs": [0.4], "top_logprobs": None},
                }
            ]
        },
        Completion("q", "stop"),
        mode="completions",
    ),
]


def client_of(quirk: Quirk, url: str, planted: Planted) -> Client:
    if quirk.mode == "anthropic":
        planted.set("ANTHROPIC_API_KEY")
        return AnthropicClient(model="m", base_url=url)
    return OpenAIClient(model="m", base_url=url, mode=quirk.mode)


@pytest.mark.parametrize("quirk", QUIRKS, ids=lambda quirk: f"{quirk.mode}: {quirk.seen}")
def test_quirk(quirk: Quirk, canned: Canned, planted: Planted) -> None:
    body = quirk.body if isinstance(quirk.body, bytes) else json.dumps(quirk.body).encode()

    async def main() -> Response:
        async with canned(quirk.status, body, quirk.headers or None) as url:
            client = client_of(quirk, url, planted)
            try:
                return await client.send(Request("q"))
            finally:
                await client.close()

    if isinstance(quirk.becomes, Completion):
        response = asyncio.run(main())
        assert response.completions == (quirk.becomes,)
        assert quirk.usage is None or response.usage == quirk.usage
        return
    with pytest.raises(ClientError) as caught:
        asyncio.run(main())
    assert type(caught.value) is quirk.becomes, caught.value
    assert caught.value.reason == (quirk.reason or caught.value.reason)
    assert quirk.says in str(caught.value)
    assert getattr(caught.value, "retry_after_s", None) == quirk.retry_after_s


CONTENT = [
    {"id": 3, "token": " A", "logprob": -0.5, "top_logprobs": [{"token": " A", "logprob": -0.5}]},
    {"token": "b", "logprob": -0.25, "top_logprobs": []},
]
LISTS = {
    "tokens": [" A", "b"],
    "token_logprobs": [-0.5, -0.25],
    "top_logprobs": [{" A": -0.5, "c": None}, None],
}
TOKENS = (Token(" A", -0.5, {" A": -0.5}), Token("b", -0.25))


def scored(canned: Canned, logprobs: Any, mode: Literal["chat", "completions"]) -> Completion:
    """What a client that asks for log-probabilities makes of an answer."""
    choice = {"text": " Ab", "message": {"content": " Ab"}, "finish_reason": "stop", "logprobs": logprobs}

    async def main() -> Response:
        async with canned(200, json.dumps({"choices": [choice]}).encode()) as url:
            client = OpenAIClient(model="m", base_url=url, mode=mode, logprobs=True)
            try:
                return await client.send(Request("q"))
            finally:
                await client.close()

    return asyncio.run(main()).completions[0]


@pytest.mark.parametrize("mode", ["chat", "completions"])
@pytest.mark.parametrize(
    "logprobs",
    [
        {"content": CONTENT},
        {"content": CONTENT, "refusal": None},
        LISTS,
        {**LISTS, "content": None},
        {**LISTS, "content": []},
        {**LISTS, "content": [], "text_offset": [0, 2]},
    ],
    ids=["content", "content, refusal", "lists", "content null", "content empty", "offsets"],
)
def test_both_shapes_of_log_probabilities_are_read_in_both_modes(
    canned: Canned, logprobs: Any, mode: Literal["chat", "completions"]
) -> None:
    completion = scored(canned, logprobs, mode)
    assert (completion.tokens, completion.logprob) == (TOKENS, -0.75)


@pytest.mark.parametrize("mode", ["chat", "completions"])
@pytest.mark.parametrize(
    "logprobs", [None, {}, {"content": []}, {"content": None}, {"tokens": [], "token_logprobs": []}]
)
def test_a_text_without_tokens_is_not_certain(
    canned: Canned, logprobs: Any, mode: Literal["chat", "completions"]
) -> None:
    completion = scored(canned, logprobs, mode)
    assert (completion.text, completion.tokens, completion.logprob) == (" Ab", None, None)


@pytest.mark.parametrize("tokens", [[" "], ["A"], ["Lond", "on"], ["London", " is"]])
def test_tokens_of_a_part_are_not_those_of_the_text(canned: Canned, tokens: list[str]) -> None:
    logprobs = {"tokens": tokens, "token_logprobs": [-0.1] * len(tokens)}
    choice = {"text": "London is where he lives", "finish_reason": "stop", "logprobs": logprobs}

    async def main() -> Response:
        async with canned(200, json.dumps({"choices": [choice]}).encode()) as url:
            client = OpenAIClient(model="m", base_url=url, mode="completions", logprobs=True)
            try:
                return await client.send(Request("q"))
            finally:
                await client.close()

    (completion,) = asyncio.run(main()).completions
    assert (completion.text, completion.tokens, completion.logprob) == (
        "London is where he lives",
        None,
        None,
    )


@pytest.mark.parametrize("mode", ["chat", "completions"])
@pytest.mark.parametrize(
    ("logprobs", "says"),
    [
        ([{"token": "A", "logprob": -0.5}], "log-probabilities as list"),
        (5, "log-probabilities as int"),
        ({"chosen": [1]}, "log-probabilities as \\['chosen'\\]"),
        ({"tokens": ["A"], "token_logprobs": None}, "'token_logprobs' is NoneType, not a list"),
        ({"tokens": ["A", "b"], "token_logprobs": [-0.5]}, "2 tokens with 1 log-probabilities"),
        ({"tokens": ["A"], "token_logprobs": ["None"]}, "a log-probability is 'None'"),
        ({"tokens": ["A"], "token_logprobs": [None]}, "a log-probability is None"),
        ({"content": {"0": 1}}, "'content' as dict"),
    ],
)
def test_a_third_shape_is_refused_in_plain_words(
    canned: Canned, logprobs: Any, says: str, mode: Literal["chat", "completions"]
) -> None:
    with pytest.raises(TransientError, match=says):
        scored(canned, logprobs, mode)


@pytest.mark.parametrize("value", [0.4, True, "nan", float("inf")])
def test_what_is_no_log_probability_is_refused_where_one_was_asked_for(canned: Canned, value: Any) -> None:
    logprobs = {"tokens": ["q"], "token_logprobs": [value], "top_logprobs": None}
    body = {"choices": [{"text": "q", "finish_reason": "stop", "logprobs": logprobs}]}

    async def main() -> None:
        async with canned(200, json.dumps(body).encode()) as url:
            client = OpenAIClient(model="m", base_url=url, mode="completions", logprobs=True)
            try:
                await client.send(Request("q"))
            finally:
                await client.close()

    with pytest.raises(TransientError, match="a log-probability is"):
        asyncio.run(main())


def test_choices_are_taken_by_their_index(canned: Canned) -> None:
    choices = [
        {"index": index, "message": {"content": text}, "finish_reason": "stop"}
        for index, text in ((2, "c"), (0, "a"), (1, "b"))
    ]

    async def main() -> Response:
        async with canned(200, json.dumps({"choices": choices}).encode()) as url:
            client = OpenAIClient(model="m", base_url=url)
            try:
                return await client.send(Request("q", num_completions=3))
            finally:
                await client.close()

    assert [completion.text for completion in asyncio.run(main()).completions] == ["a", "b", "c"]


def test_what_a_filter_cut_off_is_kept(canned: Canned) -> None:
    async def main() -> None:
        async with canned(200, json.dumps(chat({"content": "The first"}, "content_filter")).encode()) as url:
            client = OpenAIClient(model="m", base_url=url)
            try:
                await client.send(Request("q"))
            finally:
                await client.close()

    with pytest.raises(ContentFilterError) as caught:
        asyncio.run(main())
    assert caught.value.text == "The first"


def test_the_table_is_long() -> None:
    assert len({(quirk.mode, quirk.seen) for quirk in QUIRKS}) == len(QUIRKS) >= 40
