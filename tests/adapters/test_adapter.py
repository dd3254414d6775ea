from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from evalkit.adapters.adapter import Adapter, RequestSlot
from evalkit.adapters.generation import GenerationAdapter
from evalkit.adapters.multiple_choice import (
    MultipleChoiceJointAdapter,
    MultipleChoiceSeparateCalibratedAdapter,
)
from evalkit.adapters.window import TokenWindow
from evalkit.data import DataStore
from evalkit.errors import DataError, UsageError
from evalkit.instance import TRAIN, Instance, Reference
from evalkit.scenarios.gsm import GSM8KScenario
from evalkit.scenarios.scenario import with_ids
from evalkit.specs.run_spec import AdapterSpec
from tests.adapters.golden_rows import CharacterTokenizer

TRAINS = [
    Instance(
        f"t{i}",
        (Reference("yes", ("correct",) * (1 - i % 2)), Reference("no", ("correct",) * (i % 2))),
        TRAIN,
    )
    for i in range(4)
]
TESTS = [
    Instance(f"q{i}", (Reference("yes", ("correct",)), Reference("no")), "test", f"id{i}") for i in range(3)
]


def spec(**fields: Any) -> AdapterSpec:
    return AdapterSpec(**{"max_train_instances": 2, **fields})


class CountingAdapter(GenerationAdapter):
    """Counts the prompts it builds."""

    built = 0

    def question(self, instance: Instance, slot: RequestSlot) -> str:
        self.built += 1
        return super().question(instance, slot)


def test_order_is_trial_repetition_instance_slot() -> None:
    adapter = MultipleChoiceSeparateCalibratedAdapter(spec(num_train_trials=2, num_trials=2))
    states = list(adapter.requests(TESTS[:2], TRAINS))
    assert [s.key for s in states[:5]] == [
        "t0/id0/r0/original",
        "t0/id0/r0/calibration",
        "t0/id0/r1/original",
        "t0/id0/r1/calibration",
        "t0/id1/r0/original",
    ]
    assert [s.key for s in states[8::8]] == [
        "t0/id0/s1/r0/original",
        "t1/id0/r0/original",
        "t1/id0/s1/r0/original",
    ]
    assert len({s.key for s in states}) == len(states) == adapter.num_requests(TESTS[:2]) == 32
    assert {s.unit_size for s in states} == {4}
    units = [(s.trial, s.instance_id, s.sample) for s in states]
    assert units == [unit for unit in dict.fromkeys(units) for _ in range(4)]


def test_repetitions_are_told_apart() -> None:
    states = list(GenerationAdapter(spec(num_trials=3, random="x")).requests(TESTS[:1], []))
    assert [(s.sample, s.request.random) for s in states] == [(0, "x"), (1, "1"), (2, "2")]


def test_skipped_requests_cost_no_prompt() -> None:
    adapter = CountingAdapter(spec(num_train_trials=2))
    asked: list[str] = []

    def skip(key: str) -> bool:
        asked.append(key)
        return key != "t1/id2"

    assert [s.key for s in adapter.requests(TESTS, TRAINS, skip)] == ["t1/id2"]
    assert asked == [f"t{t}/id{i}" for t in range(2) for i in range(3)]
    assert adapter.built == 1


def test_skipping_changes_no_other_request() -> None:
    adapter = GenerationAdapter(spec(num_train_trials=2))
    everything = {s.key: s for s in adapter.requests(TESTS, TRAINS)}
    some = list(adapter.requests(TESTS, TRAINS, skip=lambda key: key.endswith("id0")))
    assert len(some) == 4
    assert all(everything[s.key] == s for s in some)


def test_requests_are_made_one_by_one() -> None:
    adapter = CountingAdapter(spec())
    stream: Iterator[Any] = adapter.requests(TESTS, TRAINS)
    assert adapter.built == 0
    next(stream)
    assert adapter.built == 1
    assert adapter.num_requests(TESTS) == 3
    assert adapter.built == 1


