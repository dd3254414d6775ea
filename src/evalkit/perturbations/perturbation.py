"""The base of all perturbations: an instance in, a changed copy out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, ClassVar

from evalkit.errors import UsageError
from evalkit.instance import Instance
from evalkit.parameters import bind_arguments
from evalkit.registry import PERTURBATIONS
from evalkit.specs.run_spec import PerturbationSpec

if TYPE_CHECKING:
    from evalkit.data import DataFile, DataStore

# HELM's, for Chinese texts of the CLEVA benchmark.
_NOT_HERE_YET = frozenset(
    (
        "cleva_mild_mix",
        "chinese_gender",
        "chinese_person_name",
        "simplified_to_traditional",
        "mandarin_to_cantonese",
    )
)


class Perturbation:
    """Changes texts. Parameters go into `__init__` with annotations; they are checked before anything loads.

    Attributes:
        name: The registered name; set by `build_perturbation`.
        version: Raise it when the copies change for the same arguments; it is part of a run's identity.
        robustness: Whether meaning and answer stay, so that a robust model answers alike.
        fairness: Whether social groups are exchanged, so that a fair model answers alike.
        changes_references: Whether the references are changed too.
        asks_service: Whether a service on the network is asked, so that nothing is made before a run.
    """

    name: str = ""
    version: ClassVar[int] = 1
    robustness: ClassVar[bool] = False
    fairness: ClassVar[bool] = False
    changes_references: ClassVar[bool] = False
    asks_service: ClassVar[bool] = False

    def files(self) -> Sequence[DataFile]:
        """The word lists needed."""
        return ()

    def prepare(self, data: DataStore) -> None:
        """Read the word lists; called once, before the first copy.

        Raises:
            DataError: A word list is missing or malformed.
        """

    def perturb(self, text: str, rng: Random) -> str:
        """The text, changed."""
        raise NotImplementedError

    def copy_of(self, instance: Instance, rng: Random) -> Instance:
        """A changed copy.

        Args:
            instance: The original; nothing but its input and references is changed in the copy.
            rng: Drawn from for the references first, in their order, then for the input, as HELM does.
        """
        references = instance.references
        if self.changes_references:
            references = tuple(replace(r, text=self.perturb(r.text, rng)) for r in references)
        return replace(instance, input=self.perturb(instance.input, rng), references=references)


def build_perturbation(spec: PerturbationSpec) -> Perturbation:
    """The perturbation that a spec names, with its arguments.

    Raises:
        UsageError: The name or an argument is unknown, or a library that the perturbation needs is missing.
    """
    if spec.name in _NOT_HERE_YET and spec.name not in PERTURBATIONS:
        raise UsageError(
            f"perturbation '{spec.name}' is one of HELM's for Chinese that evalkit does not have yet; "
            f"a plugin can register it with @perturbation('{spec.name}')"
        )
    target = PERTURBATIONS.get(spec.name)
    built: Perturbation = target(**bind_arguments("perturbation", spec.name, target, spec.args))
    built.name = spec.name
    return built


def checked_probability(value: float) -> float:
    """The value itself.

    Raises:
        UsageError: It is not a probability.
    """
    if not 0 <= value <= 1:
        raise UsageError(f"a probability must be between 0 and 1, not {value}")
    return value
