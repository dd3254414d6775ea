"""The upstream files of jaster's datasets, read into samples: an input, and the output that is right."""

from __future__ import annotations

import ast
import csv
import io
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

from evalkit.codec import decode_foreign
from evalkit.data.jaster_corpora import corpus_upstreams
from evalkit.data.jaster_splits import Reader, Sample, Upstream
from evalkit.data.jaster_wiki import wiki_upstreams
from evalkit.data.rows import csv_rows, json_rows, text_of
from evalkit.data.xml_text import texts_at, xml_of
from evalkit.errors import DataError
from evalkit.run_specs.jaster_datasets import DATASETS

# Reading


def _tsv(path: Path, fields: Sequence[str]) -> Iterator[dict[str, str]]:
    """The rows of a tab-separated file with a header and without quoting."""
    lines = text_of(path).removeprefix("\ufeff").split("\n")
    header = lines[0].rstrip("\r").split("\t")
    if missing := [name for name in fields if name not in header]:
        raise DataError(f"{path}:1: there is no column {' or '.join(missing)}")
    for number, line in enumerate(lines[1:], start=2):
        if not line.strip():
            continue
        cells = line.rstrip("\r").split("\t")
        if len(cells) != len(header):
            raise DataError(f"{path}:{number}: {len(cells)} fields, {len(header)} are expected")
        yield dict(zip(header, cells, strict=True))


def _pair(premise: str, hypothesis: str, label: str) -> Sample:
    return Sample(f"前提：{premise}\n仮説：{hypothesis}", label)


def _jamp(path: Path) -> list[Sample]:
    rows = _tsv(path, ("premise", "hypothesis", "gold_label"))
    return [_pair(row["premise"], row["hypothesis"], row["gold_label"]) for row in rows]


def _janli(path: Path, split: str) -> list[Sample]:
    first, second, label = "sentence_A_Ja", "sentence_B_Ja", "entailment_label_Ja"
    rows = _tsv(path, (first, second, label, "split"))
    return [_pair(row[first], row[second], row[label]) for row in rows if row["split"] == split]


def _jsick(path: Path) -> list[Sample]:
    first, second, label = "sentence_A_Ja", "sentence_B_Ja", "entailment_label_Ja"
    return [_pair(row[first], row[second], row[label]) for row in _tsv(path, (first, second, label))]


def _jnli(path: Path) -> list[Sample]:
    rows = json_rows(path, dict.fromkeys(("sentence1", "sentence2", "label"), str))
    return [_pair(row["sentence1"], row["sentence2"], row["label"]) for row in rows]


def _jsem(path: Path) -> list[Sample]:
    """The problems with one of the four answers; JSeM also judges single sentences, which are left out."""
    samples = []
    for problem in xml_of(path).iter("problem"):
        answer = problem.get("answer") or ""
        if answer in DATASETS["jsem"].labels:
            premise = "".join(texts_at(problem, "p/script"))
            samples.append(_pair(premise, "".join(texts_at(problem, "h/script")), answer))
    return samples


def _niilc(path: Path) -> list[Sample]:
    samples = []
    for question in xml_of(path).iter("question"):
        answers = [answer for answer in texts_at(question, "answers/answer") if answer]
        if answers:
            samples.append(Sample(f"質問：{''.join(texts_at(question, 'text'))}", ",".join(answers)))
    return samples


def _jcommonsenseqa(path: Path) -> list[Sample]:
    names = [f"choice{number}" for number in range(5)]
    rows = json_rows(path, {"question": str, "label": int} | dict.fromkeys(names, str))
    return [
        Sample(_options("質問", row["question"], [row[name] for name in names], "01234"), str(row["label"]))
        for row in rows
    ]


def _kuci(path: Path) -> list[Sample]:
    names = [f"choice_{letter}" for letter in "abcd"]
    rows = json_rows(path, dict.fromkeys(("context", "label", *names), str))
    return [
        Sample(
            _options("文脈", row["context"], [row[name] for name in names], "0123"),
            str("abcd".index(row["label"])),
        )
        for row in rows
    ]


def _morality(path: Path) -> list[Sample]:
    rows = csv_rows(path, min_fields=3)
    next(rows, None)
    return [Sample(sentence, label) for _, (_, sentence, label, *_) in rows]


