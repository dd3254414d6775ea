"""Writes the tables of `nejumi.md` from the code: run `python docs/make_nejumi.py`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from evalkit.interchange.nejumi.apis import API_KINDS
from evalkit.interchange.nejumi.artifacts import ARTIFACTS
from evalkit.interchange.nejumi.later_config import LaterConfig
from evalkit.interchange.nejumi.neo_config import NeoConfig
from evalkit.interchange.nejumi.section import Section, rows
from evalkit.models.provider import PROVIDERS

PAGE = Path(__file__).with_name("nejumi.md")
_MARK = re.compile(r"<!-- table: ([\w ]+) -->\n(?:\n\|[^\n]*(?:\n\|[^\n]*)*\n)?")
_WIRES = {
    "openai": "OpenAI's chat completions",
    "anthropic": "Anthropic's Messages",
    "bedrock": "Bedrock's Converse",
}


def _table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    table = [head, ["---"] * len(head), *lines]
    return "".join(f"| {' | '.join(line)} |\n" for line in table)


def _value(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f"`{value!r}`" if "\n" in value or value == "" else f"`{value}`"
    return f"`{value}`"


def _keys(config: type[Section]) -> Iterator[Sequence[str]]:
    for row in rows(config):
        name = f"`{row.path}`"
        if row.spelled:
            name += ", also " + ", ".join(f"`{each}`" for each in row.spelled)
        yield name, row.use, row.meaning, _value(row.default)


def _kinds() -> Iterator[Sequence[str]]:
    for kind in API_KINDS:
        provider = PROVIDERS[kind.prefix]
        own = (provider.api_key_env,) if provider.api_key_env else ("AWS_BEARER_TOKEN_BEDROCK",)
        variables = ", ".join(f"`{name}`" for name in (*own, *kind.key_variables))
        names = ", ".join(f"`{name}`" for name in kind.names)
        yield names, f"`{kind.prefix}/`", _WIRES[provider.client], variables, kind.remark or "–"


def _artifacts() -> Iterator[Sequence[str]]:
    for name, known in ARTIFACTS.items():
        paths = ", ".join(f"`{path}`" if path else "the benchmark's own" for path in known.paths)
        yield f"`{name}`", paths, known.remark or "–"


def tables() -> Mapping[str, str]:
    """The tables of the page, by the name in their mark."""
    head = ("key", "is", "what evalkit does", "template")
    return {
        "api kinds": _table(("`api`", "provider", "protocol", "key", "remark"), _kinds()),
        "neo": _table(head, _keys(NeoConfig)),
        "later": _table(head, _keys(LaterConfig)),
        "artifacts": _table(("artifact", "files", "remark"), _artifacts()),
    }


def nejumi_markdown() -> str:
    """The page with its tables made anew."""
    made = tables()
    return _MARK.sub(
        lambda mark: f"<!-- table: {mark[1]} -->\n\n{made[mark[1]]}", PAGE.read_text(encoding="utf-8")
    )


if __name__ == "__main__":
    PAGE.write_text(nejumi_markdown(), encoding="utf-8")
