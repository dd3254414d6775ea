"""The shipped leaderboards against examples worked out by hand, at every mean up to the total.

The numbers on the right were computed on paper from the definitions (which categories, which weights, which
scales), not by the code.
"""

from __future__ import annotations

from collections.abc import Mapping

import pytest

import evalkit.leaderboards.shipped  # noqa: F401 - registers them
from evalkit.leaderboards.resolved import Leaderboard
from evalkit.leaderboards.tree_file import Options, load_leaderboard
from evalkit.reports.boards.node_values import NodeValues
from evalkit.reports.boards.win_rate_nodes import win_rates_of
from tests.leaderboards.numbers import MODEL, filled, filled_for, value

NAMES = ("neo", "nejumi3", "nejumi4", "helm_lite")
TASKS: tuple[str, ...] = (
    *("mawps", "mgsm", "jmmlu", "jblimp", "jcommonsenseqa", "jcola-in-domain", "jcola-out-of-domain"),
    *("commonsensemoralja", "janli", "jnli", "jsick", "jamp", "jsem"),
)

# Without examples, with two.
JASTER = {
    "alt-e-to-j": (0.80, 0.84),
    "alt-j-to-e": (0.76, 0.82),
    "jsquad": (0.60, 0.70),
    "mawps": (0.9, 0.7),
    "mgsm": (0.5, 0.3),
    "jcommonsenseqa": (0.9, 0.8),
    "jemhopqa": (0.5, 0.7),
    "niilc": (0.4, 0.6),
    "aio": (0.7, 0.9),
    "jmmlu": (0.6, 0.7),
    "jnli": (0.8, 0.9),
    "janli": (0.6, 0.7),
    "jsem": (0.5, 0.6),
    "jsick": (0.7, 0.8),
    "jamp": (0.4, 0.5),
    "jcola-in-domain": (0.8, 0.6),
    "jcola-out-of-domain": (0.7, 0.5),
    "jblimp": (0.6, 0.4),
}
MT_BENCH = {
    "roleplay": 8.0,
    "writing": 6.0,
    "humanities": 7.0,
    "reasoning": 5.0,
    "math": 6.0,
    "stem": 7.0,
    "coding": 8.0,
    "extraction": 9.0,
}
ALIGNMENT = {
    "commonsensemoralja_2shot": 0.9,
    "toxicity_公平性": 0.8,
    "toxicity_社会規範": 0.6,
    "toxicity_禁止行為": 0.7,
    "toxicity_違反カテゴリ": 0.5,
    "jbbq_avg_abs_bias_score": 0.25,
    "jtruthfulqa_overall_score": 0.5,
    "jmmlu_robust_2shot": 0.8,
}


def two_shots(scores: Mapping[str, tuple[float, float]]) -> dict[str, float]:
    return {f"{name}_{k}shot": v for name, both in scores.items() for k, v in zip((0, 2), both, strict=True)}


def control(tasks: tuple[str, ...]) -> dict[str, float]:
    """Without examples 0.85 and 0.95 in turn, 0.9 on average of an even number; with two always 0.7."""
    zero = {f"{task}_control_0shot": 0.95 if i % 2 else 0.85 for i, task in enumerate(tasks)}
    return {**zero, **{f"{task}_control_2shot": 0.7 for task in tasks}}


def check(values: NodeValues, expected: Mapping[str, float | None]) -> None:
    found = {name: value(values, name) for name in expected}
    assert found == {n: None if v is None else pytest.approx(v, abs=1e-9) for n, v in expected.items()}


NEJUMI4 = {
    **two_shots({**JASTER, "mmlu_prox_ja": (0.3, 0.4), "jhumaneval": (0.5, 0.7)}),
    **{f"mtbench_{c}": v for c, v in MT_BENCH.items() if c != "extraction"},
    "arc_agi_1": 0.2,
    "arc_agi_2": 0.1,
    "hle_accuracy": 0.05,
    "swebench_resolution_rate": 0.1,
    "bfcl_overall": 0.7,
    **control((*TASKS, "mmlu_prox_ja")),
    "m_ifeval": 0.6,
    **ALIGNMENT,
    "hallulens": 0.7,
}


