"""The tokenizer of a local model: the one that its tokenizer.json describes, by which plans count as well."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evalkit.errors import UsageError
from evalkit.models.weights import added_tokens

_FILE = "tokenizer.json"
# Where tokenizers of one family differ from those of another.
_TEXTS = (
    "Hello world",
    " one leading blank",
    "1234567890 3.14 and 12,345",
    "  two  blanks   three\n\n\tnew lines \r\n end ",
    "don't say \"it's\" or I'LL 'quote'",
    "日本語のテキスト。中文字符，한국어",
    "naïve café ½ ﬁfty 🙂",
    "def f(x):\n    return x[0] != {}  # code",
)
_NUM_SPECIAL = 8
_SHOWN_CHARACTERS = 40


def open_tokenizer(
    named: str, folder: Path | None, *, trust_remote_code: bool = False, **common: Any
) -> tuple[Any, tuple[str, ...]]:
    """A model's tokenizer, and what the user should know of it.

    Transformers rebuilds some tokenizers by the class that fits the model's type, and drops what the file
    says. So some texts are tokenised in both ways, and where they differ the file holds.

    Args:
        named: The folder, or the name on the Hugging Face Hub.
        folder: Where the files are; None: wherever transformers puts them.
        trust_remote_code: Run the code that comes with the model.
        common: More arguments of `from_pretrained`.

    Raises:
        UsageError: There is no way to have transformers make the tokens that the file makes.
    """
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    common = {"trust_remote_code": trust_remote_code, **common}
    tokenizer = AutoTokenizer.from_pretrained(named, **common)
    path = folder / _FILE if folder is not None else _stored(named, common.get("revision"))
    if path is None or not path.is_file():
        return tokenizer, ()
    file = _read(path)
    if (apart := _difference(tokenizer, file, path)) is None:
        return tokenizer, ()
    said = f"{_FILE} and transformers' {type(tokenizer).__name__} make different tokens of {apart}"
    if trust_remote_code and not tokenizer.is_fast:
        return tokenizer, (
            f"{said}; evalkit uses the class that comes with the model, so plans may count tokens "
            "differently",
        )
    by_file = PreTrainedTokenizerFast.from_pretrained(named, **common)
    if _difference(by_file, file, path) is not None:
        by_file = PreTrainedTokenizerFast(tokenizer_file=str(path), **_special_tokens(tokenizer))
        by_file.chat_template = tokenizer.chat_template
    if _difference(by_file, file, path) is not None:
        raise UsageError(
            f"the tokenizer in {named}: {said}, and evalkit can't build it from the file; remove the one of "
            f"{_FILE} and tokenizer_config.json that is wrong"
        )
    return by_file, (f"{said}; {_FILE} is used",)


def beginning_of(tokenizer: Any) -> tuple[int, ...]:
    """What a tokenizer puts before every text, whatever it is and however long; empty: nothing."""
    for text in ("x y z", "7, 8"):
        own = list(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])
        whole = list(tokenizer(text, verbose=False)["input_ids"])
        for start in range(len(whole) - len(own) + 1):
            if own and whole[start : start + len(own)] == own:
                return tuple(whole[:start])
    added = tokenizer("", verbose=False)["input_ids"]
    return tuple(added[:1]) if added and added[0] == tokenizer.bos_token_id else ()


def tokens_without_rows(tokenizer: Any, num_rows: int) -> dict[int, str]:
    """The tokens that a tokenizer knows and a model does not, by their ids.

    Args:
        tokenizer: Of transformers.
        num_rows: How many tokens the model's embedding has.
    """
    return {
        token: name
        for name, token in sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
        if token >= num_rows
    }


def _stored(named: str, revision: str | None) -> Path | None:
    """Where a file of the Hub's was put."""
    from transformers.utils import cached_file

    found = cached_file(
        named, _FILE, revision=revision, local_files_only=True, _raise_exceptions_for_missing_entries=False
    )
    return None if found is None else Path(found)


def _read(path: Path) -> Any:
    from tokenizers import Tokenizer

    try:
        made = Tokenizer.from_file(str(path))
    except Exception as error:  # noqa: BLE001 - the library raises nothing narrower
        raise UsageError(f"the tokenizer {path} can't be read: {error}") from None
    made.no_truncation()
    made.no_padding()
    return made


def _difference(tokenizer: Any, file: Any, path: Path) -> str | None:
    """A text that two tokenizers do not agree on, and what each makes of it; None if they agree."""
    for text in [*_TEXTS, *_with_special(path)]:
        wanted = file.encode(text, add_special_tokens=False).ids
        try:
            made = list(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])
        except Exception:  # noqa: BLE001 - whatever a tokenizer raises, it makes no tokens of this
            made = []
        if made != wanted:
            shown = text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"
            return f"{shown!r} ({_shown(wanted)} and {_shown(made)})"
    return None


def _shown(ids: Sequence[int]) -> str:
    first = ", ".join(map(str, ids[:8]))
    return f"{len(ids)} tokens: {first}{', …' if len(ids) > 8 else ''}"


def _with_special(path: Path) -> list[str]:
    return [f"a{text}b {text} c" for text in added_tokens(path.parent)[:_NUM_SPECIAL]]


def _special_tokens(tokenizer: Any) -> dict[str, Any]:
    names = ("bos_token", "eos_token", "unk_token", "pad_token")
    return {name: value for name in names if (value := getattr(tokenizer, name, None)) is not None}