def _jemhopqa(path: Path) -> list[Sample]:
    rows = _json_list(path, ("question", "answer"))
    return [Sample(f"質問：{row['question']}", row["answer"]) for row in rows]


def _aio(path: Path) -> list[Sample]:
    """Each quiz question with the first of its answers."""
    samples = []
    for row in json_rows(path, {"question": str}):
        answers = row.get("answers") or [row.get("answer_entity")]
        if not isinstance(answers, list) or not isinstance(answers[0], str):
            raise DataError(f"{path}: '{row['question'][:40]}' has neither 'answers' nor 'answer_entity'")
        samples.append(Sample(f"質問：{row['question']}", answers[0]))
    return samples


def _mmlu_prox(path: Path) -> list[Sample]:
    """Questions with up to ten options, in `option_0` to `option_9`."""
    samples = []
    for row in json_rows(path, {"question": str, "answer": str}):
        given = [row.get(f"option_{number}") for number in range(10)]
        options = [str(option).strip() for option in given if option not in (None, "", "N/A")]
        marks = "ABCDEFGHIJ"[: len(options)]
        if len(row["answer"]) != 1 or row["answer"] not in marks:
            raise DataError(f"{path}: '{row['question'][:40]}' has no option {row['answer']!r}")
        samples.append(Sample(_options("質問", row["question"], options, marks), row["answer"]))
    return samples


def _jsquad(path: Path) -> list[Sample]:
    """Each question with the first of its answers."""
    content = _json(path)
    if not isinstance(content, dict) or not isinstance(content.get("data"), list):
        raise DataError(f"{path}: a JSON object with a list 'data' is expected")
    try:
        return [
            Sample(f"文章：{passage['context']}\n質問：{asked['question']}", asked["answers"][0]["text"])
            for article in content["data"]
            for passage in article["paragraphs"]
            for asked in passage["qas"]
        ]
    except (KeyError, IndexError, TypeError) as error:
        raise DataError(f"{path}: a question lacks {error}") from None


def _jsts(path: Path) -> list[Sample]:
    rows = json_rows(path, {"sentence1": str, "sentence2": str, "label": (int, float)})
    return [Sample(f"文1：{row['sentence1']}\n文2：{row['sentence2']}", str(row["label"])) for row in rows]


def _chabsa(path: Path) -> list[Sample]:
    """The sentences about which there is an opinion."""
    content = _json(path)
    try:
        return [
            Sample(
                sentence["sentence"],
                "\n".join(f"{opinion['target']} {opinion['polarity']}" for opinion in sentence["opinions"]),
            )
            for sentence in content["sentences"]
            if sentence["opinions"]
        ]
    except (KeyError, TypeError) as error:
        raise DataError(f"{path}: a sentence lacks {error}") from None


def _mawps(path: Path) -> list[Sample]:
    rows = _json_list(path, ("question", "answer"))
    questions = (row["question"].partition("\n解答：")[0].removeprefix("問題：") for row in rows)
    return [Sample(question, row["answer"]) for question, row in zip(questions, rows, strict=True)]


def _mgsm(path: Path) -> list[Sample]:
    samples = []
    for number, line in enumerate(text_of(path).split("\n"), start=1):
        if not line.strip():
            continue
        question, mark, answer = line.rstrip("\r").rpartition("\t")
        if not mark:
            raise DataError(f"{path}:{number}: a question and an answer, with a tab between, are expected")
        samples.append(Sample(question, answer.replace(",", "")))
    return samples


def _mgsm_exemplars(path: Path) -> list[Sample]:
    """The Japanese examples in MGSM's Python file, which is parsed and not run."""
    try:
        values = [node.value for node in ast.parse(text_of(path)).body if isinstance(node, ast.Assign)]
        examples = next(ast.literal_eval(value) for value in values if isinstance(value, ast.Dict))["ja"]
        return [
            Sample(example["q"].removeprefix("問題：").strip(), str(example["number_answer"]))
            for example in examples.values()
        ]
    except (SyntaxError, ValueError, StopIteration, KeyError, AttributeError, TypeError) as error:
        raise DataError(f"{path}: no Japanese examples with 'q' and 'number_answer' ({error})") from None


def _mgsm_file(path: Path) -> list[Sample]:
    return _mgsm_exemplars(path) if path.suffix == ".py" else _mgsm(path)


