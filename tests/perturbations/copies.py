"""One instance, one perturbation, one copy."""

from __future__ import annotations

from typing import Any

from evalkit.data import DataStore
from evalkit.instance import CORRECT, Instance, Reference
from evalkit.perturbations.augmenter import Augmenter
from evalkit.specs.run_spec import DataAugmenterSpec, PerturbationSpec


def instance(text: str, *references: str, id: str = "id0", **fields: Any) -> Instance:
    return Instance(text, tuple(Reference(r, (CORRECT,)) for r in references), "test", id=id, **fields)


def spec(*perturbations: tuple[str, dict[str, Any]], **fields: Any) -> DataAugmenterSpec:
    return DataAugmenterSpec(
        perturbation_specs=tuple(PerturbationSpec(name=name, args=args) for name, args in perturbations),
        **{"should_augment_eval_instances": True, **fields},
    )


def copy_of(original: Instance, data: DataStore, name: str, **args: Any) -> Instance:
    made, _ = Augmenter.of(spec((name, args))).augmented([original], [], data)
    return made[0]


def changed(text: str, data: DataStore, name: str, **args: Any) -> str:
    return copy_of(instance(text), data, name, **args).input
