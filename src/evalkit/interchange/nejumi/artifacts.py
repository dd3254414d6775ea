"""W&B artifacts that Nejumi's configs name, as files below a data directory; no network is asked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from evalkit.data.fastchat import REFERENCES, Language

NEO = "wandb-japan/llm-leaderboard"
NEJUMI_3 = "wandb-japan/llm-leaderboard3"
NEJUMI_4 = "llm-leaderboard/nejumi-leaderboard4"
JASTER_VERSIONS = {
    **{0: "1.0.0", 3: "1.1.0", 6: "1.2.1", 7: "1.2.2"},
    **{8: "1.2.3", 9: "1.2.4", 10: "1.2.5", 11: "1.2.6"},
}
"""Versions of jaster, by those of Neo's artifact."""
DOWNLOADED = "artifacts"
"""Where W&B's command line puts what it downloads: `artifacts/NAME:VERSION`."""


@dataclass(frozen=True, slots=True)
class Known:
    """The files of an artifact that other places have too.

    Attributes:
        paths: Its file or folder below a data directory, whichever is there first; `""`: the benchmark's
            own file, which the run spec reads by itself.
        remark: Where these differ from the artifact.
    """

    paths: tuple[str, ...]
    remark: str = ""


def _jaster() -> dict[str, Known]:
    return {
        f"{NEO}/jaster:v{number}": Known((f"{version}/evaluation", f"jaster/{version}/evaluation"))
        for number, version in JASTER_VERSIONS.items()
    }


_BUILT = ("1.2.6/evaluation", "jaster/1.2.6/evaluation")
_BUILT_REMARK = "jaster 1.2.6 as it is here; the artifact is a later build, which may have other items"
_ALIAS = "the alias may mean other files by now"
_QUESTIONS_REMARK = (
    "question_full.jsonl of Stability's branch jp-stable, which differs from the artifact (9f220b6) in a few "
    "characters"
)
_OWN = Known(("",))
_JA_GPT4 = Known(("japanese_mt_bench/model_answer/gpt-4.jsonl",))
_JA_GPT4O = ("japanese_mt_bench/reference_answer/base-gpt4o-with-human-annotation.jsonl",)


def _mt_bench() -> dict[str, Known]:
    """The files of MT-Bench, which Nejumi 3 names in its project and in Neo's."""
    found = {
        f"{NEO}/mtbench_ja_question:v3": Known(("",), _QUESTIONS_REMARK),
        f"{NEO}/mtbench_ja_referenceanswer:v0": _OWN,
        f"{NEO}/mtbench_ja_referenceanswer:v1": _JA_GPT4,
    }
    for project in (NEO, NEJUMI_3):
        found |= {
            f"{project}/mtbench_ja_question:v4": _OWN,
            f"{project}/mtbench_ja_question_small_for_test:v5": _OWN,
            f"{project}/mtbench_ja_referenceanswer:v2": Known(_JA_GPT4O),
            f"{project}/mtbench_ja_referenceanswer_small_for_test:v1": _OWN,
            f"{project}/mtbench_ja_referenceanswer_small_for_test:v2": Known(_JA_GPT4O),
            f"{project}/mtbench_ja_prompt:v1": _OWN,
        }
    for name in ("question", "question_small_for_test", "prompt"):
        remark = f"the benchmark's own file; {_ALIAS}"
        found[f"{NEJUMI_4}/mtbench_ja_{name}:production"] = Known(("",), remark)
    for name in ("question", "question_small_for_test", "referenceanswer", "prompt"):
        found[f"{NEO}/mtbench_en_{name}:v0"] = _OWN
    found[f"{NEO}/mtbench_en_referenceanswer_small_for_test:v0"] = _OWN
    return found


ARTIFACTS: Mapping[str, Known] = {
    **_jaster(),
    f"{NEJUMI_3}/jaster:v6": Known(_BUILT, _BUILT_REMARK),
    f"{NEJUMI_4}/jaster:production": Known(_BUILT, f"{_BUILT_REMARK}; {_ALIAS}"),
    **_mt_bench(),
}
_NAME = re.compile(r"[\w.\-]+/[\w.\-]+/(?P<name>[\w.\-]+):(?P<version>[\w.\-]+)")


@dataclass(frozen=True, slots=True)
class Found:
    """Where the files of an artifact are.

    Attributes:
        path: Below the data directory, with `/`; "" where the benchmark's own file is the same.
        remark: Where it differs from the artifact; empty if it does not.
    """

    path: str
    remark: str = ""


def find_artifact(name: str, mirror: Path | None, file: str = "") -> Found:
    """The files of an artifact.

    What W&B's command line has downloaded (`artifacts/NAME:VERSION` below the data directory) counts first,
    then the shipped table.

    Args:
        name: `entity/project/name:version`.
        mirror: The data directory, if there is one.
        file: The file wanted of it, which may have `*` in it; "" for its folder.

    Raises:
        LookupError: There are no such files; says which, and what to do.
    """
    parts = _NAME.fullmatch(name)
    if parts is None:
        raise LookupError(f"'{name}' is not the name of an artifact: entity/project/name:version")
    own = f"{DOWNLOADED}/{parts['name']}:{parts['version']}"
    places = [f"{own}/{file}" if file else own]
    known = ARTIFACTS.get(name)
    if known is not None:
        places += [path for path in known.paths if path]
    for place in places:
        found = None if mirror is None else next(iter(sorted(mirror.glob(place))), None)
        if found is not None and mirror is not None:
            is_own = place == places[0]
            path = found.relative_to(mirror).as_posix()
            return Found(path, "" if is_own or known is None else known.remark)
    if known is not None and "" in known.paths:
        return Found("", known.remark)
    missing = f"there is no {' or '.join(places[1:] or places)} below {mirror}"
    if mirror is None:
        missing = f"its files are looked for in a data directory ({places[-1]}), and --data-dir names none"
    if known is None:
        versions = sorted(each for each in ARTIFACTS if f"/{parts['name']}:" in each)
        hint = f" (evalkit knows {', '.join(versions)})" if versions else ""
        missing = f"evalkit has no file for '{name}'{hint}, and {missing}"
    folder = f"DATA_DIR/{own}" if mirror is None else f"{mirror}/{own}"
    raise LookupError(f"{missing}; get the artifact's files: wandb artifact get {name} --root {folder}")


def own_files(paths: Mapping[str, str], language: Language) -> dict[str, str]:
    """Arguments of MT-Bench's run specs for files that are not the benchmark's own.

    Args:
        paths: Argument to path, which is empty for the benchmark's own file.
        language: Of the benchmark.
    """
    given = {name: path for name, path in paths.items() if path}
    if "questions" in given and not paths.get("references"):
        # Other questions have no reference answers by themselves; the config names FastChat's.
        given["references"] = REFERENCES[language].path
    return given
