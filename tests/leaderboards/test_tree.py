"""Trees as files: what they mean, and that mistakes are found with their place and a remedy."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalkit.errors import ConfigError, PluginError, UnknownNameError, UsageError
from evalkit.leaderboards.resolved import MOST_NODES, Leaderboard, resolve
from evalkit.leaderboards.tree import LeaderboardTree
from evalkit.leaderboards.tree_file import AS_WRITTEN, Options, load_leaderboard, read_leaderboard
from evalkit.plugins import load_plugins
from evalkit.registry import isolated_registries, leaderboard
from tests.leaderboards.numbers import MODEL, filled, value

LEAF = "runs: {group: g}"


def written(folder: Path, text: str) -> str:
    path = folder / "tree.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def loaded(folder: Path, text: str, options: Options = AS_WRITTEN) -> Leaderboard:
    return load_leaderboard(written(folder, text), options)


WEIGHTED = """\
parameters: {few: 3}
missing: present
parts:
  - name: total
    parts:
      - {name: a, weight: 3, runs: {group: g}, scale: [0, 10]}
      - name: b
        missing: withhold
        parts:
          - each: {shots: [0, "{few}"], task: [x, y]}
            name: "{task}_{shots}"
            runs: {group: "{task}", args: {shots: "{shots}", subset: [one, "{task}"]}}
            metric: "{task}_score"
            sub_split: "part {shots}"
      - {name: shown, weight: 0, runs: {group: s}}
  - name: error
    runs: {run_spec: r}
    scale: [1, 0]
  - name: heading
    combine: none
    parts:
      - {use: a}
      - {use: shown}
