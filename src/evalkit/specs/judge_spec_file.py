"""A judge in a file of the user's: the fields of `JudgeSpec` as YAML or JSON."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from evalkit.errors import ConfigError, nearest_names
from evalkit.specs.run_spec import JudgeSpec
from evalkit.yaml_text import check_values, compose, read_text

SUFFIXES = (".yaml", ".yml", ".json")


def read_judge_spec(path: Path) -> JudgeSpec:
    """The judge that a file describes.

    Raises:
        ConfigError: The file can't be read, or is not a judge spec; names the field.
    """
    import yaml

    text = read_text(path, "utf-8-sig")
    try:
        loader, root = compose(yaml.SafeLoader, text)
        if root is not None:
            check_values(root)
        plain = None if root is None else loader.construct_document(root)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(plain, dict):
        raise ConfigError(
            f"{path}: needs `name`, the judge, and perhaps `args` and other fields of a judge spec"
        )
    try:
        return JudgeSpec.model_validate(plain)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        if first["type"] != "extra_forbidden":
            raise ConfigError(f"{path}: '{place}': {first['msg']}") from None
        near = nearest_names(place, JudgeSpec.model_fields, 1)
        hint = f"did you mean '{near[0]}'?" if near else "arguments of the judge stand below `args`"
        raise ConfigError(f"{path}: a judge spec has no '{place}'; {hint}") from None