def _exam(path: Path, language: Literal["ja", "en"]) -> list[Sample]:
    """Rows of question, four options and the letter."""
    samples = []
    # Some files begin with a byte order mark, and some texts have quotation marks in the middle.
    stream = io.StringIO(text_of(path).removeprefix("\ufeff"), newline="")
    for number, row in enumerate(csv.reader(stream), start=1):
        if len(row) != 6 or row[5].strip() not in tuple("ABCD"):
            raise DataError(f"{path}: row {number}: a question, four options and their letter are expected")
        question, *options, letter = row
        if language == "ja":
            text = _options("質問", question, [option.strip() for option in options], "ABCD")
        else:
            listed = ",".join(f"{name}.{option}" for name, option in zip("ABCD", options, strict=True))
            text = f"Question: {question}\nChoices: {listed}"
        samples.append(Sample(text, letter.strip()))
    return samples


def _jcola(path: Path) -> list[Sample]:
    rows = json_rows(path, {"sentence": str, "label": int})
    return [Sample(row["sentence"], str(row["label"])) for row in rows]


def _options(noun: str, question: str, options: Sequence[str], marks: str) -> str:
    listed = ",".join(f"{mark}.{option}" for mark, option in zip(marks, options, strict=True))
    return f"{noun}：{question}\n選択肢：{listed}"


def _json(path: Path) -> Any:
    try:
        return decode_foreign(text_of(path).encode())
    except ValueError as error:
        raise DataError(f"{path}: not valid JSON ({error}); the file may be truncated") from None


def _json_list(path: Path, fields: Sequence[str]) -> list[dict[str, str]]:
    rows = _json(path)
    if not isinstance(rows, list):
        raise DataError(f"{path}: a JSON list is expected")
    for position, row in enumerate(rows):
        if not isinstance(row, dict) or not all(isinstance(row.get(name), str) for name in fields):
            raise DataError(f"{path}: item {position} needs the texts {' and '.join(fields)}")
    return rows


# Where each dataset comes from


def _glue(name: str, read: Reader) -> Upstream:
    folder = f"jglue/{name}-v1.3"
    files = {"train": (f"{folder}/train-v1.3.json",), "test": (f"{folder}/valid-v1.3.json",)}
    return Upstream("train_dev", files, read)


class _JaNLI(Upstream):
    """One file with a column that says the split."""

    __slots__ = ()

    def make(self, split: str, mirror: Path) -> list[Sample]:
        wanted = "test" if split == "test" else "train"
        one = Upstream("train_dev", self.files, partial(_janli, split=wanted))
        return one.make(split, mirror)


_JSEM = """
    Adjectives Adverb Attitudes AuxiliaryVerb CaseParticle Comparatives CompoundAdjective CompoundVerb
    Conditional Conjunction Coordination Ellipsis GeneralizedQuantifier Modality NP NewAdjective
    NominalAnaphora Plurals Question TemporalReference Toritate Verbs
"""
# chABSA's reports; the sentences of all of them are shuffled together, so none may be missing.
_CHABSA = """
    00008 00017 00024 00026 00030 00033 00034 00035 00037 00051 00053 00058 00069 00091 00107 00114 00146
    00168 00184 00194 00273 00308 00343 00354 00380 00406 00435 00457 00465 00501 00534 00541 00547 00563
    00603 00686 00693 00694 00721 00772 00787 00810 00832 00838 00840 00842 00858 00877 00886 00909 00911
    00939 00962 00976 01018 01043 01054 01097 01118 01151 01156 01173 01183 01197 01216 01230 01244 01249
    01260 01334 01364 01398 01402 01425 01436 01462 01469 01506 01528 01529 01533 01546 01585 01620 01624
    01629 01635 01703 01719 01731 01740 01743 01764 01794 01798 01813 01849 01862 01865 01903 01904 01933
    01946 01968 01972 01974 01987 01992 02009 02049 02105 02150 02152 02214 02241 02246 02289 02353 02367
    02380 02382 02390 02414 02423 02505 02525 02530 02544 02547 02563 02567 02608 02627 02632 02643 02673
    02682 02732 02825 02837 02889 02905 02946 03128 03226 03236 03267 03275 03281 03367 03398 03401 03472
    03505 03556 03566 03580 03582 03584 03601 03641 03693 03723 03784 03929 03991 04078 04091 04123 04136
    04147 04191 04242 04273 04291 04298 04304 04319 04329 04331 04360 04503 04509 04727 04768 04844 04856
    04858 04867 04877 04948 04976 04995 05011 05110 05145 05155 05167 05302 05319 05322 05346 05452 05469
    05480 05593 05629 05714 05737 07801 21200 21261 23818 25665 26332 26443 26454 26713 26914 27050 27633
    27759 30066 30085 30479 30746 32161 32189 32458 33009
"""


