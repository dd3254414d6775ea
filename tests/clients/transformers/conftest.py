from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

MakeModel = Callable[..., Path]


@pytest.fixture(scope="session")
def model_of(tmp_path_factory: pytest.TempPathFactory) -> MakeModel:
    """Folders of tiny random models, each made once: `model_of("llama", eos=False)`."""
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from evalkit.testing.models import make_model

    made: dict[str, Path] = {}

    def make(model_type: str = "llama", **config: Any) -> Path:
        key = repr((model_type, sorted(config.items())))
        if key not in made:
            made[key] = make_model(tmp_path_factory.mktemp(model_type), model_type, **config)
        return made[key]

    return make
