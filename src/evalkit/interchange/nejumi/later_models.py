"""Who answers and who judges, as the files of Nejumi 3 and 4 say it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from evalkit.errors import UsageError
from evalkit.interchange.nejumi.apis import ENGINES, ApiKind, api_deployment, api_kind
from evalkit.interchange.nejumi.artifacts import find_artifact
from evalkit.interchange.nejumi.config_file import Config
from evalkit.interchange.nejumi.later_config import LaterConfig
from evalkit.interchange.nejumi.misspelled import refuse_misspelled, refuse_misspelled_judge
from evalkit.models.catalog import ModelCatalog
from evalkit.models.deployment import ClientSpec, ModelDeployment
from evalkit.models.metadata import ModelMetadata, undescribed
from evalkit.redaction import shown_name

_PATH = "model.pretrained_model_name_or_path"
_JUDGES = {"nejumi3": "gpt-4o-2024-05-13", "nejumi4": "gpt-4.1-2025-04-14"}
_SHIPPED = ("evalkit/", "simple/")
_SIZE = re.compile(r"\s*([\d.,_]+)\s*([kmbt]?)\s*", re.IGNORECASE)
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "b": 10**9, "t": 10**12}


@dataclass(frozen=True, slots=True)
class LaterModels:
    """The deployments of a config.

    Attributes:
        answers: Who answers.
        made: The deployments that have to be registered.
        described: What the config says of the model.
    """

    config: Config[LaterConfig]
    catalog: ModelCatalog
    answers: ModelDeployment
    made: tuple[ModelDeployment, ...]
    described: tuple[ModelMetadata, ...]

    def judge(self, edition: str) -> str:
        """Who judges MT-Bench: the config's, or the edition's own.

        Raises:
            ConfigError: The config names two judges, or one that can't be asked.
        """
        settings = self.config.values.mtbench
        if settings.judge_model and settings.judge.model and settings.judge_model != settings.judge.model:
            self.config.fail("mtbench.judge_model", "mtbench.judge.model is another one; remove one of them")
        name = settings.judge.model or settings.judge_model or _JUDGES[edition]
        if self.catalog.is_given(name) or name.startswith(_SHIPPED):
            return name
        try:
            refuse_misspelled_judge(name, self.catalog)
            return api_deployment(api_kind("openai"), name, self.catalog).name
        except UsageError as error:
            given_as = "mtbench.judge.model" if settings.judge.model else "mtbench.judge_model"
            self.config.fail(given_as, str(error))


def later_models(config: Config[LaterConfig], catalog: ModelCatalog, mirror: Path | None) -> LaterModels:
    """The deployments of a config.

    Raises:
        ConfigError: The config names no model, an API that there is not, or settings that contradict it.
    """
    values = config.values
    name = values.model.pretrained_model_name_or_path
    if name is not None and (catalog.is_given(name) or name.startswith(_SHIPPED)):
        _refuse_engine_settings(config, f"'{name}' says itself how it is loaded")
        answers = catalog.deployment(name)
    elif values.api in ENGINES:
        answers = _vllm(config, catalog, mirror)
    else:
        answers = _of_api(config, catalog)
        if not catalog.is_given(answers.name):
            answers = _with_limits(answers, config)
    made = () if _is_known(answers, catalog) else (answers,)
    return LaterModels(config, catalog, answers, made, _described(config, catalog, answers.model_name))


def _is_known(deployment: ModelDeployment, catalog: ModelCatalog) -> bool:
    try:
        return catalog.deployment(deployment.name) == deployment
    except UsageError:
        return False


def _refuse_engine_settings(config: Config[LaterConfig], why: str) -> None:
    """Refuse settings of an engine where evalkit loads nothing.

    Raises:
        ConfigError: There is such a setting.
    """
    values = config.values
    for key, value in (
        ("model.chat_template", values.model.chat_template),
        ("vllm.chat_template", values.vllm.chat_template),
        ("model.lora.enable", values.model.lora.enable),
        ("quantization", values.quantization),
    ):
        if value:
            config.fail(key, f"{why}; remove it")


def _of_api(config: Config[LaterConfig], catalog: ModelCatalog) -> ModelDeployment:
    values = config.values
    name = values.model.pretrained_model_name_or_path
    if not name:
        config.fail(_PATH, f"it is empty; write what the API ({values.api}) calls the model")
    _refuse_engine_settings(config, f"api is {values.api}, whose server has its own settings")
    try:
        kind = api_kind(values.api)
        plain = api_deployment(kind, name, catalog, values.base_url)
    except UsageError as error:
        config.fail("api", str(error))
    return _thinking(plain, kind, config)


def _thinking(plain: ModelDeployment, kind: ApiKind, config: Config[LaterConfig]) -> ModelDeployment:
    """The deployment with what is sent in every request: thinking budgets and other fields."""
    settings, extra = config.values.model, dict(config.values.generator.extra_body or {})
    changed: dict[str, Any] = {}
    if settings.thinking is not None and settings.thinking.type == "enabled":
        budget = settings.thinking.budget_tokens
        if kind.prefix != "anthropic" or budget is None:
            config.fail("model.thinking", "it is Claude's, and needs budget_tokens; correct it, or remove it")
        extra["thinking"] = {"type": "enabled", "budget_tokens": budget}
        changed = {"reasoning_tokens": budget, "omit_fields": ["temperature", "top_p"]}
    if settings.thinking_budget is not None:
        if kind.prefix != "google":
            config.fail("model.thinking_budget", f"it is Gemini's, and api is {config.values.api}; remove it")
        extra["extra_body"] = {"google": {"thinking_config": {"thinking_budget": settings.thinking_budget}}}
    if extra:
        changed["extra_body"] = extra
    if not changed:
        return plain
    spec = plain.client_spec
    args = {**spec.args, **changed}
    return plain.model_copy(update={"client_spec": spec.model_copy(update={"args": args})})


def _vllm(config: Config[LaterConfig], catalog: ModelCatalog, mirror: Path | None) -> ModelDeployment:
    """The deployment of weights that vLLM loads here."""
    values, settings, vllm = config.values, config.values.model, config.values.vllm
    source = settings.pretrained_model_name_or_path
    if settings.artifacts_path:
        try:
            source = str((mirror or Path()) / find_artifact(settings.artifacts_path, mirror).path)
        except LookupError as error:
            config.fail("model.artifacts_path", str(error))
    if values.base_url is not None:
        config.fail("base_url", f"api is {values.api}, which is loaded here; write api: openai-compatible")
    if not source:
        config.fail(_PATH, "it is empty; name a deployment, a folder or a model of the Hub")
    if not settings.artifacts_path:
        try:
            refuse_misspelled(source, catalog)
        except UsageError as error:
            config.fail(_PATH, str(error))
    lora = settings.lora
    if lora.enable and not lora.adapter_path:
        config.fail("model.lora.adapter_path", "lora.enable is true; name the adapter's folder")
    weights = (settings.base_model_name_or_path or source) if lora.enable else source
    lengths = vllm.max_model_len or settings.max_model_len
    args = {
        "model": weights,
        "revision": values.revision,
        "dtype": vllm.dtype or settings.dtype,
        "quantization": values.quantization,
        "max_length": lengths,
        "adapter": lora.adapter_path if lora.enable else None,
        "chat_template": _template(config),
        "trust_remote_code": settings.trust_remote_code or vllm.trust_remote_code or None,
        "tensor_parallel_size": values.num_gpus,
        "gpu_memory_utilization": values.gpu_memory_utilization or vllm.gpu_memory_utilization,
        "max_num_seqs": values.batch_size,
        "engine_args": _engine_args(config) or None,
    }
    named = [part for part in source.split("/") if part not in ("", ".", "..")]
    try:
        return ModelDeployment(
            name=f"nejumi/{named[-1]}",
            model_name="/".join(named[-2:]),
            client_spec=ClientSpec(
                class_name="vllm", args={key: value for key, value in args.items() if value is not None}
            ),
        )
    except (ValidationError, IndexError):
        config.fail(_PATH, "it must be the name of a model or a folder, without blanks, ',' and '='")


def _engine_args(config: Config[LaterConfig]) -> dict[str, Any]:
    """More arguments of vLLM's engine: words of a command line, and the rank of an adapter."""
    lora, found = config.values.model.lora, {}
    if lora.enable and lora.max_lora_rank is not None:
        found["max_lora_rank"] = lora.max_lora_rank
    for word in config.values.vllm.extra_args:
        name, equals, value = word.removeprefix("--").partition("=")
        if not word.startswith("--") or not name or any(character.isspace() for character in name):
            config.fail("vllm.extra_args", f"'{shown_name(word)}' is not --name or --name=value; write it so")
        try:
            found[name.replace("-", "_")] = yaml.safe_load(value) if equals and len(value) < 10_000 else True
        except yaml.YAMLError:
            config.fail("vllm.extra_args", f"the value of --{name} is not JSON, a number or a word")
    return found


