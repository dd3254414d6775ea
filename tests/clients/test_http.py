from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.clients.http import Endpoint, retry_after_s
from evalkit.codec import decode, encode
from evalkit.errors import (
    AuthenticationError,
    BadRequestError,
    ClientError,
    OverloadError,
    TransientError,
    UsageError,
)
from evalkit.testing.server import Faults, ServerConfig, serve
from tests.planted import KEYS, Planted

KEY = KEYS["of words"]
BODY = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}
Canned = Callable[..., AbstractAsyncContextManager[str]]


@pytest.fixture(autouse=True)
def searched(planted: Planted) -> None:
    """Every endpoint of these tests has the key."""
    planted.use("of words")


async def post(url: str, timeout_s: float = 60.0, body: dict[str, Any] | None = None) -> dict[str, Any]:
    endpoint = Endpoint(url, {"Authorization": f"Bearer {KEY}"}, (KEY,))
    endpoint.set_limits(timeout_s, 64)
    try:
        return (await endpoint.post(body or BODY))[0]
    finally:
        await endpoint.close()


def failure(
    canned: Canned, status: int, body: bytes = b"", headers: dict[str, str] | None = None
) -> ClientError:
    async def main() -> ClientError:
        async with canned(status, body, headers) as url:
            with pytest.raises(ClientError) as caught:
                await post(url)
            return caught.value

    return asyncio.run(main())


@pytest.mark.parametrize(
    ("status", "kind", "reason"),
    [
        (400, BadRequestError, "bad_request"),
        (401, AuthenticationError, "authentication"),
        (402, AuthenticationError, "quota"),
        (403, AuthenticationError, "authentication"),
        (404, BadRequestError, "bad_request"),
        (408, TransientError, "timeout"),
        (409, TransientError, "server_error"),
        (413, BadRequestError, "bad_request"),
        (422, BadRequestError, "bad_request"),
        (429, OverloadError, "overload"),
        (500, TransientError, "server_error"),
        (502, TransientError, "server_error"),
        (503, OverloadError, "overload"),
        (529, OverloadError, "overload"),
        (302, BadRequestError, "bad_request"),
    ],
)
def test_every_status_has_its_error(canned: Canned, status: int, kind: type, reason: str) -> None:
    error = failure(canned, status, b'{"error": {"message": "because", "type": "x"}}')
    assert type(error) is kind
    assert error.reason == reason
    assert f"HTTP {status}: because" in str(error)


@pytest.mark.parametrize(
    "body",
    [
        b'{"error": {"message": "You exceeded your quota", "type": "insufficient_quota", "code": null}}',
        b'{"error": {"message": "x", "type": "y", "code": "insufficient_quota"}}',
    ],
)
def test_an_empty_account_is_no_overload(canned: Canned, body: bytes) -> None:
    error = failure(canned, 429, body)
    assert isinstance(error, AuthenticationError)
    assert error.reason == "quota"


def test_anthropic_without_credit(canned: Canned) -> None:
    body = b'{"type": "error", "error": {"type": "x", "message": "Your credit balance is too low"}}'
    assert failure(canned, 400, body).reason == "quota"


def test_a_missing_model_is_said_clearly(canned: Canned) -> None:
    error = failure(canned, 404, b'{"error": {"message": "The model `x` does not exist"}}')
    assert "no such model" in str(error)
    assert "The model `x` does not exist" in str(error)


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (b'{"message": "flat"}', "flat"),
        (b'{"error": "just text"}', "just text"),
        (b'{"detail": [{"loc": "x"}]}', '{"loc": "x"}'),
        (b"<html>\n  bad gateway", "<html> bad gateway"),
        (b"", "(no message)"),
        (b"\xff\xfe", "\ufffd"),
    ],
)
def test_the_servers_own_words_are_shown(canned: Canned, body: bytes, shown: str) -> None:
    assert shown in str(failure(canned, 500, body))


def test_long_messages_are_cut(canned: Canned) -> None:
    assert len(str(failure(canned, 500, b"x" * 5000))) < 330


@pytest.mark.parametrize("status", [200, 400, 401, 404, 429, 500])
def test_no_error_text_holds_the_key(canned: Canned, status: int) -> None:
    for said in (f"wrong key {KEY}", "wrong key sk-proj-abcdef123456", f"header Bearer {KEY}"):
        for body in (json.dumps({"error": {"message": said}}).encode(), said.encode()):
            error = failure(canned, status, body)
            assert "***" in str(error)
            assert KEY not in repr(error)
            assert "abcdef123456" not in repr(error)


