"""One URL that takes JSON and gives JSON back; whatever goes wrong becomes one of evalkit's errors."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from evalkit.clients.credentials import scrub
from evalkit.codec import decode_foreign, encode
from evalkit.errors import (
    AuthenticationError,
    BadRequestError,
    ClientError,
    OverloadError,
    TransientError,
    UsageError,
)
from evalkit.response import Efficiency

if TYPE_CHECKING:
    import aiohttp

DEFAULT_TIMEOUT_S = 300.0
_MAX_MESSAGE_CHARACTERS = 300
_KEEPALIVE_S = 30.0
_OVERLOADED = (429, 503, 529)
_QUOTA_TYPES = {"insufficient_quota", "billing_error", "billing_hard_limit_reached", "billing_not_active"}


class Endpoint:
    """One URL with its headers and a pool of connections that opens on the first request.

    Args:
        url: Where to post; checked here, connected to later.
        headers: Sent with every request as they are.
        secrets: Texts that must not appear in any error message.
    """

    def __init__(self, url: str, headers: Mapping[str, str], secrets: tuple[str, ...] = ()) -> None:
        if not url.startswith(("http://", "https://")):
            raise UsageError(f"'{url}' is no base URL: it must start with http:// or https://")
        self.url, self.secrets = url, secrets
        # Answers are small: compressing them costs both ends more than it saves.
        self._headers = {
            "Content-Type": "application/json",
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "User-Agent": "evalkit",
            **headers,
        }
        self._timeout_s = DEFAULT_TIMEOUT_S
        self._session: aiohttp.ClientSession | None = None
        self._target: Any = url

    def set_timeout(self, timeout_s: float) -> None:
        """From the next connection pool on, an attempt fails after so many seconds."""
        self._timeout_s = timeout_s

    async def post(self, body: Mapping[str, Any]) -> tuple[dict[str, Any], float]:
        """The parsed answer and the seconds until its last byte.

        Raises:
            TransientError: Connection, timeout, malformed body, 5xx; `OverloadError` for 429, 503, 529.
            BadRequestError: The server refuses this body.
            AuthenticationError: The server refuses the key, or the account has no money left.
        """
        import aiohttp

        session = self._session or self._open()
        sent_at = time.perf_counter()
        try:
            async with session.post(self._target, data=encode(body), allow_redirects=False) as answer:
                raw = await answer.read()
                status, headers = answer.status, answer.headers
        except TimeoutError:
            raise TransientError(f"no answer from {self.url} in {self._timeout_s:g} s", "timeout") from None
        except (aiohttp.ClientError, OSError) as error:
            cause = getattr(error, "os_error", error)  # without aiohttp's words about ssl
            detail = self._clean(getattr(cause, "strerror", None) or str(error) or type(error).__name__)
            raise TransientError(f"connection to {self.url} failed: {detail}", "connection") from None
        # As the journal keeps it: numbers made from the journal later are the same to the last digit.
        latency_s = round(time.perf_counter() - sent_at, 6)
        if status != 200:
            raise self._error(status, headers, raw)
        return self._parse(raw, headers), latency_s

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            session, self._session = self._session, None
            await session.close()

    def _open(self) -> aiohttp.ClientSession:
        import aiohttp
        from yarl import URL

        self._target = URL(self.url)
        self._session = aiohttp.ClientSession(
            # The engine limits concurrency; a second limit here would only hide it.
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEPALIVE_S),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=self._headers,
            timeout=aiohttp.ClientTimeout(total=self._timeout_s),
            proxy=_proxy_for(self.url),
        )
        return self._session

    def _parse(self, raw: bytes, headers: Mapping[str, str]) -> dict[str, Any]:
        try:
            parsed = decode_foreign(raw)
        except ValueError:
            # Cleaned before it is cut, so that no half of a key is left at the end.
            start = self._clean(raw[:1000].decode("utf-8", "replace"))[:80]
            raise TransientError(f"the server's answer is no JSON: {start!r}", "malformed") from None
        if not isinstance(parsed, dict):
            raise TransientError("the server's answer is no JSON object", "malformed")
        if (error := parsed.get("error")) and "choices" not in parsed and "content" not in parsed:
            # Some gateways report the failure of whoever is behind them with status 200.
            code = error.get("code") if isinstance(error, dict) else None
            raise self._error(code if isinstance(code, int) and code >= 400 else 500, headers, raw)
        return parsed

    def _error(self, status: int, headers: Mapping[str, str], raw: bytes) -> ClientError:
        said, kinds = _server_message(raw)
        message = f"HTTP {status}: {self._clean(said)}"
        if kinds & _QUOTA_TYPES or "credit balance is too low" in said or status == 402:
            return AuthenticationError(message, "quota")
        if status in (401, 403):
            return AuthenticationError(message)
        if status == 404:
            return BadRequestError(f"the server has no such model or path ({self.url}): {message}")
        if status in _OVERLOADED:
            return OverloadError(message, retry_after_s(headers))
        if status == 408:
            return TransientError(message, "timeout")
        if status >= 500 or status in (409, 425):
            return TransientError(message)
        if 300 <= status < 400:
            return BadRequestError(
                f"the server redirects elsewhere; correct base_url ({self.url}): {message}"
            )
        return BadRequestError(message)

    def _clean(self, text: str) -> str:
        return scrub(text, self.secrets)[:_MAX_MESSAGE_CHARACTERS]


def sent_before(latency_s: float) -> Efficiency:
    """When a request was sent that `post` has just come back from; the engine adds how long it waited."""
    return Efficiency(started_at=time.time() - latency_s)


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds the server asks to wait: `retry-after-ms`, or `Retry-After` as seconds or as a date."""
    try:
        if (milliseconds := headers.get("retry-after-ms")) is not None:
            return _seconds(float(milliseconds) / 1000)
        if (after := headers.get("Retry-After")) is None:
            return None
        return _seconds(float(after))
    except ValueError:
        return _seconds_until(headers.get("Retry-After", ""))


def _seconds(value: float) -> float | None:
    return max(0.0, value) if value < float("inf") else None


def _seconds_until(http_date: str) -> float | None:
    from datetime import UTC, datetime
    from email.utils import parsedate_to_datetime

    try:
        when = parsedate_to_datetime(http_date)
    except ValueError:
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return max(0.0, (when - datetime.now(UTC)).total_seconds())


def _server_message(raw: bytes) -> tuple[str, set[str]]:
    """What the server says went wrong, and the error's type and code."""
    try:
        parsed = decode_foreign(raw)
    except ValueError:
        return " ".join(raw[:1000].decode("utf-8", "replace").split()) or "(no message)", set()
    error = parsed.get("error", parsed) if isinstance(parsed, dict) else parsed
    if not isinstance(error, dict):
        return str(error), set()
    said = error.get("message") or error.get("detail") or json.dumps(error)
    return str(said), {str(error.get("type")), str(error.get("code"))}


def _proxy_for(url: str) -> str | None:
    """The proxy that the environment names for this URL; looked up once, not on every request."""
    from urllib.parse import urlsplit
    from urllib.request import getproxies, proxy_bypass

    parts = urlsplit(url)
    if proxy_bypass(parts.netloc):
        return None
    return getproxies().get(parts.scheme)