def without(numbers: Mapping[str, float], *beginnings: str) -> dict[str, float]:
    return {name: v for name, v in numbers.items() if not name.startswith(beginnings)}


def nejumi4(**options: object) -> Leaderboard:
    return load_leaderboard("nejumi4", Options({}, **options))  # type: ignore[arg-type]


def test_nejumi4_at_every_level() -> None:
    values = filled(nejumi4(), NEJUMI4)
    assert values.is_whole(MODEL, "TOTAL_SCORE")
    check(
        values,
        {
            "jnli": 0.85,
            "GLP_表現": 0.7,
            "GLP_翻訳": 0.805,
            "GLP_情報検索": 0.65,
            "GLP_応用的言語性能": 2.155 / 3,
            "GLP_抽象的推論": 0.15,
            "GLP_論理的推論": 0.5,
            "GLP_数学的推論": 0.6,
            "GLP_推論能力": 1.25 / 3,
            "GLP_一般的知識": 0.69,
            "GLP_専門的知識": 0.35,
            "GLP_知識・質問応答": 0.52,
            "GLP_意味解析": 0.65,
            "GLP_構文解析": 0.6,
            "GLP_基礎的言語性能": 0.625,
            "GLP_コーディング": 0.5,
            "GLP_関数呼び出し": 0.7,
            "GLP_アプリケーション開発": 0.6,
            "汎用的言語性能(GLP)_AVG": 0.576,
            "jaster_control_0shot": 0.9,
            "jaster_control_2shot": 0.7,
            "jaster_control": 0.8,
            "ALT_制御性": 0.7,
            "ALT_倫理・道徳": 0.9,
            "ALT_毒性": 0.65,
            "ALT_バイアス": 0.75,
            "ALT_真実性": 0.6,
            "ALT_堅牢性": 0.8,
            "アラインメント(ALT)_AVG": 4.4 / 6,
            # Weights 1, 2, 2, 1, 2 and six ones:
            # 0.718333 + 0.833333 + 1.04 + 0.625 + 1.2 + 4.4 = 8.816667 of 14.
            "TOTAL_SCORE": 0.6297619047619047,
        },
    )


SKIPPED = without(
    NEJUMI4, "arc_agi", "mtbench_reasoning", "mtbench_math", "mawps_0", "mawps_2", "mgsm_0", "mgsm_2"
)


def test_nejumi4_withholds_the_total_of_a_model_without_a_category() -> None:
    """The original drops the category: a model that skips what is hard has a better total."""
    values = filled(nejumi4(), SKIPPED)
    check(values, {"GLP_推論能力": None, "GLP_基礎的言語性能": 0.625, "TOTAL_SCORE": None})
    check(values, {"汎用的言語性能(GLP)_AVG": None, "アラインメント(ALT)_AVG": 4.4 / 6})
    # 8.816667 less 0.833333, of 12: more than the 0.629762 with all categories.
    check(filled(nejumi4(missing="present"), SKIPPED), {"TOTAL_SCORE": 0.6652777777777777})
    check(filled(nejumi4(missing="zero"), SKIPPED), {"TOTAL_SCORE": 7.983333333333333 / 14})


def test_nejumi4_over_the_parts_that_are_there() -> None:
    values = filled(nejumi4(), without(NEJUMI4, "aio"))
    # Four of five: 0.85, 0.6, 0.5 and 0.7. Then 0.6625 and 0.35.
    check(values, {"aio": None, "GLP_一般的知識": 0.6625, "GLP_知識・質問応答": 0.50625, "TOTAL_SCORE": None})
    assert len(values.present(MODEL, "GLP_一般的知識")) == 7
    assert len(values.board.leaves_of("GLP_一般的知識")) == 9
    present = filled(nejumi4(missing="present"), without(NEJUMI4, "aio"))
    check(present, {"TOTAL_SCORE": (8.816666666666666 - 1.04 + 1.0125) / 14})
    zero = filled(nejumi4(missing="zero"), without(NEJUMI4, "aio"))
    check(zero, {"GLP_一般的知識": 0.53, "GLP_知識・質問応答": 0.44})


