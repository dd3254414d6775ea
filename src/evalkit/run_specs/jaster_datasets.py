"""The datasets of jaster (llm-jp-eval): what each asks, how long answers are, how they are scored.

Names, labels, lengths, metrics and Japanese instructions are facts of the benchmark (llm-jp-eval 1.1 to 1.3
and the Nejumi leaderboard). Where an instruction or a length is not documented, it is evalkit's own and
`documented` says so; a run takes the instruction from the file it reads in any case.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

DEFAULT_VERSION = "1.2.6"
EXACT_MATCH = "exact_match"

_ONLY = "それ以外には何も含めないことを厳守してください。"
_DIGIT = "回答となる数値をint型で返し、他には何も含めないことを厳守してください。"
_ANSWER = "質問を入力とし、回答を出力してください。回答の他には何も含めないことを厳守してください。"
_LETTER = (
    "与えられた質問と選択肢から、最も適切な回答を選択してください。なお、回答には選択肢のアルファベット（例：A）"
    "のみを含め、他には何も含めないことを厳守してください。"
)
_NLI = (
    f"前提と仮説の関係をentailment、contradiction、neutralの中から回答してください。{_ONLY}\n\n制約：\n"
    "- 前提から仮説が、{how}導出可能である場合はentailmentと出力\n"
    "- 前提と仮説が両立しえない場合はcontradictionと出力\n"
    "- そのいずれでもない場合はneutralと出力"
)
_THREE_WAY = ("entailment", "contradiction", "neutral")


@dataclass(frozen=True, slots=True)
class JasterDataset:
    """One dataset.

    Attributes:
        name: Its name, and that of its files; those of a group have `name_subject.json` each.
        category: Where the leaderboards count it.
        instruction: What is asked; built files hold it.
        output_length: The longest answer in tokens.
        metrics: How answers are scored, by the names that its files have.
        labels: The answers there can be; empty where they are free.
        language: Of the prompt around the instruction.
        subjects: The parts of a group.
        is_single_later: Whether a group is one file, `name.json`, since Nejumi 4.
        max_items: How many items of each file are evaluated, from its beginning.
        documented: Whether instruction and length are documented; else they are evalkit's.
    """

    name: str
    category: str
    instruction: str
    output_length: int
    metrics: tuple[str, ...] = (EXACT_MATCH,)
    labels: tuple[str, ...] = ()
    language: Literal["ja", "en"] = "ja"
    subjects: tuple[str, ...] = ()
    is_single_later: bool = False
    max_items: int = 100
    documented: bool = True

    @property
    def files(self) -> tuple[str, ...]:
        """The names of its files, without `.json`."""
        return tuple(f"{self.name}_{subject}" for subject in self.subjects) or (self.name,)

    @property
    def all_files(self) -> tuple[str, ...]:
        """The files of all editions."""
        return (*self.files, self.name) if self.is_single_later else self.files


_JMMLU_SUBJECTS = """
    abstract_algebra anatomy astronomy business_ethics clinical_knowledge college_biology college_chemistry
    college_computer_science college_mathematics college_medicine college_physics computer_security
    conceptual_physics econometrics electrical_engineering elementary_mathematics formal_logic global_facts
    high_school_biology high_school_chemistry high_school_computer_science high_school_european_history
    high_school_geography high_school_macroeconomics high_school_mathematics high_school_microeconomics
    high_school_physics high_school_psychology high_school_statistics human_aging human_sexuality
    international_law japanese_history jurisprudence logical_fallacies machine_learning management marketing
    medical_genetics miscellaneous moral_disputes nutrition philosophy prehistory professional_accounting
    professional_medicine professional_psychology public_relations security_studies sociology virology
    world_history world_religions
"""
_MMLU_SUBJECTS = """
    abstract_algebra anatomy astronomy business_ethics clinical_knowledge college_biology college_chemistry
    college_computer_science college_mathematics college_medicine college_physics computer_security
    conceptual_physics econometrics electrical_engineering elementary_mathematics formal_logic global_facts
    high_school_biology high_school_chemistry high_school_computer_science high_school_european_history
    high_school_geography high_school_government_and_politics high_school_macroeconomics
    high_school_mathematics high_school_microeconomics high_school_physics high_school_psychology
    high_school_statistics high_school_us_history high_school_world_history human_aging human_sexuality
    international_law jurisprudence logical_fallacies machine_learning management marketing medical_genetics
    miscellaneous moral_disputes moral_scenarios nutrition philosophy prehistory professional_accounting
    professional_law professional_medicine professional_psychology public_relations security_studies
    sociology us_foreign_policy virology world_religions
