from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.errors import ConfigError
from evalkit.judges.prompt_template import PromptTemplate, filled, read_prompt_template
from evalkit.request import Message, Request

KNOWN = ("question", "answer", "reference")
REQUIRED = ("question", "answer")


def written(tmp_path: Path, text: str, name: str = "judge.txt") -> Path:
    path = tmp_path / name
    path.write_bytes(text.encode())
    return path


def test_what_is_filled_in_is_not_looked_at_again() -> None:
    template = PromptTemplate("{question}\n{answer}\n{question}")
    values = {"question": "What is {answer}?", "answer": "{question} {{x}} {0} {} }{ {"}
    assert (
        template.request(values).prompt
        == "What is {answer}?\n{question} {{x}} {0} {} }{ {\nWhat is {answer}?"
    )


@given(st.text(), st.text())
def test_any_text_is_filled_in_unchanged(question: str, answer: str) -> None:
    assert (
        filled("<{question}|{answer}>", {"question": question, "answer": answer}) == f"<{question}|{answer}>"
    )


@pytest.mark.parametrize(
    "braces",
    [
        '{"rating": 5}',
        '{"a": {"b": {}}}',
        "{ question }",
        "{0}",
        "{}",
        "}{",
        "{question!r}",
        "f(x) = {x + 1}",
    ],
)
def test_other_braces_are_text(braces: str) -> None:
    assert filled(f"{braces} {{answer}}", {"answer": "42"}) == f"{braces} 42"


def test_a_placeholder_as_text() -> None:
    template = PromptTemplate("{{question}} {answer}")
    assert template.placeholders == {"answer"}
    assert filled(template.user, {"answer": "42"}) == "{question} 42"


def test_a_text_file_is_the_users_message(tmp_path: Path) -> None:
    template = read_prompt_template(written(tmp_path, "Q: {question}\r\nA: {answer}\n"), KNOWN, REQUIRED)
    assert template == PromptTemplate("Q: {question}\nA: {answer}\n")
    request = template.request({"question": "1+1", "answer": "2"}, temperature=0.5, max_tokens=7)
    assert request == Request("Q: 1+1\nA: 2\n", temperature=0.5, max_tokens=7)


@pytest.mark.parametrize("name", ["judge.yaml", "judge.yml", "judge.json"])
def test_a_file_with_a_system_message(tmp_path: Path, name: str) -> None:
    text = '{"system": "You judge {reference}.", "user": "{question} {answer}"}'
    template = read_prompt_template(written(tmp_path, text, name), KNOWN, REQUIRED)
    assert template.placeholders == {"question", "answer", "reference"}
    request = template.request({"question": "a", "answer": "b", "reference": "c"})
    assert request.messages == (Message("system", "You judge c."), Message("user", "a b"))


def test_the_digest_is_that_of_the_content(tmp_path: Path) -> None:
    text = "{question} {answer}"
    digests = {
        read_prompt_template(written(tmp_path, text, name), KNOWN).digest for name in ("a.txt", "b.md")
    }
    digests.add(read_prompt_template(written(tmp_path, f"user: '{text}'", "c.yaml"), KNOWN).digest)
    assert len(digests) == 1
    assert read_prompt_template(written(tmp_path, f"{text} "), KNOWN).digest not in digests
    with_system = PromptTemplate(text, "Be strict.")
    assert with_system.digest not in digests


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("t.txt", "{question}\n  {anwser} {answer}", "user message, line 2, column 3: unknown placeholder"),
        ("t.txt", "{question}\n  {anwser} {answer}", "{anwser}; did you mean {answer}?"),
        ("t.txt", "{question} {answer} {zzz}", "known are {answer}, {question}, {reference}"),
        ("t.txt", "{question} {answer} {zzz}", "For the text itself write {{zzz}}"),
        ("t.txt", "{question}", "the template lacks {answer}"),
        ("t.txt", "{{question}} {answer}", "the template lacks {question}"),
        ("t.txt", " \n", "user message is empty"),
        ("t.yaml", "system: '{foo}'\nuser: '{question} {answer}'", "system message, line 1, column 1"),
        ("t.yaml", "users: '{question}'", "needs `user`"),
        ("t.yaml", "user: '{question} {answer}'\nrole: x", "unknown key 'role'"),
        ("t.yaml", "user: '{question} {answer}'\nsystem: 5", "`system` must be a text"),
        ("t.yaml", "user: [", "not valid YAML"),
        ("t.yaml", "", "needs `user`"),
        ("t.json", "[]", "needs `user`"),
    ],
)  # fmt: skip
def test_a_wrong_template_is_refused_with_place_and_remedy(
    tmp_path: Path, name: str, text: str, message: str
) -> None:
    path = written(tmp_path, text, name)
    with pytest.raises(ConfigError) as caught:
        read_prompt_template(path, KNOWN, REQUIRED)
    assert str(path) in str(caught.value)
    assert message in str(caught.value)


def test_a_missing_file_and_one_that_is_not_text(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        read_prompt_template(tmp_path / "none.txt", KNOWN)
    path = tmp_path / "bytes.txt"
    path.write_bytes(b"\xff\xfe{question}")
    with pytest.raises(ConfigError, match="can't be read"):
        read_prompt_template(path, KNOWN)