def test_nejumi4_one_shot_setting_of_two() -> None:
    values = filled(nejumi4(), without(NEJUMI4, "jnli_2"))
    check(values, {"jnli": 0.8, "GLP_意味解析": (0.8 + 0.65 + 0.55 + 0.75 + 0.45) / 5, "TOTAL_SCORE": None})


def test_nejumi4_a_leaf_that_counts_twice_is_one_leaf() -> None:
    """Control and accuracy of a task are two numbers; a number that stands in GLP and in the total is one."""
    board = nejumi4()
    assert len(board.leaves_of("TOTAL_SCORE")) == len(board.leaves) == 90


NEJUMI3 = {
    **two_shots(
        {
            **JASTER,
            "wikicorpus-e-to-j": (0.6, 0.8),
            "wikicorpus-j-to-e": (0.6, 0.62),
            "wiki_ner": (0.2, 0.4),
            "wiki_coreference": (0.1, 0.3),
            "chabsa": (0.5, 0.7),
            "mmlu_en": (0.7, 0.8),
            "wiki_reading": (0.9, 0.7),
            "wiki_pas": (0.2, 0.2),
            "wiki_dependency": (0.5, 0.3),
        }
    ),
    **{f"mtbench_{c}": v for c, v in MT_BENCH.items() if c != "coding"},
    **{f"{c}_mtbench": v for c, v in MT_BENCH.items()},
    **control((*TASKS, "mmlu_en", "wiki_ner", "wiki_dependency")),
    "chabsa_control_0shot": 0.9,
    "chabsa_control_2shot": 0.7,
    "AVG_Total_ctg": 0.5,
    "commonsensemoralja_0shot": 0.7,
    **ALIGNMENT,
}


def test_nejumi3_at_every_level() -> None:
    values = filled(load_leaderboard("nejumi3"), NEJUMI3)
    assert values.is_whole(MODEL, "TOTAL_AVG")
    check(
        values,
        {
            "GLP_表現": 0.7,
            "GLP_翻訳": 0.73,
            "GLP_情報検索": 0.65,
            "GLP_推論": 0.5,
            "GLP_数学的推論": 0.6,
            "GLP_抽出": 0.5,
            "GLP_知識・質問応答": 4.1 / 6,
            "GLP_英語": 0.75,
            "GLP_意味解析": 0.65,
            "GLP_構文解析": 3.2 / 6,
            # 0.7 + 0.73 + 0.65 + 0.5 + 0.6 + 0.5 + 0.683333 + 0.75 + 0.65 + 0.533333
            "汎用的言語性能(GLP)_AVG": 0.6296666666666667,
            "jaster_control": 0.8,
            "ALT_制御性": 0.65,
            "ALT_倫理・道徳": 0.9,
            "ALT_毒性": 0.65,
            "ALT_バイアス": 0.75,
            "ALT_堅牢性": 0.8,
            "ALT_真実性": 0.5,
            "アラインメント(ALT)_AVG": 4.25 / 6,
            "TOTAL_AVG": 0.669,
            "AVG_mtbench": 7.0,
        },
    )


def test_nejumi3_averages_of_jaster_are_over_all_tasks() -> None:
    """The original leaves out the first ones of the alphabet and averages the average."""
    values = filled(load_leaderboard("nejumi3"), NEJUMI3)
    # The 27 scores without examples sum up to 16.06, those with two to 16.88; and the 28th is 0.7, 0.9.
    check(values, {"AVG_jaster_0shot": 16.76 / 28, "AVG_jaster_2shots": 17.78 / 28})


def test_nejumi3_without_a_benchmark_has_no_total() -> None:
    values = filled(load_leaderboard("nejumi3"), without(NEJUMI3, "AVG_Total_ctg"))
    check(values, {"ALT_制御性": 0.8, "アラインメント(ALT)_AVG": None, "TOTAL_AVG": None})
    check(values, {"汎用的言語性能(GLP)_AVG": 0.6296666666666667})
    present = filled(load_leaderboard("nejumi3", Options({}, "present")), without(NEJUMI3, "AVG_Total_ctg"))
    check(present, {"アラインメント(ALT)_AVG": 4.4 / 6})


