"""Random pairs of texts as in jaster datasets and answers, for comparing metrics with other libraries."""

from __future__ import annotations

import random

_PIECES = (
    *(
        "東京",
        "東京都",
        "織田信長",
        "信長",
        "大阪 府",
        "カタカナ",
        "ひらがな",
        "ｶﾀｶﾅ",
        "１９９９年",
        "1999年",
    ),
    *(
        "（人名）",
        "(地名)",
        "{",
        "}",
        "{input}",
        "{{x}}",
        "\n",
        "\n\n",
        "\r\n",
        "🙂",
        "👨\u200d👩\u200d👧",
        "🇯🇵",
    ),
    *("é", "ﬁ", "İ", "ß", "_", "-", "->", "。", "、", "「", "」", "\u3000", " ", "\t", "YES", "yes", "No"),
    *("the cat", "sat on", "3.5", "-2", "1,000", "'", '"'),
)
EDGES = ("", " ", "\u3000", "。", "🙂", "{}", "\n", "\n\n", "１", "'", '""')


def text(generator: random.Random) -> str:
    """A text of up to twelve pieces; now and then an edge case, or a long one."""
    kind = generator.random()
    if kind < 0.1:
        return generator.choice(EDGES)
    num_pieces = generator.randint(60, 120) if kind > 0.97 else generator.randint(1, 12)
    return "".join(generator.choices(_PIECES, k=num_pieces))


def pairs(num_pairs: int, seed: int = 7) -> list[tuple[str, str]]:
    """A right answer and a prediction each: another text, the same, or the same with something changed."""
    generator = random.Random(seed)
    found = []
    for _ in range(num_pairs):
        gold = text(generator)
        kind = generator.random()
        if kind < 0.5:
            prediction = text(generator)
        elif kind < 0.6:
            prediction = gold
        else:
            place = generator.randint(0, len(gold))
            prediction = gold[:place] + generator.choice(_PIECES) + gold[place + generator.randint(0, 2) :]
        found.append((gold, prediction))
    return found
