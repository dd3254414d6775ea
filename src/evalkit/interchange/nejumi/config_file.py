"""YAML files of Nejumi as checked configs, every mistake with its file and line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, NoReturn, TypeVar

from pydantic import ValidationError

from evalkit.errors import ConfigError, nearest_names
from evalkit.interchange.nejumi.section import Section, rows, section_of, spellings
from evalkit.models.secret_names import says_secret
from evalkit.models.secret_texts import holds_key
from evalkit.models.yaml_entries import load_with_lines
from evalkit.redaction import shown_name
from evalkit.specs.conf import Keys

C = TypeVar("C", bound=Section)
_WHERE_KEYS_GO = "remove it, and put it into the environment variable of its API"
_MOST_SHOWN = 20


@dataclass(frozen=True, slots=True)
class ConfigText:
    """What one or several YAML files say together.

    Attributes:
        paths: The files, the base first.
        data: Their values; those of a later file count.
        places: File and line of each key and list item, by its path.
    """

    paths: tuple[Path, ...]
    data: Mapping[str, Any]
    places: Mapping[Keys, str]

    def place(self, keys: Keys) -> str:
        """File and line of a value, or of what holds it."""
        for end in range(len(keys), 0, -1):
            if keys[:end] in self.places:
                return self.places[keys[:end]]
        return str(self.paths[-1])


@dataclass(frozen=True, slots=True)
class Config(Generic[C]):
    """A config with the places of its values.

    Attributes:
        values: The config, checked.
        text: What the files say, with the keys spelled as in the table.
    """

    values: C
    text: ConfigText

    def gives(self, key: str) -> bool:
        """Whether a file sets this key (`model.api`)."""
        return tuple(key.split(".")) in self.text.places

    def refuse(self, *, may_skip: str | None = None) -> tuple[str, ...]:
        """Refuse the keys that evalkit can't follow, all at once.

        Args:
            may_skip: Keys that begin so are returned in place of being refused.

        Returns:
            What of the config is left out, in words.

        Raises:
            ConfigError: A refused key has another value than its default.
        """
        problems, left_out = [], []
        for row in rows(type(self.values)):
            value: Any = self.values
            for part in row.path.split("."):
                value = getattr(value, part, row.default)
            if row.use != "refused" or value == row.default:
                continue
            place = self.text.place(tuple(row.path.split(".")))
            if may_skip is not None and row.path.startswith(may_skip):
                left_out.append(f"{row.path} ({place}): {row.meaning.partition(':')[0]}")
            else:
                problems.append((place, f"{row.path}: {row.meaning}"))
        if problems:
            raise ConfigError(_listed(problems))
        return tuple(left_out)

    def fail(self, key: str, problem: str) -> NoReturn:
        """Raise a ConfigError about a key, with its place."""
        raise ConfigError(f"{self.text.place(tuple(key.split('.')))}: {key}: {problem}")


def read_config_text(*paths: Path) -> ConfigText:
    """What YAML files say together; sections are merged key by key, all else of a later file counts.

    Raises:
        ConfigError: A file can't be read, is not YAML, or holds no keys.
    """
    merged: dict[str, Any] = {}
    places: dict[Keys, str] = {}
    for path in paths:
        data, lines = load_with_lines(path)
        if not isinstance(data, dict):
            raise ConfigError(f"{path}: this is not a config of Nejumi: it has no `key: value` lines")
        found = {keys: f"{path}:{line}" for keys, line in lines.items()}
        _merge(merged, {str(key): value for key, value in data.items()}, (), found, places)
    return ConfigText(paths, merged, places)


def _merge(
    merged: dict[str, Any],
    data: Mapping[str, Any],
    at: Keys,
    found: Mapping[Keys, str],
    places: dict[Keys, str],
) -> None:
    for key, value in data.items():
        here, before = (*at, key), merged.get(key)
        if isinstance(before, dict) and isinstance(value, dict):
            # What comes by `<<`, or has another spelling than its value (`yes`), has no line of its own.
            places[here] = found.get(here, next(iter(found.values())))
            _merge(before, {str(name): inner for name, inner in value.items()}, here, found, places)
            continue
        places.update((keys, place) for keys, place in found.items() if keys[: len(here)] == here)
        merged[key] = value


def checked(kind: type[C], text: ConfigText) -> Config[C]:
    """A config of this kind.

    Raises:
        ConfigError: A key is unknown or given in two spellings, or a value is wrong; all of them are listed,
            each with its place and what would be right.
    """
    places = dict(text.places)
    data, problems = _spelled(kind, text.data, (), places, text)
    respelled = ConfigText(text.paths, data, places)
    problems += [(respelled.place(at), problem) for at, problem in _interpolations(data, ())]
    problems += [(respelled.place(at), problem) for at, problem in _keys_in(data, ())]
    if not problems:
        try:
            return Config(kind.model_validate(data), respelled)
        except ValidationError as invalid:
            found = (_problem(kind, respelled, error) for error in invalid.errors())
            # A value that may be of several kinds has an error for each.
            problems = list(
                {(place, text.partition(": ")[0]): (place, text) for place, text in found}.values()
            )
    raise ConfigError(_listed(problems))


def _listed(problems: Sequence[tuple[str, str]]) -> str:
    lines = [f"{place}: {problem}" for place, problem in problems]
    more = [f"… and {len(lines) - _MOST_SHOWN} more"] if len(lines) > _MOST_SHOWN else []
    return "\n".join([*lines[:_MOST_SHOWN], *more])


def _spelled(
    kind: type[Section], data: Mapping[str, Any], at: Keys, places: dict[Keys, str], text: ConfigText
) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """The data with the table's spellings, empty sections left out, and what is given in two spellings."""
    known, spelled, problems = spellings(kind), {}, []
    for given, value in data.items():
        key, here = known.get(given, given), (*at, given)
        if key != given and key in data:
            problem = f"'{'.'.join(map(str, here))}' and '{key}' (at {text.place((*at, key))}) are one key"
            problems.append((text.place(here), f"{problem}; remove one of them"))
            continue
        field = kind.model_fields.get(key)
        section = None if field is None else section_of(field.annotation)
        if section is not None and value is None:
            continue  # a section without keys
        if section is not None and isinstance(value, Mapping):
            value, inner = _spelled(section, {str(k): v for k, v in value.items()}, here, places, text)
            problems += inner
        if key != given:
            inside = [keys for keys in places if keys[: len(here)] == here]
            places.update({(*at, key, *keys[len(here) :]): places[keys] for keys in inside})
        spelled[key] = value
    return spelled, problems