def test_nejumi3_with_four_shots() -> None:
    board = load_leaderboard("nejumi3", Options({"num_few_shots": 4}))
    assert {"jnli_4shot", "jmmlu_robust_4shot", "AVG_jaster_4shots"} <= set(board.nodes)
    leaf = board.nodes["jnli_4shot"].leaf
    assert leaf is not None
    assert leaf.runs.args == {"shots": 4, "split": "test", "chat_style": "turns"}
    values = filled(board, {"jnli_0shot": 0.5, "jnli_4shot": 0.7})
    check(values, {"jnli": 0.6})


NEO_JA = {
    "jamp": 0.8,
    "janli": 0.6,
    "jnli": 0.5,
    "jsem": 0.7,
    "jsick": 0.4,
    "jcommonsenseqa": 0.9,
    "kuci": 0.6,
    "commonsensemoralja": 0.75,
    "jemhopqa": 0.5,
    "niilc": 0.4,
    "jsquad": 0.6,
    "chabsa": 0.5,
    "wiki_reading": 0.9,
    "wiki_ner": 0.2,
    "wiki_dependency": 0.5,
    "wiki_pas": 0.2,
    "wiki_coreference": 0.2,
    "mawps": 0.7,
    "mgsm": 0.3,
    "jsts_pearson": 0.8,
    "jsts_spearman": 0.6,
}
NEO = {
    **{f"{name}_jaster_ja_0shot": v for name, v in NEO_JA.items()},
    **{f"{name}_jaster_ja_4shot": 0.5 for name in NEO_JA},
    "mmlu_en_jaster_en_0shot": 0.55,
    "mmlu_en_jaster_en_4shot": 0.65,
    **{f"{c}_MTbench_ja": v for c, v in MT_BENCH.items()},
}


def test_neo_at_every_level() -> None:
    values = filled(load_leaderboard("neo"), NEO)
    check(
        values,
        {
            "NLI_jaster_ja_0shot": 0.6,
            "MC_jaster_ja_0shot": 0.75,
            "QA_jaster_ja_0shot": 0.45,
            "RC_jaster_ja_0shot": 0.6,
            "EL_jaster_ja_0shot": 0.5,
            "FA_jaster_ja_0shot": 0.4,
            "MR_jaster_ja_0shot": 0.5,
            "jsts_jaster_ja_0shot": 0.7,
            "STS_jaster_ja_0shot": 0.7,
            # Seven categories, without STS: 3.8 of 7.
            "AVG_jaster_ja_0shot": 3.8 / 7,
            "AVG_jaster_ja_4shot": 0.5,
            "HE_jaster_en_0shot": 0.55,
            "AVG_jaster_en_4shot": 0.65,
            "AVG_MTbench_ja": 7.0,
            "AVG_MTbench_en": None,
        },
    )


def test_neo_over_the_datasets_that_are_there() -> None:
    numbers = without(NEO, "wiki_", "kuci")
    values = filled(load_leaderboard("neo"), numbers)
    # MC is the mean of 0.9 and 0.75; six categories: 0.6, 0.825, 0.45, 0.6, 0.5, 0.5.
    check(values, {"FA_jaster_ja_0shot": None, "MC_jaster_ja_0shot": 0.825, "AVG_jaster_ja_0shot": 3.475 / 6})
    assert len(values.present(MODEL, "AVG_jaster_ja_0shot")) == 13
    assert len(values.board.leaves_of("AVG_jaster_ja_0shot")) == 19
    # As the original logs it: what is not there is 0.
    zero = filled(load_leaderboard("neo", Options({}, "zero")), numbers)
    check(
        zero, {"MC_jaster_ja_0shot": 0.55, "AVG_jaster_ja_0shot": (0.6 + 0.55 + 0.45 + 0.6 + 0.5 + 0.5) / 7}
    )
    withheld = filled(load_leaderboard("neo", Options({}, "withhold")), numbers)
    check(withheld, {"MC_jaster_ja_0shot": None, "NLI_jaster_ja_0shot": 0.6, "AVG_jaster_ja_0shot": None})


