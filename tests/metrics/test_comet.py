from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from evalkit.errors import DataError, UsageError
from evalkit.metrics import comet
from evalkit.metrics.comet import CometWmt22
from evalkit.specs.run_spec import AdapterSpec
from tests.scoring.units import built, instance, unit


class OverlapModel:
    """Takes what COMET takes; its score is the share of the reference's characters in the translation."""

    def __init__(self) -> None:
        self.calls: list[tuple[list[dict[str, str]], int, int]] = []

    def predict(self, rows: list[dict[str, str]], batch_size: int, gpus: int, progress_bar: bool) -> Any:
        assert not progress_bar
        self.calls.append((rows, batch_size, gpus))
        scores = [len(set(row["ref"]) & set(row["mt"])) / len(set(row["ref"])) for row in rows]
        return SimpleNamespace(scores=scores)


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Iterator[OverlapModel]:
    made, package = OverlapModel(), ModuleType("comet")
    package.__spec__ = importlib.util.spec_from_loader("comet", None)
    loaded: list[str] = []
    package.download_model = lambda name: f"/models/{name}"  # type: ignore[attr-defined]

    def load(path: str) -> OverlapModel:
        loaded.append(path)
        if "missing" in path:
            raise KeyError("no such model")
        return made

    package.load_from_checkpoint = load  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "comet", package)
    comet._model.cache_clear()
    yield made
    comet._model.cache_clear()
    assert len(loaded) <= 1, "the model was loaded more than once"


def test_source_translation_and_reference_are_in_their_places(model: OverlapModel) -> None:
    metric = built("comet_wmt22", gpus=1)
    asked = unit(instance("ねこ"), " ね\n\n説明")
    assert metric.score(asked) == {"comet_wmt22": 0.5}
    assert metric.score(asked) == {"comet_wmt22": 0.5}
    assert model.calls[0] == ([{"src": "?", "mt": "ね", "ref": "ねこ"}], 8, 1)


def test_the_best_of_several(model: OverlapModel) -> None:
    metric = built("comet_wmt22", AdapterSpec(method="generation", num_outputs=2))
    asked = unit(instance("ねこ", "い"), "ね", "い")
    assert metric.score(asked) == {"comet_wmt22": 0.5, "comet_wmt22@2": 1.0}
    assert len(model.calls[0][0]) == 4


def test_a_model_that_cannot_be_loaded(model: OverlapModel) -> None:
    with pytest.raises(UsageError, match="'missing/one' can't be loaded"):
        built("comet_wmt22", model="missing/one").score(unit(instance("a"), "b"))


def test_an_instance_without_a_right_answer_is_refused() -> None:
    with pytest.raises(DataError, match="id0"):
        built("comet_wmt22").check(instance())


@pytest.mark.skipif(bool(importlib.util.find_spec("comet")), reason="unbabel-comet is installed")
def test_without_the_package_the_remedy_is_named() -> None:
    for act in (
        lambda: CometWmt22.check_machine({}),
        lambda: built("comet_wmt22").score(unit(instance("a"), "b")),
    ):
        comet._model.cache_clear()
        with pytest.raises(
            UsageError, match=r"unbabel-comet; install it with: pip install 'evalkit\[comet\]'"
        ):
            act()
