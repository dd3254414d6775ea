"""`evalkit leaderboard` and `evalkit new leaderboard`, called as a user would."""

from __future__ import annotations

import csv
import io
import json
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from rich.cells import cell_len

from evalkit.specs.run_spec import ScenarioSpec
from tests.cli.conftest import Call
from tests.interchange.test_mt_bench_import import FULL, bench, judged
from tests.reports.suites import store_run

MODELS = ("openai/gpt-x", "組織/とても長い名前の日本語モデル-13b-instruct")
DATASETS = ("jnli", "janli", "jsem", "jsick", "jamp", "jcommonsenseqa", "kuci", "commonsensemoralja")


def jaster(suite: Path, model: str, dataset: str, shots: int, scores: list[float], **manifest: str) -> None:
    store_run(
        suite,
        dataset,
        model,
        scores,
        "jaster_exact_match",
        groups=("jaster", "jaster_ja", dataset),
        adapter={"max_train_instances": shots},
        scenario=ScenarioSpec(name="jaster", args={"dataset": dataset, "split": "test", "shots": shots}),
        directory_name=f"{dataset}-{shots}-{MODELS.index(model)}",
        manifest={"digest": f"{dataset}{shots}{model}", **manifest},
        inputs=[f"{dataset} {i}" for i in range(len(scores))],
    )


@pytest.fixture
def neo() -> Path:
    """Two models, the second without one dataset with examples."""
    suite = Path("out/runs/s")
    for number, model in enumerate(MODELS):
        for position, dataset in enumerate(DATASETS):
            for shots in (0, 4):
                if not (number and shots and dataset == "kuci"):
                    right = 10 - position - 2 * number
                    jaster(suite, model, dataset, shots, [1.0] * right + [0.0] * (10 - right))
    return suite


def neo_args(*more: object) -> tuple[object, ...]:
    return ("leaderboard", "neo", "-o", "out", "--suite", "s", *more)