def _interpolations(value: Any, at: Keys) -> Iterator[tuple[Keys, str]]:
    """Where OmegaConf would look up another value."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _interpolations(inner, (*at, str(key)))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _interpolations(inner, (*at, index))
    elif isinstance(value, str) and "${" in value:
        name = ".".join(map(str, at))
        yield at, f"{name}: interpolations (${{…}}) are not read; write the value itself"


def _keys_in(value: Any, at: Keys) -> Iterator[tuple[Keys, str]]:
    """Where an API key stands: what a config says is kept with the runs, and shown."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _keys_in(inner, (*at, str(key)))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _keys_in(inner, (*at, index))
    elif isinstance(value, str) and holds_key(value):
        name = ".".join(shown_name(str(part)) for part in at)
        yield at, f"{name}: it holds a key, which evalkit would keep with the runs; {_WHERE_KEYS_GO}"


def without_secrets(value: Any, name: str = "") -> Any:
    """What a config says, with … in place of texts whose name says that they are secret."""
    if isinstance(value, Mapping):
        return {key: without_secrets(inner, str(key)) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [without_secrets(inner, name) for inner in value]
    return "…" if isinstance(value, str) and value and says_secret(name) else value


def _problem(kind: type[Section], text: ConfigText, error: Any) -> tuple[str, str]:
    """Place and words of what pydantic finds wrong."""
    where = tuple(error["loc"])
    keys: Keys = ()
    section: type[Section] | None = kind
    for part in where:
        if keys and section is None:
            break  # inside of a value
        keys = (*keys, part)
        field = None if section is None else section.model_fields.get(str(part))
        if field is None:
            break
        section = section_of(field.annotation)
    name = ".".join(shown_name(str(part)) for part in keys)
    place = text.place(keys)
    if error["type"] == "extra_forbidden":
        known = list((section or kind).model_fields)
        nearest = nearest_names(str(keys[-1]), known, limit=1)
        right = f"did you mean '{nearest[0]}'?" if nearest else f"remove it (known: {', '.join(known)})"
        return place, f"unknown key '{name}'; {right}"
    said = error["msg"].removeprefix("Value error, ").removeprefix("Input ")
    return place, f"{name}: {said}, and is {_shown(error['input'])}"


def _shown(value: Any) -> str:
    """A value for people; a text is shown as names are, since it may be a key in the wrong place."""
    if isinstance(value, str):
        return f"'{shown_name(value)}'"
    return repr(value) if isinstance(value, bool | int | float | None) else f"a {type(value).__name__}"
