"""Every server that speaks OpenAI's protocol: OpenAI itself, other vendors, vLLM, SGLang, llama.cpp."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from evalkit.clients.allowance import (
    Allowance,
    length_limit,
    num_drawn,
    thinking_limit,
    tokens_at_most,
)
from evalkit.clients.api_client import ApiClient
from evalkit.clients.completion_parsing import seed_of, send_all
from evalkit.clients.conversation import Conversation
from evalkit.clients.credentials import key_advice, names_header, read_key, sent_headers
from evalkit.clients.http import Endpoint, sent_before, served_model
from evalkit.clients.openai_answers import completions_of, failure_in, has_thought, usage_of
from evalkit.clients.prompt_logprobs import scored_prompt
from evalkit.clients.thinking import AnswerReader
from evalkit.clients.unsupported_parameters import RefusedParameters
from evalkit.codec import decode
from evalkit.errors import BadRequestError, UsageError
from evalkit.registry import client
from evalkit.request import Request
from evalkit.response import Response

OPENAI_URL = "https://api.openai.com/v1"
_MAX_TOP_LOGPROBS = 20


@client("openai")
@dataclass(kw_only=True, eq=False, repr=False)
class OpenAIClient(ApiClient):
    """Any endpoint that speaks OpenAI's chat or completions protocol.

    Args:
        model: What the server calls the model; if left out, taken from the deployment's model name.
        base_url: Up to and including `/v1`.
        api_key_env: The environment variable with the key; OpenAI's own API reads OPENAI_API_KEY.
        api_key_file: A file with the key, instead.
        mode: Ask for a chat turn, or for the continuation of a text (only that can score a prompt).
        max_tokens_field: What this server calls the length limit.
        reasoning_tokens: Added to every length limit, as room for hidden reasoning.
        thinking: Whether the model thinks before it answers, or its marks (`{open: …, close: …}`);
            left out: what its name and its completions say.
        logprobs: Ask for log-probabilities even where a request wants no alternatives.
        max_stop_sequences: The most stop sequences the server takes; the others are applied here.
        omit_fields: Request fields this server refuses, never sent: `stop` is then applied here, `n` becomes
            several sends, and what else is named is left to the server's default.
        conversation: How chats are written as one text (`system`, `roles`, `separator`, `stop`, …), with
            `mode: completions`.
        extra_body: Fields sent with every request as they are.
        extra_headers: Headers sent with every request; never a key.
        headers_from_env: Headers with secrets: each name with the environment variable that holds the value.
    """

    keeps_time: ClassVar[bool] = True
    over_http: ClassVar[bool] = True

    model: str | None = None
    base_url: str = OPENAI_URL
    api_key_env: str | None = None
    api_key_file: str | None = None
    mode: Literal["chat", "completions"] = "chat"
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    reasoning_tokens: int = 0
    thinking: bool | dict[str, Any] | None = None
    logprobs: bool = False
    max_stop_sequences: int = 4
    omit_fields: tuple[str, ...] = ()
    conversation: dict[str, Any] | None = None
    extra_body: dict[str, Any] | None = None
    extra_headers: dict[str, str] | None = None
    headers_from_env: dict[str, str] | None = None

    def __post_init__(self) -> None:
        if self.model is None:
            raise UsageError("the client 'openai' needs model")
        self._conversation = Conversation.of(self.conversation)
        if self._conversation is not None and self.mode == "chat":
            raise UsageError("conversation writes chats as texts, and needs mode: completions")
        base_url = self.base_url.rstrip("/")
        headers = sent_headers(self.extra_headers, self.headers_from_env)
        has_own = names_header(headers, "Authorization")
        no_source = self.api_key_env is None and self.api_key_file is None
        api_key_env = self.api_key_env
        if no_source and not has_own and base_url == OPENAI_URL:
            api_key_env = "OPENAI_API_KEY"
        key = read_key(api_key_env, self.api_key_file)
        self.key_advice = key_advice(api_key_env, self.api_key_file, self.headers_from_env)
        if key is not None and has_own:
            raise UsageError(
                "headers_from_env names the key, and so does api_key_env or api_key_file; remove one"
            )
        if key is not None:
            headers["Authorization"] = f"Bearer {key}"
        path = "/chat/completions" if self.mode == "chat" else "/completions"
        self._endpoint = Endpoint(base_url + path, headers, find_error=failure_in)
        self._omitted = frozenset(self.omit_fields)
        self._shows_special = False
        self._refused = RefusedParameters()
        self._answers = AnswerReader(
            self.thinking, self.model, server_stops="stop" not in self._omitted, is_chat=self.mode == "chat"
        )

    @classmethod
    def allowance(cls, args: Mapping[str, Any], request: Request) -> Allowance:
        """What the body's length limit, `n` and `extra_body` allow.

        Servers differ in whether a thinking budget is part of the length limit: it is taken to come on top.
        """
        field = args.get("max_tokens_field", "max_tokens")
        body: dict[str, Any] = {field: request.max_tokens + args.get("reasoning_tokens", 0)}
        if request.num_completions != 1:
            body["n"] = request.num_completions
        for name in args.get("omit_fields", ()):
            body.pop(name, None)
        extra_body = args.get("extra_body") or {}
        body |= extra_body
        sends = 1 if request.num_completions == 1 or "n" in body else request.num_completions
        if (limit := length_limit(body)) is None:
            return Allowance(None, sends, tokens_at_most(extra_body))
        limit += thinking_limit(extra_body)
        thinking = max(0, limit - request.max_tokens)
        return Allowance(sends * num_drawn(body) * limit, sends, tokens_at_most(extra_body), thinking)

    def show_special_tokens(self, names: Sequence[str]) -> None:
        """Have vLLM's server spell special tokens, for stop sequences and thinking; answers have none.

        Args:
            names: What the special tokens are called.
        """
        self._shows_special = bool(names)
        self._answers.special = tuple(names)

    async def send(self, request: Request) -> Response:
        """One attempt; a chat is written as one text if the deployment has a conversation format."""
        asked = request if self._conversation is None else self._conversation.applied(request)
        return await super().send(asked)

    async def _sent(self, request: Request, body: Mapping[str, Any]) -> Response:
        if request.num_completions == 1 or "n" in body:
            return self._parse(request, *await self._endpoint.post(body))
        sends = (self._send_one(request, body, index) for index in range(request.num_completions))
        return await send_all(sends)

    def body(self, request: Request) -> dict[str, Any]:
        """The JSON that is sent for a request. Defaults of the protocol are left out, the temperature never.

        Raises:
            BadRequestError: The mode can't do what the request asks.
        """
        body: dict[str, Any] = {"model": self.model}
        if self.mode == "chat":
            self._add_chat(body, request)
        else:
            self._add_completion(body, request)
        body[self.max_tokens_field] = request.max_tokens + self.reasoning_tokens
        body["temperature"] = request.temperature
        if request.top_p != 1:
            body["top_p"] = request.top_p
        if request.num_completions != 1:
            body["n"] = request.num_completions
        if stop := self._answers.sent_stops(request):
            body["stop"] = list(stop[: self.max_stop_sequences])
        for name, value, default in (
            ("presence_penalty", request.presence_penalty, 0),
            ("frequency_penalty", request.frequency_penalty, 0),
            ("top_k", request.top_k, 0),
            ("repetition_penalty", request.repetition_penalty, 1),
        ):
            if value != default:
                body[name] = value
        if request.random is not None:
            body["seed"] = seed_of(request.random)
        if self._conversation is not None and self._conversation.stop_token_ids:
            body["stop_token_ids"] = list(self._conversation.stop_token_ids)
        for name in self._omitted:
            body.pop(name, None)
        if self._shows_special and not request.echo_prompt:
            body |= {"skip_special_tokens": False, "spaces_between_special_tokens": False}
        if self.extra_body:
            body.update(self.extra_body)
        return body

    def _add_chat(self, body: dict[str, Any], request: Request) -> None:
        if request.echo_prompt:
            raise BadRequestError("a chat endpoint can't score a prompt; set mode: completions")
        if request.messages is None:
            body["messages"] = [{"role": "user", "content": request.prompt}]
        else:
            body["messages"] = [{"role": m.role, "content": m.content} for m in request.messages]
        if request.response_schema is not None:
            schema = {"name": "answer", "schema": decode(request.response_schema.encode())}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        if self.logprobs or request.top_k_per_token > 1:
            body["logprobs"] = True
            if request.top_k_per_token > 1:
                body["top_logprobs"] = min(request.top_k_per_token, _MAX_TOP_LOGPROBS)

    def _add_completion(self, body: dict[str, Any], request: Request) -> None:
        if request.messages is not None:
            raise BadRequestError("a completions endpoint takes no chat; set mode: chat")
        body["prompt"] = request.prompt
        if request.echo_prompt:
            body["echo"] = True
        if self.logprobs or request.echo_prompt or request.top_k_per_token > 1:
            body["logprobs"] = request.top_k_per_token

    async def _send_one(self, request: Request, body: Mapping[str, Any], index: int) -> Response:
        """One of several sends for one request, each with its own seed."""
        own = dict(body)
        if "seed" in own:
            own["seed"] += index
        return self._parse(request, *await self._endpoint.post(own), wanted=1)

    def _parse(
        self, request: Request, answer: Mapping[str, Any], latency_s: float, wanted: int | None = None
    ) -> Response:
        wanted = wanted or request.num_completions
        completions = completions_of(
            answer,
            wanted,
            chat=self.mode == "chat",
            echoed=request.echo_prompt,
            scored=self.logprobs or request.top_k_per_token > 1,
        )
        billed = answer.get("usage")
        usage = usage_of(billed, wrote=not request.echo_prompt and any([c.text for c in completions]))
        if request.echo_prompt:
            completions = tuple(scored_prompt(c, request.prompt) for c in completions)
        else:
            thought = has_thought(billed)
            completions = tuple([self._answers.answer(request, c, has_thought=thought) for c in completions])
        return Response(
            completions, usage, latency_s, served_model(answer), efficiency=sent_before(latency_s)
        )
