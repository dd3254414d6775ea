"""A leaderboard as a file says it: parts that are averaged, down to leaves that take a number of a run.

Nothing here computes a number; `evalkit.leaderboards.resolved` makes the nodes, `evalkit.reports.boards` the
table.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import (
    Field,
    FiniteFloat,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    field_validator,
    model_validator,
)

from evalkit.specs.spec import Spec

Missing = Literal["withhold", "present", "zero"]
"""What a node does where parts have no number: it has none itself; it is over those that have one; or they
count as 0."""
Combine = Literal["mean", "win_rate", "none"]
Scalar = StrictBool | StrictInt | StrictFloat | StrictStr | None
Name = Annotated[str, Field(min_length=1)]

# Larger weights and scores, and smaller steps between them, leave nothing of a sum of floats.
_MOST = 1e12

SHOTS = "shots"
"""In `args`, the number of few-shot examples: the adapter's `max_train_instances`."""


class RunsOf(Spec):
    """Which runs a leaf is about; all that is said must hold."""

    group: Name | None = None
    """One of the run's groups."""
    run_spec: Name | None = None
    """What stands before the colon in the name of the run: the run-spec function that made it."""
    scenario: Name | None = None
    """The name of the scenario."""
    args: dict[str, Scalar | tuple[Scalar, ...]] = Field(default_factory=dict)
    """Arguments of the scenario, or fields of the adapter spec, and the value each must have, or one of
    several; `shots` is the number of few-shot examples."""

    @model_validator(mode="after")
    def _says_something(self) -> RunsOf:
        if not (self.group or self.run_spec or self.scenario):
            raise ValueError("say which runs: group, run_spec or scenario is missing")
        return self


class Part(Spec):
    """A node of the tree, or several that differ in the values of `each`."""

    name: Name | None = None
    """Of its column; every part has its own."""
    use: Name | None = None
    """The name of a part that stands elsewhere, and counts here too; only `weight` goes with it."""
    each: dict[str, tuple[Scalar, ...]] = Field(default_factory=dict)
    """Repeat this part once for every combination of these values, each written as {name} in its texts and in
    those of its parts."""
    weight: float = Field(default=1.0, ge=0, le=_MOST, allow_inf_nan=False)
    """In the mean that it is part of; 0 shows it, and does not count it."""
    parts: tuple[Part, ...] = ()
    """What it is made of."""
    combine: Combine = "mean"
    """How: the weighted mean of the parts; their mean win rate, as HELM's; or no number, only a heading."""
    missing: Missing | None = None
    """What to do where parts have no number; else as the leaderboard says."""
    runs: RunsOf | None = None
    """Of a leaf: which runs."""
    metric: tuple[Name, ...] | Name = ()
    """Of a leaf: the score, or several of which the first that a run has counts; else the run group's main
    score."""
    pool: tuple[Name, ...] = ()
    """Of a leaf, in place of a metric: several scores of each unit; the number is the mean over all their
    values."""
    split: Name | None = None
    """Of a leaf: the split the score is over; else all that was evaluated."""
    sub_split: Name | None = None
    """Of a leaf: the part of the split, such as a category or a subject."""
    scale: tuple[FiniteFloat, FiniteFloat] = (0.0, 1.0)
    """Of a leaf: the scores that become 0 and 1. [0, 10] divides by ten, [1, 0] is one minus the score."""
    mean_over: tuple[Name, ...] = ()
    """Of a leaf: arguments of the scenario in which several runs of one model may differ, which are then
    averaged (`subject`)."""

    @field_validator("scale", mode="before")
    @classmethod
    def _has_two_scores(cls, value: object) -> object:
        if not isinstance(value, list | tuple) or len(value) != 2:
            raise ValueError("scale is the two scores that become 0 and 1, such as [0, 10]")
        return value

    @model_validator(mode="after")
    def _is_one_thing(self) -> Part:
        kinds = [kind for kind in ("use", "parts", "runs") if getattr(self, kind)]
        if len(kinds) != 1:
            said = " and ".join(kinds) if kinds else "none of them"
            raise ValueError(f"a part has either parts, or runs, or use; this one has {said}")
        given = self.model_fields_set - {"name", "weight", "each"}
        own = {
            "use": {"use"},
            "parts": {"parts", "combine", "missing"},
            "runs": {"runs", "metric", "pool", "split", "sub_split", "scale", "mean_over"},
        }[kinds[0]]
        if wrong := sorted(given - own):
            raise ValueError(f"a part with {kinds[0]} has no {', '.join(wrong)}")
        if self.use is None and self.name is None:
            raise ValueError("a part needs a name")
        if self.use is not None and self.name is not None:
            raise ValueError("a part with use has no name: it is shown where it stands")
        if self.metric and self.pool:
            raise ValueError("metric and pool exclude each other: the number is one score, or pooled")
        if abs(self.scale[0] - self.scale[1]) < 1 / _MOST or max(map(abs, self.scale)) > _MOST:
            raise ValueError(f"scale {list(self.scale)}: two different scores become 0 and 1")
        return self


class RadarSpec(Spec):
    """A radar chart of some of the parts."""

    name: Name
    title: str = ""
    axes: tuple[Name, ...] = Field(min_length=3)
    """Names of parts, the first at the top, the others clockwise."""
    range: tuple[FiniteFloat, FiniteFloat] = (0.0, 1.0)
    """The numbers in the centre and at the rim."""

    @model_validator(mode="after")
    def _goes_outwards(self) -> RadarSpec:
        if not self.range[0] < self.range[1]:
            raise ValueError(
                f"range {list(self.range)}: the first number is in the centre, and is the lower one"
            )
        return self


class LeaderboardTree(Spec):
    """A leaderboard."""

    title: str = ""
    description: str = ""
    parameters: dict[str, Scalar] = Field(default_factory=dict)
    """Names and values, each written as {name} in the texts of the parts; `--set name=value` changes one."""
    missing: Missing = "withhold"
    """What nodes do where parts have no number, unless they say otherwise."""
    rank_by: Name | None = None
    """The part that models are ranked by; else the first one, unless that has no number."""
    depth: int = Field(default=2, ge=1)
    """How many levels a table shows, unless another number is asked for."""
    parts: tuple[Part, ...] = Field(min_length=1)
    radars: tuple[RadarSpec, ...] = ()
