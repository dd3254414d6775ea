"""Tokenizers from a tokenizer.json, by the `tokenizers` library."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from evalkit.errors import UsageError
from evalkit.models.tokenizers.growth import Growth, growth_of
from evalkit.models.tokenizers.missing import require_library
from evalkit.models.tokenizers.plain import without_surrogates
from evalkit.models.weights import read_json
from evalkit.tokenization import Tokenizer

if TYPE_CHECKING:
    from tokenizers import Encoding
    from tokenizers import Tokenizer as Backend

_LOADING = threading.Lock()
_MAX_LOADED = 8


class FastTokenizer(Tokenizer):
    """A tokenizer read from a tokenizer.json. It may be used by several threads, and in forked children.

    Special tokens in a text are taken for what they are; none are added.

    Args:
        path: The file.
        name: What it is called in messages.
        prefix_token: What a text begins with; may be empty.

    Raises:
        MissingTokenizerError: The library `tokenizers` is not installed.
    """

    def __init__(self, path: Path, name: str, prefix_token: str = "") -> None:
        require_library("tokenizers", name)
        self._path, self._name, self.prefix_token = path, name, prefix_token

    @cached_property
    def _loaded(self) -> tuple[Backend, Growth]:
        stat = self._path.stat()
        with _LOADING:  # runs that start together wait for one of them to read the file
            return _load(self._path, self._name, (stat.st_mtime_ns, stat.st_size))

    def encode(self, text: str) -> list[int]:
        """The ids of the tokens."""
        backend, _ = self._loaded
        try:
            return backend.encode(text, add_special_tokens=False).ids
        except (TypeError, UnicodeEncodeError):
            return backend.encode(without_surrogates(text), add_special_tokens=False).ids

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of the ids; a character that was cut in two is U+FFFD."""
        return self._loaded[0].decode(list(tokens), skip_special_tokens=False)

    def count(self, text: str) -> int:
        """How many tokens."""
        return self.count_many((text,))[0]

    def encode_many(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of the tokens of each text, made in one call by all cores."""
        return [encoding.ids for encoding in self._encodings(texts)]

    def count_many(self, texts: Sequence[str]) -> list[int]:
        """How many tokens each text has, found in one call by all cores."""
        return [len(encoding) for encoding in self._encodings(texts)]

    def most_tokens(self, text: str) -> float:
        """By the length in bytes, where the way this tokenizer works sets a limit to its tokens."""
        return self._loaded[1].most_tokens(text)

    def _encodings(self, texts: Sequence[str]) -> list[Encoding]:
        backend, _ = self._loaded
        try:
            return backend.encode_batch_fast(list(texts), add_special_tokens=False)
        except (TypeError, UnicodeEncodeError):
            clean = [without_surrogates(text) for text in texts]
            return backend.encode_batch_fast(clean, add_special_tokens=False)


@lru_cache(maxsize=_MAX_LOADED)
def _load(path: Path, name: str, stamp: tuple[int, int]) -> tuple[Backend, Growth]:
    """The tokenizer of a file, and a limit to the tokens of a text; kept while the file stays the same."""
    from tokenizers import Tokenizer as Backend

    try:
        backend = Backend.from_file(str(path))
    except Exception as error:  # noqa: BLE001 - the library raises nothing narrower
        raise UsageError(f"the tokenizer {name} can't be read: {path}: {error}") from None
    # A file may carry the settings of whoever saved it, which would make all texts of one length.
    backend.no_truncation()
    backend.no_padding()
    _add_tokens(backend, path.parent)
    return backend, growth_of(backend)


def _add_tokens(backend: Backend, folder: Path) -> None:
    """Tokens that were added to a model's tokenizer and stand in tokenizer_config.json alone."""
    from tokenizers import AddedToken

    added = read_json(folder / "tokenizer_config.json").get("added_tokens_decoder")
    if not isinstance(added, dict):
        return
    known = backend.get_vocab(with_added_tokens=True)
    for token in sorted(added, key=int):
        said = added[token]
        if isinstance(said, dict) and isinstance(text := said.get("content"), str) and text not in known:
            flags = {
                name: bool(said.get(name, False))
                for name in ("lstrip", "rstrip", "single_word", "normalized")
            }
            backend.add_tokens([AddedToken(text, special=bool(said.get("special", False)), **flags)])
