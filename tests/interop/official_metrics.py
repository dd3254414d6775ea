"""Published packages and evalkit give the same official scores on random answers.

    python tests/interop/official_metrics.py [--venv FOLDER]

From scratch: a virtual environment with `lm-eval` and `torchmetrics`, random pairs of right answers and
predictions (fixed seed), their scores by these packages and by evalkit, compared to 1e-9. Exit code 0: all
agree. It downloads some GB of packages the first time, so it is no part of the test suite.

torchmetrics judges SQuAD and ROUGE. Its SQuAD F1 has version 2's rule for empty texts, so version 1 is
compared where neither text is empty, and for version 2 the golds that are empty by its own normalising are
dropped first, as the official script does. lm-eval judges DROP, CodeXGLUE's BLEU and GSM8K. Left out:
NQ-open, where lm-eval's exact match is not the official one (articles and punctuation are treated
differently), TriviaQA, whose configuration there was not compared, and rougeLsum, whose sentences
torchmetrics splits with a downloaded model.

Seen on 21 November 2026 (Python 3.11; lm-eval 0.4.13, torchmetrics 1.9.0, torch 2.13.0+cpu, nltk 3.10.4 and
scipy 1.17.1 from PyPI, in an environment kept with --venv; 13 s): 15 metrics, 43507 pairs, no difference.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import venv
from collections.abc import Callable, Sequence
from pathlib import Path

from evalkit.metrics import official
from evalkit.metrics.drop import drop_best
from evalkit.metrics.text import normalize_text

PACKAGES = ("lm-eval==0.4.13", "torch==2.13.0", "torchmetrics==1.9.0", "nltk", "scipy")
VOCABULARY = (
    "the a an The cat cats sat running quickly, Ünïcode naïve 北京 café it's rock-and-roll (x) "
    "x_y theory 3 3.0 1,000 20% $5 -7 . ! ? “quoted” & / don’t an-swer U.S. "
    "nations 1990 e.g. A.B. returns list"
)
WORDS = VOCABULARY.split()
NUM_PAIRS, SEED, TOLERANCE = 3000, 20261121, 1e-9

CHILD = r"""
import importlib, importlib.util, json, sys
from pathlib import Path

import lm_eval, torch
from lm_eval.api.metrics import exact_match_hf_evaluate
from lm_eval.filters.extraction import RegexFilter
from torchmetrics.functional.text.rouge import rouge_score

torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)
tm = importlib.import_module("torchmetrics.functional.text.squad")


