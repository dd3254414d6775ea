"""The documentation is checked like code: links, commands, snippets, tables and the generated catalogue."""

from __future__ import annotations

import os
import re
import runpy
import shlex
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import fields
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import click
import pytest

from tests.end_to_end.forked import ForkedCommand

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").glob("*.md")],
    key=lambda page: page.relative_to(ROOT).as_posix(),
)
_FENCE = re.compile(r"^```(?P<info>[^\n`]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\((?P<target>[^)\s]+)\)")
_HEADING = re.compile(r"^#+ (?P<text>.+)$", re.MULTILINE)


class Block(NamedTuple):
    """A fenced block: the words after its opening fence, and its text."""

    page: Path
    line: int
    info: tuple[str, ...]
    text: str


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(language: str) -> list[Any]:
    """All blocks of a language as test parameters named `page:line`."""
    found = [
        Block(page, text.count("\n", 0, match.start()) + 1, tuple(match["info"].split()), match["text"])
        for page in PAGES
        for text in [page.read_text(encoding="utf-8")]
        for match in _FENCE.finditer(text)
    ]
    return [pytest.param(b, id=f"{name_of(b.page)}:{b.line}") for b in found if b.info[:1] == (language,)]


def prose(page: Path) -> str:
    """A page without its fenced blocks."""
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    titles = [match["text"].replace("`", "") for match in _HEADING.finditer(prose(page))]
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def all_of(names: Iterable[str], page: str) -> list[str]:
    """The names that a page does not have in code style."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return [name for name in names if f"`{name}`" not in text]


# Pages and links


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    for match in _LINK.finditer(prose(page)):
        path, _, anchor = match["target"].partition("#")
        if re.match(r"[a-z]+:", path):
            continue
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{match[0]} leads nowhere"
        if anchor:
            assert anchor in anchors(target), f"{match[0]}: no such heading among {sorted(anchors(target))}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_page_has_one_title_and_closed_fences(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert re.match(r"# \S", text)
    assert len(re.findall(r"^# ", prose(page), re.MULTILINE)) == 1
    assert len(re.findall(r"^```", text, re.MULTILINE)) == 2 * len(_FENCE.findall(text))


def test_every_page_can_be_reached() -> None:
    """The README and the pages it leads to lead to all pages in docs/."""
    reached, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached or page.suffix != ".md":
            continue
        reached.add(page)
        targets = [match["target"].partition("#")[0] for match in _LINK.finditer(prose(page))]
        waiting += [(page.parent / path).resolve() for path in targets if path and ":" not in path]
    pages = {page for page in PAGES if (ROOT / "docs") in page.parents}
    assert not [name_of(page) for page in sorted(pages - reached)]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_no_path_of_a_machine(page: Path) -> None:
    assert not re.search(r"(?<![\w.~])/(?:work|home|root|tmp|Users)/", page.read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", sorted((ROOT / "docs" / "decisions").glob("*.md")), ids=name_of)
def test_a_decision_is_dated_and_has_reason_and_alternatives(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert re.search(r"^\d{4}-\d{2}-\d{2}$", text, re.MULTILINE)
    assert all(f"**{part}.**" in text for part in ("Decision", "Reason", "Alternatives"))


# Commands


def commands(block: Block) -> Iterator[list[str]]:
    """The commands of a console block as words; output is passed over, pipes are taken apart."""
    for line in block.text.replace("\\\n", " ").splitlines():
        if line.startswith("$ "):
            words = shlex.split(line[2:], comments=True)
            while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                words.pop(0)
            cuts = [-1, *(i for i, word in enumerate(words) if word in ("|", "&&", ">")), len(words)]
            yield from (words[a + 1 : b] for a, b in pairwise(cuts))


def check_evalkit_command(words: list[str]) -> None:
    """Fail unless the subcommand and all flags exist."""
    from evalkit.cli.app import command as made

    command = made()
    rest = words[1:]
    while hasattr(command, "commands") and rest and not rest[0].startswith("-"):
        assert rest[0] in command.commands, f"no command '{rest[0]}'"
        command = command.commands[rest.pop(0)]
    known = {flag for param in command.params for flag in (*param.opts, *param.secondary_opts)} | {"--help"}
    for word in rest:
        if re.match(r"--?[a-z]", word):
            assert word.partition("=")[0] in known, f"'{command.name}' has no flag '{word}'"


@pytest.mark.parametrize("block", blocks("console"))
def test_console_commands_exist(block: Block) -> None:
    found = list(commands(block))
    assert found, "a console block without a command"
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for words in found:
        if words[0] == "evalkit":
            check_evalkit_command(words)
        elif words[0] == "make":
            assert re.search(rf"^{words[1]}:", makefile, re.MULTILINE), f"no target '{words[1]}'"
        else:
            assert words[0] in ("source", "python", "pip"), f"unexpected command {words[0]}"


def test_the_command_check_would_notice() -> None:
    for wrong in ("evalkit rnu", "evalkit run --no-such-flag", "evalkit new scenari x"):
        with pytest.raises(AssertionError):
            check_evalkit_command(shlex.split(wrong))
    check_evalkit_command(shlex.split("evalkit run -r gsm:model=x --data-dir=there -m 3"))


def test_cli_page_lists_every_command_and_flag() -> None:
    from evalkit.cli.app import command as made

    page = (ROOT / "docs/cli.md").read_text(encoding="utf-8")
    command = made()
    for name, sub in command.commands.items():
        assert f"`evalkit {name}" in page
        flags = [p.opts for p in sub.params if isinstance(p, click.Option) or p.param_type_name == "option"]
        for spellings in flags:
            for flag in spellings:
                assert f"`{flag}`" in page or flag == "--help", f"{name} {flag} is not in cli.md"


# Samples of what commands print

# What depends on time, or needs a server or data, is marked `console example`; the rest is run.
EXAMPLE = "example"
LEFT_OUT = "…"
SAMPLED_PAGES = ("README.md", "docs/quickstart.md", "docs/run-entries.md")
NUM_SAMPLES = 8


def samples(block: Block) -> list[tuple[str, list[str]]]:
    """The commands of a console block that are shown with what they print, as lines."""
    found: list[tuple[str, list[str]]] = []
    for line in block.text.replace("\\\n", " ").splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        else:
            found[-1][1].append(line)
    return [(command, printed) for command, printed in found if printed]


def agrees(shown: list[str], printed: list[str]) -> bool:
    """Whether these lines were printed, in order; a line of `…` in place of any number of others."""
    if not shown:
        return not printed
    if shown[0] == LEFT_OUT:
        return any(agrees(shown[1:], printed[start:]) for start in range(len(printed) + 1))
    return bool(printed) and shown[0] == printed[0] and agrees(shown[1:], printed[1:])


def evalkit_prints(command: str, folder: Path) -> list[str]:
    """All that a command of evalkit prints, as a reader sees it: both streams, as wide as need be."""
    words = shlex.split(command)
    assert words[0] == "evalkit", command
    return run_forked(words, folder)[1].splitlines()


def run_forked(words: list[str], folder: Path) -> tuple[int, str]:
    """What a process of its own ends with and prints, to both streams."""
    wide = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    streams: dict[str, Any] = {
        "stdin": subprocess.DEVNULL,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.STDOUT,
    }
    process = ForkedCommand(words, cwd=folder, env=wide, **streams)
    printed, _ = process.communicate()
    return process.returncode, printed


def test_cli_page_lists_every_flag_of_the_double() -> None:
    text = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    section = text.partition("## The double of a server\n")[2].partition("\n## ")[0]
    told = subprocess.run(
        [sys.executable, "-m", "evalkit.testing.server", "--help"], capture_output=True, text=True, check=True
    ).stdout
    flags = set(re.findall(r"--[a-z][a-z-]+", told)) - {"--help"}
    assert {"--answers", "--required-key", "--log"} < flags
    assert set(re.findall(r"`(--[a-z-]+)`", section)) == flags


def test_shown_output_is_checked_or_marked() -> None:
    shown = [p.values[0] for p in blocks("console") if samples(p.values[0])]
    checked = [b for b in shown if EXAMPLE not in b.info]
    assert {name_of(b.page) for b in checked} == set(SAMPLED_PAGES)
    assert sum(len(samples(b)) for b in checked) == NUM_SAMPLES


@pytest.mark.parametrize("page", SAMPLED_PAGES)
def test_commands_print_what_is_shown(page: str, tmp_path: Path) -> None:
    """One after the other in one folder, with the deployments of the page, as a reader would type them."""
    yaml = [p.values[0] for p in blocks("yaml") if p.values[0].info[1:2] == ("deployments",)]
    deployments = next((b.text for b in yaml if name_of(b.page) == page), "model_deployments: []")
    (tmp_path / "model_deployments.yaml").write_text(deployments, encoding="utf-8")
    for param in blocks("console"):
        block = param.values[0]
        if name_of(block.page) == page and EXAMPLE not in block.info:
            for command, shown in samples(block):
                printed = evalkit_prints(command, tmp_path)
                assert agrees(shown, printed), "\n".join([f"{param.id}: {command} prints", *printed])


def test_the_table_of_an_example_has_todays_columns() -> None:
    from evalkit.cli.table import COLUMNS

    tables = [
        line
        for p in blocks("console")
        for line in p.values[0].text.splitlines()
        if re.match(r" ?run +metric ", line)
    ]
    assert len(tables) >= 2
    for heading in tables:
        assert re.split(r" {2,}", heading) == list(COLUMNS)


def test_json_samples_are_what_is_printed(tmp_path: Path) -> None:
    """A sample may cut a long text (`…`) and leave an object empty; all else is as printed."""
    import orjson

    evalkit_prints("evalkit run -q -r arithmetic:digits=1,model=evalkit/majority", tmp_path)
    sampled = [p.values[0] for p in blocks("json") if p.values[0].info[1:2] == ("evalkit",)]
    assert len(sampled) == 2
    for block in sampled:
        command = " ".join(block.info[1:])
        printed = orjson.loads("\n".join(evalkit_prints(command, tmp_path)))
        row = printed[0] if isinstance(printed, list) else printed
        shown = orjson.loads(block.text)
        assert list(shown) == list(row)
        for name, value in shown.items():
            if isinstance(value, str) and value.endswith(LEFT_OUT):
                assert row[name].startswith(value.removesuffix(LEFT_OUT)), name
            elif value == {}:
                assert isinstance(row[name], dict), name
            elif isinstance(value, float):
                assert row[name] == pytest.approx(value), name
            else:
                assert row[name] == value, name


def test_the_sample_check_would_notice() -> None:
    assert agrees(["a", LEFT_OUT, "c"], ["a", "b", "b", "c"])
    for wrong in (["a"], ["a", "c"], ["a", LEFT_OUT, "d"], ["a", "b", "c", "d"]):
        assert not agrees(wrong, ["a", "b", "c"])


# Snippets


@pytest.mark.parametrize("block", blocks("python"))
def test_python_compiles(block: Block) -> None:
    compile(block.text, f"{name_of(block.page)}:{block.line}", "exec")


@pytest.mark.parametrize("block", [p for p in blocks("python") if "runnable" in p.values[0].info])
def test_runnable_python_runs(block: Block, tmp_path: Path) -> None:
    """In a process and a folder of its own, as a reader would run it."""
    code, printed = run_forked(["-c", block.text], tmp_path)
    assert code == 0, printed


@pytest.mark.parametrize("block", blocks("yaml"))
def test_yaml_is_what_it_says(block: Block, tmp_path: Path) -> None:
    from evalkit.clients.factory import check_client
    from evalkit.leaderboards.tree_file import read_leaderboard
    from evalkit.models.catalog import ModelCatalog
    from evalkit.plugins import load_builtins
    from evalkit.routers.router import build_router
    from evalkit.runs.options import read_options
    from evalkit.specs.conf import parse_conf
    from evalkit.specs.judge_spec_file import read_judge_spec

    load_builtins()
    path = tmp_path / "file.yaml"
    path.write_text(block.text, encoding="utf-8")
    kind = block.info[1] if len(block.info) > 1 else "unmarked"
    if kind == "deployments":
        models = ModelCatalog.load([path])
        for name in re.findall(r"^  - name: (\S+)$", block.text, re.MULTILINE):
            for member in models.members(name):
                assert check_client(member)["model"]
            if (routed := models.routed(name)) is not None:
                assert build_router(routed).members == routed.members
    elif kind == "conf":
        assert parse_conf(block.text, "page", is_yaml=True)
    elif kind == "leaderboard":
        assert read_leaderboard(path).parts
    elif kind == "judge":
        assert read_judge_spec(path).name
    else:
        assert kind == "options", "mark a YAML block as deployments, conf, leaderboard, judge or options"
        assert read_options(path, {}).run_entries


@pytest.mark.parametrize("block", blocks("hocon"))
def test_conf_files_can_be_read(block: Block) -> None:
    from evalkit.specs.conf import parse_conf

    assert parse_conf(block.text, "page")


@pytest.mark.parametrize("block", blocks("json"))
def test_json_is_json(block: Block) -> None:
    import orjson

    assert orjson.loads(block.text)


# Tables that repeat what the code says


def test_the_catalogue_is_fresh() -> None:
    generated = runpy.run_path(str(ROOT / "docs/make_catalogue.py"))["catalogue_markdown"]()
    page = (ROOT / "docs/catalogue.md").read_text(encoding="utf-8")
    assert page == generated, "run: python docs/make_catalogue.py"


def test_the_tables_of_deviations_from_helm_are_fresh() -> None:
    generated = runpy.run_path(str(ROOT / "docs/make_helm.py"))["helm_markdown"]()
    page = (ROOT / "docs/helm.md").read_text(encoding="utf-8")
    assert page == generated, "write rows into docs/helm_deviations.json, then run: python docs/make_helm.py"


def test_the_tables_of_nejumis_keys_are_fresh() -> None:
    generated = runpy.run_path(str(ROOT / "docs/make_nejumi.py"))["nejumi_markdown"]()
    page = (ROOT / "docs/nejumi.md").read_text(encoding="utf-8")
    assert page == generated, "run: python docs/make_nejumi.py"
    assert all(f"| `{key}` |" in page for key in ("mtbench.num_gpus_per_model", "mtbench.max_gpu_memory"))


def test_every_expander_is_described() -> None:
    from evalkit.plugins import builtin_catalog

    assert not all_of((e["name"] for e in builtin_catalog()["expander"]), "docs/run-entries.md")


def test_every_deployment_field_and_provider_is_described() -> None:
    from evalkit.models.deployment import Limits, ModelDeployment, Prices
    from evalkit.models.metadata import WILDCARDS, ModelMetadata
    from evalkit.models.provider import PROVIDERS

    deployment = [name for name in ModelDeployment.model_fields if name != "client_spec"]
    names = [*deployment, *Limits.model_fields, *Prices.model_fields, *ModelMetadata.model_fields, *WILDCARDS]
    names += [f"{prefix}/" for prefix in PROVIDERS]
    names += [p.api_key_env for p in PROVIDERS.values() if p.api_key_env]
    assert not all_of(names, "docs/models.md")


def test_defaults_of_limits_are_right() -> None:
    from evalkit.models.deployment import Limits

    page = (ROOT / "docs/models.md").read_text(encoding="utf-8")
    for name, value in Limits().model_dump().items():
        shown = "none" if value is None else f"{value:g}"
        assert re.search(rf"^\| `{name}` \|.*\| {re.escape(shown)} \|$", page, re.MULTILINE), name


def test_every_stored_field_is_described() -> None:
    from evalkit.request import RequestState
    from evalkit.results.manifest import Manifest
    from evalkit.scoring.stat import Stat

    assert not all_of((f.name for f in fields(Manifest)), "docs/run-directory.md")
    assert not all_of((f.name for f in fields(RequestState)), "docs/run-directory.md")
    assert not all_of(Stat.stored_names(), "docs/statistics.md")


def test_every_record_and_result_field_is_described() -> None:
    from evalkit.results.run_result import RunResult
    from evalkit.results.stored_run import InstanceRecord

    names = [f.name for kind in (InstanceRecord, RunResult) for f in fields(kind)]
    assert not all_of(names, "docs/python-api.md")


def test_exit_codes_are_the_codes() -> None:
    from evalkit.runs.runner import EXIT_CODES

    for page in ("README.md", "docs/cli.md"):
        listed = re.findall(r"^\| (\d+) \|", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE)
        assert {int(code) for code in listed} == {*EXIT_CODES.values(), 2}