@pytest.mark.usefixtures("neo")
@pytest.mark.parametrize("width", [80, 100, 120])
@pytest.mark.parametrize("depth", ["1", "2", "all"])
def test_tables_fit_the_terminal_with_japanese_names(
    call: Call, monkeypatch: pytest.MonkeyPatch, width: int, depth: str
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    called = call(*neo_args("--depth", depth, "--rank-by", "AVG_jaster_ja_4shot"))
    assert called.code == 0
    lines = called.out.splitlines()
    table = lines[: lines.index("")]
    assert len(table) > 3
    assert all(cell_len(line) <= width for line in table)
    # Numbers of one model stand below each other, with the marks behind them.
    marks = {cell_len(line[: line.index("*")]) for line in table if "*" in line}
    assert depth == "1" or len(marks) <= 2


@pytest.mark.usefixtures("neo")
def test_the_row_has_neos_names_and_the_hand_made_means(call: Call) -> None:
    called = call(*neo_args("-f", "csv", "--wide"))
    rows = {row["model_name"]: row for row in csv.DictReader(io.StringIO(called.out))}
    first, second = rows[MODELS[0]], rows[MODELS[1]]
    # jnli 1.0, janli .9, jsem .8, jsick .7, jamp .6; jcommonsenseqa .5, kuci .4, commonsensemoralja .3.
    assert float(first["NLI_jaster_ja_0shot"]) == pytest.approx(0.8)
    assert float(first["MC_jaster_ja_0shot"]) == pytest.approx(0.4)
    assert float(first["AVG_jaster_ja_0shot"]) == pytest.approx(0.6)
    # Each 0.2 less; without kuci with examples 0.3 and 0.1.
    assert float(second["MC_jaster_ja_4shot"]) == pytest.approx(0.2)
    assert float(second["AVG_jaster_ja_4shot"]) == pytest.approx((0.6 + 0.2) / 2)
    assert second["kuci_jaster_ja_4shot"] == first["AVG_MTbench_ja"] == first["jsquad_jaster_ja_0shot"] == ""
    assert (first["num_leaves_present"], first["num_leaves"], first["n"]) == ("16", "60", "160")
    assert list(first)[:3] == ["model_name", "AVG_jaster_ja_0shot", "NLI_jaster_ja_0shot"]


@pytest.mark.usefixtures("neo")
def test_json_and_csv_say_the_same(call: Call) -> None:
    data = json.loads(call(*neo_args("--json", "--rank-by", "AVG_jaster_ja_0shot")).out)
    lines = list(csv.DictReader(io.StringIO(call(*neo_args("-f", "csv")).out)))
    assert [line["value"] for line in lines] == [
        "" if r["value"] is None else str(r["value"]) for r in data["rows"]
    ]
    assert (data["rank_by"], data["rank_method"]) == ("AVG_jaster_ja_0shot", "comparison")
    records = {(r["model"], r["column"]): r for r in data["rows"]}
    partial = records[MODELS[1], "MC_jaster_ja_4shot"]
    assert (partial["status"], partial["missing"]) == ("partial", ["kuci_jaster_ja_4shot"])
    assert (partial["num_leaves_present"], partial["num_leaves"], partial["n"]) == (2, 3, 20)
    gone = records[MODELS[1], "kuci_jaster_ja_4shot"]
    assert (gone["status"], gone["value"], gone["why"]) == ("missing", None, "no run")
    assert [m["model_name"] for m in data["models"]] == list(MODELS)
    assert [m["rank"] for m in data["models"]] == [1, 2]


@pytest.mark.usefixtures("neo")
def test_policies_and_levels(call: Call) -> None:
    withheld = call(*neo_args("--missing", "withhold", "--depth", "2")).out
    row = next(line for line in withheld.splitlines() if "MC_jaster_ja_4shot" in line)
    assert re.search(r"0\.400 \[.*– \(2/3\)", row)
    assert "AVG_jaster_ja_4shot" in call(*neo_args("--depth", "1")).out
    assert "MC_jaster_ja_4shot" not in call(*neo_args("--depth", "1")).out
    assert "    kuci_jaster_ja_4shot" in call(*neo_args("--depth", "all")).out
    assert "kuci" not in call(*neo_args("--depth", "2")).out


@pytest.mark.usefixtures("neo")
@pytest.mark.parametrize(
    ("name", "start", "bold"),
    [("markdown", "## Nejumi Neo\n", "**0.600**"), ("latex", r"\begin{tabular}{l", r"\textbf{0.600}")],
)
def test_markdown_and_latex(call: Call, name: str, start: str, bold: str) -> None:
    called = call(*neo_args("--format", name, "--depth", 1))
    assert called.out.startswith(start)
    assert bold in called.out
    assert "16/60" in called.out
    assert "leaves are missing" in called.out
    assert called.err == ""


@pytest.mark.usefixtures("neo")
def test_charts(call: Call) -> None:
    called = call(
        *neo_args(
            "--radar",
            "r.svg",
            "--axes",
            "NLI_jaster_ja_0shot",
            "--axes",
            "MC_jaster_ja_0shot",
            "--axes",
            "RC_jaster_ja_0shot",
        )
    )
    assert (called.code, "wrote r.svg" in called.err) == (0, True)
    texts = [e.text or "" for e in ElementTree.parse("r.svg").iter("{http://www.w3.org/2000/svg}text")]
    joined = "".join(texts)
    for name in (*MODELS, "NLI_jaster_ja_0shot", "(no number)"):
        assert name in joined
    first = call(*neo_args("--radar", "first.svg"))
    assert (
        "the chart is 'jaster_ja_0shot'; --axes draws another one: jaster_ja_few_shots, mtbench_ja"
        in first.err
    )
    png = call(*neo_args("--radar", "r.png"))
    try:
        import resvg_py  # noqa: F401
    except ImportError:
        assert (png.code, "pip install 'evalkit[png]'" in png.err) == (2, True)
    else:
        assert Path("r.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("no_such",), "unknown leaderboard 'no_such'"),
        (("gone.yaml",), "gone.yaml: can't be read: no such file"),
        (("neo", "--missing", "skip"), "unknown policy for missing parts 'skip'"),
        (("neo", "--set", "ja_num_shots"), "--set ja_num_shots: write name=value"),
        (("neo", "--set", "shots=4"), "there is no parameter 'shots'"),
        (("neo", "--set", "ja_num_shots=2", "--set", "ja_num_shots=4"), "ja_num_shots is given twice"),
        (("neo", "--rank-by", "AVG"), "there is no part 'AVG'"),
        (("neo", "--depth", "0"), "--depth 0: give a number of levels from 1, or all"),
        (("neo", "--depth", "-1"), "--depth -1: give a number"),
        (("neo", "--format", "cvs"), "did you mean 'csv'?"),
        (("neo", "--wide"), "--wide is one record per model"),
        (("neo", "--axes", "x"), "--axes chooses what --radar draws"),
        (("neo", "--radar", "r.jpg"), "the file must end in .svg or .png"),
        (("neo", "--radar", "none/r.svg"), "there is no folder none"),
        (("neo", "--radar", "r.svg", "--axes", "NIL"), "unknown chart or column 'NIL'"),
        (("neo", "--model", "x"), "no row is called 'x'"),
        (("nejumi3", "--suite", "../s"), "suite"),
        (("helm_lite",), "no run has a number for this leaderboard"),
    ],
)
@pytest.mark.usefixtures("neo")
def test_mistakes_are_one_line_and_draw_nothing(call: Call, arguments: tuple[str, ...], said: str) -> None:
    called = call("leaderboard", *arguments, "-o", "out")
    assert (called.code, called.out) == (2, "")
    assert said in called.err
    assert called.err.count("\n") == 1
    assert not list(Path().glob("r.*"))


