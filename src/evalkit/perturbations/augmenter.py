"""Perturbed copies of instances, as a data augmenter spec asks for them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import TYPE_CHECKING

from evalkit.errors import DataError, EvalkitError, UsageError
from evalkit.instance import Instance, PerturbationDescription
from evalkit.perturbations.perturbation import Perturbation, build_perturbation
from evalkit.plugins import described
from evalkit.specs.run_spec import DataAugmenterSpec, PerturbationSpec

if TYPE_CHECKING:
    from evalkit.data import DataFile, DataStore


@dataclass(frozen=True, slots=True)
class Augmenter:
    """What makes the copies of a run. Most runs have none: then everything stays as it is.

    Attributes:
        perturbations: Each with its variant: its arguments where its name comes twice, else "".
    """

    spec: DataAugmenterSpec
    perturbations: tuple[tuple[Perturbation, str], ...]

    @classmethod
    def of(cls, spec: DataAugmenterSpec) -> Augmenter:
        """The augmenter that a spec describes, its perturbations made and checked.

        Raises:
            UsageError: A perturbation or an argument of one is unknown, a library that one needs is missing,
                or two are the same.
        """
        counts = Counter(p.name for p in spec.perturbation_specs)
        made: dict[tuple[str, str], Perturbation] = {}
        for perturbation_spec in spec.perturbation_specs:
            variant = _arguments(perturbation_spec) if counts[perturbation_spec.name] > 1 else ""
            if (perturbation_spec.name, variant) in made:
                raise UsageError(f"the perturbation '{perturbation_spec.name}' is named twice")
            made[perturbation_spec.name, variant] = build_perturbation(perturbation_spec)
        return cls(spec, tuple((perturbation, variant) for (_, variant), perturbation in made.items()))

    @property
    def asks_service(self) -> bool:
        """Whether the copies come from a service on the network."""
        return any(perturbation.asks_service for perturbation, _ in self.perturbations)

    def files(self) -> tuple[DataFile, ...]:
        """The word lists needed, each once."""
        return tuple(dict.fromkeys(file for p, _ in self.perturbations for file in p.files()))

    def versions(self) -> dict[str, int]:
        """The version of each perturbation, by name."""
        return {f"perturbation.{p.name}": p.version for p, _ in self.perturbations}

    def augmented(
        self, evaluated: Sequence[Instance], train: Sequence[Instance], data: DataStore
    ) -> tuple[list[Instance], list[Instance]]:
        """The evaluated instances and the few-shot pool with their copies, each after its original.

        Raises:
            DataError: A word list is missing or malformed.
        """
        spec = self.spec
        if spec.should_augment_eval_instances or spec.should_augment_train_instances:
            for perturbation, _ in self.perturbations:
                perturbation.prepare(data)
        if spec.should_augment_eval_instances:
            keep, skip = spec.should_include_original_eval, spec.should_skip_unchanged_eval
            evaluated = list(self._with_copies(evaluated, keep, skip))
        if spec.should_augment_train_instances:
            keep, skip = spec.should_include_original_train, spec.should_skip_unchanged_train
            train = list(self._with_copies(train, keep, skip))
        return list(evaluated), list(train)

    def _with_copies(
        self, instances: Iterable[Instance], keep_original: bool, skip_unchanged: bool
    ) -> Iterator[Instance]:
        for instance in instances:
            if keep_original:
                yield instance
            for perturbation, variant in self.perturbations:
                for number in range(self.spec.seeds_per_instance):
                    copy = _copy(instance, perturbation, variant, seed=number or None)
                    if not (skip_unchanged and copy.input == instance.input):
                        yield copy


def _copy(instance: Instance, perturbation: Perturbation, variant: str, seed: int | None) -> Instance:
    """One copy, drawn from its own generator, seeded as HELM does."""
    rng = Random(instance.id if seed is None else f"{seed}{instance.id}")
    try:
        copy = perturbation.copy_of(instance, rng)
    except EvalkitError:
        raise
    except Exception as error:
        place = f"perturbation '{perturbation.name}' failed on instance {instance.id}"
        raise DataError(f"{place}: {described(error)}") from error
    description = PerturbationDescription(
        perturbation.name, variant, perturbation.robustness, perturbation.fairness, seed
    )
    return replace(copy, perturbation=description)


def _arguments(spec: PerturbationSpec) -> str:
    return ",".join(f"{name}={value}" for name, value in spec.args.items())
