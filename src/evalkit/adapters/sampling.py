"""Which instances are evaluated and which are shown as examples: HELM's draws, from private generators."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from itertools import cycle

from evalkit.instance import EVAL_SPLITS, Instance
from evalkit.scenarios.numpy_random import NumpyRandom


def downsample(
    instances: Sequence[Instance],
    max_eval_instances: int | None = None,
    eval_splits: Sequence[str] | None = None,
) -> list[Instance]:
    """The instances to evaluate.

    HELM forgets `eval_splits` where `max_eval_instances` is not set; here they always hold.

    Args:
        instances: All instances of the scenario.
        max_eval_instances: Draw this many if there are more; None: all.
        eval_splits: The splits to evaluate; None: valid and test together.

    Returns:
        The instances of these splits: in scenario order, or where some were left out, in the order drawn.
        A smaller draw is the beginning of a larger one.
    """
    splits = frozenset(EVAL_SPLITS if eval_splits is None else eval_splits)
    pool = [instance for instance in instances if instance.split in splits]
    if max_eval_instances is None or len(pool) <= max_eval_instances:
        return pool
    return [pool[index] for index in permutation(len(pool), seed=0)[:max_eval_instances]]


def few_shot(train: Sequence[Instance], k: int, trial: int, sample_train: bool = True) -> list[Instance]:
    """The few-shot examples of one train trial.

    Drawn at random, they go round the labels (texts of the first right answers), the most frequent label
    first, and are filled up with unlabelled instances (HELM never returns then). Not drawn, they are the
    next `k` of the pool.

    Args:
        train: The train split.
        k: How many examples, if the pool has as many.
        trial: Number of the trial, which seeds the draw.
        sample_train: Whether to draw.
    """
    wanted = min(len(train), k)
    if not wanted:
        return []
    if not sample_train:
        return list(train[wanted * trial : wanted * (trial + 1)])
    rng = random.Random(trial)
    pools: dict[str, list[Instance]] = defaultdict(list)
    unlabelled = []
    for instance in train:
        label = instance.first_correct
        if label is None:
            unlabelled.append(instance)
        else:
            pools[label.text].append(instance)
    rounds = cycle([pools[label] for label in _by_frequency(pools, rng)])
    num_labelled = len(train) - len(unlabelled)
    drawn: list[Instance] = []
    while len(drawn) < min(wanted, num_labelled):
        if pool := next(rounds):
            drawn.append(pool.pop(rng.randrange(len(pool))))
    return drawn + rng.sample(unlabelled, wanted - len(drawn))


def permutation(size: int, seed: int) -> list[int]:
    """A random order of 0 … size-1: that of `numpy.random.RandomState(seed).permutation(size)`."""
    order = list(range(size))
    NumpyRandom(seed).shuffle(order)
    return order


def _by_frequency(pools: dict[str, list[Instance]], rng: random.Random) -> list[str]:
    """Labels, the most frequent first; equally frequent ones in random order."""
    by_count: dict[int, list[str]] = defaultdict(list)
    for label in sorted(pools):
        by_count[len(pools[label])].append(label)
    ordered: list[str] = []
    for count in sorted(by_count, reverse=True):
        rng.shuffle(by_count[count])
        ordered += by_count[count]
    return ordered
