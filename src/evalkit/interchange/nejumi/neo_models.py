"""Who answers and who judges, as Neo's template says it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from evalkit.errors import UnknownNameError, UsageError
from evalkit.interchange.nejumi.apis import ENGINES, api_deployment, api_kind
from evalkit.interchange.nejumi.artifacts import find_artifact
from evalkit.interchange.nejumi.config_file import Config
from evalkit.interchange.nejumi.later_models import known_metadata
from evalkit.interchange.nejumi.literals import listed
from evalkit.interchange.nejumi.misspelled import refuse_misspelled, refuse_misspelled_judge
from evalkit.interchange.nejumi.neo_config import NeoConfig
from evalkit.models.catalog import ModelCatalog
from evalkit.models.deployment import ClientSpec, ModelDeployment
from evalkit.models.metadata import ModelMetadata

Language = Literal["ja", "en"]

_DTYPES = {"fp16": "float16", "bf16": "bfloat16", "fp32": "float32"}
_PATH = "model.pretrained_model_name_or_path"


@dataclass(frozen=True, slots=True)
class NeoModels:
    """The deployments of a config.

    Attributes:
        jaster: Who answers jaster.
        mt_bench: Who answers MT-Bench, by language: another deployment where it has a conversation format.
        judge: Who judges.
        is_api: Whether an API answers, whose temperature Neo fixes.
        made: Those of the deployments that have to be registered.
        described: What the config says of the model.
    """

    jaster: ModelDeployment
    mt_bench: Mapping[Language, ModelDeployment]
    judge: ModelDeployment
    is_api: bool
    made: tuple[ModelDeployment, ...]
    described: tuple[ModelMetadata, ...]


def neo_models(config: Config[NeoConfig], catalog: ModelCatalog, weights: str | None) -> NeoModels:
    """The deployments of a config.

    Args:
        config: Neo's template, filled in.
        catalog: The deployments that there are.
        weights: The folder of the artifact with the weights, if the config names one.

    Raises:
        ConfigError: The config names no model, an API that there is not, or settings that contradict it.
    """
    settings = config.values.model
    given = settings.pretrained_model_name_or_path
    is_api = bool(settings.api) and settings.api not in ("false", *ENGINES)
    if is_api:
        try:
            api_kind(str(settings.api))
        except UsageError as error:
            config.fail("model.api", str(error))
    if given is not None and catalog.is_given(given):
        jaster = plain = catalog.deployment(given)
        _refuse_loading(config, f"'{given}' is a deployment of yours, which says itself how it is loaded")
    elif not is_api:
        plain, jaster = _loaded(config, catalog, weights)
    else:
        jaster = plain = _of_api(config, catalog, str(settings.api))
        _refuse_loading(config, f"api is {settings.api}, which loads its models itself")
    mt_bench: dict[Language, ModelDeployment] = {
        "ja": _talking(config, plain, "ja"),
        "en": _talking(config, plain, "en"),
    }
    judge = _judge(config, catalog)
    made = {each.name: each for each in (jaster, *mt_bench.values(), judge)}
    described = _described(config, catalog, jaster.model_name)
    unknown = tuple(each for each in made.values() if not _is_known(each, catalog))
    return NeoModels(jaster, mt_bench, judge, is_api, unknown, described)


def _is_known(deployment: ModelDeployment, catalog: ModelCatalog) -> bool:
    """Whether the deployment's name means it already."""
    try:
        return catalog.deployment(deployment.name) == deployment
    except UsageError:
        return False


def _refuse_loading(config: Config[NeoConfig], why: str) -> None:
    """Refuse settings of loading where evalkit loads nothing.

    Raises:
        ConfigError: There is such a setting.
    """
    for key in ("load_in_8bit", "load_in_4bit", "trust_remote_code"):
        if getattr(config.values.model, key):
            config.fail(f"model.{key}", f"{why}; set {key}: false")


def _of_api(config: Config[NeoConfig], catalog: ModelCatalog, name: str) -> ModelDeployment:
    model = config.values.model.pretrained_model_name_or_path
    if not model:
        config.fail(_PATH, f"it is empty; write what the API ({name}) calls the model")
    try:
        return api_deployment(api_kind(name), model, catalog)
    except UnknownNameError as error:
        config.fail(_PATH, str(error))
    except UsageError as error:
        config.fail("model.api", str(error))


