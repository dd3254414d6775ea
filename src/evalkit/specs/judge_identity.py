"""What identifies a judge of a run: its questions, and apart from them how its replies are read."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from evalkit.specs.run_spec import JudgeSpec


def judge_identity(
    spec: JudgeSpec,
    deployments: Sequence[Mapping[str, Any]],
    *,
    version: int,
    verdict_version: int,
    reading_args: Collection[str] = (),
    data_digest: str | None = None,
) -> dict[str, Any]:
    """Everything of a judge that changes its questions, and apart from it what changes how it is read.

    Args:
        spec: The judge.
        deployments: What identifies each who judges, in the order of the spec.
        version: Of its questions.
        verdict_version: Of how its replies are read.
        reading_args: The arguments that change only how replies are read.
        data_digest: Digest of the files that its questions are made from; None where it has none.
    """
    asked = {name: value for name, value in spec.args.items() if name not in reading_args}
    read = {name: value for name, value in spec.args.items() if name in reading_args}
    return {
        "name": spec.name,
        "version": version,
        "args": asked,
        "deployments": list(deployments),
        "num_opinions": spec.num_opinions,
        "data_digest": data_digest,
        "verdict_version": verdict_version,
        "reading": {
            "args": read,
            "label": spec.label,
            "pooling": spec.pooling,
            "min_opinions": spec.min_opinions,
        },
    }


def judge_specs_of(judges: Iterable[Mapping[str, Any]]) -> tuple[JudgeSpec, ...]:
    """The specs that identities were made from.

    Raises:
        KeyError: One is not such an identity.
        ValueError: A part of one has a wrong value.
    """
    return tuple(
        JudgeSpec(
            name=judge["name"],
            args={**judge["args"], **judge["reading"]["args"]},
            deployments=tuple(deployment["name"] for deployment in judge["deployments"]),
            label=judge["reading"]["label"],
            num_opinions=judge["num_opinions"],
            pooling=judge["reading"]["pooling"],
            min_opinions=judge["reading"]["min_opinions"],
        )
        for judge in judges
    )
