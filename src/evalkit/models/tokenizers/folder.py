"""The tokenizer of a model whose files are on this machine: in a folder, or in the Hugging Face cache."""

from __future__ import annotations

from pathlib import Path

from evalkit.errors import UsageError
from evalkit.models.tokenizers.beginning import beginning
from evalkit.models.tokenizers.missing import MissingTokenizerError
from evalkit.models.weights import find_adapter, find_model, read_json
from evalkit.registry import tokenizer
from evalkit.tokenization import Tokenizer

_FILE = "tokenizer.json"
# Without tokenizer.json, one of these says that transformers can make a tokenizer of what is there.
_OTHER_FILES = ("tokenizer_config.json", "vocab.json", "vocab.txt", "tokenizer.model", "spiece.model")


@tokenizer("folder")
def folder(path: str) -> Tokenizer:
    """The tokenizer in a folder with a model's files; written as the path, which starts with / or a dot.

    Args:
        path: The folder, or its tokenizer.json.
    """
    given = Path(path).expanduser()
    where = given.parent if given.name == _FILE else given
    made = _tokenizer_in(where, path)
    if made is None:
        what = "holds none" if where.is_dir() else "does not exist"
        raise UsageError(f"the tokenizer {path}: the folder {where} {what}")
    return made


@tokenizer("huggingface")
def huggingface(model: str) -> Tokenizer:
    """The tokenizer of a model in the local Hugging Face cache; nothing is downloaded.

    Args:
        model: Its name on the hub, perhaps with a revision: `organization/name@revision`.
    """
    name, _, revision = model.partition("@")
    found = find_model(name, revision or None) or find_adapter(name)
    made = None if found is None else _tokenizer_in(found, f"huggingface/{model}")
    if made is None:
        asked = f"{name} --revision {revision}" if revision else name
        raise MissingTokenizerError(
            f"the tokenizer huggingface/{model} is not on this machine; get its files where there is a "
            f"network (hf download {asked} --include '*.json' '*.model' '*.txt')"
        )
    return made


def _tokenizer_in(where: Path, name: str) -> Tokenizer | None:
    """The tokenizer in a folder, if there is one; by transformers where tokenizer.json is missing."""
    # Imported here, since every command reads model files and few need one of these.
    if (where / _FILE).is_file():
        from evalkit.models.tokenizers.fast import FastTokenizer

        return FastTokenizer(where / _FILE, name, prefix_token(where))
    if any((where / file).is_file() for file in _OTHER_FILES):
        from evalkit.models.tokenizers.slow import SlowTokenizer

        return SlowTokenizer(where, name)
    return None


def prefix_token(where: Path) -> str:
    """What a text begins with for this model.

    That is what its tokenizer puts before texts; else its start token, or its end token if it has no other.
    """
    if put_before := beginning(where / _FILE):
        return "".join(put_before)
    config = {**read_json(where / "special_tokens_map.json"), **read_json(where / "tokenizer_config.json")}
    for key in ("bos_token", "eos_token"):
        token = config.get(key)
        text = token.get("content") if isinstance(token, dict) else token
        if isinstance(text, str) and text:
            return text
    return ""