"""


def _inference() -> tuple[JasterDataset, ...]:
    return (
        JasterDataset("jamp", "NLI", _NLI.format(how="時間関係上"), 3, labels=_THREE_WAY),
        JasterDataset(
            "janli",
            "NLI",
            f"前提と仮説の関係をentailment、non-entailmentの中から回答してください。{_ONLY}\n\n制約：\n"
            "- 前提に対して仮説が同じ意味を含む場合は、entailmentと出力\n"
            "- 前提に対して仮説が異なる意味を含む場合は、non-entailmentと出力",
            7,
            labels=("entailment", "non-entailment"),
        ),
        JasterDataset(
            "jnli",
            "NLI",
            _NLI.format(how="論理的知識や常識的知識を用いて"),
            3,
            labels=_THREE_WAY,
        ),
        JasterDataset(
            "jsem",
            "NLI",
            f"前提と仮説の関係をyes、no、unknown、undefの中から回答してください。{_ONLY}\n\n制約：\n"
            "- 前提から仮説が導出可能である場合はyesと出力\n"
            "- 前提から仮説の否定が導出可能である場合はnoと出力\n"
            "- 前提から仮説もその否定も導出できない場合はunknownと出力\n"
            "- 前提または仮説に容認不可能な文が含まれる場合はundefと出力",
            3,
            labels=("yes", "no", "unknown", "undef"),
            documented=False,
        ),
        JasterDataset(
            "jsick",
            "NLI",
            f"前提と仮説の関係をentailment、contradiction、neutralの中から回答してください。{_ONLY}\n\n制約：\n"
            "- 前提が真であるとき仮説が必ず真になる場合はentailmentと出力\n"
            "- 前提が真であるとき仮説が必ず偽になる場合はcontradictionと出力\n"
            "- そのいずれでもない場合はneutralと出力",
            3,
            labels=_THREE_WAY,
        ),
    )


def _choices() -> tuple[JasterDataset, ...]:
    numbered = "なお、回答は選択肢の番号（例：0）でするものとします。"
    return (
        JasterDataset(
            "jcommonsenseqa",
            "MC",
            f"質問と回答の選択肢を入力として受け取り、選択肢から回答を選択してください。{numbered} {_DIGIT}",
            1,
            labels=tuple("01234"),
        ),
        JasterDataset(
            "kuci",
            "MC",
            "文脈と選択肢を入力として受け取り、選択肢から文脈の後に続く文として最も適切なものを選択してください。"
            f"{numbered}{_DIGIT}",
            1,
            labels=tuple("0123"),
        ),
        JasterDataset(
            "commonsensemoralja",
            "MC",
            f"与えられた行為が道徳的に間違っている場合は1、間違っていない場合は0と回答してください。{_DIGIT}",
            1,
            labels=("0", "1"),
            documented=False,
        ),
    )


def _questions() -> tuple[JasterDataset, ...]:
    return (
        JasterDataset(
            "jemhopqa",
            "QA",
            _ANSWER,
            15,
            metrics=("char_f1",),
        ),
        JasterDataset(
            "niilc",
            "QA",
            "質問に対する答えを出力してください。回答の他には何も含めないことを厳守してください。"
            "答えが複数の場合、コンマ（,）で繋げてください。",
            30,
            metrics=("char_f1",),
        ),
        JasterDataset(
            "aio",
            "QA",
            _ANSWER,
            50,
            metrics=("char_f1",),
        ),
        JasterDataset(
            "jsquad",
            "RC",
            f"質問に対する回答を文章から一言で抽出してください。回答は名詞で答えてください。 {_ONLY}",
            15,
            metrics=("char_f1",),
        ),
        JasterDataset(
            "jsts",
            "STS",
            "日本語の文ペアの意味がどのくらい近いかを判定し、類似度を0.0〜5.0までの間の値で付与してください。"
            "0.0に近いほど文ペアの意味が異なり、5.0に近いほど文ペアの意味が似ていることを表しています。"
            f"整数値のみを返し、{_ONLY}",
            3,
            metrics=("pearson", "spearman"),
        ),
    )


def _annotated_text() -> tuple[JasterDataset, ...]:
    def wiki(name: str, instruction: str, length: int, metric: str = "set_f1") -> JasterDataset:
        return JasterDataset(
            name,
            "FA",
            instruction,
            length,
            metrics=(metric,),
            max_items=20,
            documented=False,
        )

    return (
        wiki("wiki_reading", "与えられたテキストを全てひらがなに変換してください。", 1000, "char_f1"),
        wiki(
            "wiki_ner",
            "与えられたテキストから固有表現（組織名、人名、地名、固有物名、日付表現、時刻表現、金額表現、割合表現）を"
            "全て抽出してください。回答には「固有表現1（種類1） 固有表現2（種類2）」のように"
            "固有表現の種類も含め、"
            f"{_ONLY}",
            600,
        ),
        wiki(
            "wiki_dependency",
            "与えられたテキストについて文節間の係り受け関係を列挙してください。回答は以下のような形式で答えてください。\n"
            "係り元 -> 係り先\n係り元 -> 係り先",
            600,
        ),
        wiki(
            "wiki_pas",
            "与えられたテキストに含まれる述語項構造を全て列挙してください。"
            f"{_ONLY}回答は一行に一つの述語とし、以下のような形式で答えてください。\n"
            "述語1 ガ：項1 ヲ：項2\n述語2 ガ：項3",
            600,
        ),
        wiki(
            "wiki_coreference",
            "与えられたテキストから同一の対象を指し示すフレーズを全て抽出してください。回答は以下のような形式で答えて"
            "ください。\nフレーズ1 フレーズ2 フレーズ3\nフレーズ4 フレーズ5",
            600,
        ),
    )


def _analysis() -> tuple[JasterDataset, ...]:
    return (
        JasterDataset(
            "chabsa",
            "EL",
            "与えられた文章から固有表現で書かれたターゲットの名前を抽出し、それに対する極性をpositive、neutral、"
            "negativeの中から選択して下さい。固有表現で書かれたターゲットの名前と、それに対する極性（positive、"
            f"neutral、negative）のペアをスペース（ ）で区切って出力し、{_ONLY}"
            "答えが複数の場合、改行で繋げてください。"
            "ただし、ターゲットは固有表現である市場、市況、会社/法人、グループ、会社内の部門、事業部、事業領域、製品、"
            "サービスの名称などを指すこととします。",
            220,
            metrics=("set_f1",),
            documented=False,
        ),
        JasterDataset(
            "jblimp",
            "syntactic",
            "これから提示する a と b の2つの日本語の文章のうち、一つは文法的に正しく、もう一つは文法的な誤り"
            "を含んでいます。どちらが文法的に正しい文章かを判断し、正しい文章に対応したアルファベットを出力してください。"
            f"必ずaまたはbのどちらか1文字を出力し、{_ONLY}",
            1,
            labels=("a", "b"),
        ),
        *(
            JasterDataset(
                f"jcola-{domain}",
                "syntactic",
                "これから提示する日本語の文章が文法的な誤りを含んでいるかを判断してください。文法的に正しい文章の場合は1、"
                f"文法的な誤りを含む文章の場合は0と回答してください。{_DIGIT}",
                1,
                labels=("0", "1"),
                documented=False,
            )
            for domain in ("in-domain", "out-of-domain")
        ),
    )


def _numbers_and_exams() -> tuple[JasterDataset, ...]:
    return (
        JasterDataset(
            "mawps",
            "MR",
            f"与えられた計算問題に対する答えを整数または小数で出力してください。数値のみを出力し、{_ONLY}",
            10,
        ),
        JasterDataset(
            "mgsm",
            "MR",
            _ANSWER,
            10,
        ),
        JasterDataset(
            "jmmlu",
            "HE",
            _LETTER,
            5,
            labels=tuple("ABCD"),
            subjects=tuple(_JMMLU_SUBJECTS.split()),
            is_single_later=True,
            max_items=5,
        ),
        JasterDataset(
            "mmlu_prox_ja",
            "HE",
            _LETTER,
            5,
            labels=tuple("ABCDEFGHIJ"),
            documented=False,
        ),
        JasterDataset(
            "mmlu_en",
            "HE",
            "Select an answer from the choices provided. Note that the answer should be made by selecting a "
            "single letter that corresponds to the option (e.g., A, B, C, or D) without adding any extra "
            "characters.",
            3,
            labels=tuple("ABCD"),
            language="en",
            subjects=tuple(_MMLU_SUBJECTS.split()),
            max_items=5,
        ),
    )


def _generation() -> tuple[JasterDataset, ...]:
    def translation(corpus: str, direction: str) -> JasterDataset:
        into_japanese = direction == "e-to-j"
        source, target = ("英語", "日本語") if into_japanese else ("日本語", "英語")
        return JasterDataset(
            f"{corpus}-{direction}",
            "MT",
            f"これから提示する{source}の文章を{target}に翻訳してください。必ず翻訳結果だけを出力し、{_ONLY}",
            300,
            metrics=("bleu_ja" if into_japanese else "bleu_en",),
            documented=False,
        )

    return (
        *(
            translation(corpus, direction)
            for corpus in ("alt", "wikicorpus")
            for direction in ("e-to-j", "j-to-e")
        ),
        JasterDataset(
            "jhumaneval",
            "CG",
            "次のPythonの関数を、説明に従って完成させてください。関数全体をコードブロックの中に書いてください。",
            1024,
            metrics=("code_exec_sandbox",),
            documented=False,
        ),
    )


DATASETS: dict[str, JasterDataset] = {
    dataset.name: dataset
    for part in (
        _inference(),
        _choices(),
        _questions(),
        _analysis(),
        _annotated_text(),
        _numbers_and_exams(),
        _generation(),
    )
    for dataset in part
}
"""All datasets by name."""
