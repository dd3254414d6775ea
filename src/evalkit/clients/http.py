"""One URL that takes JSON and gives JSON back; whatever goes wrong becomes one of evalkit's errors."""

from __future__ import annotations

import codecs
import re
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import orjson

from evalkit.clients.bodies import BodyError, read_body
from evalkit.clients.proxies import proxy_for
from evalkit.clients.server_error import ServerError, error_of, holds_error, server_error_of, status_of
from evalkit.codec import decode_foreign, encode
from evalkit.errors import ClientError, TransientError, UsageError
from evalkit.models.deployment import MAX_ANSWER_MB
from evalkit.models.secret_fields import refuse_secrets
from evalkit.redaction import one_line, remember
from evalkit.response import Efficiency

if TYPE_CHECKING:
    import aiohttp

DEFAULT_TIMEOUT_S = 300.0
_MAX_MESSAGE_CHARACTERS = 300
_MAX_NAME_CHARACTERS = 200
_KEEPALIVE_S = 30.0
# A gateway gave up waiting, and what it waited for may go on.
_TIMED_OUT = (408, 499, 504, 524, 598)
_MOST_ODD_BYTES = 4_000_000
# Python's own notations, some of which take very long to read.
_NO_CHARSETS = ("punycode", "idna", "unicode_escape", "raw-unicode-escape", "unicode-escape", "undefined")
_CHARSET = re.compile(r"charset\s*=\s*[\"']?([\w.:-]+)", re.IGNORECASE)


def error_in(answer: Mapping[str, Any]) -> Any:
    """The error in an answer that has nothing else: `error`, or the whole where it says that it is one."""
    if holds_error(answer):
        return answer
    says_so = "error" in (answer.get("object"), answer.get("type"))
    said = any(isinstance(answer.get(name), str) for name in ("message", "detail", "msg"))
    return answer if says_so or said else None


class Endpoint:
    """One URL with its headers and a pool of connections that opens on the first request.

    Args:
        url: Where to post; checked here, connected to later.
        headers: Sent with every request as they are.
        secrets: Texts that must not appear in any error message.
        find_error: The error in an answer of HTTP status 200, which some gateways give for any failure; None
            where it has none, or an answer all the same.
        sign: The headers that a body needs besides, such as a signature over it.
    """

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str],
        secrets: tuple[str, ...] = (),
        find_error: Callable[[Mapping[str, Any]], Any] = error_in,
        sign: Callable[[bytes], Mapping[str, str]] | None = None,
    ) -> None:
        if not url.startswith(("http://", "https://")):
            raise UsageError("base_url must start with http:// or https://")
        refuse_secrets({"base_url": url})
        _check_host(url)
        for secret in secrets:
            remember(secret)
        self.url, self._find_error, self._sign = url, find_error, sign
        # Answers are small: compressing them costs both ends more than it saves.
        self._headers = {
            "Content-Type": "application/json",
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "User-Agent": "evalkit",
            **headers,
        }
        self._timeout_s, self._max_answer_mb = DEFAULT_TIMEOUT_S, MAX_ANSWER_MB
        self._session: aiohttp.ClientSession | None = None
        self._target: Any = url
        self._proxy = proxy_for(url)

    def set_limits(self, timeout_s: float, max_answer_mb: float) -> None:
        """From the next connection pool on, an attempt fails after `timeout_s`, or on a longer answer."""
        self._timeout_s, self._max_answer_mb = timeout_s, max_answer_mb

    async def post(self, body: Mapping[str, Any]) -> tuple[dict[str, Any], float]:
        """The parsed answer and the seconds until its last byte.

        Raises:
            TransientError: Connection, timeout, malformed body, 5xx; `OverloadError` for 429, 503, 529.
            BadRequestError: The server refuses this body; `ContentFilterError` where it is for its content.
            AuthenticationError: The server refuses the key, or the account has no money left.
        """
        import aiohttp

        session = self._session or self._open()
        data = encode(body)
        signed = None if self._sign is None else self._sign(data)
        sent_at = time.perf_counter()
        try:
            async with session.post(self._target, data=data, headers=signed, allow_redirects=False) as answer:
                status, headers = answer.status, answer.headers
                raw = await read_body(answer, self._max_answer_mb)
        except BodyError as error:
            raise TransientError(str(error), "malformed") from None
        except TimeoutError:
            raise TransientError(f"no answer from {self.url} in {self._timeout_s:g} s", "timeout") from None
        except (aiohttp.ClientError, OSError) as error:
            cause = getattr(error, "os_error", error)  # without aiohttp's words about ssl
            detail = self._clean(getattr(cause, "strerror", None) or str(error) or type(error).__name__)
            lost = TransientError(f"connection to {self.url} failed: {detail}", "connection")
            # Once the request is out, the server may work on it, and bill it, whatever comes back.
            lost.may_be_billed = not isinstance(error, aiohttp.ClientConnectorError)
            raise lost from None
        # As the journal keeps it: numbers made from the journal later are the same to the last digit.
        latency_s = round(time.perf_counter() - sent_at, 6)
        if status != 200:
            raise self._error(status, _server_error(raw, headers), headers)
        return self._parse(raw, headers), latency_s

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            session, self._session = self._session, None
            await session.close()

    def _open(self) -> aiohttp.ClientSession:
        import aiohttp
        from yarl import URL

        # What is signed is sent as it is.
        self._target = URL(self.url, encoded=self._sign is not None)
        self._session = aiohttp.ClientSession(
            # The engine limits concurrency; a second limit here would only hide it.
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEPALIVE_S),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=self._headers,
            timeout=aiohttp.ClientTimeout(total=self._timeout_s),
            proxy=self._proxy,
        )
        return self._session

    def _parse(self, raw: bytes, headers: Mapping[str, str]) -> dict[str, Any]:
        try:
            parsed = _decoded(raw, headers)
        except ValueError:
            raise TransientError(self._no_json(raw), "malformed") from None
        if isinstance(parsed, list) and len(parsed) == 1 and isinstance(parsed[0], dict):
            parsed = parsed[0]  # Google's errors
        if not isinstance(parsed, dict):
            raise TransientError("the server's answer is not a JSON object", "malformed")
        if error := self._find_error(parsed):
            server_error = server_error_of(error)
            failed = self._error(status_of(server_error), server_error, headers, in_200=True)
            # Something was written, or counted, or went wrong behind the server that says so.
            began = any(parsed.get(name) for name in ("choices", "content", "usage"))
            failed.may_be_billed |= began or failed.reason == "server_error"
            raise failed
        return parsed

    def _no_json(self, raw: bytes) -> str:
        if not raw.strip():
            return "the server's answer is empty"
        if raw.lstrip().startswith((b"data:", b"event:", b": ")):
            return (
                "the server streams its answer, though evalkit did not ask for a stream; try extra_body: "
                "{stream: false}"
            )
        # Cleaned before it is cut, so that no half of a key is left at the end.
        return f"the server's answer is not JSON: {self._clean(raw[:1000].decode('utf-8', 'replace'))[:80]!r}"

    def _error(
        self, status: int, server_error: ServerError, headers: Mapping[str, str], in_200: bool = False
    ) -> ClientError:
        said = self._clean(server_error.message)
        message = f"HTTP 200 with error {status}: {said}" if in_200 else f"HTTP {status}: {said}"
        if not in_200 and (status == 404 or 300 <= status < 400):
            message += f" ({self.url})"
        error = error_of(status, server_error, message, retry_after_s(headers))
        if not in_200:
            error.may_be_billed = status in _TIMED_OUT
        return error

    def _clean(self, text: str) -> str:
        return one_line(text)[:_MAX_MESSAGE_CHARACTERS]


