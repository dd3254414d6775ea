"""Whether what a model computed is a number at all."""

from __future__ import annotations

import math
from collections.abc import Iterable

from evalkit.errors import BadRequestError

REASON = "not_finite"


def not_finite(numbers: Iterable[float]) -> BadRequestError | None:
    """The failure of a request for which a model computed NaN or an infinite number; None if it did not.

    Activations that overflow (float16 ends at 65,504) and damaged weights give such numbers. The likeliest
    token of NaN is the first of the vocabulary, so an answer made of them looks like any other.

    Args:
        numbers: Log-probabilities, or the components of a vector.
    """
    for number in numbers:
        if not math.isfinite(number):
            return BadRequestError(
                f"the model gives {'NaN' if math.isnan(number) else number} in place of a finite number: "
                "its activations overflow, or its weights are damaged; try dtype=bfloat16 or dtype=float32",
                REASON,
            )
    return None
