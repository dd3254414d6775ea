"""The files of a model on this machine: where they are, what they say, and what tells them from others.

Nothing here imports an engine or opens a socket; only small files are read whole.
"""

from __future__ import annotations

import functools
import hashlib
import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from evalkit.bounded_reads import JSON_BYTES, limit_bytes, read_bytes
from evalkit.codec import decode_foreign
from evalkit.errors import ConfigError, UsageError
from evalkit.yaml_text import read_text

SHIPPED: Mapping[str, Path] = {"evalkit/tiny": Path(__file__).parent.parent / "tiny"}
"""Models that come with evalkit."""

_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".gguf")
_ADAPTER_FILE = "adapter_config.json"
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "spiece.model", "vocab.json", "vocab.txt")
_PATH_STARTS = ("/", "./", "../", "~")
_SMALL_BYTES = 4 << 20
_BLOCK_BYTES = 1 << 16
_CONNECT_S = 5.0
_NUM_BLOCKS = 32
# Names for the longest text a model takes, in the order of preference.
_LENGTHS = ("max_position_embeddings", "n_positions", "max_sequence_length", "seq_length", "n_ctx")
# Changes nothing that is computed.
_UNREAD = (".md", ".txt.license", ".lock", ".metadata", ".png", ".jpg", ".gitattributes")


def is_folder(model: str) -> bool:
    """Whether this names files on this machine, rather than a model of the Hugging Face Hub."""
    return model in SHIPPED or model.startswith(_PATH_STARTS) or (Path(model) / "config.json").is_file()


def find_model(model: str, revision: str | None = None) -> Path | None:
    """The folder with a model's files: a shipped one, a local folder, or one of the Hugging Face cache.

    None where the files are not on this machine.

    Args:
        model: What `model` of an engine's arguments says.
        revision: Which revision of a model of the Hub; None: `main`.

    Raises:
        UsageError: `model` is written as a path, and there is no model.
    """
    if model in SHIPPED:
        return SHIPPED[model]
    folder = Path(model).expanduser()
    if (folder / "config.json").is_file():
        return folder
    if model.startswith(_PATH_STARTS):
        what = "has no config.json" if folder.is_dir() else "does not exist"
        raise UsageError(f"the model folder {model} {what}")
    return _cached(model, revision or "main", "config.json")


def find_adapter(adapter: str) -> Path | None:
    """The folder with an adapter's files: a local one, or one of the Hugging Face cache; None: not here."""
    folder = Path(adapter).expanduser()
    if (folder / _ADAPTER_FILE).is_file():
        return folder
    return None if adapter.startswith(_PATH_STARTS) else _cached(adapter, "main", _ADAPTER_FILE)


def brings_tokenizer(adapter: Path) -> bool:
    """Whether an adapter's folder has its own tokenizer."""
    return any((adapter / name).is_file() for name in _TOKENIZER_FILES)


def _cached(model: str, revision: str, marker: str) -> Path | None:
    """The snapshot of a model in the Hugging Face cache, as its layout is documented.

    Args:
        model: Its name on the Hub.
        revision: A commit, branch or tag.
        marker: A file that it has if it is there.
    """
    home = os.environ.get("HF_HOME") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "huggingface"
    )
    cache = Path(os.environ.get("HF_HUB_CACHE") or os.path.join(home, "hub"))
    stored = cache / f"models--{model.replace('/', '--')}"
    try:
        commit = (stored / "refs" / revision).read_text().strip()
    except OSError:
        commit = revision
    snapshot = stored / "snapshots" / commit
    return snapshot if (snapshot / marker).is_file() else None


@functools.cache
def fetch_description(model: str, revision: str | None = None) -> None:
    """Download what describes a model of the Hub (configuration, tokenizer, chat template), not its weights.

    Tries once. Does nothing where it is here already, and where it is not available: loading says why then.
    """
    if is_folder(model) or find_model(model, revision) is not None or not _hub_answers():
        return
    with suppress(Exception):
        from huggingface_hub import snapshot_download

        snapshot_download(model, revision=revision, allow_patterns=["*.json", "*.jinja", "*.model", "*.txt"])


