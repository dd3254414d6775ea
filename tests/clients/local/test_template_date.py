"""A chat template that asks for the date gets the same one always."""

from __future__ import annotations

import datetime
import shutil
from pathlib import Path
from typing import Any

import pytest

from evalkit.clients.local.facts import model_identity
from evalkit.clients.local.prompting import ChatStyle, Prompter
from evalkit.clients.local.template_date import DEFAULT_DAY, asks_for_date, day_of, on_day
from evalkit.errors import UsageError
from evalkit.request import Message, Request

utils: Any = pytest.importorskip("transformers.utils.chat_template_utils")

DATED = (
    "{% if not date_string is defined %}{% if strftime_now is defined %}"
    "{% set date_string = strftime_now('%d %b %Y') %}{% endif %}{% endif %}"
    "Today: {{ date_string }}. {% for message in messages %}{{ message.content }}{% endfor %}"
)
TEMPLATES = [
    DATED,
    "\n  {%- if true %}\n  {{ strftime_now('%Y-%m-%d') }}\n{% endif %}\n",
    "  {% if true %}{{ strftime_now(format='%A %-d/%-m/%y %H:%M:%S %j %p 100%% %%Y') }}{% endif %}",
    "{% macro when() %}{{ strftime_now('%B') | upper }}{% endmacro %}{{ when() }}",
    "{{ strftime_now('%Y') | int + 1 }}",
    "{{- messages[0].content }} {{ strftime_now('') }}{{ strftime_now('no code') }}",
]


def rendered(template: str, **variables: Any) -> str:
    made: str = utils.render_jinja_template(
        [[{"role": "user", "content": "hello"}]], chat_template=template, **variables
    )[0][0]
    return made


@pytest.mark.parametrize("template", TEMPLATES)
def test_it_is_what_the_template_writes_on_that_day(template: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Noon(datetime.datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Noon:
            return cls(2025, 3, 4, 12)

    fixed = rendered(on_day(template, "2025-03-04"))
    monkeypatch.setattr(utils, "datetime", Noon)
    assert fixed == rendered(template)


def test_templates_without_a_date_stay_as_they_are() -> None:
    template = "{# strftime_now is not called #}{{ messages[0].content }}"
    assert not asks_for_date(template)
    assert on_day(template, DEFAULT_DAY) == template


@pytest.mark.parametrize("day", ["tomorrow", "2025-13-01", "26 Jul 2024", ""])
def test_a_day_is_a_date(day: str) -> None:
    with pytest.raises(UsageError, match="chat_date is"):
        day_of(day)


def test_prompts_have_the_day_and_say_so() -> None:
    from transformers import AutoTokenizer

    from evalkit.models.weights import SHIPPED

    tokenizer = AutoTokenizer.from_pretrained(SHIPPED["evalkit/tiny"])
    chat = Request("", messages=(Message("user", "hello"),))

    def prompt(**style: Any) -> tuple[str, tuple[str, ...]]:
        prompter = Prompter(tokenizer, ChatStyle(DATED, **style))
        (made,) = prompter.prompts([chat])
        return tokenizer.decode(made.ids), prompter.notes  # type: ignore[union-attr]

    text, (note,) = prompt()
    assert "Today: 26 Jul 2024." in text
    assert "2024-07-26 in all runs (chat_date)" in note
    assert "Today: 31 Jan 2025." in prompt(day="2025-01-31")[0]
    assert "Today: yesterday." in prompt(args={"date_string": "yesterday"})[0]


def test_the_day_is_part_of_the_identity_where_it_is_written(tmp_path: Path) -> None:
    from evalkit.models.weights import SHIPPED

    folder = tmp_path / "model"
    shutil.copytree(SHIPPED["evalkit/tiny"], folder)
    plain = {"model": str(folder)}
    assert "chat_date" not in model_identity(plain, frozenset())
    assert model_identity({**plain, "chat_date": "2025-01-31"}, frozenset()) == model_identity(
        plain, frozenset()
    )
    template = tmp_path / "dated.jinja"
    template.write_text(DATED)
    dated = {**plain, "chat_template": str(template)}
    assert model_identity(dated, frozenset())["chat_date"] == DEFAULT_DAY
    assert model_identity({**dated, "chat_date": "2025-01-31"}, frozenset())["chat_date"] == "2025-01-31"
    (folder / "chat_template.jinja").write_text(DATED)
    assert model_identity(plain, frozenset())["chat_date"] == DEFAULT_DAY