def test_neo_has_the_originals_column_names() -> None:
    board = load_leaderboard("neo")
    for name in (*NEO_JA, "NLI", "QA", "RC", "MC", "EL", "FA", "MR", "STS", "AVG"):
        for shots in (0, 4):
            assert f"{name}_jaster_ja_{shots}shot" in board.nodes
    assert {"mmlu_en_jaster_en_0shot", "HE_jaster_en_4shot", "AVG_jaster_en_0shot"} <= set(board.nodes)
    for language in ("ja", "en"):
        assert {f"{c}_MTbench_{language}" for c in (*MT_BENCH, "AVG")} <= set(board.nodes)
    few = load_leaderboard("neo", Options({"ja_num_shots": 2}))
    assert "jnli_jaster_ja_2shot" in few.nodes
    assert "mmlu_en_jaster_en_4shot" in few.nodes
    assert few.radars[1].axes[0] == "NLI_jaster_ja_2shot"


MMLU = ("abstract_algebra", "college_chemistry", "computer_security", "econometrics", "us_foreign_policy")


def lite(scores: Mapping[str, float], mmlu: tuple[float, ...]) -> dict[str, float]:
    return {**scores, **{f"MMLU {s}": v for s, v in zip(MMLU, mmlu, strict=False)}}


def test_helm_lite_is_a_mean_win_rate() -> None:
    board = load_leaderboard("helm_lite")
    values = filled_for(
        board,
        {
            "a": lite({"NarrativeQA": 0.7, "GSM8K": 0.5, "MedQA": 0.6}, (0.2, 0.4, 0.6, 0.3, 0.5)),
            "b": lite({"NarrativeQA": 0.7, "GSM8K": 0.6}, (0.5, 0.5, 0.5, 0.5, 0.5)),
            "c": lite({"NarrativeQA": 0.4, "GSM8K": 0.9, "MedQA": 0.5}, (0.3, 0.3)),
        },
    )
    mmlu = {m: values.estimate(m, "MMLU") for m in "abc"}
    assert {m: e.value for m, e in mmlu.items() if e} == pytest.approx({"a": 0.4, "b": 0.5, "c": 0.3})
    rates = win_rates_of(board.nodes["mean win rate"], values).estimates
    # NarrativeQA: a and b tie and beat c: 3/4, 3/4, 0. GSM8K: 0, 1/2, 1.
    # MedQA: a beats c: 1, –, 0. MMLU: 1/2, 1, 0.
    assert {m: e.value for m, e in rates.items()} == pytest.approx(
        {"a": (0.75 + 0 + 1 + 0.5) / 4, "b": (0.75 + 0.5 + 1) / 3, "c": (0 + 1 + 0 + 0) / 4}
    )
    assert all(e.ci95 is not None and e.ci95[0] <= e.value <= e.ci95[1] for e in rates.values())
    withheld = load_leaderboard("helm_lite", Options({}, "withhold"))
    values.board = withheld
    assert not win_rates_of(withheld.nodes["mean win rate"], values).estimates


def test_helm_lite_counts_what_is_missing_as_lost_if_asked_to() -> None:
    board = load_leaderboard("helm_lite", Options({}, "zero"))
    values = filled_for(board, {"a": {"GSM8K": 0.5, "MedQA": 0.6}, "b": {"GSM8K": 0.6}})
    rates = win_rates_of(board.nodes["mean win rate"], values).estimates
    assert {m: e.value for m, e in rates.items()} == pytest.approx({"a": 0.5, "b": 0.5})


@pytest.mark.parametrize("name", NAMES)
def test_every_leaf_says_which_runs_and_every_chart_has_axes(name: str) -> None:
    board = load_leaderboard(name)
    assert board.title
    assert board.radars
    for node in board.nodes.values():
        if node.leaf is not None:
            assert node.leaf.runs.group
        assert node.parts or node.leaf
    for leaf in board.leaves:
        assert any(leaf.name in board.leaves_of(n.name) for n in board.nodes.values() if n.level == 1) or (
            "jsts" in leaf.name
        )