def _template(config: Config[LaterConfig]) -> str | None:
    """The chat template's file: as it is named, or from Nejumi's folder of templates."""
    of_vllm, of_model = config.values.vllm.chat_template, config.values.model.chat_template
    if of_vllm and of_model and of_vllm != of_model:
        config.fail("model.chat_template", "vllm.chat_template is another one; remove one of them")
    name, key = (of_model, "model.chat_template") if of_model else (of_vllm, "vllm.chat_template")
    if not name:
        return None
    folder = config.text.paths[0].parent
    places = [Path(name), *(each / "chat_templates" / f"{name}.jinja" for each in (folder.parent, folder))]
    for place in places:
        if place.is_file():
            return str(place)
    if name == config.values.model.pretrained_model_name_or_path:
        return None  # the model's own, as Nejumi takes it from the Hub
    config.fail(key, f"there is no template: looked at {', '.join(map(str, places))}; name a file")


def _with_limits(deployment: ModelDeployment, config: Config[LaterConfig]) -> ModelDeployment:
    """The deployment with the config's limits, which change no result."""
    values = config.values
    changes: dict[str, Any] = {}
    if values.batch_size is not None:
        changes["max_concurrency"] = values.batch_size
    own = {"openai": values.openai, "azure": values.azure_openai, "xai": values.xai}.get(
        deployment.name.partition("/")[0]
    )
    read_s = (own.http_timeout.read if own is not None else None) or values.network.http_timeout.read
    if read_s is not None:
        changes["timeout_s"] = read_s
    if not changes:
        return deployment
    limits = type(deployment.limits).model_validate({**deployment.limits.model_dump(), **changes})
    return deployment.model_copy(update={"limits": limits})


