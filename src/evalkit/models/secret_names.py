"""Which names of fields say that what they hold is a secret: `X-Api-Key`, but not `max_tokens`."""

from __future__ import annotations

import re
import unicodedata

_WORD_BORDER = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|[^A-Za-z0-9]+")
# In a name these mean a secret wherever they stand, also within a longer word.
_SECRET_PARTS = ("password", "passwd", "passwort", "passphrase", "secret", "credential", "cookie", "authoriz")
_SECRET_WORDS = frozenset(
    {
        *("auth", "oauth", "bearer", "pwd", "pw", "psk", "pass", "passcode", "cred", "creds"),
        *("jwt", "otp", "hmac", "signature", "sig", "sas"),
    }
)
_KEY_WORDS = frozenset({"key", "keys", "token"})
KINDS_OF_KEYS = (
    "api|access|auth|private|subscription|account|signing|encryption|master|license|session|security"
)
_GLUED_KEY = re.compile(rf"({KINDS_OF_KEYS}|bearer|refresh|id|user|service)(key|token)s?\d*$|apikey")
_SPOKEN_KEY = re.compile(rf"\b({KINDS_OF_KEYS}|bearer|refresh) (key|token)s?\b")
# Settings, though their names end like those of secrets.
_SETTINGS = frozenset(
    {
        *("cache key", "prompt cache key", "idempotency key", "sort key", "partition key", "routing key"),
        *("bos token", "eos token", "pad token", "unk token", "sep token", "cls token", "mask token"),
        *("stop token", "start token", "end token", "image token", "audio token", "video token"),
        *(
            "think start token",
            "think end token",
            "system prompt key",
            "response key",
            "text key",
            "key value",
        ),
    }
)
_GLUED_SETTINGS = frozenset(name.replace(" ", "") for name in _SETTINGS)
# English, and no keys.
_NO_KEYS = frozenset(
    {"monkey", "turkey", "donkey", "hockey", "jockey", "whiskey", "hotkey", "mickey", "lackey"}
)
# What is put behind a name to tell one secret from another.
_ENDING = re.compile(
    r"v?\d+|value|header|text|prod|production|staging|dev|test|old|new|primary|secondary|main"
)


def says_secret(name: str) -> bool:
    """Whether a field of this name holds a secret, if it holds a text: `X-Api-Key`, but not `max_tokens`."""
    words = words_of(name)
    spoken, glued = " ".join(words), "".join(words)
    if spoken in _SETTINGS or glued in _GLUED_SETTINGS:
        return False
    while len(words) > 1 and _ENDING.fullmatch(words[-1]):
        words.pop()
    last = words[-1].rstrip("0123456789") if words else ""
    return (
        holds_only_secrets(name)
        or last in _KEY_WORDS
        or (last.endswith(("token", "key")) and last not in _NO_KEYS)
        or _GLUED_KEY.search(glued) is not None
        or _SPOKEN_KEY.search(spoken) is not None
    )


def holds_only_secrets(name: str) -> bool:
    """Whether what is in a field of this name is a secret even where it is a number."""
    words = words_of(name)
    glued = "".join(words)
    return any(part in glued for part in _SECRET_PARTS) or not _SECRET_WORDS.isdisjoint(words)


def words_of(name: str) -> list[str]:
    """`X-Api-Key` and `xApiKey` as `x`, `api`, `key`; letters of other widths are the same letters."""
    plain = unicodedata.normalize("NFKC", name).strip()
    return [word.lower() for word in _WORD_BORDER.split(plain) if word]