def task(path):
    spec = importlib.util.spec_from_file_location("task", Path(lm_eval.__file__).parent / "tasks" / path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def squad(score, golds, prediction):
    return max(float(score(prediction, gold)) for gold in golds)


def with_answer(golds):
    return [gold for gold in golds if tm._normalize_text(gold)] or [""]


def gsm8k(pairs, **arguments):
    found = RegexFilter(**arguments).apply([[prediction] for _, prediction in pairs], [{}] * len(pairs))
    ignored = [",", "\\$", "(?s).*#### ", "\\.$"]
    return [
        float(exact_match_hf_evaluate(
            predictions=answers[:1], references=[gold], regexes_to_ignore=ignored, ignore_case=True
        )["exact_match"])
        for answers, (gold, _) in zip(found, pairs)
    ]


cases = json.loads(Path(sys.argv[1]).read_text())
em, f1 = tm._compute_exact_match_score, tm._compute_f1_score
scores = {
    "squad_v1_em": [squad(em, golds, text) for golds, text in cases["squad"]],
    "squad_v1_f1": [squad(f1, golds, text) for golds, text in cases["squad_filled"]],
    "squad_v2_em": [squad(em, with_answer(golds), text) for golds, text in cases["squad"]],
    "squad_v2_f1": [squad(f1, with_answer(golds), text) for golds, text in cases["squad"]],
}
drop = [task("drop/utils.py").process_results({"answers": a}, p) for a, p in cases["drop"]]
scores["drop_em"] = [float(row["em"]) for row in drop]
scores["drop_f1"] = [float(row["f1"]) for row in drop]
bleu = task("code_x_glue/code-text/bleu.py").smoothed_bleu_4
scores["codexglue_bleu"] = [bleu([gold], [text]) for gold, text in cases["texts"]]
scores["gsm8k_strict"] = gsm8k(cases["gsm8k"], regex_pattern=r"#### (\-?[0-9\.\,]+)")
scores["gsm8k_flexible"] = gsm8k(
    cases["gsm8k"], regex_pattern=r"(-?[$0-9.,]{2,})|(-?[0-9]+)", group_select=-1
)
keys = ("rouge1", "rouge2", "rougeL")
for stemmer, ending in ((False, ""), (True, " stemmed")):
    rows = [rouge_score(text, gold, use_stemmer=stemmer, rouge_keys=keys) for gold, text in cases["texts"]]
    scores |= {key + ending: [float(row[key + "_fmeasure"]) for row in rows] for key in keys}
Path(sys.argv[2]).write_text(json.dumps(scores))
"""

Answers = list[tuple[list[str], str]]
Texts = list[tuple[str, str]]
Spans = list[tuple[list[list[str]], list[str]]]


def main() -> int:
    """Do it all; the exit code says whether everything agreed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--venv", type=Path, help="keep the environment here, and use it if it is there")
    given = parser.parse_args()
    rng = random.Random(SEED)
    squad, texts, gsm8k, drop = squad_cases(rng), text_cases(rng), gsm8k_cases(rng), drop_cases(rng)
    filled = [(golds, text) for golds, text in squad if all(map(normalize_text, [*golds, text]))]
    ours = our_scores(squad, filled) | text_scores(texts, gsm8k)
    pairs = [drop_best(answers, prediction) for answers, prediction in drop]
    ours |= {"drop_em": [em for em, _ in pairs], "drop_f1": [f1 for _, f1 in pairs]}
    cases = {"squad": squad, "squad_filled": filled, "texts": texts, "gsm8k": gsm8k, "drop": drop}
    with tempfile.TemporaryDirectory() as folder:
        theirs = their_scores(environment(given.venv or Path(folder) / "venv"), Path(folder), cases)
    problems = 0
    for name, values in ours.items():
        differ = [
            i
            for i, (a, b) in enumerate(zip(values, theirs[name], strict=True))
            if not abs(a - b) <= TOLERANCE
        ]
        problems += len(differ)
        sys.stdout.write(f"{name}: {len(values)} pairs compared, {len(differ)} differences {differ[:3]}\n")
    return 1 if problems else 0


def phrase(rng: random.Random, longest: int) -> str:
    """Up to so many random words; may be empty."""
    return " ".join(rng.choice(WORDS) for _ in range(rng.randint(0, longest)))


def squad_cases(rng: random.Random) -> Answers:
    """One to three golds and a prediction, which often is one of them or close to it."""
    cases = []
    for _ in range(NUM_PAIRS):
        golds = [phrase(rng, 4) for _ in range(rng.randint(1, 3))]
        near = f"{rng.choice(('', 'the ', 'cat '))}{rng.choice(golds)}{rng.choice(('', '.', ' x_y'))}"
        cases.append((golds, rng.choice((near, phrase(rng, 4)))))
    return cases


def text_cases(rng: random.Random) -> Texts:
    """Pairs of longer texts."""
    return [(phrase(rng, 25), phrase(rng, 25)) for _ in range(NUM_PAIRS)]


def gsm8k_cases(rng: random.Random) -> Texts:
    """A gold with `#### number` and a prediction with or without one, in several ways of writing."""
    cases = []
    for _ in range(NUM_PAIRS):
        number = rng.randint(-3000, 3000)
        said = rng.choice((number, number, rng.randint(0, 9)))
        shown = rng.choice((f"{said}", f"{said:,}", f"{said}.", f"${said}", f"{said}.0", f"{said} cats"))
        lead = rng.choice(("#### ", "####", "The answer is ", "12 #### 3 #### ", ""))
        cases.append((f"{phrase(rng, 5)}\n#### {number:,}", f"{phrase(rng, 5)} {lead}{shown}"))
    return cases


def drop_cases(rng: random.Random) -> Spans:
    """One to three golds of one to four spans, and predicted spans that often come from one of them."""
    cases = []
    for _ in range(NUM_PAIRS):
        golds = [[phrase(rng, 4) for _ in range(rng.randint(1, 4))] for _ in range(rng.randint(1, 3))]
        near = rng.sample(golds[0], rng.randint(1, len(golds[0])))
        other = [phrase(rng, 4) for _ in range(rng.randint(1, 3))]
        cases.append((golds, rng.choice((near, other, near + other))))
    return cases


def our_scores(squad: Answers, filled: Answers) -> dict[str, list[float]]:
    """SQuAD by evalkit."""
    v1_em, v1_f1, v2_f1 = official.squad_v1_em, official.squad_v1_f1, official.squad_v2_f1_of
    return {
        "squad_v1_em": [max(v1_em(gold, text) for gold in golds) for golds, text in squad],
        "squad_v1_f1": [max(v1_f1(gold, text) for gold in golds) for golds, text in filled],
        "squad_v2_em": [official.squad_v2_best(v1_em, golds, text) for golds, text in squad],
        "squad_v2_f1": [official.squad_v2_best(v2_f1, golds, text) for golds, text in squad],
    }


def text_scores(texts: Texts, gsm8k: Texts) -> dict[str, list[float]]:
    """The metrics of one gold and one prediction by evalkit."""
    plain: Sequence[tuple[str, Callable[[str, str], float], Texts]] = (
        ("codexglue_bleu", official.codexglue_bleu, texts),
        ("gsm8k_strict", official.gsm8k_strict, gsm8k),
        ("gsm8k_flexible", official.gsm8k_flexible, gsm8k),
    )
    scores = {name: [score(*pair) for pair in pairs] for name, score, pairs in plain}
    for name, rouge in (
        ("rouge1", official.rouge1),
        ("rouge2", official.rouge2),
        ("rougeL", official.rouge_l_plain),
    ):
        scores[name] = [rouge(*pair) for pair in texts]
        scores[f"{name} stemmed"] = [rouge(*pair, stemmer=True) for pair in texts]
    return scores


def environment(folder: Path) -> Path:
    """The Python of the published packages; its environment is made if it is not there."""
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
        run(python, "-m", "pip", "install", "--quiet", *PACKAGES)
    return python


def their_scores(python: Path, folder: Path, cases: dict[str, object]) -> dict[str, list[float]]:
    """The scores by the published packages, metric by metric in the order of the cases."""
    (folder / "cases.json").write_text(json.dumps(cases))
    run(python, "-c", CHILD, folder / "cases.json", folder / "scores.json")
    scores: dict[str, list[float]] = json.loads((folder / "scores.json").read_text())
    return scores


def run(*command: object) -> None:
    """Run a command to its end."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{command[0]} failed:\n{done.stderr[-4000:]}")


if __name__ == "__main__":
    sys.exit(main())