def _loaded(
    config: Config[NeoConfig], catalog: ModelCatalog, weights: str | None
) -> tuple[ModelDeployment, ModelDeployment]:
    """The deployments of weights that are loaded here: for MT-Bench, and for jaster."""
    settings, jaster = config.values.model, config.values.llm_jp_eval
    source = weights or settings.pretrained_model_name_or_path
    if not source:
        config.fail(_PATH, "it is empty; name a deployment, a folder or a model of the Hub, or set model.api")
    if source.startswith(("evalkit/", "simple/")):  # models that come with evalkit
        try:
            shipped = catalog.deployment(catalog.resolve(source)[1])
        except UsageError as error:
            config.fail(_PATH, str(error))
        _refuse_loading(config, f"'{source}' comes with evalkit, which knows how it is loaded")
        return shipped, shipped
    if weights is None:
        try:
            refuse_misspelled(source, catalog)
        except UsageError as error:
            config.fail(_PATH, str(error))
    if settings.load_in_8bit and settings.load_in_4bit:
        config.fail("model.load_in_4bit", "load_in_8bit is true too; set one of them to false")
    args: dict[str, Any] = {"model": source}
    if settings.load_in_8bit or settings.load_in_4bit:
        args["quantization"] = "int8" if settings.load_in_8bit else "int4"
    if settings.device_map is not None:
        args["device_map"] = settings.device_map
    if settings.trust_remote_code:
        args["trust_remote_code"] = True
    named = [part for part in source.split("/") if part not in ("", ".", "..")]
    model = "/".join(named[-2:])
    talk_dtype = config.values.mtbench.dtype
    talking = {**args, "dtype": "auto" if talk_dtype in (None, "None") else talk_dtype}
    answering = {**args, "dtype": _DTYPES.get(jaster.torch_dtype, jaster.torch_dtype)}
    try:
        plain = ModelDeployment(
            name=f"nejumi/{named[-1]}",
            model_name=model,
            client_spec=ClientSpec(class_name="transformers", args=talking),
            max_request_length=jaster.max_seq_length,
        )
    except (ValidationError, IndexError):
        config.fail(_PATH, "it must be the name of a model or a folder, without blanks, ',' and '='")
    if answering == talking:
        return plain, plain
    spec = ClientSpec(class_name="transformers", args=answering)
    return plain, plain.model_copy(update={"name": f"{plain.name}+jaster", "client_spec": spec})


def _talking(config: Config[NeoConfig], plain: ModelDeployment, language: Language) -> ModelDeployment:
    """The deployment for MT-Bench: with the custom conversation format, another one."""
    settings = config.values.mtbench
    if not settings.custom_conv_template:
        return plain
    words = getattr(settings, language)
    spec = plain.client_spec
    takes_texts = spec.class_name in ("transformers", "vllm", "vllm_server") or (
        spec.class_name == "openai" and spec.args.get("mode") == "completions"
    )
    if not takes_texts:
        config.fail(
            "mtbench.custom_conv_template",
            f"'{plain.name}' is asked for chats and writes its prompts itself; set it to false, or name a "
            "deployment with mode: completions",
        )
    roles = _list_of(config, f"mtbench.{language}.conv_roles", words.conv_roles, str)
    if len(roles) != 2:
        config.fail(f"mtbench.{language}.conv_roles", "write two texts: who asks, and who answers")
    stop = settings.conv_stop_str
    conversation = {
        "system": words.conv_system_message,
        "roles": roles,
        "separator": settings.conv_sep,
        "role_message_separator": settings.conv_role_message_separator,
        "role_only_separator": settings.conv_role_only_separator,
        "stop": [text for text in ([stop] if isinstance(stop, str) else stop or ()) if text],
        "stop_token_ids": _list_of(config, "mtbench.conv_stop_token_ids", settings.conv_stop_token_ids, int),
    }
    args = {**spec.args, "conversation": {key: value for key, value in conversation.items() if value != []}}
    changed = spec.model_copy(update={"args": args})
    return plain.model_copy(update={"name": f"{plain.name}+mt-bench-{language}", "client_spec": changed})


def _list_of(config: Config[NeoConfig], key: str, given: Any, kind: type) -> list[Any]:
    wanted = "two texts, such as ('User', 'Assistant')" if kind is str else "whole numbers, such as [2]"
    try:
        found = listed(given) or []
    except ValueError as error:
        config.fail(key, f"{error}; write {wanted}")
    if not all(type(each) is kind for each in found):
        config.fail(key, f"write {wanted}")
    return found


def _judge(config: Config[NeoConfig], catalog: ModelCatalog) -> ModelDeployment:
    name, is_azure = config.values.mtbench.judge_model, config.values.mtbench.use_azure
    if catalog.is_given(name) or name.startswith(("evalkit/", "simple/")):
        if is_azure:
            config.fail(
                "mtbench.use_azure", f"judge_model '{name}' is a deployment of yours; set it to false"
            )
        return catalog.deployment(name)
    try:
        refuse_misspelled_judge(name, catalog)
    except UsageError as error:
        config.fail("mtbench.judge_model", str(error))
    try:
        return api_deployment(api_kind("azure-openai" if is_azure else "openai"), name, catalog)
    except UsageError as error:
        config.fail("mtbench.use_azure" if is_azure else "mtbench.judge_model", str(error))


def _described(config: Config[NeoConfig], catalog: ModelCatalog, model: str) -> tuple[ModelMetadata, ...]:
    """What the config says of the model, besides what is known of it."""
    name = config.values.model_name
    if not name or name == model:
        return ()
    return (known_metadata(catalog, model).model_copy(update={"display_name": name}),)


def weights_folder(config: Config[NeoConfig], mirror: Path | None) -> str | None:
    """The folder of the artifact with the weights; None where the config takes none.

    Raises:
        ConfigError: It names one that has no files, or none where it says that it does.
    """
    settings = config.values.model
    if settings.api not in (False, "false") or not settings.artifacts_path:
        return None
    if not settings.use_wandb_artifacts:
        config.fail("model.artifacts_path", "use_wandb_artifacts is false; set it to true, or empty this key")
    try:
        return str((mirror or Path()) / find_artifact(settings.artifacts_path, mirror).path)
    except LookupError as error:
        config.fail("model.artifacts_path", str(error))