def test_no_runs_at_all(call: Call) -> None:
    called = call("leaderboard", "neo")
    assert (called.code, "benchmark_output does not exist" in called.err) == (2, True)
    Path("benchmark_output/runs").mkdir(parents=True)
    called = call("leaderboard", "neo")
    assert (called.code, called.out, "benchmark_output" in called.err) == (2, "", True)


@pytest.mark.parametrize("name", ["stats.json", "scores.jsonl"])
def test_a_damaged_run_is_left_out(call: Call, name: str) -> None:
    assert call("new", "leaderboard", "tree").code == 0
    entries = ("simple_mcqa", "simple_short_answer_qa")
    assert (
        call("run", "-r", *entries, "--models-to-run", "evalkit/majority", "evalkit/random", "-q").code == 0
    )
    path = Path("benchmark_output/runs/default/simple_mcqa:model=evalkit_random") / name
    path.write_bytes(path.read_bytes().replace(b"1", b"0", 1))
    called = call("leaderboard", "tree.yaml", "--missing", "present")
    assert called.code == 1
    assert called.err.count("left out a damaged run") == 1
    row = next(line for line in called.out.splitlines() if line.startswith("evalkit/random"))
    assert "(1/3)" in row


def test_suites_are_merged_if_asked_to(call: Call, neo: Path) -> None:
    jaster(Path("out/runs/other"), MODELS[0], "jsquad", 0, [1, 0])
    two = ("leaderboard", "neo", "-o", "out", "--suite", "s", "--suite", "other", "--json", "--wide")
    rows = json.loads(call(*two).out)["rows"]
    assert {r["model_name"] for r in rows} == {f"{MODELS[0]} (s)", f"{MODELS[1]} (s)"}, (
        "jsquad has another metric"
    )
    merged = json.loads(call(*two, "--merge-suites").out)["rows"]
    assert {r["model_name"] for r in merged} == set(MODELS)
    by_path = json.loads(call("leaderboard", "neo", neo, "--json", "--wide").out)["rows"]
    assert {r["model_name"] for r in by_path} == set(MODELS)


