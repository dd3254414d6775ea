"""Which runs stand behind a cell: one per set of questions, all of one setting.

A model may have been asked the same questions several times: with another prompt, another temperature, fewer
instances, or with the same answers scored by other metrics. Those runs are not independent evidence, and a
mean over them is the score of nothing. So a cell takes one of them, and a note says how they differ. Runs on
different questions (the subjects of a benchmark) are put together as ever.

The one that a cell takes is the one with most of the benchmark: a try with a few questions never replaces a
run over all of them, however new it is.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from evalkit.reports.pairing import ScoredRun
from evalkit.reports.setting import (
    JUDGE,
    LONGEST_VALUE,
    METRICS,
    is_imported,
    metrics_of,
    question_source,
    setting_of,
    shown_value,
)
from evalkit.reports.shared_questions import questions_of

# A run that ended, if not with all answers; one that was stopped has answers to the first few questions.
_FINISHED = ("complete", "partial")
_MOST_FIELDS = 6
_LONGEST_JUDGE = 100
# Above this share of common questions two imported runs asked the same thing.
_SAME_QUESTIONS = 0.5

Key = Mapping[str, str]


@dataclass(slots=True)
class Candidate:
    """A run that may stand in a cell.

    Attributes:
        questions: Equal for runs that asked the same questions.
        key: Its values of the fields in which the runs of the cell differ; a field that only tells its
            questions from others is left out.
    """

    one: ScoredRun
    questions: str
    setting: Mapping[str, str]
    key: dict[str, str] = field(default_factory=dict)

    @property
    def has_ended(self) -> bool:
        """Whether the run ended, with a score of at least half of what it asked."""
        stat = self.one.stat
        return self.one.run.manifest.status in _FINISHED and 2 * stat.n >= stat.n_total

    @property
    def num_asked(self) -> float:
        """The questions that it asks, each once, however many trials, samples and scores it has."""
        adapter = self.one.run.run_spec.adapter_spec
        return self.one.stat.n_total / (adapter.num_train_trials * adapter.num_trials * len(self.one.scores))

    @property
    def age(self) -> tuple[str, int, str]:
        """Sorts newer runs behind older ones."""
        manifest, path = self.one.run.manifest, self.one.run.directory.path
        moment = manifest.finished_at or manifest.started_at
        return moment, _written_ns(path / "run_spec.json"), str(path)

    @property
    def rank(self) -> tuple[bool, float, tuple[str, int, str]]:
        """The best choice has the greatest: it ended, asks the most questions, and is the newest."""
        return self.has_ended, self.num_asked, self.age


@dataclass(frozen=True, slots=True)
class Selection:
    """The runs of one cell, and what is to be said of the rest.

    Attributes:
        runs: One per set of questions.
        num_left_out: Runs of these questions that are not among them.
        differs: The fields in which the runs differ; empty where nothing was left out.
        how: Which runs were chosen.
        label: The values in which this setting differs from the others; empty where there are no others.
    """

    runs: tuple[ScoredRun, ...]
    num_left_out: int = 0
    differs: tuple[str, ...] = ()
    how: str = ""
    label: str = ""

    def note(self) -> str:
        """What the user should know of the choice; empty where there was none."""
        if not self.differs and not self.num_left_out:
            return ""
        count = len(self.runs) + self.num_left_out
        names = list(self.differs[:_MOST_FIELDS])
        if more := len(self.differs) - len(names):
            names.append(f"{more} more fields")
        what = f"that differ in {', '.join(names)}" if names else "that are copies of each other"
        return f"{count} runs {what}; shown: {self.how}{f' ({self.label})' if self.label else ''}"


def select_runs(
    runs: Sequence[ScoredRun], metric: str, naming: Sequence[str] | None = None
) -> list[Selection]:
    """The settings of these runs of one model, the one to show first.

    The one to show has runs for the most sets of questions; of several such, the one whose runs ended, then
    the one that asks the most questions, then the newest.

    Args:
        runs: Each with the number that it would bring into the cell.
        metric: Where runs differ in nothing but their metrics, those that have this number are preferred.
        naming: The arguments of the benchmark in which runs on different questions differ; see
            `question_source`.
    """
    candidates = [
        Candidate(one, question_source(one.run, naming), setting_of(one.run, naming)) for one in runs
    ]
    _part_imports(candidates)
    asked: dict[str, list[Candidate]] = defaultdict(list)
    for candidate in candidates:
        asked[candidate.questions].append(candidate)
    if len(asked) == len(candidates):
        return [Selection(tuple(runs))]
    for same in asked.values():
        same.sort(key=lambda one: one.rank, reverse=True)
    differing = _set_keys(asked)
    for same in asked.values():
        same.sort(key=lambda one: one.one.stat.name != metric)
    found = _settings(asked)
    shown = {id(one) for one in found[0]}
    named = _named_once(differing)
    differs = tuple(named) or ((METRICS,) if _metrics_differ(asked) else ())
    left_out = sum(id(one) not in shown for one in candidates)
    how = _how(candidates, shown, len(asked))
    if missing := len(asked) - len(found[0]):
        how += f", without {missing} of {len(asked)} question sets that have no such run"
    first = Selection(_scored(found[0]), left_out, differs, how, _label(found[0], named))
    return [
        first,
        *(Selection(_scored(each), label=_label(each, named)) for each in found[1:]),
    ]


def _set_keys(asked: Mapping[str, Sequence[Candidate]]) -> list[str]:
    """Give every run its key; returns the fields in which runs of the same questions differ."""
    values: dict[str, dict[str, list[str]]] = {}
    for questions, same in asked.items():
        for name in sorted({name for one in same for name in one.setting}):
            found = list(dict.fromkeys(one.setting.get(name, "null") for one in same))
            values.setdefault(name, {})[questions] = found
    differing = [name for name, by in values.items() if any(len(found) > 1 for found in by.values())]
    for name in differing:
        by_questions = values[name]
        contested = {value for found in by_questions.values() if len(found) > 1 for value in found}
        places: dict[str, int] = defaultdict(int)
        for found in by_questions.values():
            for value in found:
                places[value] += 1
        for questions, same in asked.items():
            for one in same:
                value = one.setting.get(name, "null")
                if value in contested:
                    # A value that only these questions know is compared by its age: the newest of each.
                    own = by_questions.get(questions, [value]).index(value)
                    one.key[name] = value if places[value] > 1 or len(by_questions) == 1 else f"\0{own}"
    return differing


def _settings(asked: Mapping[str, Sequence[Candidate]]) -> list[list[Candidate]]:
    """Runs that go together, one per set of questions; the best choice first, each run at most once."""
    seeds: dict[tuple[tuple[str, str], ...], Candidate] = {}
    for same in asked.values():
        for one in same if len(same) > 1 else ():
            seeds.setdefault(tuple(sorted(one.key.items())), one)
    found = [_around(seed, asked) for seed in seeds.values()]
    found.sort(key=_preference, reverse=True)
    used: set[int] = set()
    settings = []
    for chosen in found:
        if fresh := [one for one in chosen if id(one) not in used]:
            used.update(map(id, fresh))
            settings.append(fresh)
    return settings


def _preference(chosen: Sequence[Candidate]) -> tuple[int, int, float, tuple[str, int, str]]:
    """The best setting has the greatest."""
    num_ended = sum(one.has_ended for one in chosen)
    return len(chosen), num_ended, sum(one.num_asked for one in chosen), max(one.age for one in chosen)


def _around(seed: Candidate, asked: Mapping[str, Sequence[Candidate]]) -> list[Candidate]:
    """The first run of each set of questions whose setting is that of the seed."""
    key = dict(seed.key)
    chosen = []
    for same in asked.values():
        for one in same:
            if all(key.get(name, value) == value for name, value in one.key.items()):
                key.update(one.key)
                chosen.append(one)
                break
    return chosen


def _how(candidates: Sequence[Candidate], shown: Collection[int], num_sets: int) -> str:
    newest = max(candidates, key=lambda one: one.age)
    if id(newest) in shown:
        return "the newest"
    ended = [one for one in candidates if one.has_ended]
    if ended and id(max(ended, key=lambda one: one.age)) in shown:
        return "the newest that ended"
    if num_sets == 1:
        return "the newest of those with most questions"
    return "the newest of the setting with most questions"


def _named_once(differing: Sequence[str]) -> list[str]:
    """The fields to name: not the parts of a judge where the judge differs, which says enough."""
    return [name for name in differing if name.partition(".")[0] not in (set(differing) - {name}) & {JUDGE}]


def _metrics_differ(asked: Mapping[str, Sequence[Candidate]]) -> bool:
    return any(len({metrics_of(one.one.run) for one in same}) > 1 for same in asked.values())


def _part_imports(candidates: Sequence[Candidate]) -> None:
    """Imported runs of one task are apart where their questions are: its arguments may choose a subset."""
    parts: dict[str, list[frozenset[str]]] = defaultdict(list)
    for candidate in candidates:
        if not is_imported(candidate.one.run):
            continue
        found, known = parts[candidate.questions], questions_of(candidate.one.run)
        common = (len(known & other) >= _SAME_QUESTIONS * min(len(known), len(other)) for other in found)
        position = next((number for number, same in enumerate(common) if same), len(found))
        if position == len(found):
            found.append(known)
        if position:
            candidate.questions += f"#{position}"


def _written_ns(path: Path) -> int:
    return path.stat().st_mtime_ns if path.exists() else 0


def _label(chosen: Sequence[Candidate], differing: Sequence[str]) -> str:
    parts = []
    for name in differing:
        values = {one.key[name] for one in chosen if name in one.key}
        if len(values) == 1 and not (value := values.pop()).startswith("\0"):
            longest = _LONGEST_JUDGE if name == JUDGE else LONGEST_VALUE
            parts.append(f"{name}={shown_value(value, longest)}")
        elif values:
            parts.append(name)
    return ", ".join(parts[:_MOST_FIELDS])


def _scored(chosen: Sequence[Candidate]) -> tuple[ScoredRun, ...]:
    return tuple(one.one for one in chosen)
