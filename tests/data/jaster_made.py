"""Upstream files of the jaster datasets whose real ones are not at hand, in the formats of their upstreams.

Each gives twelve test items, and at least four train items.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

NUM_ITEMS = 12
_UNSPLIT = 32 + 11 + NUM_ITEMS  # of fewer than 1000 items 32 are train, and half of the rest test


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def write_lines(path: Path, rows: Sequence[Any]) -> None:
    write(path, "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows))


def kuci(mirror: Path) -> None:
    for name in ("train", "development", "test"):
        rows = [
            {"id": n, "context": f"{name}に雨{n}", "label": "abcd"[n % 4], "agreement": 4}
            | {f"choice_{letter}": f"{letter}{n}" for letter in "abcd"}
            for n in range(NUM_ITEMS)
        ]
        write_lines(mirror / f"kuci/{name}.jsonl", rows)


def aio(mirror: Path) -> None:
    """The newer files have `answers`, the older ones `answer_entity`."""
    for name in ("dev", "test"):
        rows = [
            {"qid": f"A{n}", "question": f"{name}の{n}番目の町は？"}
            | ({"answers": [f"町{n}", "別"]} if n % 2 else {"answer_entity": f"町{n}"})
            for n in range(NUM_ITEMS)
        ]
        write_lines(mirror / f"aio/aio_01_{name}.jsonl", rows)


def mmlu_prox_ja(mirror: Path) -> None:
    """Questions with three to ten options."""
    for name in ("validation", "test"):
        rows = [
            {
                "question_id": n,
                "question": f"{name}の問{n}",
                "answer": "ABCDEFGHIJ"[n % size],
                "category": "law",
            }
            | {f"option_{place}": f"選{place}" if place < size else None for place in range(10)}
            for n in range(NUM_ITEMS)
            for size in (3 + n % 8,)
        ]
        write_lines(mirror / f"mmlu_prox_ja/{name}.jsonl", rows)


def document(name: str, number: int) -> str:
    """A document with all five kinds of annotations, and a sentence that stood in brackets.

    太郎は東京大学に行った。（たろう）彼は本を読む。
    """
    first, second = f"{name}-00-01", f"{name}-01-01"
    person, again = f"太郎{number}", f"彼{number}"
    return f"""\