def test_imported_judgements_are_categories_of_neo(call: Call, tmp_path: Path) -> None:
    """Two questions about coding (8, 4 and 6, 5), one each of two others (10, 9 and 1, 2); by hand."""
    folder = bench(tmp_path / "files", FULL)
    assert call("import", "mt-bench", folder, "-o", "out").code == 0
    called = call("leaderboard", "neo", "-o", "out", "-f", "csv", "--wide")
    (row,) = csv.DictReader(io.StringIO(called.out))
    numbers = {name: float(v) for name, v in row.items() if name.endswith("_MTbench_ja") and v}
    assert numbers["coding_MTbench_ja"] == pytest.approx((8 + 4 + 6 + 5) / 4)
    others = [v for name, v in numbers.items() if not name.startswith(("AVG", "coding"))]
    assert sorted(others) == pytest.approx([1.5, 9.5])
    assert numbers["AVG_MTbench_ja"] == pytest.approx((5.75 + 9.5 + 1.5) / 3)
    assert row["n"] == "8"


def test_a_rating_that_is_missing_is_in_no_mean(call: Call, tmp_path: Path) -> None:
    """-1 is no rating: the mean of coding is over three turns, not over two means of turns."""
    rows = [r for r in FULL if (r["question_id"], r["turn"]) != (2, 2)] + [judged(2, -1, 2)]
    assert call("import", "mt-bench", bench(tmp_path / "files", rows), "-o", "out").code in (0, 1)
    (row,) = csv.DictReader(io.StringIO(call("leaderboard", "neo", "-o", "out", "-f", "csv", "--wide").out))
    assert float(row["coding_MTbench_ja"]) == pytest.approx((8 + 4 + 6) / 3)
    assert (row["n"], row["n_failed"]) == ("7", "1")


# A leaderboard of one's own


def test_a_new_leaderboard_is_valid_and_runs(call: Call) -> None:
    made = call("new", "leaderboard", "my_board")
    assert made.code == 0
    assert "try: evalkit leaderboard my_board.yaml" in made.out
    entries = ("simple_mcqa", "simple_short_answer_qa", "simple_classification")
    run = call("run", "-r", *entries, "--models-to-run", "evalkit/majority", "-m", 20, "-q")
    assert run.code == 0
    called = call("leaderboard", "my_board.yaml", "--json", "--radar", "all.svg")
    assert called.code == 0
    data = json.loads(called.out)
    assert {row["status"] for row in data["rows"]} == {"value"}
    values = {row["column"]: row["value"] for row in data["rows"]}
    questions = (values["multiple choice"] + values["short answers"]) / 2
    assert values["questions"] == pytest.approx(questions)
    assert values["total"] == pytest.approx((2 * questions + values["classification"]) / 3)
    assert Path("all.svg").exists()
    none = call("leaderboard", "my_board.yaml", "--set", "num_shots=0")
    assert "multiple choice" in none.out
    assert "1 of 3 leaves is missing (no run): multiple choice" in none.err


def test_a_new_leaderboard_replaces_nothing(call: Call) -> None:
    assert call("new", "leaderboard", "mine", "--directory", "boards").code == 0
    again = call("new", "leaderboard", "mine", "--directory", "boards")
    assert (again.code, "boards/mine.yaml exists; nothing was written" in again.err) == (2, True)
    assert "already; choose another name" in call("new", "leaderboard", "neo").err
    assert "not a valid name" in call("new", "leaderboard", "Mein Brett").err


def test_leaderboards_are_listed_and_come_from_plugins(call: Call) -> None:
    assert {"helm_lite", "nejumi4"} <= set(call("list", "leaderboards").out.split())
    assert call("new", "leaderboard", "tree").code == 0
    Path("theirs.py").write_text(
        "from pathlib import Path\nimport evalkit\n\n@evalkit.leaderboard('theirs')\n"
        "def theirs() -> evalkit.LeaderboardTree:\n    return evalkit.read_leaderboard(Path('tree.yaml'))\n",
        encoding="utf-8",
    )
    assert "theirs" in call("list", "leaderboards", "--plugin", "theirs.py").out
    assert call("run", "-r", "simple_short_answer_qa:model=evalkit/majority", "-q").code == 0
    called = call("leaderboard", "theirs", "--plugin", "theirs.py", "--missing", "present")
    assert (called.code, "(1/3)" in called.out) == (0, True)
