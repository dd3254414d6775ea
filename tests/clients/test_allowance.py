"""The bound that plans and budgets rely on: no body that is sent allows more than it says."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.clients.allowance import Allowance
from evalkit.clients.anthropic import AnthropicClient
from evalkit.clients.baselines import EchoClient, MajorityClient, RandomChoiceClient, SimpleClient
from evalkit.clients.client import Client
from evalkit.clients.factory import allowances
from evalkit.clients.openai import OpenAIClient
from evalkit.clients.transformers.client import TransformersClient
from evalkit.clients.vllm.model import VllmModel
from evalkit.clients.vllm.server import VllmServerClient
from evalkit.errors import BadRequestError
from evalkit.models.deployment import ModelDeployment
from evalkit.plugins import load_plugins
from evalkit.request import Hints, Message, Request
from tests.planted import Planted

REQUESTS = st.builds(
    Request,
    st.text(max_size=60),
    st.none() | st.tuples(st.builds(Message, st.just("system"), st.text(max_size=20))),
    temperature=st.sampled_from([0.0, 1.0]),
    num_completions=st.integers(1, 9),
    max_tokens=st.integers(0, 4000),
    echo_prompt=st.booleans(),
    top_k_per_token=st.integers(1, 3),
    hints=st.none()
    | st.builds(
        Hints,
        st.lists(st.text(max_size=30), max_size=3).map(tuple),
        st.lists(st.text(max_size=90), max_size=3).map(tuple),
    ),
)
COUNTS = st.integers(1, 50_000)
EXTRA = st.dictionaries(
    st.sampled_from(
        ["n", "best_of", "max_tokens", "max_completion_tokens", "thinking_budget", "reasoning", "thinking"]
    ),
    COUNTS,
    max_size=4,
).map(
    lambda extra: {
        name: {
            "reasoning": {"max_tokens": value},
            "thinking": {"budget_tokens": value, "type": "enabled"},
        }.get(name, value % 7 + 1 if name in ("n", "best_of") else value)
        for name, value in extra.items()
    }
)
OMITTED = st.lists(
    st.sampled_from(["n", "stop", "temperature", "max_tokens", "max_completion_tokens"]), max_size=3
).map(tuple)


def allowed_by(body: dict[str, Any], *, thinking_is_apart: bool) -> int | None:
    """The most completion tokens that one body allows, read off it."""
    limits = [body[name] for name in ("max_tokens", "max_completion_tokens") if name in body]
    if not limits:
        return None
    thinking = max(
        body.get("thinking_budget", 0),
        body.get("reasoning", {}).get("max_tokens", 0),
        body.get("thinking", {}).get("budget_tokens", 0),
    )
    each = max(limits) + thinking if thinking_is_apart else max(*limits, thinking)
    return int(max(body.get("n", 1), body.get("best_of", 1)) * each)


def bodies_of(client: Any, request: Request) -> list[dict[str, Any]]:
    """All bodies that are posted for a request; none if it is refused before."""
    posted: list[dict[str, Any]] = []

    class Posted(Exception):
        pass

    async def post(body: dict[str, Any]) -> Any:
        posted.append(body)
        await asyncio.sleep(0)
        raise Posted

    client._endpoint.post = post
    with contextlib.suppress(Posted, BadRequestError):
        asyncio.run(client.send(request))
    return posted


def check_bodies(client_class: type[Client], client: Any, args: dict[str, Any], request: Request) -> None:
    """No body, and not all together, allow more than the client's class says."""
    allowance = client_class.allowance(args, request)
    bodies = bodies_of(client, request)
    assert len(bodies) <= allowance.sends
    apart = client_class is not AnthropicClient
    permitted = [allowed_by(body, thinking_is_apart=apart) for body in bodies]
    if allowance.completion_tokens is not None:
        assert sum(p for p in permitted if p is not None) <= allowance.completion_tokens
        assert None not in permitted
    elif bodies:
        assert None in permitted


@given(
    REQUESTS,
    st.sampled_from(["chat", "completions"]),
    st.sampled_from(["max_tokens", "max_completion_tokens"]),
    st.sampled_from([0, 8192]),
    OMITTED,
    st.none() | EXTRA,
)
def test_openai(
    request_: Request, mode: Any, field: Any, thinking: int, omitted: tuple[str, ...], extra: Any
) -> None:
    args: dict[str, Any] = {
        "mode": mode,
        "max_tokens_field": field,
        "reasoning_tokens": thinking,
        "omit_fields": omitted,
        "extra_body": extra,
    }
    client = OpenAIClient(model="m", base_url="http://127.0.0.1:9/v1", **args)
    check_bodies(OpenAIClient, client, args, request_)


@pytest.fixture(autouse=True)
def _key(planted: Planted) -> None:
    planted.set("ANTHROPIC_API_KEY")


@given(REQUESTS, st.sampled_from([0, 8192]), OMITTED, st.none() | EXTRA)
def test_anthropic(request_: Request, thinking: int, omitted: tuple[str, ...], extra: Any) -> None:
    extra = {name: value for name, value in (extra or {}).items() if name in ("max_tokens", "thinking")}
    args: dict[str, Any] = {"reasoning_tokens": thinking, "omit_fields": omitted, "extra_body": extra}
    client = AnthropicClient(model="m", base_url="http://127.0.0.1:9", **args)
    check_bodies(AnthropicClient, client, args, request_)


@given(REQUESTS, st.sampled_from(["chat", "completions"]))
def test_vllm_server_asks_through_the_openai_client(request_: Request, mode: Any) -> None:
    client = OpenAIClient(model="m", base_url="http://127.0.0.1:9/v1", mode=mode, max_stop_sequences=1000)
    check_bodies(VllmServerClient, client, {"mode": mode}, request_)


@pytest.mark.parametrize("client_class", [SimpleClient, RandomChoiceClient, MajorityClient, EchoClient])
@given(request_=REQUESTS)
def test_baselines(client_class: Any, request_: Request) -> None:
    response = asyncio.run(client_class().send(request_))
    assert response.usage.completion_tokens <= client_class.allowance({}, request_).completion_tokens


@pytest.mark.parametrize("client_class", [TransformersClient, VllmModel])
@given(request_=REQUESTS)
def test_local_engines_generate_what_is_asked_for(client_class: Any, request_: Request) -> None:
    # vLLM generates a token, that it does not bill, to score a prompt.
    asked = request_.max_tokens if client_class is TransformersClient else max(1, request_.max_tokens)
    allowed = client_class.allowance({"model": "evalkit/tiny"}, request_)
    assert allowed == Allowance(asked * request_.num_completions)


def test_without_a_limit_the_window_is_one_if_it_is_known() -> None:
    load_plugins(())
    spec = {"class_name": "openai", "args": {"omit_fields": ["max_tokens"], "base_url": "http://x/v1"}}
    request = Request("x", num_completions=3)
    unknown = ModelDeployment.model_validate({"name": "lab/m", "client_spec": spec})
    assert allowances(unknown)(request).completion_tokens is None
    known = unknown.model_copy(update={"max_sequence_length": 4096})
    assert allowances(known)(request).completion_tokens == 3 * 4096


def test_a_plugin_says_what_it_allows() -> None:
    class Thinker(Client):
        @classmethod
        def allowance(cls, args: Any, request: Request) -> Allowance:
            return Allowance(request.max_tokens + args["room"], thinking_tokens=args["room"])

    assert Client.allowance({}, Request("x", max_tokens=3, num_completions=2)) == Allowance(6)
    assert Thinker.allowance({"room": 5}, Request("x", max_tokens=3)).completion_tokens == 8
