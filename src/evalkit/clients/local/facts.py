"""What the files of a local engine's model say before anything is loaded: lengths, tokenizer, identity."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from evalkit.clients.client import ModelFacts
from evalkit.clients.local.template_date import asks_for_date, day_of
from evalkit.errors import UsageError
from evalkit.models.tokenizers.beginning import beginning
from evalkit.models.weights import (
    brings_tokenizer,
    chat_template,
    digest_text,
    find_adapter,
    find_model,
    fingerprint,
    is_folder,
    is_template_file,
    max_length_tokens,
)


def model_facts(args: Mapping[str, Any]) -> ModelFacts:
    """What the files of a local engine's model say: `Client.facts` of the engines.

    What the tokenizer puts before a prompt is not counted, so as many tokens less may be sent: one at least.

    Args:
        args: The arguments, with `model` and perhaps `revision`, `adapter` and `max_length`.

    Raises:
        UsageError: `model` is a folder that holds no model.
    """
    model, revision = str(args["model"]), args.get("revision")
    folder, length = find_model(model, revision), args.get("max_length")
    if folder is None:
        return ModelFacts(max_sequence_length=length)
    adapter = args.get("adapter")
    source, name, hub_revision = folder, model, revision
    if adapter is not None and (brought := find_adapter(adapter)) is not None and brings_tokenizer(brought):
        source, name, hub_revision = brought, adapter, None
    if (name == model and not is_folder(model)) or (name == adapter and not Path(name).expanduser().is_dir()):
        tokenizer_name = f"huggingface/{name}" + (f"@{hub_revision}" if hub_revision else "")
    else:
        tokenizer_name = str(source.absolute())
    length = length or max_length_tokens(folder)
    if length is None:
        return ModelFacts(tokenizer_name)
    put_before = max(1, len(beginning(source / "tokenizer.json")))
    return ModelFacts(tokenizer_name, length, max(1, length - put_before))


def model_identity(args: Mapping[str, Any], transport: frozenset[str]) -> dict[str, Any]:
    """What of a local engine's arguments can change an answer: `Client.identity` of the engines.

    Files that lie on this machine count by what is in them, wherever they lie; a model of the Hub counts by
    its name and revision, whether it is here already or not. A chat template counts by its text, and by the
    day that it is given if it asks for the date.

    Args:
        args: The arguments, with `model` and perhaps `revision`, `chat_template`, `chat_date` and `adapter`.
        transport: Names of those that can't change an answer.

    Raises:
        UsageError: A folder or a chat template can't be read.
    """
    kept = {name: value for name, value in args.items() if name not in transport and value is not None}
    folder = find_model(args["model"]) if is_folder(args["model"]) else None
    if folder is not None:
        kept["model"] = f"sha256:{fingerprint(folder)}"
    adapter = args.get("adapter")
    adapter_folder = Path(adapter).expanduser() if adapter is not None else None
    if adapter_folder is not None and (adapter_folder / "adapter_config.json").is_file():
        kept["adapter"] = f"sha256:{fingerprint(adapter_folder)}"
    template = args.get("chat_template")
    if template is not None and is_template_file(template):
        kept["chat_template"] = f"sha256:{digest_text(chat_template(None, template))}"
    if folder is not None or (template is not None and is_template_file(template)):
        kept.pop("chat_date", None)
        with suppress(UsageError):  # opening the model reports a missing template
            if asks_for_date(chat_template(folder, template, adapter_folder)):
                kept["chat_date"] = day_of(args.get("chat_date"))
    return kept