@functools.cache
def _hub_answers() -> bool:
    """Whether the Hub can be reached. Asking it for a file without a network takes most of a minute."""
    if any(os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")):
        return True
    address = urlsplit(os.environ.get("HF_ENDPOINT") or "https://huggingface.co")
    port = address.port or (80 if address.scheme == "http" else 443)
    try:
        socket.create_connection((address.hostname or "", port), timeout=_CONNECT_S).close()
    except OSError:
        return False
    return True


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file; empty where there is none.

    Raises:
        ConfigError: The file is not a JSON object.
    """
    try:
        read = decode_foreign(read_bytes(path, limit_bytes(JSON_BYTES)))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from None
    if not isinstance(read, dict):
        raise ConfigError(f"{path}: not a JSON object")
    return read


def max_length_tokens(folder: Path) -> int | None:
    """The longest text the model was made for, as its config says; None for one without a limit."""
    config = read_json(folder / "config.json")
    inner = config.get("text_config")
    for part in (config, inner if isinstance(inner, dict) else {}):
        for name in _LENGTHS:
            if isinstance(length := part.get(name), int) and length > 0:
                return length
    return None


def special_tokens(folder: Path) -> tuple[str, ...]:
    """What the special tokens of a model are called, as its tokenizer.json says."""
    return added_tokens(folder, special=True)


def added_tokens(folder: Path, *, special: bool = False) -> tuple[str, ...]:
    """What the tokens that were added to a vocabulary are called, as tokenizer.json says.

    Args:
        folder: The model's files.
        special: Only those that are not text (beginnings, ends, roles).
    """
    added = read_json(folder / "tokenizer.json").get("added_tokens")
    tokens = [token for token in added if isinstance(token, dict)] if isinstance(added, list) else []
    texts = [token.get("content") for token in tokens if token.get("special") or not special]
    return tuple(text for text in texts if isinstance(text, str) and text)


def is_template_file(name: str) -> bool:
    """Whether a chat template is named by its file, rather than as one of those the model brings."""
    return name.endswith(".jinja") or "/" in name


def chat_template(folder: Path | None, name: str | None, adapter: Path | None = None) -> str | None:
    """The chat template of a model, in Jinja.

    Args:
        folder: The model's files.
        name: A template file; or the name of one of several that the model brings; None: its own.
        adapter: The files of an adapter on top of it; a template that they bring comes first.

    Raises:
        UsageError: There is no such template.
    """
    if name is not None and is_template_file(name):
        try:
            return read_text(Path(name).expanduser())
        except ConfigError as error:
            raise UsageError(f"the chat template {name} can't be read: {error}") from None
    brought = {} if folder is None else _templates(folder)
    if adapter is not None:
        brought |= _templates(adapter)
    if name is None:
        return brought.get("default")
    if name not in brought:
        known = ", ".join(sorted(brought)) or "none"
        raise UsageError(f"the model has no chat template '{name}' (it has: {known}); a file ends in .jinja")
    return brought[name]


def _templates(folder: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    said = read_json(folder / "tokenizer_config.json").get("chat_template")
    if isinstance(said, str):
        found["default"] = said
    elif isinstance(said, list):
        named = [(i.get("name"), i.get("template")) for i in said if isinstance(i, dict)]
        found.update({name: text for name, text in named if isinstance(name, str) and isinstance(text, str)})
    for path in [*folder.glob("additional_chat_templates/*.jinja"), *folder.glob("chat_template.jinja")]:
        name = "default" if path.name == "chat_template.jinja" else path.stem
        found[name] = read_text(path)
    return found


def fingerprint(folder: Path) -> str:
    """A digest of a model's files that is the same wherever they lie.

    Small files count whole. Of the large ones (weights), name, size and blocks spread over the file count:
    other weights of the same shape differ in every block, and a folder of 100 GB is read in a moment.
    """
    listed = tuple(
        (path.relative_to(folder).as_posix(), stat.st_size, stat.st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and not path.name.endswith(_UNREAD)
        and not path.name.startswith(".")
        and (stat := path.stat())
    )
    return _fingerprint(folder, listed)


@functools.lru_cache(maxsize=64)
def _fingerprint(folder: Path, listed: tuple[tuple[str, int, int], ...]) -> str:
    total = hashlib.sha256()
    for name, size, _ in listed:
        total.update(f"{name}\0{size}\0".encode())
        with (folder / name).open("rb") as file:
            if size <= _SMALL_BYTES and not name.endswith(_WEIGHTS):
                total.update(file.read())
                continue
            for block in range(_NUM_BLOCKS):
                file.seek(max(0, size - _BLOCK_BYTES) * block // (_NUM_BLOCKS - 1))
                total.update(file.read(_BLOCK_BYTES))
    return total.hexdigest()


def digest_text(text: str | None) -> str | None:
    """The digest of a text, short enough to read."""
    return None if text is None else hashlib.sha256(text.encode()).hexdigest()[:16]