# S-ID:{first} 括弧削除 KNP:5.0 DATE:2022/04/27 SCORE:1.0
* 2D
+ 3D <NE:PERSON:{person}>
{person} たろう{number} {person} 名詞 6 人名 5 * 0 * 0 NIL <NE:PERSON:single>
は は は 助詞 9 副助詞 2 * 0 * 0 NIL
* 2D
+ 2D
東京 とうきょう 東京 名詞 6 地名 4 * 0 * 0 NIL <NE:ORGANIZATION:head>
+ 3D <NE:ORGANIZATION:東京大学>
大学 だいがく 大学 名詞 6 普通名詞 1 * 0 * 0 NIL <NE:ORGANIZATION:tail>
に に に 助詞 9 格助詞 1 * 0 * 0 NIL
* -1D
+ -1D <rel type="ニ" target="大学" sid="{first}" id="2"/>\
<rel type="ガ" target="{person}" sid="{first}" id="0"/>
行った いった 行く 動詞 2 * 0 子音動詞カ行促音便形 3 タ形 10 NIL
。 。 。 特殊 1 句点 1 * 0 * 0 NIL
EOS
# S-ID:{name}-00-02 括弧始:（ 括弧終:） 括弧位置:4 KNP:5.0 DATE:2022/04/27 SCORE:0.0
* -1D
+ -1D <rel type="=" target="{person}" sid="{first}" id="0"/><NE:PERSON:タロウ>
タロウ たろう タロウ 名詞 6 人名 5 * 0 * 0 NIL <NE:PERSON:single>
EOS
# S-ID:{second} KNP:5.0 DATE:2022/04/27 SCORE:1.0
* 2D
+ 2D <rel type="=" target="{person}" sid="{first}" id="0"/><rel type="=≒" target="大学" sid="{first}" id="2"/>
{again} かれ{number} {again} 名詞 6 普通名詞 1 * 0 * 0 NIL
は は は 助詞 9 副助詞 2 * 0 * 0 NIL
* 2D
+ 2D
JR ＪＲ JR 名詞 6 組織名 6 * 0 * 0 NIL
の の の 助詞 9 接続助詞 3 * 0 * 0 NIL
ホン ほん ホン 名詞 6 普通名詞 1 * 0 * 0 NIL
を を を 助詞 9 格助詞 1 * 0 * 0 NIL
* -1D
+ -1D <rel type="ガ" target="{again}" sid="{second}" id="0"/><rel type="ヲ" target="不特定:物"/>\
<rel type="ヲ" mode="？" target="大学" sid="{first}" id="2"/>
読む よむ 読む 動詞 2 * 0 子音動詞マ行 9 基本形 2 NIL
。 。 。 特殊 1 句点 1 * 0 * 0 NIL
EOS
"""


def wiki(mirror: Path) -> None:
    folder = mirror / "wikipedia_annotated_corpus"
    for place, split in enumerate(("train", "dev", "test")):
        names = [f"wiki{place:04}{n:04}" for n in range(NUM_ITEMS)]
        write(folder / f"id/{split}.id", "".join(f"{name}\n" for name in names))
        for number, name in enumerate(names):
            write(folder / f"knp/{name[:8]}/{name}.knp", document(name, number))


def jblimp(mirror: Path) -> None:
    rows = [
        {
            "ID": n,
            "good_sentence": f"太郎{n}が来た。",
            "bad_sentence": f"太郎{n}を来た。",
            "phenomenon-2": None,
        }
        for n in range(_UNSPLIT)
    ]
    write_lines(mirror / "jblimp/validated_minimal_pairs.jsonl", rows)


def alt(mirror: Path) -> None:
    """One sentence of each list is not there in English."""
    lines: dict[str, list[str]] = {"en": [], "ja": []}
    for place, split in enumerate(("train", "dev", "test")):
        article = 80188 + place
        write(mirror / f"alt/URL-{split}.txt", f"URL.{article}\thttp://en.wikinews.org/wiki/{split}\n")
        for n in range(NUM_ITEMS + 1):
            lines["ja"].append(f"SNT.{article}.{n}\t{split}の{n}番目の文は短い。\n")
            if n:
                lines["en"].append(f"SNT.{article}.{n}\tThe sentence number {n} of {split} is short.\n")
    for language, texts in lines.items():
        write(mirror / f"alt/data_{language}.txt", "".join(texts))


def wikicorpus(mirror: Path) -> None:
    """Sixty sentences in two articles, twelve of them test items."""
    names = ("BDS00001", "CLT00001")
    rows = [f"{name}.xml,2674,雪舟,Buddhism,30,X_1\n" for name in names]
    header = "File name,Wikipedia ID,Title,Category,Number of sentences,Translator ID\n"
    write(mirror / "wikicorpus/Wiki_Corpus_List_2.01.csv", header + "".join(rows))
    for name in names:
        sentences = "".join(_sentence(name, n) for n in range(30))
        art = f'<art orl="ja" trl="en">\n<par id="1">\n{sentences}</par>\n</art>\n'
        text = f'<?xml version="1.0" encoding="UTF-8"?>\n{art}'
        write(mirror / f"wikicorpus/{name[:3]}/{name}.xml", text)


def _sentence(name: str, n: int) -> str:
    return f"""\
<sen id="{n}">
<j>{name}の寺{n}は古い。</j>
<e type="trans" ver="1">first {n}</e>
<cmt></cmt>
<e type="trans" ver="2">second {n}</e>
<e type="check" ver="1">The temple {n} of {name} is old.</e>
<cmt>修正なし</cmt>
</sen>
"""


def program(number: int) -> dict[str, str]:
    """A row of JHumanEval; every third calls a function of its prompt in its test, which has a loop."""
    name = f"add_{number}"
    helper = f"def twice_{number}(x: float):\n    return 2 * math.floor(x)\n\n\n" if number % 3 == 0 else ""
    head = f'def {name}(x: int) -> int:\n    """xに{number}を足す。\n    """\n'
    test = f"    assert candidate(1) == {1 + number}\n    assert candidate(0) == {number}\n"
    if helper:
        test += f"    for n in range(3):\n        assert twice_{number}(candidate(n)) == 2 * (n + {number})\n"
    return {
        "task_id": f"JHumanEval/{number}",
        "prompt_en": "",
        "prompt": f"import math\n\n\n{helper}{head}",
        "entry_point": name,
        "canonical_solution": f"    return x + {number}\n",
        "test": f"\n\nMETADATA = {{'author': 'jt'}}\n\n\ndef check(candidate):\n{test}\n\n",
    }


def jhumaneval(mirror: Path) -> None:
    write_lines(mirror / "jhumaneval/jhuman-eval.jsonl", [program(n) for n in range(_UNSPLIT)])


MADE: dict[str, Callable[[Path], None]] = {
    "kuci": kuci,
    "aio": aio,
    "mmlu_prox_ja": mmlu_prox_ja,
    **dict.fromkeys(("wiki_reading", "wiki_ner", "wiki_dependency", "wiki_pas", "wiki_coreference"), wiki),
    "jblimp": jblimp,
    **dict.fromkeys(("alt-e-to-j", "alt-j-to-e"), alt),
    **dict.fromkeys(("wikicorpus-e-to-j", "wikicorpus-j-to-e"), wikicorpus),
    "jhumaneval": jhumaneval,
}
"""By dataset: what writes its upstream files below a folder."""