@pytest.mark.parametrize("offset", [70, 290])
def test_no_half_of_a_key_is_left_where_a_message_is_cut(canned: Canned, offset: int) -> None:
    for status in (200, 500):
        assert KEY[:5] not in str(failure(canned, status, b"x " * (offset // 2) + KEY.encode()))


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"text"', b"\xff", b"[" * 100_000])
def test_a_body_that_is_no_json_object_is_malformed(canned: Canned, body: bytes) -> None:
    error = failure(canned, 200, body)
    assert type(error) is TransientError
    assert error.reason == "malformed"


def test_an_error_with_status_200_is_an_error(canned: Canned) -> None:
    assert type(failure(canned, 200, b'{"error": {"message": "x", "code": 429}}')) is OverloadError
    assert failure(canned, 200, b'{"error": {"message": "x"}}').reason == "server_error"


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("dropped", "connection"),
        ("stalled", "timeout"),
        ("malformed", "malformed"),
        ("rate_limited", "overload"),
    ],
)
def test_faults_of_the_double(fault: str, reason: str) -> None:
    async def main() -> ClientError:
        async with serve(ServerConfig(faults=Faults(**{fault: 1.0}))) as url:
            with pytest.raises(TransientError) as caught:
                await post(f"{url}/v1/chat/completions", timeout_s=0.2 if fault == "stalled" else 60.0)
            return caught.value

    assert asyncio.run(main()).reason == reason


def test_nobody_listens() -> None:
    async def main() -> str:
        async with serve() as url:
            pass
        with pytest.raises(TransientError) as caught:
            await post(url)
        return caught.value.reason

    assert asyncio.run(main()) == "connection"


def test_retry_after_reaches_the_error(canned: Canned) -> None:
    error = failure(canned, 429, b"{}", {"Retry-After": "7"})
    assert isinstance(error, OverloadError)
    assert error.retry_after_s == 7


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "3"}, 3.0),
        ({"Retry-After": "0.5"}, 0.5),
        ({"Retry-After": "-4"}, 0.0),
        ({"Retry-After": "inf"}, None),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "soon"}, None),
        ({"retry-after-ms": "250", "Retry-After": "9"}, 0.25),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
    ],
)
def test_forms_of_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_s(headers) == seconds


def test_retry_after_a_date() -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    seconds = retry_after_s({"Retry-After": later})
    assert seconds is not None
    assert 80 < seconds <= 90


@given(st.text(max_size=30))
def test_no_retry_after_breaks_anything(text: str) -> None:
    seconds = retry_after_s({"Retry-After": text})
    assert seconds is None or seconds >= 0


@given(st.text(alphabet=st.characters(), max_size=30))
def test_any_text_survives_json(text: str) -> None:
    assert decode(encode({"text": text})) == {"text": text}


def test_a_lone_surrogate_survives_the_wire() -> None:
    text = "a\ud800b"

    async def main() -> dict[str, Any]:
        async with serve() as url:
            body = {"model": "m", "messages": [{"role": "user", "content": text}]}
            return await post(f"{url}/v1/chat/completions", body=body)

    assert asyncio.run(main())["choices"][0]["message"]["content"] == text


@pytest.mark.parametrize("url", ["localhost:8000", "", "ftp://x"])
def test_a_url_must_be_one(url: str) -> None:
    with pytest.raises(UsageError, match="http://"):
        Endpoint(url, {})


def test_a_proxy_is_taken_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> list[str]:
        async with serve(ServerConfig(record_bodies=True)) as proxy:
            monkeypatch.setenv("http_proxy", proxy)
            monkeypatch.delenv("no_proxy", raising=False)
            with pytest.raises(BadRequestError) as caught:
                await post("http://nowhere.invalid/v1/none")
            return [str(caught.value)]

    assert "no such path" in asyncio.run(main())[0]


def test_importing_the_clients_imports_nothing_heavy() -> None:
    code = (
        "import sys, evalkit.clients.openai, evalkit.clients.anthropic, evalkit.clients.baselines;"
        "import evalkit.clients.factory, evalkit.testing.server;"
        "print([m for m in ('aiohttp', 'asyncio', 'numpy', 'openai', 'anthropic') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "url", ["http:///v1", "http://a..b/v1", f"http://{'a' * 300}.b/v1", "http://:80/v1"], ids=lambda u: u[:16]
)
def test_a_host_that_is_no_name_is_refused_at_the_start(url: str) -> None:
    with pytest.raises(UsageError, match="the name of a host"):
        Endpoint(url, {})


@pytest.mark.parametrize("url", ["http://[::1", "http://h:99999/v1", "http://h:x/v1"])
def test_an_address_that_cannot_be_read_says_so(url: str) -> None:
    with pytest.raises(UsageError, match="its host or port can't be read"):
        Endpoint(url, {})


@pytest.mark.parametrize("url", ["http://[::1]:80/v1", "http://127.0.0.1/v1", "http://müller.example/v1"])
def test_hosts_of_all_kinds_are_taken(url: str) -> None:
    assert Endpoint(url, {}).url == url


@pytest.mark.parametrize("proxy", ["u:{}@127.0.0.1:1", "http://u:{}/a@127.0.0.1:1"])
def test_a_proxy_that_is_no_address_hides_its_password(
    monkeypatch: pytest.MonkeyPatch, planted: Planted, proxy: str
) -> None:
    key = planted.use("plain")
    monkeypatch.setenv("http_proxy", proxy.format(key))
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)

    async def main() -> str:
        endpoint = Endpoint("http://example.invalid/v1", {})
        try:
            await endpoint.post({})
        except ClientError as error:
            return str(error)
        finally:
            await endpoint.close()
        return key

    told = asyncio.run(main())
    assert key not in told
    assert "***" in told