def served_model(answer: Mapping[str, Any]) -> str | None:
    """The model that an answer says it is from, as it may be written down; None where it says none."""
    name = answer.get("model")
    return one_line(name)[:_MAX_NAME_CHARACTERS] if isinstance(name, str) and name else None


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


def _server_error(raw: bytes, headers: Mapping[str, str]) -> ServerError:
    try:
        return server_error_of(_decoded(raw, headers))
    except ValueError:
        return ServerError(" ".join(raw[:1000].decode("utf-8", "replace").split()) or "(no message)")


def _decoded(raw: bytes, headers: Mapping[str, str]) -> Any:
    """JSON parsed: UTF-8, as it should be, else in the character set that the server declares.

    Raises:
        ValueError: It is not JSON in either.
    """
    # What is not quite JSON is read slowly, and nothing else happens meanwhile.
    read = decode_foreign if len(raw) <= _MOST_ODD_BYTES else orjson.loads
    try:
        return read(raw)
    except ValueError:
        charset = _CHARSET.search(headers.get("Content-Type", ""))
        if charset is None or len(raw) > _MOST_ODD_BYTES:
            raise
        return read(_decoded_text(raw, charset[1]).encode("utf-8"))


def _decoded_text(raw: bytes, charset: str) -> str:
    try:
        name = codecs.lookup(charset).name
        if name not in _NO_CHARSETS:
            return raw.decode(name)
    except LookupError:
        pass
    raise ValueError(f"no character set {charset}")


def _check_host(url: str) -> None:
    """Nothing, if a name server can be asked for the host.

    Raises:
        UsageError: There is none, or it is not a name of a host.
    """
    from urllib.parse import urlsplit

    host = urlsplit(url).hostname or ""
    try:
        known = bool(host.encode("idna"))
    except UnicodeError:
        known = False
    if not known:
        raise UsageError(f"base_url must have the name of a host behind ://, not {one_line(host)[:80]!r}")
