"""MMLU: multiple-choice questions on 57 subjects (Hendrycks et al. 2021)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from evalkit.data import Archive, DataFile, DataStore
from evalkit.data.rows import csv_rows
from evalkit.errors import DataError, UnknownNameError
from evalkit.instance import CORRECT, TEST, TRAIN, VALID, Instance, Reference
from evalkit.registry import scenario
from evalkit.scenarios.scenario import Scenario

_SUBJECTS = """
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
SUBJECTS = tuple(_SUBJECTS.split())
_ARCHIVE = Archive(
    url="https://people.eecs.berkeley.edu/~hendrycks/data.tar",
    sha256="bec563ba4bac1d6aaf04141cd7d1605d7a5ca833e38f994051e818489592989b",
)
_SPLITS = {"dev": TRAIN, "val": VALID, "test": TEST}
_LETTERS = "ABCDE"


@scenario("mmlu")
class MMLUScenario(Scenario):
    """Multiple-choice questions on one subject: 5 to show as examples, the rest to evaluate.

    Args:
        subject: One of the 57 subjects, such as `anatomy`.
    """

    def __init__(self, subject: str) -> None:
        if subject not in SUBJECTS:
            raise UnknownNameError("MMLU subject", subject, SUBJECTS)
        self.subject = subject

    def files(self) -> Sequence[DataFile]:
        """The three files of the subject, from one pinned archive."""
        return tuple(self._file(part) for part in _SPLITS)

    def instances(self, data: DataStore) -> Iterator[Instance]:
        """Dev as train, val as valid, test as test. Every option that reads like the right one is right."""
        for part, split in _SPLITS.items():
            path = data.path(self._file(part))
            for line, (question, *options, letter) in csv_rows(path, min_fields=3):
                position = _LETTERS.find(letter)
                if not 0 <= position < len(options) or len(letter) != 1:
                    raise DataError(
                        f"{path}:{line}: '{letter}' is not the letter of one of {len(options)} options"
                    )
                right = options[position]
                references = tuple(Reference(text, (CORRECT,) if text == right else ()) for text in options)
                yield Instance(question, references, split)

    def _file(self, part: str) -> DataFile:
        name = f"data/{part}/{self.subject}_{part}.csv"
        return DataFile(path=f"mmlu/{name}", archive=_ARCHIVE, member=name)
