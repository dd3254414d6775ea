"""From a name to its tokenizer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from evalkit.errors import PluginError, UnknownNameError, UsageError, nearest_names
from evalkit.models.tokenizers.missing import MissingTokenizerError
from evalkit.models.weights import SHIPPED, is_folder
from evalkit.parameters import Parameter, parameters_of, parse_value
from evalkit.registry import TOKENIZERS, origin_of
from evalkit.tokenization import Tokenizer

FALLBACK = "bytes"
_HINT = "(that of a model is huggingface/<model>, or ./folder with its files)"


def tokenizer(name: str) -> Tokenizer:
    """The tokenizer of this name; its library and files are only loaded when it is first used.

    A name is that of a plugin (`bytes`), or of a plugin and what it is given (`huggingface/gpt2`,
    `openai/cl100k_base`), a folder with a model's files (`./my-model`), or a model that evalkit ships.

    Raises:
        UnknownNameError: There is none.
        MissingTokenizerError: It is not on this machine; says what is missing and how to get it.
        UsageError: What the plugin is given is impossible.
    """
    target, args = _plugin_of(name)
    made = target(*args)
    if not isinstance(made, Tokenizer):
        raise PluginError(
            f"the tokenizer '{name}' ({origin_of(target)}) is a {type(made).__name__}; "
            "it must derive from evalkit.tokenization.Tokenizer"
        )
    return made


def is_tokenizer(name: str | None) -> bool:
    """Whether there is a tokenizer of this name, and it can be used on this machine."""
    try:
        return name is not None and bool(tokenizer(name))
    except UsageError:
        return False


def usable(name: str) -> tuple[str, str]:
    """The name of a tokenizer that can be used in place of this one, and what to tell the user.

    That is the tokenizer itself, with nothing to tell; or `bytes` where it is known but not here.

    Raises:
        UnknownNameError: There is no such tokenizer.
        UsageError: What its plugin is given is impossible.
    """
    try:
        tokenizer(name)
    except MissingTokenizerError as error:
        return FALLBACK, f"{error}. Until then evalkit fits prompts by their bytes, which is stricter"
    return name, ""


def counting_tokenizer(name: str | None) -> Tokenizer | None:
    """The tokenizer of this name if it counts as the served model does and is here; for estimates."""
    if name is None or not is_tokenizer(name):
        return None
    found = tokenizer(name)
    return None if found.stand_in else found


def _plugin_of(name: str) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """The plugin that a name means, and what it is given."""
    if name in TOKENIZERS:
        target = TOKENIZERS.get(name)
        if wanted := _wanted(target):
            raise UsageError(f"the tokenizer '{name}' needs an argument; write {name}/<{wanted[0].name}>")
        return target, ()
    if is_folder(name) or name in (".", ".."):
        return TOKENIZERS.get("folder"), (str(SHIPPED.get(name, name)),)
    cut = name.rfind("/")
    while cut > 0:
        source, rest = name[:cut], name[cut + 1 :]
        if rest and source in TOKENIZERS and (wanted := _wanted(target := TOKENIZERS.get(source))):
            return target, (_argument(source, target, wanted, rest),)
        cut = name.rfind("/", 0, cut)
    raise UnknownNameError("tokenizer", name, _names_like(name), _HINT)


def _wanted(target: Callable[..., Any]) -> list[Parameter]:
    """The required parameters of a plugin, of which the rest of a name gives the first."""
    return [parameter for parameter in parameters_of(target) if parameter.required]


def _argument(source: str, target: Callable[..., Any], wanted: list[Parameter], rest: str) -> Any:
    """The rest of a name as the value that a source wants."""
    if len(wanted) > 1:
        raise PluginError(f"the tokenizer '{source}' ({origin_of(target)}) needs more than one argument")
    try:
        return parse_value(rest, wanted[0].type)
    except UsageError as error:
        raise UsageError(f"tokenizer '{source}/{rest}': {error}") from None


def _names_like(name: str) -> list[str]:
    """The names that may have been meant: complete ones, and what a source of nearly this name would make."""
    first, _, rest = name.partition("/")
    sources = {plugin for plugin in TOKENIZERS if _wanted(TOKENIZERS.get(plugin))}
    meant = [f"{source}/{rest}" for source in nearest_names(first, sources) if rest]
    return [*meant, *(plugin for plugin in TOKENIZERS if plugin not in sources)]
