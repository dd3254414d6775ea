"""What a user can ask of `run` and `plan`: one schema for the Python API, YAML files and the command line."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, field_validator, model_validator

from evalkit.errors import ConfigError, UsageError, nearest_names
from evalkit.folder_names import checked_suite
from evalkit.parameters import MAX_COUNT
from evalkit.redaction import shown_name
from evalkit.sandbox.choice import read_choice
from evalkit.specs.spec import Spec
from evalkit.yaml_text import check_values, compose, read_text

# `conf_paths` in the singular, as a flag, a key, and a keyword.
CONF_FILE = "conf_file"


class RunOptions(Spec):
    """Options of a run. Every field is a keyword of `evalkit.run`, a key of a config file, and a flag."""

    run_entries: tuple[str, ...] = Field(
        default=(), description="Run entries, such as mmlu:subject=anatomy,model=openai/gpt-5-mini."
    )
    conf_paths: tuple[Path, ...] = Field(
        default=(), description="Conf files with run entries (HELM's format or YAML)."
    )
    nejumi_config: tuple[Path, ...] = Field(
        default=(),
        description="A config of Nejumi: Neo's file, or a base file and a model's (also by -c).",
    )
    models_to_run: tuple[str, ...] = Field(
        default=(), description="Models or deployments to use where an entry has a wildcard or no model."
    )
    groups_to_run: tuple[str, ...] = Field(
        default=(), description="Keep only runs that belong to one of these groups."
    )
    priority: int | None = Field(
        default=None, description="Leave out conf entries whose priority number is larger."
    )
    max_eval_instances: int | None = Field(
        default=None,
        ge=1,
        le=MAX_COUNT,
        description="Most instances to evaluate per run, where neither entry nor benchmark sets a number.",
    )
    num_train_trials: int | None = Field(
        default=None, ge=1, le=MAX_COUNT, description="Number of different draws of few-shot examples."
    )
    skip_bad_entries: bool = Field(
        default=False,
        description="Leave out wrong run entries with a note, and run the others (exit code 1 or higher).",
    )
    suite: str = Field(default="default", description="Name of the folder that the runs are kept in.")
    output_path: Path = Field(default=Path("benchmark_output"), description="The folder that results go to.")
    num_threads: int | None = Field(
        default=None,
        ge=1,
        le=MAX_COUNT,
        description="Most requests in flight per deployment; replaces the deployment's own limit.",
    )
    max_loaded_models: int = Field(
        default=1,
        ge=1,
        le=MAX_COUNT,
        description="Most local models in memory at once; the rest are loaded in turn.",
    )
    dry_run: bool = Field(default=False, description="Only show the plan.")
    data_dir: Path | None = Field(
        default=None, description="Local mirror of benchmark files (or set EVALKIT_DATA_DIR)."
    )
    offline: bool = Field(default=False, description="Never download a benchmark file.")
    unverified_data: bool = Field(
        default=False, description="Accept benchmark files whose checksum is not the pinned one."
    )
    no_window: bool = Field(
        default=False, description="Send prompts whole, even if they exceed the model's context window."
    )
    model_deployments: tuple[Path, ...] = Field(
        default=(),
        description="YAML files with deployments (default: model_deployments.yaml if it is there).",
    )
    plugins: tuple[str, ...] = Field(
        default=(), description="Plugins to load: a module name or a path to a .py file."
    )
    fresh: bool = Field(
        default=False, description="Start over: move these runs' results aside, and send all requests again."
    )
    retry_unclear: bool = Field(
        default=False, description="Ask judges again where earlier starts got unclear replies three times."
    )
    cache: bool = Field(
        default=False,
        description="Also take answers to the very same requests from a cache shared by all suites.",
    )
    trackers: tuple[str, ...] = Field(
        default=(),
        description="Trackers that report the runs elsewhere, such as jsonl:path=events.jsonl.",
    )
    wandb: str | None = Field(
        default=None,
        pattern=r"^([A-Za-z0-9_.\-]+/)?[A-Za-z0-9_.\-]+$",
        description="Report the runs to this W&B project, written entity/project or project.",
    )
    sandbox: str | None = Field(
        default=None,
        description="Where model-written programs run: bubblewrap (the default), docker[:IMAGE] or "
        "podman[:IMAGE] (or set EVALKIT_SANDBOX).",
    )
    budget_usd: float | None = Field(
        default=None, gt=0, description="Stop before spending more than this, in US dollars."
    )
    budget_tokens: int | None = Field(
        default=None, gt=0, description="Stop before using more tokens than this."
    )

    @model_validator(mode="before")
    @classmethod
    def _other_names(cls, values: Any) -> Any:
        """`conf_file` is another name of `conf_paths`, for one file or several."""
        if not isinstance(values, Mapping) or CONF_FILE not in values:
            return values
        rest = {name: value for name, value in values.items() if name != CONF_FILE}
        return {**rest, "conf_paths": [*_listed(rest.get("conf_paths", ())), *_listed(values[CONF_FILE])]}

    @field_validator("suite")
    @classmethod
    def _is_a_folder(cls, suite: str) -> str:
        try:
            return checked_suite(suite)
        except UsageError as error:
            raise ValueError(str(error)) from None

    @field_validator("sandbox")
    @classmethod
    def _is_a_sandbox(cls, sandbox: str | None) -> str | None:
        if sandbox is not None:
            try:
                read_choice(sandbox)
            except UsageError as error:
                raise ValueError(str(error)) from None
        return sandbox

    @field_validator("output_path", "data_dir", "conf_paths", "nejumi_config", "model_deployments")
    @classmethod
    def _have_no_nul(cls, given: Any) -> Any:
        if any("\0" in str(path) for path in (given if isinstance(given, tuple) else (given,))):
            raise ValueError("a path can't hold a NUL character")
        return given

    @property
    def suite_path(self) -> Path:
        """The folder that holds the run directories of this suite."""
        return self.output_path / "runs" / self.suite

    def tracker_calls(self) -> tuple[str, ...]:
        """The trackers, that of `wandb` included."""
        return (*self.trackers, *([wandb_call(self.wandb)] if self.wandb else []))

    def mirror(self) -> Path | None:
        """The local mirror of benchmark files, from the option or EVALKIT_DATA_DIR."""
        if self.data_dir is not None:
            return self.data_dir
        value = os.environ.get("EVALKIT_DATA_DIR")
        return Path(value) if value else None

    def deployment_files(self) -> list[Path]:
        """The deployment files to read; the one of the working directory if none is named."""
        if self.model_deployments:
            return list(self.model_deployments)
        default = Path("model_deployments.yaml")
        return [default] if default.is_file() else []


def wandb_call(place: str) -> str:
    """The tracker for `entity/project` or `project` on W&B."""
    entity, _, project = place.rpartition("/")
    return f"wandb:entity={entity},project={project}" if entity else f"wandb:project={project}"


def _listed(value: Any) -> Sequence[Any]:
    return (value,) if isinstance(value, str | Path) else value or ()


def read_options(config: Path | None, given: Mapping[str, Any]) -> RunOptions:
    """The options of a YAML file, overridden by those given.

    Raises:
        ConfigError: The file is missing or no YAML, or has an unknown key or a wrong value.
        UsageError: A given option has a wrong value.
    """
    values = _read_yaml(config) if config is not None else {}
    if {CONF_FILE, "conf_paths"} & given.keys():
        # Whatever it is called: what is given wins over the file.
        values = {name: value for name, value in values.items() if name not in (CONF_FILE, "conf_paths")}
    values.update(given)
    try:
        return RunOptions.model_validate(values)
    except ValidationError as error:
        raise _explain(error, config, given) from None


def _explain(error: ValidationError, config: Path | None, given: Mapping[str, Any]) -> UsageError:
    first = error.errors()[0]
    name = str(first["loc"][0])
    if first["type"] == "extra_forbidden":
        nearest = nearest_names(name, RunOptions.model_fields)
        problem = f"no option '{shown_name(name)}'" + (f"; did you mean '{nearest[0]}'?" if nearest else "")
    else:
        problem = f"option '{name}': {first['msg']}, got {first['input']!r}"
    if config is not None and name not in given:
        return ConfigError(f"{config}: {problem}")
    return UsageError(problem)


def _read_yaml(config: Path) -> dict[str, Any]:
    import yaml

    text = read_text(config)
    try:
        loader, root = compose(yaml.SafeLoader, text)
        if root is None:
            return {}
        check_values(root)
        loaded = loader.construct_document(root)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{config}: not valid YAML: {' '.join(str(error).split())}") from None
    if loaded is None:
        return {}
    if not isinstance(loaded, dict):
        raise ConfigError(f"{config}: expected options as `name: value` lines")
    return {key: _relative_to(config, key, value) for key, value in loaded.items()}


_LISTS = (
    "run_entries",
    "models_to_run",
    "groups_to_run",
    "plugins",
    "conf_paths",
    "nejumi_config",
    "model_deployments",
    "trackers",
)
_PATH_OPTIONS = (CONF_FILE, "conf_paths", "nejumi_config", "output_path", "data_dir", "model_deployments")


def _relative_to(config: Path, key: str, value: Any) -> Any:
    """Paths in a config file are relative to its folder; a single string may be given for a list."""
    if key in _LISTS and isinstance(value, str):
        value = [value]
    folder = config.parent
    if key in _PATH_OPTIONS and isinstance(value, str):
        return folder / value
    if key in _PATH_OPTIONS and isinstance(value, Sequence):
        return [folder / str(item) for item in value]
    if key == "plugins" and isinstance(value, Sequence):
        return [str(folder / item) if str(item).endswith(".py") else str(item) for item in value]
    return value
