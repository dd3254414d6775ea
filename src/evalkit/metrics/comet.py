"""COMET of translations (Rei et al. 2022), through the package `unbabel-comet`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

from evalkit.errors import DataError, UsageError
from evalkit.metrics.jaster_answers import AnswerMetric, Answers
from evalkit.registry import metric
from evalkit.scoring.optional_packages import require_module
from evalkit.scoring.unit import Unit
from evalkit.specs.run_spec import AdapterSpec

_WMT22 = "Unbabel/wmt22-comet-da"


@metric("comet_wmt22", full_marks=None)
class CometWmt22(AnswerMetric):
    """COMET of a translation, given its source text and the right one: about 0 to 1, more is better.

    The source is the text of the instance; of several right answers the best counts. Needs the extra `comet`.
    The model (2.3 GB) is loaded once a process, when the first answer is scored; where the cache of Hugging
    Face has it not, it is downloaded. An empty answer is scored as one, by the model.

    Args:
        dataset: The jaster dataset, which decides how a completion is cleaned.
        answers: How the answer is read; see `evalkit.metrics.jaster_answers.AnswerReader`.
        pattern: A regular expression that finds the answer in the completion.
        model: Name of a COMET model that compares with a reference, or the path of a checkpoint.
        gpus: GPUs to use; the original needs one, 0 is the processor and slow.
    """

    stat = "comet_wmt22"
    mark: ClassVar[float | None] = None

    def __init__(
        self,
        adapter_spec: AdapterSpec,
        dataset: str = "",
        answers: Answers = "original",
        pattern: str = "",
        model: str = _WMT22,
        gpus: int = 0,
    ) -> None:
        super().__init__(adapter_spec, dataset, answers, pattern)
        self._model, self._gpus = model, gpus

    @classmethod
    def check_machine(cls, args: Mapping[str, Any]) -> None:
        """Refuse a machine without the package.

        Raises:
            UsageError: It is not installed; says how to.
        """
        require_module("comet", "the metric comet_wmt22", "comet")

    def score(self, unit: Unit) -> Mapping[str, float]:
        """The score, and `name@k` where several outputs were asked for.

        Raises:
            DataError: The answer holds no completion, or the model gave no score for each.
            UsageError: The package is not installed, or the model can't be loaded.
        """
        if unit.per_reference:
            return {}
        golds, predictions = self.golds(unit), self.predictions(unit)
        source = unit.instance.input
        rows = [{"src": source, "mt": said, "ref": gold} for said in predictions for gold in golds]
        found = _model(self._model).predict(rows, batch_size=8, gpus=self._gpus, progress_bar=False)
        scores = [float(score) for score in found.scores]
        if len(scores) != len(rows):
            raise DataError(f"COMET gave {len(scores)} scores for {len(rows)} pairs")
        best = [max(scores[at : at + len(golds)]) for at in range(0, len(scores), len(golds))]
        return dict(zip(self.names, (best[0], max(best)), strict=False))


@lru_cache(maxsize=1)
def _model(name: str) -> Any:
    require_module("comet", "the metric comet_wmt22", "comet")
    from comet import download_model, load_from_checkpoint

    try:
        path = name if Path(name).is_file() else download_model(name)
        return load_from_checkpoint(path)
    except (OSError, KeyError, ValueError) as error:
        raise UsageError(f"the COMET model '{name}' can't be loaded: {error}") from error
