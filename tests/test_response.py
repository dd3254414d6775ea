"""What a response keeps when it is made anew."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields, replace

import pytest

from evalkit.response import Completion, Efficiency, Origin, Response, Usage, after_waiting

EFFICIENCY = Efficiency(
    1.5, 0.25, first_token_s=0.5, padded_tokens=3, reused_tokens=4, batch_size=5, peak_memory_bytes=6
)
RESPONSE = Response(
    (Completion("yes"),),
    Usage(7, 8),
    latency_s=9.0,
    served_model="m-2026",
    cached=True,
    attempts=2,
    embedding=(0.5,),
    efficiency=EFFICIENCY,
    origin=Origin("run", "t0/id1"),
)


@pytest.mark.parametrize("made", [RESPONSE, EFFICIENCY], ids=lambda made: type(made).__name__)
def test_every_field_here_differs_from_its_default(made: Response | Efficiency) -> None:
    assert all(getattr(made, field.name) != field.default for field in fields(made))


def test_waiting_adds_to_the_time_in_queues_and_changes_nothing_else() -> None:
    assert after_waiting(RESPONSE, 2.0) == replace(RESPONSE, efficiency=replace(EFFICIENCY, queue_s=2.25))
    assert RESPONSE.efficiency == EFFICIENCY == replace(EFFICIENCY, queue_s=0.25)


def test_a_response_without_efficiency_stays_without() -> None:
    bare = Response((Completion("yes"),))
    assert after_waiting(bare, 2.0) is bare


def test_efficiency_is_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        EFFICIENCY.queue_s = 1.0  # type: ignore[misc]
