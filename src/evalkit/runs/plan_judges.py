"""The judges of a planned run: looked up, checked, and with everything that identifies them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from evalkit.errors import EvalkitError, PluginError, UsageError
from evalkit.plugins import described
from evalkit.plural import counted
from evalkit.specs.judge_identity import judge_identity
from evalkit.specs.run_spec import AdapterSpec, JudgeSpec, RunSpec

if TYPE_CHECKING:
    from evalkit.data import DataFile, DataStore
    from evalkit.judges.judge import Judge
    from evalkit.models.deployment import ModelDeployment

Prepared = Callable[[str], tuple["ModelDeployment", str]]
"""A deployment by its name, as it is used here, and what to tell the user of it."""


@dataclass(frozen=True, slots=True)
class PlannedJudge:
    """A judge with everything resolved.

    Attributes:
        judge: Made from the spec; it has not read its files yet.
        deployments: Who judges.
        identity: All that identifies it.
    """

    spec: JudgeSpec
    judge: Judge
    deployments: tuple[ModelDeployment, ...]
    identity: Mapping[str, Any]

    @property
    def stage(self) -> str:
        """What its stage is called in events and reports."""
        return f"judge:{self.spec.stage}"


def plan_judges(
    run_spec: RunSpec,
    prepared: Prepared,
    identity_of: Callable[[ModelDeployment], Mapping[str, Any]],
    data_digest: Callable[[Sequence[DataFile]], tuple[str | None, str]],
) -> tuple[tuple[PlannedJudge, ...], str]:
    """The judges of a run spec, and why the data of one of them is not available, or nothing.

    Args:
        run_spec: The run.
        prepared: Gives a deployment by name.
        identity_of: What identifies a deployment.
        data_digest: The digest of files, where it is known, and why they are not available.

    Raises:
        UsageError: A judge is unknown, has a wrong argument or nobody who plays it; or two are called alike.
    """
    from evalkit.judges.judge import build_judge

    planned, problems = [], []
    for spec in run_spec.judge_specs:
        judge = build_judge(spec, run_spec.adapter_spec)
        deployments = _deployments_of(spec, run_spec, prepared)
        digest, problem = data_digest(judge.files())
        covered = judge_identity(
            spec,
            [identity_of(deployment) for deployment in deployments],
            version=judge.version,
            verdict_version=judge.verdict_version,
            reading_args=judge.reading_args,
            data_digest=digest,
        )
        planned.append(PlannedJudge(spec, judge, deployments, covered))
        problems.append(problem)
    _refuse_equal_names(planned, _metric_scores(run_spec))
    return tuple(planned), next(filter(None, problems), "")


def refuse_wrong_files(planned: Sequence[PlannedJudge], adapter_spec: AdapterSpec, data: DataStore) -> str:
    """Why a judge could not make questions from its files, as far as they are here; or nothing.

    A judge reads its files when it judges. Those read here are forgotten: a plan may have many judges.

    Args:
        planned: The judges.
        adapter_spec: The run's.
        data: Where the files are.

    Raises:
        UsageError: A file that the user names is missing, or is not what the judge needs.
    """
    from evalkit.judges.judge import build_judge

    for each in planned:
        files, stage = each.judge.files(), each.spec.stage
        for file in files:
            if file.local_path is not None and not data.is_local(file):
                raise UsageError(f"the judge '{stage}' reads {file.local_path}, which does not exist")
        if not files or not all(map(data.is_local, files)):
            continue
        try:
            build_judge(each.spec, adapter_spec).check_files(data)
        except UsageError as error:
            raise UsageError(f"the judge '{stage}': {error}") from None
        except EvalkitError as error:
            return f"the judge '{stage}': {error}"
        except Exception as error:
            raise PluginError(f"the judge '{stage}' can't read its files: {described(error)}") from error
    return ""


def _deployments_of(spec: JudgeSpec, run_spec: RunSpec, prepared: Prepared) -> tuple[ModelDeployment, ...]:
    if not spec.deployments:
        raise UsageError(
            f"the judge '{spec.stage}' of '{run_spec.name}' names no deployment; add judge=<deployment>"
        )
    if twice := [name for name in spec.deployments if spec.deployments.count(name) > 1]:
        raise UsageError(
            f"the judge '{spec.stage}' names '{twice[0]}' twice; num_opinions asks one several times"
        )
    num_opinions = len(spec.deployments) * spec.num_opinions
    if spec.min_opinions is not None and spec.min_opinions > num_opinions:
        raise UsageError(
            f"the judge '{spec.stage}' needs min_opinions={spec.min_opinions}, but gives "
            f"{counted(num_opinions, 'opinion')} on each answer: name more deployments, or lower it"
        )
    return tuple(prepared(name)[0] for name in spec.deployments)


def labelled(run_spec: RunSpec) -> RunSpec:
    """The run spec with labels for judges whose scores are called like those of its metrics.

    So the answers of a run that has such scores already, of published judgements, can be judged anew.

    Raises:
        UsageError: A judge is unknown, or has a wrong argument.
    """
    from evalkit.judges.judge import build_judge

    taken, specs = _metric_scores(run_spec), []
    for spec in run_spec.judge_specs:
        judge = build_judge(spec, run_spec.adapter_spec)
        is_taken = any(spec.score_name(name) in taken for name in (*judge.names, *judge.run_level_names))
        specs.append(spec.model_copy(update={"label": spec.stage}) if is_taken and not spec.label else spec)
    return run_spec.with_judges(*specs)


def _metric_scores(run_spec: RunSpec) -> dict[str, str]:
    """The scores that metrics announce, with the metric of each; those of unknown metrics are left out."""
    from evalkit.scoring.metric import build_metric

    scores: dict[str, str] = {}
    for spec in run_spec.metric_specs if run_spec.judge_specs else ():
        with suppress(EvalkitError):
            metric = build_metric(spec, run_spec.adapter_spec)
            scores |= dict.fromkeys((*metric.names, *metric.run_level_names), spec.name)
    return scores


def _refuse_equal_names(planned: Sequence[PlannedJudge], metrics: Mapping[str, str]) -> None:
    """Nothing, if the stages and scores of all judges have different names, and metrics have others.

    Raises:
        UsageError: Two are called alike.
    """
    stages: dict[str, None] = {}
    scores: dict[str, str] = {}
    for each in planned:
        stage = each.spec.stage
        if stage in stages:
            raise UsageError(f"two judges are called '{stage}'; give one of them another label")
        stages[stage] = None
        for name in (*each.judge.names, *each.judge.run_level_names):
            score = each.spec.score_name(name)
            if score in metrics:
                raise UsageError(
                    f"the metric '{metrics[score]}' and the judge '{stage}' both give '{score}'; give the "
                    "judge a label"
                )
            if scores.setdefault(score, stage) != stage:
                raise UsageError(
                    f"the judges '{scores[score]}' and '{stage}' both give '{score}'; give one a label"
                )
