from __future__ import annotations

from pathlib import Path

import pytest

from evalkit.data import DataStore
from evalkit.errors import UsageError
from evalkit.registry import SCENARIOS
from evalkit.scenarios.simple import Simple1Scenario, SimpleMCQAScenario


def test_registered_by_name() -> None:
    assert SCENARIOS.get("simple_mcqa") is SimpleMCQAScenario
    assert SCENARIOS.get("simple1") is Simple1Scenario


def test_simple1_follows_its_arguments() -> None:
    made = Simple1Scenario(num_input_tokens=3, vocab_size=2, num_train_instances=4, num_test_instances=6)
    instances = list(made.instances(DataStore(cache=Path("unused"))))
    assert [i.split for i in instances] == ["train"] * 4 + ["test"] * 6
    for instance in instances:
        tokens = instance.input.split()
        assert len(tokens) == 3
        assert set(tokens) <= {"0", "1"}
        assert instance.first_correct is not None
        assert instance.first_correct.text in tokens
    with pytest.raises(UsageError, match="vocab_size"):
        Simple1Scenario(vocab_size=0)
