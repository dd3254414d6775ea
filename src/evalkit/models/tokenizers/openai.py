"""OpenAI's encodings by tiktoken, where their files are on this machine; nothing is downloaded."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from evalkit.models.tokenizers.missing import MissingTokenizerError, require_library
from evalkit.models.tokenizers.plain import num_bytes
from evalkit.registry import tokenizer
from evalkit.tokenization import Tokenizer

Encoding = Literal[
    "gpt2", "r50k_base", "p50k_base", "p50k_edit", "cl100k_base", "o200k_base", "o200k_harmony"
]

_SITE = "https://openaipublic.blob.core.windows.net"
_ENCODINGS = f"{_SITE}/encodings"
_END = "<|endoftext|>"

_R50K = {
    f"{_ENCODINGS}/r50k_base.tiktoken": "306cd27f03c1a714eca7108e03d66b7dc042abe8c258b44c199a7ed9838dd930"
}
_P50K = {
    f"{_ENCODINGS}/p50k_base.tiktoken": "94b5ca7dff4d00767bc256fdd1b27e5b17361d7b8a5f968547f9f23eb70d2069"
}
_CL100K = {
    f"{_ENCODINGS}/cl100k_base.tiktoken": "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7"
}
_O200K = {
    f"{_ENCODINGS}/o200k_base.tiktoken": "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d"
}

FILES: Mapping[str, Mapping[str, str]] = {
    "gpt2": {
        f"{_SITE}/gpt-2/encodings/main/vocab.bpe": (
            "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5"
        ),
        f"{_SITE}/gpt-2/encodings/main/encoder.json": (
            "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783"
        ),
    },
    "r50k_base": _R50K,
    "p50k_base": _P50K,
    "p50k_edit": _P50K,
    "cl100k_base": _CL100K,
    "o200k_base": _O200K,
    "o200k_harmony": _O200K,
}
"""The files of each encoding: the URL under which tiktoken keeps a file, and its SHA-256."""


@tokenizer("openai")
class OpenAITokenizer(Tokenizer):
    """An encoding of OpenAI's models, by tiktoken; its file must be in tiktoken's cache.

    Of texts that look like special tokens, only the end of text is one; that is what `prefix_token` needs.

    Args:
        encoding: Its name, such as `cl100k_base` (GPT-4) or `o200k_base` (GPT-4o and later).

    Raises:
        MissingTokenizerError: tiktoken is not installed, or the encoding's files are not in its cache.
    """

    prefix_token = _END

    def __init__(self, encoding: Encoding) -> None:
        self._encoding = encoding
        require_library("tiktoken", f"openai/{encoding}")
        for url in FILES[encoding]:
            if not kept_at(url).is_file():
                raise self._missing(f"{url} is not stored at {kept_at(url)}")

    @cached_property
    def _backend(self) -> Any:
        # tiktoken downloads a file anew where its checksum is wrong, so it must be known to be right before.
        for url, sha256 in FILES[self._encoding].items():
            if hashlib.sha256(kept_at(url).read_bytes()).hexdigest() != sha256:
                raise self._missing(f"{kept_at(url)} is damaged")
        import tiktoken

        return tiktoken.get_encoding(self._encoding)

    def encode(self, text: str) -> list[int]:
        """The ids of the tokens."""
        ids: list[int] = self._backend.encode(text, allowed_special={_END}, disallowed_special=())
        return ids

    def encode_many(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of the tokens of each text, made by several threads."""
        ids: list[list[int]] = self._backend.encode_batch(
            list(texts), num_threads=os.cpu_count() or 1, allowed_special={_END}, disallowed_special=()
        )
        return ids

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of the ids."""
        text: str = self._backend.decode(list(tokens))
        return text

    def count_many(self, texts: Sequence[str]) -> list[int]:
        """How many tokens each text has."""
        return [len(ids) for ids in self.encode_many(texts)]

    def most_tokens(self, text: str) -> float:
        """Its bytes: each token encodes at least one."""
        return num_bytes(text)

    def _missing(self, what: str) -> MissingTokenizerError:
        return MissingTokenizerError(
            f"the tokenizer openai/{self._encoding} is not on this machine ({what}; get it where there is a "
            f"network: python -c \"import tiktoken; tiktoken.get_encoding('{self._encoding}')\")"
        )


def kept_at(url: str) -> Path:
    """Where tiktoken keeps what it downloaded from `url`: in the folder that its own variables name."""
    named = [os.environ[key] for key in ("TIKTOKEN_CACHE_DIR", "DATA_GYM_CACHE_DIR") if key in os.environ]
    folder = named[0] if named else os.path.join(tempfile.gettempdir(), "data-gym-cache")
    # An empty name means to tiktoken that nothing is kept.
    return Path(folder or os.devnull) / hashlib.sha1(url.encode(), usedforsecurity=False).hexdigest()
