"""Instances that people rewrote so that the right answer changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from random import Random
from typing import Any

from evalkit.instance import Instance, Reference
from evalkit.perturbations.perturbation import Perturbation
from evalkit.registry import perturbation


@perturbation("contrast_sets")
class ContrastSets(Perturbation):
    """One of the contrasting versions that the scenario gives, drawn at random.

    A scenario puts them into an instance's `extra`: `contrast_inputs`, a list of texts, and
    `contrast_references`, for each text its list of references, `{"text": …, "tags": […]}`. Instances
    without any stay as they are. See Gardner et al. 2020, https://arxiv.org/abs/2004.02709.
    """

    robustness = True
    changes_references = True

    def copy_of(self, instance: Instance, rng: Random) -> Instance:
        """A contrasting version, with its own right answers; the same again where there is none."""
        extra = instance.extra or {}
        inputs, references = extra.get("contrast_inputs"), extra.get("contrast_references")
        if not inputs or not references:
            return instance
        drawn, given = rng.choice(list(zip(inputs, references, strict=True)))
        return replace(instance, input=drawn, references=tuple(_reference(plain) for plain in given))


def _reference(plain: Mapping[str, Any]) -> Reference:
    return Reference(plain["text"], tuple(plain["tags"]))
