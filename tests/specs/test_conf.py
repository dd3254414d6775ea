from __future__ import annotations

import csv
import io
import json
import re
import time
from collections import defaultdict
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from evalkit.errors import ConfigError, EntryError
from evalkit.models.catalog import ModelCatalog
from evalkit.specs.conf import ConfEntry, parse_conf, read_conf, read_conf_file
from evalkit.specs.expand import ExpandOptions, expand_entries


def test_helms_conf_files_read_as_helm_reads_them(data_dir: Path, golden: Callable[[str], Any]) -> None:
    observed = defaultdict(list)
    for row in csv.DictReader(io.StringIO(golden("run_names.tsv")), delimiter="\t", quoting=csv.QUOTE_NONE):
        observed[row["conf"]].append((row["description"], int(row["priority"]) if row["priority"] else None))
    paths = sorted((data_dir / "helm_conf").glob("*.conf"))
    assert len(paths) >= 42
    for path in paths:
        found = [(entry.description, entry.priority) for entry in read_conf(path)]
        assert found == observed[path.name], path.name


def test_all_of_helms_conf_files_are_read_in_a_blink(data_dir: Path) -> None:
    paths = list((data_dir / "helm_conf").glob("*.conf"))
    best_s = float("inf")
    for _ in range(3):
        start_s = time.process_time()
        for path in paths:
            read_conf(path)
        best_s = min(best_s, time.process_time() - start_s)
    assert best_s < 0.3


CONF = """
# what we run
"entries": [
  {description: "mmlu:subject=anatomy", priority: 2, groups: ["a", "b"]}  # first
  {"description" = "gsm, (x) # no comment", priority=1},

  {
    groups = []
    description: "say \\"a\\\\b\\""
  },
]"""


def test_what_hocon_lets_one_write() -> None:
    assert parse_conf(CONF, "x.conf") == [
        ConfEntry("mmlu:subject=anatomy", 2, ("a", "b"), "x.conf:4"),
        ConfEntry("gsm, (x) # no comment", 1, (), "x.conf:5"),
        ConfEntry('say "a\\b"', None, (), "x.conf:7"),
    ]


def test_braces_around_the_root_and_carriage_returns_make_no_difference() -> None:
    braced = "{" + CONF.replace("\n", "\r\n") + "\r\n} // end\r\n"
    assert parse_conf(braced, "x.conf") == parse_conf(CONF, "x.conf")


def test_yaml_holds_the_same_list(tmp_path: Path) -> None:
    path = tmp_path / "entries.yaml"
    path.write_text(
        "entries:\n"
        "  - description: mmlu:subject=anatomy\n"
        "    priority: 2\n"
        "    groups: [a, b]\n"
        "  - {description: gsm}\n"
    )
    assert read_conf(path) == [
        ConfEntry("mmlu:subject=anatomy", 2, ("a", "b"), f"{path}:2"),
        ConfEntry("gsm", None, (), f"{path}:5"),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('entries: [{descripton: "a"}]', "1:12: unknown key 'descripton'; did you mean 'description'?"),
        ('entrys: [{description: "a"}]', "1:1: unknown key 'entrys'; did you mean 'entries'?"),
        ("entries: [\n {priority: 1}]", "2:2: this entry has no 'description'"),
        ('entries: [{description: "a", priority: "1"}]', "1:40: 'priority' must be a whole number"),
        ('entries: [{description: "a", priority: true}]', "1:40: 'priority' must be a whole number"),
        ('entries: [{description: "a", groups: "g"}]', "1:38: 'groups' must be a list"),
        ('entries: [{description: "a", groups: [1]}]', "1:39: each of 'groups' must be text"),
        ('entries: [{description: "a", description: "b"}]', "1:30: 'description' is given twice"),
        ("entries: [{description: gsm}]", "1:25: text must stand in double quotes: 'gsm'"),
        ('entries: ["gsm"]', "1:11: expected an object with description"),
        ('entries: [{description: "a"} {description: "b"}]', "1:30: expected a comma or a new line"),
        ('entries: [{description: "a"},, {description: "b"}]', "1:30: expected a value, found ','"),
        ('entries: [{description: "a"}', "1:29: expected ']', found the end of the file"),
        ('entries: [{description: "a"}]]', "1:30: expected a comma or a new line"),
        ('{entries: [{description: "a"}]} x', "1:33: expected the end of the file, found 'x'"),
        ('entries: [{description "a"}]', "1:24: expected ':' after 'description'"),
        ('entries: [{description: "a}]', "1:25: this text has no closing quote"),
        ('entries: [{description: "\\q"}]', "1:25: this text has a wrong escape"),
        ('entries: [{description: "a"}, @]', "1:31: unexpected character"),
        ("entries: []", "1:10: 'entries' is empty"),
        ("entries: 3", "1:10: 'entries' must be a list"),
        ("# nothing\n", "2:1: there is no 'entries"),
        ('include "base.conf"', "1:1: other files are not included"),
        ("entries: ${base}", "1:10: substitutions"),
        ('entries += {description: "a"}', "1:9: '+=' is not read"),
        ('entries: [{description: """a"""}]', "1:25: text in"),
        ("entries: " + "[" * 30, "nested too deeply"),
    ],
)
def test_mistakes_are_named_with_their_place(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)) as caught:
        parse_conf(text, "x.conf")
    assert str(caught.value).startswith("x.conf:")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("entries:\n  - descripton: a", "2:5: unknown key 'descripton'; did you mean 'description'?"),
        ("entries:\n  - description: a\n    description: b", "3:5: 'description' is given twice"),
        ("entries:\n  - description: 3", "2:18: 'description' must be text"),
        ("entries: [\n", "2:1: "),
        ("", "1:1: the file is empty"),
        ("entries: &x\n - *x", "anchors and aliases"),
        ("? [a]\n: b", "a key must be text"),
        ("entries: 2020-99-99", "this is not YAML"),
        ("entries: !!python/object:os.system x", "could not determine a constructor"),
        ("entries: \x00", "this is not YAML"),
        ("[" * 5000, "nested too deeply"),
    ],
)
def test_mistakes_in_yaml_are_named_with_their_place(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)) as caught:
        parse_conf(text, "x.yaml", is_yaml=True)
    assert str(caught.value).startswith("x.yaml:")


