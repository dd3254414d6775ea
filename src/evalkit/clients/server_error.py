"""What a server says when it does not answer, in any of the shapes seen, and the error it becomes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from evalkit.errors import (
    AuthenticationError,
    BadRequestError,
    ClientError,
    ContentFilterError,
    OverloadError,
    TransientError,
)

_OVERLOADED = (429, 503, 529)
_QUOTA_KINDS = {"insufficient_quota", "billing_error", "billing_hard_limit_reached", "billing_not_active"}
_FILTER_KINDS = {
    *("content_filter", "content_filtered", "content_policy_violation", "responsibleaipolicyviolation"),
    *("data_inspection_failed", "datainspectionfailed", "contentpolicyviolationerror", "invalid_prompt"),
    *("moderation", "safety", "prohibited_content", "blocklist", "1301"),
}
_FILTER_WORDS = re.compile(
    r"content[ _-]?(filter|management policy|policy ?violation|violates)|ResponsibleAIPolicy"
    r"|DataInspectionFailed|content exists risk"
    r"|(prompt|input|request|content|message|output|response)[\w' ]* flagged"
    r"|blocked by [\w' ]*(policy|safety|moderation)"
    r"|violat\w+ [\w' ]*(usage|content) (policy|policies|guidelines)",
    re.IGNORECASE,
)
_LENGTH_KINDS = {"context_length_exceeded", "exceed_context_size_error", "string_above_max_length"}
_LENGTH_WORDS = re.compile(
    r"context (size|length|window)[\w' ]*exceeded|exceed\w* [\w' ]*context (size|length|window)"
    r"|maximum context length|prompt is too long|context the overflows",
    re.IGNORECASE,
)
_REFUSED_KINDS = {"unsupported_parameter", "unsupported_value", "unknown_parameter"}
# OpenAI's, older OpenAI's, Anthropic's, and those of gateways in front of them.
_REFUSED_WORDS = re.compile(
    r"(?:unsupported|unknown|unrecognized) (?:parameter|value|request argument supplied)s?: ['\"`]?(\w+)"
    r"|['\"`]?(\w+)['\"`]? (?:is|are) (?:not supported|deprecated|unsupported) (?:with|for|by) this model"
    r"|['\"`](\w+)['\"`] does not support",
    re.IGNORECASE,
)
# Where a server writes a word for its code, or none and only says it.
_STATUS_OF_KIND = {
    **dict.fromkeys(("rate_limit_exceeded", "rate_limit_error", "rate_limited", "too_many_requests"), 429),
    **dict.fromkeys(("resource_exhausted", "throttlingexception", "tokens", "requests"), 429),
    **dict.fromkeys(("overloaded_error", "unavailable", "service_unavailable", "engine_overloaded"), 503),
    **dict.fromkeys(("invalid_api_key", "authentication_error", "unauthenticated", "unauthorized"), 401),
    **dict.fromkeys(("permission_error", "permission_denied"), 403),
    **dict.fromkeys(("not_found_error", "model_not_found", "not_found"), 404),
    **dict.fromkeys(("invalid_request_error", "badrequesterror", "invalid_argument"), 400),
    **dict.fromkeys(("unsupported_parameter", "unsupported_value"), 400),
}
_OVERLOAD_WORDS = re.compile(
    r"rate.?limit(ed|s| (is |was )?(reached|exceeded|hit))|rate.?limit\W*$|exceeded [\w' ]*rate.?limit"
    r"|too many requests|\boverloaded",
    re.IGNORECASE,
)
_UNUSUAL_STATUS = 500
# Of a longer message the rest is neither shown nor looked at.
_MOST_CHARACTERS = 4000
_ERROR_FIELDS = ("error", "errors", "detail")
_MESSAGE_FIELDS = ("message", "detail", "msg", "error_msg", "status_msg")
# MiniMax's numbers, which are not those of HTTP.
_STATUS_OF_NUMBER = {
    "1002": 429,
    "1039": 429,
    "1041": 429,
    "1004": 401,
    "1008": 402,
    "1026": 400,
    "1027": 400,
}
_STATUS_WORD = re.compile(r"([45]\d\d)(?:\.0+)?(?!\d)")


@dataclass(frozen=True, slots=True)
class ServerError:
    """An error object, read.

    Attributes:
        message: The server's words.
        code: Its HTTP-like code, where it gives one as a number, a text or a word that has one.
        kinds: Its type, codes and the like, as they are.
        param: The parameter it names.
    """

    message: str
    code: int | None = None
    kinds: frozenset[str] = frozenset()
    param: str | None = None

    @property
    def is_filter(self) -> bool:
        """Whether a content filter speaks."""
        return bool(self._folded & _FILTER_KINDS) or _FILTER_WORDS.search(self.message) is not None

    @property
    def is_too_long(self) -> bool:
        """Whether the request does not fit into the model's window."""
        return bool(self._folded & _LENGTH_KINDS) or _LENGTH_WORDS.search(self.message) is not None

    @property
    def refused_parameter(self) -> str | None:
        """The parameter that the model or the server does not take, or not with this value."""
        named = _REFUSED_WORDS.search(self.message)
        if named is not None:
            return next(name for name in named.groups() if name)
        return self.param if self._folded & _REFUSED_KINDS else None

    @property
    def is_quota(self) -> bool:
        """Whether the account has no money left."""
        return bool(self._folded & _QUOTA_KINDS) or "credit balance is too low" in self.message

    @property
    def _folded(self) -> set[str]:
        return {kind.casefold() for kind in self.kinds}


