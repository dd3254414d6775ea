"""Several scores of each unit as one number: the mean over all their values, such as ratings of two turns."""

from __future__ import annotations

from collections.abc import Sequence

from evalkit.results.run_directory import read_lines
from evalkit.results.stored_run import StoredRun
from evalkit.scoring.stat import ALL_SPLITS, Label, Observations, Stat


def pooled_stat(run: StoredRun, parts: Sequence[Stat]) -> Stat:
    """The mean over the values of several scores, with the instance, or its group, as the cluster.

    Args:
        run: The run.
        parts: Scores over one split and sub-split.

    Raises:
        DamageError: The scores, or the instances, are not as the run left them.
    """
    first = parts[0]
    if len(parts) == 1:
        return first
    names = [part.name for part in parts]
    run.check("scores.jsonl", "instances.jsonl")
    groups = {str(instance.id): instance.group for instance in run.directory.instances()}
    numbers: dict[str, int] = {}
    values, clusters, trials = [], [], []
    for row in read_lines(run.directory.scores_path):
        if row.get("perturbation") is not None or first.split not in (ALL_SPLITS, row["split"]):
            continue
        if first.sub_split not in (None, row.get("sub_split")):
            continue
        instance = row["instance_id"]
        group = groups.get(instance)
        cluster = numbers.setdefault(f"\0{instance}" if group is None else group, len(numbers))
        for name in names:
            if (score := row.get("scores", {}).get(name)) is not None:
                values.append(score)
                clusters.append(cluster)
                trials.append(row.get("trial", 0))
    observed = Observations(
        values,
        clusters,
        trials,
        n_failed=sum(part.n_failed for part in parts),
        n_total=sum(part.n_total for part in parts),
        num_train_trials=first.num_train_trials,
    )
    label = Label(" + ".join(names), first.kind, first.split, first.sub_split, may_be_share=False)
    return Stat.of(label, observed)