"""


def test_repetitions_are_written_out_in_order(tmp_path: Path) -> None:
    board = loaded(tmp_path, WEIGHTED)
    names = ["total", "a", "b", "x_0", "y_0", "x_3", "y_3", "shown", "error", "heading"]
    assert list(board.nodes) == names
    assert [node.level for node in board.nodes.values()] == [1, 2, 2, 3, 3, 3, 3, 2, 1, 1]
    leaf = board.nodes["x_3"].leaf
    assert leaf is not None
    assert leaf.runs.group == "x"
    assert leaf.runs.args == {"shots": 3, "subset": ("one", "x")}
    assert (leaf.metrics, leaf.sub_split) == (("x_score",), "part 3")
    assert board.leaves_of("total") == ("a", "x_0", "y_0", "x_3", "y_3")
    assert board.leaves_of("heading") == ("a", "shown")
    assert board.rank_by is None


def test_parameters_have_their_types(tmp_path: Path) -> None:
    board = loaded(tmp_path, WEIGHTED, Options({"few": 5}))
    leaf = board.nodes["x_5"].leaf
    assert leaf is not None
    assert leaf.runs.args["shots"] == 5


@pytest.mark.parametrize(
    ("numbers", "total", "b"),
    [
        # a counts three times: (3 · 0.5 + 0.4) / 4.
        ({"a": 5, "x_0": 0.2, "y_0": 0.4, "x_3": 0.4, "y_3": 0.6}, 1.9 / 4, 0.4),
        # b withholds its number, so that the total is a's.
        ({"a": 5, "x_0": 0.2, "y_0": 0.4, "x_3": 0.4}, 0.5, None),
        ({"x_0": 0.2, "y_0": 0.4, "x_3": 0.4, "y_3": 0.6}, 0.4, 0.4),
        ({"shown": 0.9}, None, None),
        ({}, None, None),
    ],
)
def test_weights_and_missing_parts(
    tmp_path: Path, numbers: dict[str, float], total: float | None, b: float | None
) -> None:
    values = filled(loaded(tmp_path, WEIGHTED), numbers)
    assert value(values, "total") == (None if total is None else pytest.approx(total))
    assert value(values, "b") == (None if b is None else pytest.approx(b))
    assert value(values, "heading") is None


def test_scales(tmp_path: Path) -> None:
    values = filled(loaded(tmp_path, WEIGHTED), {"a": 7.5, "error": 0.2})
    assert value(values, "a") == 0.75
    assert value(values, "error") == pytest.approx(0.8)


def test_zero_counts_every_missing_part(tmp_path: Path) -> None:
    values = filled(loaded(tmp_path, WEIGHTED, Options({}, "zero")), {"a": 5, "x_0": 0.8})
    assert value(values, "b") == pytest.approx(0.2)
    assert value(values, "total") == pytest.approx((1.5 + 0.2) / 4)


def a_part(name: str, depth: int) -> st.SearchStrategy[dict[str, Any]]:
    """A leaf, or a node of up to three parts."""
    weight = st.sampled_from([0.5, 1.0, 2.0, 3.0])
    a_leaf = st.fixed_dictionaries({"name": st.just(name), "weight": weight, "runs": st.just({"group": "g"})})
    if not depth:
        return a_leaf
    parts = st.integers(1, 3).flatmap(
        lambda size: st.tuples(*(a_part(f"{name}.{i}", depth - 1) for i in range(size)))
    )
    node = {
        "name": st.just(name),
        "weight": weight,
        "missing": st.sampled_from(["withhold", "present", "zero"]),
    }
    return st.one_of(a_leaf, st.fixed_dictionaries({**node, "parts": parts}))


def expected(part: Mapping[str, Any], numbers: Mapping[str, float]) -> tuple[float | None, bool]:
    """The number of a part by its definition, mean by mean, and whether all leaves are there."""
    if "runs" in part:
        return numbers.get(part["name"]), part["name"] in numbers
    below = [(each["weight"], *expected(each, numbers)) for each in part["parts"]]
    is_whole = all(whole for _, _, whole in below)
    known = [(weight, number) for weight, number, _ in below if number is not None]
    if not known or (part["missing"] == "withhold" and not is_whole):
        return None, is_whole
    counted = below if part["missing"] == "zero" else known
    return sum(w * n for w, n in known) / sum(each[0] for each in counted), is_whole


@settings(max_examples=150, deadline=None)
@given(a_part("t", 3), st.data())
def test_any_tree_is_a_mean_of_means(part: dict[str, Any], data: st.DataObject) -> None:
    board = resolve(LeaderboardTree.model_validate({"parts": [part]}))
    names = [node.name for node in board.leaves]
    present = data.draw(st.lists(st.sampled_from(names), unique=True))
    numbers = {name: data.draw(st.floats(0, 1), label=name) for name in present}
    values = filled(board, numbers)
    number, is_whole = expected(part, numbers)
    assert value(values, "t") == (None if number is None else pytest.approx(number))
    assert values.is_whole(MODEL, "t") == is_whole


def test_a_part_that_is_used_twice_counts_twice(tmp_path: Path) -> None:
    parts = "{name: a, runs: {group: g}}, {use: a, weight: 2}, {name: b, runs: {group: h}}"
    text = f"parts: [{{name: t, parts: [{parts}]}}]"
    values = filled(loaded(tmp_path, text), {"a": 1.0, "b": 0.0})
    assert value(values, "t") == 0.75
    assert values.board.leaves_of("t") == ("a", "b")


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("title: x\n", 1, "the key 'parts' is missing"),
        ("parts: []\n", 1, "at least 1 item"),
        ("tilte: x\nparts: []\n", 1, "unknown key 'tilte'; did you mean 'title'?"),
        ("parts:\n  - name: a\n", 2, "either parts, or runs, or use; this one has none of them"),
        (f"parts:\n  - name: a\n    {LEAF}\n    use: b\n", 2, "has use and runs"),
        (
            f"parts:\n  - name: a\n    {LEAF}\n    wieght: 2\n",
            4,
            "unknown key 'wieght'; did you mean 'weight'?",
        ),
        (f"parts:\n  - name: a\n    {LEAF}\n    weight: -1\n", 4, "greater than or equal to 0"),
        (f"parts:\n  - name: a\n    {LEAF}\n    weight: .inf\n", 4, "finite"),
        (f"parts:\n  - name: a\n    {LEAF}\n    scale: [1, 1]\n", 2, "two different scores become 0 and 1"),
        (f"parts:\n  - name: a\n    {LEAF}\n    scale: [0, .inf]\n", 4, "finite"),
        (f"parts:\n  - name: a\n    {LEAF}\n    metric: m\n    pool: [x, y]\n", 2, "metric and pool exclude"),
        (f"parts:\n  - name: a\n    {LEAF}\n    combine: mean\n", 2, "a part with runs has no combine"),
        ("parts:\n  - name: a\n    metric: m\n    parts: [{use: b}]\n", 2, "a part with parts has no metric"),
        ("parts:\n  - name: a\n    runs: {}\n", 3, "group, run_spec or scenario is missing"),
        ("parts:\n  - name: a\n    runs: {gruop: x}\n", 3, "unknown key 'gruop'; did you mean 'group'?"),
        (f"parts:\n  - {LEAF}\n", 2, "a part needs a name"),
        (f"parts:\n  - name: a\n    {LEAF}\n  - name: a\n    {LEAF}\n", 4, "two parts are called 'a'"),
        (f"parts:\n  - name: rank\n    {LEAF}\n", 2, "'rank' is a field of every row"),
        ("parts:\n  - name: t\n    parts:\n      - use: b\n", 2, "there is no part 'b'"),
        (
            f"parts:\n  - name: t\n    parts:\n      - name: bert\n        {LEAF}\n      - use: brt\n",
            2,
            "no part 'brt'; did you mean 'bert'?",
        ),
        (
            "parts:\n  - name: s\n    parts: [{use: t}]\n  - name: t\n    parts: [{use: s}]\n",
            2,
            "'s' is part of itself: s → t → s",
        ),
        (
            f"parts:\n  - name: t\n    parts:\n      - name: a\n        weight: 0\n        {LEAF}\n",
            2,
            "above 0",
        ),
        ("parts:\n  - name: '{x}'\n    runs: {group: g}\n", 2, "no parameter 'x'"),
        (
            "parameters: {x: 1}\nparts:\n  - each: {x: [1]}\n    name: a\n    runs: {group: g}\n",
            3,
            "a value already",
        ),
        (f"rank_by: b\nparts:\n  - name: a\n    {LEAF}\n", 1, "no part 'b'"),
        (f"missing: skip\nparts:\n  - name: a\n    {LEAF}\n", 1, "'withhold', 'present' or 'zero'"),
        (f"parts:\n  - name: a\n    {LEAF}\nradars:\n  - name: r\n    axes: [a, b]\n", 6, "at least 3 items"),
        (f"parts:\n  - name: a\n    {LEAF}\nradars:\n  - name: r\n    axes: [a, a, c]\n", 6, "no part 'c'"),
        (
            f"parts:\n  - name: a\n    {LEAF}\nradars:\n  - {{name: r, axes: [a, a, a], range: [1, 1]}}\n",
            5,
            "the lower one",
        ),
        (
            "parts:\n  - name: t\n    parts:\n      - name: w\n        combine: win_rate\n"
            f"        parts: [{{use: a}}]\n  - name: a\n    {LEAF}\n",
            2,
            "'t' can't count 'w'",
        ),
        ("parts: {a: 1}\n", 1, "'parts'"),
        ("- a\n", 0, "the top level must have keys such as title"),
        ("parts: [\n", 2, ""),
        (f"parts:\n  - name: a\n    name: b\n    {LEAF}\n", 3, "already set on line 2"),
    ],
)
def test_mistakes_are_found_with_their_line(tmp_path: Path, text: str, line: int, said: str) -> None:
    with pytest.raises(ConfigError) as raised:
        loaded(tmp_path, text)
    message = str(raised.value)
    assert message.startswith(f"{tmp_path / 'tree.yaml'}:{line}: " if line else str(tmp_path))
    assert said in message


def test_trees_without_end_are_refused(tmp_path: Path) -> None:
    many = ", ".join(map(str, range(200)))
    each = f"{{a: [{many}], b: [{many}]}}"
    with pytest.raises(ConfigError, match=f"more than {MOST_NODES:,} parts"):
        loaded(tmp_path, f'parts:\n  - each: {each}\n    name: "{{a}}-{{b}}"\n    {LEAF}\n')
    uses = f"  - name: t\n    parts:\n      - each: {each}\n        use: a\n"
    with pytest.raises(ConfigError, match=f"more than {MOST_NODES:,} parts with use"):
        loaded(tmp_path, f"parts:\n{uses}  - name: a\n    {LEAF}\n")
    chain = "".join(f"  - {{name: n{i}, parts: [{{use: n{i + 1}}}]}}\n" for i in range(2000))
    for parts in (chain, "".join(reversed(chain.splitlines(keepends=True)))):
        with pytest.raises(ConfigError, match="more than 50 levels"):
            loaded(tmp_path, f"parts:\n{parts}  - name: n2000\n    {LEAF}\n")


def test_unknown_names(tmp_path: Path) -> None:
    load_plugins()
    with pytest.raises(UnknownNameError, match=r"did you mean 'nejumi4' or 'nejumi3'\? \(or a file of yours"):
        load_leaderboard("nejumi")
    with pytest.raises(ConfigError, match="no such file"):
        load_leaderboard(str(tmp_path / "none.yaml"))
    with pytest.raises(UsageError, match="no parameter 'shots'; there are ja_num_shots"):
        load_leaderboard("neo", Options({"shots": 1}))
    with pytest.raises(UsageError, match="no part 'AVG'"):
        load_leaderboard("neo", Options({}, rank_by="AVG"))


def test_a_plugin_registers_a_tree(tmp_path: Path) -> None:
    path = Path(written(tmp_path, WEIGHTED))
    with isolated_registries():

        @leaderboard("theirs")
        def theirs() -> LeaderboardTree:
            return read_leaderboard(path)

        @leaderboard("wrong")
        def wrong() -> str:
            return "tree"

        assert len(load_leaderboard("theirs").nodes) == 10
        with pytest.raises(PluginError, match="'wrong' is a str; it must return a LeaderboardTree"):
            load_leaderboard("wrong")


def test_a_tree_is_frozen() -> None:
    tree = LeaderboardTree.model_validate({"parts": [{"name": "a", "runs": {"group": "g"}}]})
    with pytest.raises(ValueError, match="frozen"):
        tree.title = "x"


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ("{each: {x: []}, name: 'a{x}', runs: {group: g}}", "'x' has no values"),
        ("{name: '{nothing}', runs: {group: g}}", "a part needs a name; '{nothing}' is empty"),
        ("{name: '{blank}', runs: {group: g}}", "a part needs a name"),
        ("{name: a, runs: {group: '{nothing}'}}", "with the values filled in: say which runs"),
        ("{name: a, runs: {group: '{blank}'}}", "with the values filled in: "),
        ("{name: a, weight: 1.0e+308, runs: {group: g}}", "less than or equal to"),
        ("{name: a, scale: [0, 5.0e-324], runs: {group: g}}", "two different scores"),
        ("{name: a, scale: [0, 1.0e+300], runs: {group: g}}", "two different scores"),
    ],
)
def test_values_that_make_no_tree_are_refused_with_their_line(tmp_path: Path, part: str, said: str) -> None:
    text = f"parameters: {{nothing: null, blank: ''}}\nparts:\n  - {part}\n"
    with pytest.raises(ConfigError, match=rf"tree\.yaml:3: .*{re.escape(said)}"):
        loaded(tmp_path, text)


def test_a_number_in_place_of_a_name_is_that_name() -> None:
    part = {
        "name": "{year}",
        "runs": {"group": "{year}"},
        "sub_split": "{year}",
        "metric": "{year}",
        "mean_over": ["{year}"],
    }
    (node,) = resolve(LeaderboardTree.model_validate({"parameters": {"year": 2024}, "parts": [part]})).leaves
    taken = node.leaf
    assert taken is not None
    found = (node.name, taken.runs.group, taken.sub_split, taken.metrics, taken.mean_over)
    assert found == ("2024", "2024", "2024", ("2024",), ("2024",))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "parts:\n  - name: a\n    runs: {group: g}\n    scale: 10\n",
            "two scores that become 0",
        ),
        ("parts:\n  - name: a\n   runs: {group: g}\n", "indented as the keys next to it?"),
    ],
)
def test_what_yaml_and_types_say_has_a_remedy(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "t.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=said):
        read_leaderboard(path)