def server_error_of(plain: Any) -> ServerError:
    """The server_error in a parsed body, or in the error object of one."""
    if isinstance(plain, list) and plain:
        plain = plain[0]  # Google sends a list of one
    error = _innermost(plain) if isinstance(plain, Mapping) else plain
    kinds = frozenset(_kinds(error)) if isinstance(error, Mapping) else frozenset()
    if not kinds and isinstance(plain, Mapping):
        kinds = frozenset(_kinds(plain))
    if not isinstance(error, Mapping):
        message = str(error)[:_MOST_CHARACTERS]
        return ServerError(message, _code_of(kinds, message), kinds)
    message = _message(error)
    param = error.get("param")
    return ServerError(message, _code_of(kinds, message), kinds, param if isinstance(param, str) else None)


def holds_error(plain: Mapping[str, Any]) -> bool:
    """Whether a body that holds no answer says why, in one of the fields in which servers do."""
    if any(plain.get(name) for name in _ERROR_FIELDS):
        return True
    said = plain.get("base_resp")
    return isinstance(said, Mapping) and bool(said.get("status_code"))


def _innermost(plain: Mapping[str, Any]) -> Any:
    """The error object, or text, of a body; the body itself where it is one."""
    for name in _ERROR_FIELDS:
        error = plain.get(name)
        if isinstance(error, list) and error:
            error = error[0]
        if isinstance(error, str) and error.lstrip().startswith("{"):
            error = _parsed(error)
        if error:
            return _innermost(error) if isinstance(error, Mapping) and error.get("error") else error
    said = plain.get("base_resp")
    return said if isinstance(said, Mapping) and said.get("status_code") else plain


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def error_of(
    status: int, server_error: ServerError, message: str, retry_after_s: float | None
) -> ClientError:
    """The error that an HTTP status and the server's words amount to.

    Args:
        status: That of HTTP, or the code in an answer that HTTP calls fine.
        server_error: What the server says.
        message: The same in one line for the user, without secrets.
        retry_after_s: How long it asks to wait.
    """
    if server_error.is_quota or status == 402:
        return AuthenticationError(message, "quota")
    if status in _OVERLOADED:
        return OverloadError(message, retry_after_s)
    if status == 401:
        return AuthenticationError(message)
    if server_error.is_filter and server_error.refused_parameter is None:
        # Whatever the status: 400, 403, 422, or 502 from a gateway.
        return ContentFilterError(message)
    if status == 403:
        return AuthenticationError(message)
    if server_error.is_too_long:
        return BadRequestError(message)
    if status == 404:
        return BadRequestError(f"the server has no such model or path: {message}")
    if status == 408:
        return TransientError(message, "timeout")
    if status >= 500 or status in (409, 425):
        return TransientError(message)
    if 300 <= status < 400:
        return BadRequestError(f"the server redirects elsewhere; correct base_url: {message}")
    return BadRequestError(message, parameter=server_error.refused_parameter)


def status_of(server_error: ServerError) -> int:
    """The status of an error in an answer that HTTP calls fine; 500 where it has no code."""
    return server_error.code or _UNUSUAL_STATUS


def _message(error: Mapping[str, Any]) -> str:
    said = next((v for name in _MESSAGE_FIELDS if (v := error.get(name))), None)
    if isinstance(said, Mapping):
        said = _message(said)
    message = (str(said) if said else json.dumps(error, default=str))[:_MOST_CHARACTERS]
    metadata = error.get("metadata")
    # A gateway's "Provider returned error" says nothing; what the provider said comes with it.
    if isinstance(metadata, Mapping) and isinstance(raw := metadata.get("raw"), str) and raw not in message:
        message += f" ({raw[:_MOST_CHARACTERS]})"
    return message


def _kinds(error: Mapping[str, Any]) -> list[str]:
    names = ("type", "code", "status", "status_code")
    found = [str(error[name]) for name in names if error.get(name) is not None]
    for name in ("innererror", "provider_specific_fields", "metadata"):
        if isinstance(inner := error.get(name), Mapping):
            found += _kinds(inner)
    return found


def _code_of(kinds: frozenset[str], message: str) -> int | None:
    for kind in sorted(kinds):
        # 429, "429", 429.0, "429 Too Many Requests"
        if (word := _STATUS_WORD.match(kind)) is not None:
            return int(word[1])
        if kind in _STATUS_OF_NUMBER:
            return _STATUS_OF_NUMBER[kind]
    for kind in sorted(kinds):
        if (status := _STATUS_OF_KIND.get(kind.casefold())) is not None:
            return status
    return 429 if _OVERLOAD_WORDS.search(message) else None
