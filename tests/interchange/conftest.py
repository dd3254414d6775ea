"""Metrics of imported runs are looked up in the registry, as a user's are."""

from __future__ import annotations

import importlib
from collections.abc import Iterator

import pytest

from evalkit.plugins import load_builtins
from evalkit.registry import isolated_registries


@pytest.fixture(autouse=True)
def known_metrics() -> Iterator[None]:
    load_builtins()
    importlib.import_module("evalkit.metrics.text")
    importlib.import_module("evalkit.metrics.carried")
    with isolated_registries():
        yield