def _described(config: Config[LaterConfig], catalog: ModelCatalog, model: str) -> tuple[ModelMetadata, ...]:
    """What the config says of the model, besides what is known of it."""
    settings = config.values.model
    changes: dict[str, Any] = {}
    if (name := config.values.wandb.run_name) and name != model:
        changes["display_name"] = name
    if settings.size_category:
        changes["size_category"] = settings.size_category
    if settings.size is not None:
        changes["num_parameters"] = _size(config, settings.size)
    if settings.release_date:
        changes["release_date"] = _date(config, settings.release_date)
    return (known_metadata(catalog, model).model_copy(update=changes),) if changes else ()


def known_metadata(catalog: ModelCatalog, model: str) -> ModelMetadata:
    """What is known of a model, whose deployment need not be registered yet."""
    try:
        return catalog.metadata(model)
    except UsageError:
        return undescribed(model)


def _size(config: Config[LaterConfig], size: int | float | str) -> int:
    if isinstance(size, str):
        parts = _SIZE.fullmatch(size)
        if parts is None:
            config.fail("model.size", f"'{size}' is not a number of parameters, such as 7000000000 or 7B")
        size = float(re.sub("[,_]", "", parts[1])) * _UNITS[parts[2].lower()]
    if not size >= 1:
        config.fail("model.size", f"{size:g} is not a number of parameters")
    return int(size)


def _date(config: Config[LaterConfig], text: str) -> date:
    for form in ("%m/%d/%Y", "%Y-%m-%d"):
        try:
            return datetime.strptime(text.strip(), form).date()  # noqa: DTZ007 - a day has no zone
        except ValueError:
            continue
    config.fail("model.release_date", f"'{text}' is not a day; write MM/DD/YYYY or YYYY-MM-DD")