def test_hints() -> None:
    open_question = Instance("q", (Reference("42", ("correct",)),), "test", "open")
    train = [*TRAINS, Instance("unlabelled", (), TRAIN)]
    states = list(GenerationAdapter(spec()).requests([*TESTS, open_question], train))
    hints = [s.request.hints for s in states]
    assert all(h is not None and h.train_outputs == ("yes", "no", "yes", "no") for h in hints)
    assert [h.choices for h in hints if h] == [("yes", "no")] * 3 + [()]
    assert len({id(h.train_outputs) for h in hints if h}) == 1
    letters = [s.request.hints for s in MultipleChoiceJointAdapter(spec()).requests(TESTS, TRAINS)]
    assert all(h is not None and h.choices == ("A", "B") for h in letters)
    assert all(h is not None and h.train_outputs == ("A", "B", "A", "B") for h in letters)


def test_gold_outputs() -> None:
    both = Instance("q", (Reference("a", ("correct",)), Reference("b"), Reference("c", ("correct",))), TRAIN)
    assert GenerationAdapter(spec()).gold(both) == "a"
    assert GenerationAdapter(spec(multi_label=True)).gold(both) == "a, c"
    assert GenerationAdapter(spec()).gold(Instance("q", (), TRAIN)) == "n/a"


def test_no_id_is_an_error() -> None:
    with pytest.raises(DataError, match="no id"):
        list(GenerationAdapter(spec()).requests([Instance("q", (), "test")], []))


def test_window_reaches_the_requests(data_dir: Path, tmp_path: Path) -> None:
    """HELM's observation: with a window of 2048 characters, gsm falls from 5 examples to about 2."""
    store = DataStore(mirror=data_dir, cache=tmp_path, offline=True)
    everything = list(with_ids(GSM8KScenario().instances(store)))
    tests: Sequence[Instance] = everything[-50:]
    gsm = spec(
        input_prefix="Q: ",
        output_prefix="A: ",
        max_train_instances=5,
        max_tokens=400,
        stop_sequences=("\n\n",),
    )
    window = TokenWindow(CharacterTokenizer(), 2048)
    states = list(GenerationAdapter(gsm, window).requests(tests, everything[:7473]))
    assert {s.num_train_instances for s in states} <= {1, 2, 3}
    assert all(len(s.request.prompt) + 400 <= 2048 and not s.prompt_truncated for s in states)
    assert all(s.request.prompt.endswith("\nA:") for s in states)


def test_window_without_room_is_an_error() -> None:
    adapter = GenerationAdapter(spec(max_tokens=3000), TokenWindow(CharacterTokenizer(), 2048))
    with pytest.raises(UsageError, match="max_tokens=3000"):
        next(adapter.requests(TESTS, TRAINS))


def test_the_base_is_a_plain_generation() -> None:
    assert list(Adapter(spec()).requests(TESTS, TRAINS)) == list(
        GenerationAdapter(spec()).requests(TESTS, TRAINS)
    )


def test_a_category_has_its_own_temperature() -> None:
    """By sub-split; where it has none, and for instances without, the spec's own holds."""
    spec = AdapterSpec(method="generation", temperature=0.7, temperatures={"math": 0, "stem": 0.1})
    places = ("math", "stem", "law", None)
    instances = [Instance("q", (), "test", f"id{n}", sub_split=place) for n, place in enumerate(places)]
    states = GenerationAdapter(spec).requests(instances, [])
    assert [state.request.temperature for state in states] == [0, 0.1, 0.7, 0.7]


def test_temperatures_are_in_a_spec_only_where_there_are_some() -> None:
    assert "temperatures" not in AdapterSpec().model_dump()
    assert AdapterSpec(temperatures={"math": 0}).model_dump()["temperatures"] == {"math": 0}
    with pytest.raises(ValidationError):
        AdapterSpec(temperatures={"math": -1})