def _kept(read: Reader, absent: tuple[str, ...] = (), **files: str) -> Upstream:
    return Upstream("kept", {split: (path,) for split, path in files.items()}, read, absent)


def _trained(read: Reader, train: str, test: str) -> Upstream:
    return Upstream("train_dev", {"train": (train,), "test": (test,)}, read)


def _upstreams() -> dict[str, Upstream]:
    exams = {
        name: Upstream("parts", {"all": (f"jmmlu/{subject}.csv",)}, partial(_exam, language="ja"))
        for name, subject in zip(DATASETS["jmmlu"].files, DATASETS["jmmlu"].subjects, strict=True)
    }
    every = tuple(file for upstream in exams.values() for file in upstream.files["all"])
    exams["jmmlu"] = Upstream("parts", {"all": every}, partial(_exam, language="ja"))
    for name, subject in zip(DATASETS["mmlu_en"].files, DATASETS["mmlu_en"].subjects, strict=True):
        parts = {"train": "dev", "dev": "val", "test": "test"}
        files = {split: f"mmlu/data/{part}/{subject}_{part}.csv" for split, part in parts.items()}
        exams[name] = _kept(partial(_exam, language="en"), (), **files)
    chabsa = {"all": tuple(f"chabsa/e{number}_ann.json" for number in _CHABSA.split())}
    janli = {"train": ("janli/janli.tsv",), "test": ("janli/janli.tsv",)}
    jsem = {"all": tuple(f"jsem/{name}.xml" for name in _JSEM.split())}
    return {
        "jamp": _trained(_jamp, "jamp/train_all.tsv", "jamp/test_2.tsv"),
        "janli": _JaNLI("train_dev", janli, _jamp),
        "jnli": _glue("jnli", _jnli),
        "jsem": Upstream("four_fifths", jsem, _jsem),
        "jsick": _trained(_jsick, "jsick/train.tsv", "jsick/test.tsv"),
        "jcommonsenseqa": _glue("jcommonsenseqa", _jcommonsenseqa),
        "kuci": _kept(
            _kuci,
            train="kuci/train.jsonl",
            dev="kuci/development.jsonl",
            test="kuci/test.jsonl",
        ),
        "commonsensemoralja": _kept(
            _morality,
            train="jcommonsensemorality/data_train.csv",
            dev="jcommonsensemorality/data_val.csv",
            test="jcommonsensemorality/data_test.csv",
        ),
        "jemhopqa": _trained(_jemhopqa, "jemhopqa/corpus/train.json", "jemhopqa/corpus/dev.json"),
        "niilc": _trained(_niilc, "niilc/NIILC-ECQA2015_dev.xml", "niilc/NIILC-ECQA2015_test.xml"),
        "aio": _trained(_aio, "aio/aio_01_dev.jsonl", "aio/aio_01_test.jsonl"),
        "mmlu_prox_ja": _trained(_mmlu_prox, "mmlu_prox_ja/validation.jsonl", "mmlu_prox_ja/test.jsonl"),
        "jsquad": _glue("jsquad", _jsquad),
        "jsts": _glue("jsts", _jsts),
        "chabsa": Upstream("parts", chabsa, _chabsa),
        "mawps": Upstream("mawps", {"all": ("cot_ja/mawps/test.json",)}, _mawps),
        "mgsm": _kept(_mgsm_file, ("dev",), train="mgsm/exemplars.py", test="mgsm/mgsm_ja.tsv"),
        "jcola-in-domain": _kept(
            _jcola, ("dev",), train="jcola/in_domain_train-v1.0.json", test="jcola/in_domain_valid-v1.0.json"
        ),
        "jcola-out-of-domain": _kept(_jcola, ("train", "dev"), test="jcola/out_of_domain_valid-v1.0.json"),
        **exams,
        **corpus_upstreams(),
        **wiki_upstreams(),
    }


UPSTREAMS = _upstreams()
"""By the name of each built file: where it comes from."""