def test_a_file_that_can_not_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.conf: can't be read"):
        read_conf(tmp_path / "none.conf")
    (tmp_path / "latin.conf").write_bytes(b"entries: [\xff]")
    with pytest.raises(ConfigError, match=r"latin\.conf: can't be read"):
        read_conf(tmp_path / "latin.conf")


@given(st.lists(st.tuples(st.text(), st.none() | st.integers(), st.lists(st.text())), min_size=1))
def test_whatever_is_written_as_json_is_read_back(rows: list[tuple[str, int | None, list[str]]]) -> None:
    written = [{"description": d, "priority": p, "groups": g} for d, p, g in rows]
    text = json.dumps({"entries": written}, indent=1)
    found = [(entry.description, entry.priority, list(entry.groups)) for entry in parse_conf(text, "x.conf")]
    assert found == rows


@given(st.text(alphabet='entris[]{}:=,"\\\n #description0.', max_size=60), st.booleans())
def test_any_text_is_entries_or_a_config_error(text: str, is_yaml: bool) -> None:
    try:
        found: object = parse_conf(text, "x", is_yaml=is_yaml)
    except ConfigError as error:
        found = re.match(r"x:\d+:\d+: ", str(error))
    assert found


WITH_MODELS = """
entries: [
  {description: "jnli:model=mine/m", args: {prompt_template: "{instruction}, {input}\\n", testmode: true}}
]
models: [{name: "mine/m", display_name: "Mine"}]
model_deployments: [
  {name: "mine/m", client_spec: {class_name: "openai", args: {base_url: "http://localhost:1/v1", model: "m"}}}
]
"""


@pytest.mark.parametrize("suffix", [".conf", ".yaml"])
def test_a_conf_file_may_bring_its_models_and_texts_with_commas(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"whole{suffix}"
    text = WITH_MODELS
    if suffix == ".yaml":
        text = text.replace("\n  {", " {").replace("\n]", "]")
    path.write_text(text, encoding="utf-8")
    conf = read_conf_file(path)
    catalog = ModelCatalog.load([], [conf])
    assert catalog.deployment("mine/m").client_spec.args["model"] == "m"
    assert catalog.metadata("mine/m").display_name == "Mine"
    (run,) = expand_entries(conf.entries, catalog, ExpandOptions()).run_specs
    assert run.run_spec.adapter_spec.prompt_template == "{instruction}, {input}\n"
    assert run.run_spec.scenario_spec.args["max_items"] == 2
    # The same again in a deployment file changes nothing; another definition is refused with its place.
    same = tmp_path / "same.yaml"
    deployment = deepcopy(conf.models["model_deployments"][0])
    same.write_text(yaml.safe_dump({"model_deployments": [deployment]}), encoding="utf-8")
    assert ModelCatalog.load([same], [conf]).deployment("mine/m") == catalog.deployment("mine/m")
    deployment["client_spec"]["args"]["model"] = "other"
    same.write_text(yaml.safe_dump({"model_deployments": [deployment]}), encoding="utf-8")
    with pytest.raises(ConfigError, match=rf"whole{suffix}:\d+: the model deployment 'mine/m' is already"):
        ModelCatalog.load([same], [conf])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("testmode: true", "testmode: [1]", r"x.conf:3:\d+: 'testmode' must be a text, a number, true or"),
        ("{prompt_template", "3, {prompt_template", r"x.conf:3:\d+: "),
    ],
)
def test_what_is_wrong_in_args_is_shown_with_its_place(old: str, new: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_conf(WITH_MODELS.replace(old, new), "x.conf")


def test_a_wrong_deployment_of_a_conf_file_is_shown_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "x.conf"
    path.write_text(WITH_MODELS.replace("client_spec:", "clientspec:"), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"x.conf:7: unknown key 'clientspec'.*did you mean 'client_spec'"):
        ModelCatalog.load([], [read_conf_file(path)])


def test_an_argument_is_given_once_in_the_entry_or_in_args() -> None:
    text = WITH_MODELS.replace("model=mine/m", "model=simple/model1,testmode=false")
    with pytest.raises(EntryError, match="'testmode' is given twice"):
        expand_entries(parse_conf(text, "x.conf"), ModelCatalog.load([]), ExpandOptions())
