from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evalkit.errors import EntryError, PluginError, UnknownNameError, UsageError
from evalkit.registry import isolated_registries, run_expander, run_spec_function
from evalkit.specs.conf import ConfEntry
from evalkit.specs.expand import ExpandOptions, Expansion, expand_entries
from evalkit.specs.run_spec import AdapterSpec, RunSpec, ScenarioSpec

if TYPE_CHECKING:
    from tests.specs.conftest import FakeModels


def expand(models: FakeModels, *descriptions: str | ConfEntry, **options: Any) -> Expansion:
    entries = [d if isinstance(d, ConfEntry) else ConfEntry(d) for d in descriptions]
    return expand_entries(entries, models, ExpandOptions(**options))


def names(expansion: Expansion) -> list[str]:
    return [run.run_spec.name for run in expansion.run_specs]


def the_one(expansion: Expansion) -> RunSpec:
    (run,) = expansion.run_specs
    return run.run_spec


@pytest.fixture
def typed() -> Iterator[None]:
    """A run spec with a parameter of every kind."""
    with isolated_registries():

        @run_spec_function("typed")
        def typed_spec(
            flag: bool = False,
            level: str = "x",
            size: int | None = None,
            rate: float = 0.5,
            kinds: tuple[Literal["a", "b"], ...] = (),
        ) -> RunSpec:
            args = {"flag": flag, "level": level, "size": size, "rate": rate, "kinds": kinds}
            return RunSpec(
                name="typed",
                scenario_spec=ScenarioSpec(name="typed", args=args),
                adapter_spec=AdapterSpec(),
            )

        yield


# What is a mistake, where it is marked, and what is offered instead.


@pytest.mark.parametrize(
    ("description", "marked", "message"),
    [
        ("mmul:subject=anatomy,model=text", "mmul", "unknown run spec 'mmul'; did you mean 'mmlu'"),
        ("gsm:modle=text", "modle", "no parameter 'modle'; did you mean 'model'"),
        ("mmlu:subjet=anatomy,model=text", "subjet", "no parameter 'subjet'; did you mean 'subject'?"),
        ("mmlu:subject=anatmy,model=text", "anatmy", "did you mean 'anatomy'?"),
        ("mmlu:subject=anatomy,method=joint,model=text", "joint", "is not one of multiple_choice_joint"),
        ("mmlu:model=text", "mmlu", "run spec 'mmlu' needs subject"),
        ("mmlu:subject=anatomy", None, "no model is named; add model=<name>"),
        ("gsm:model=openai/gpt3", "model=openai/gpt3", "did you mean 'openai/gpt2'"),
        ("gsm:model=txet", "model=txet", "did you mean 'text'"),
        ("gsm:model=5", "model=5", "unknown model '5'"),
        ("gsm:model=biomedical", "model=biomedical", "no known model is in it"),
        ("gsm:model=text,max_train_instances=al", "al", "did you mean 'all'?"),
        ("gsm:model=text,max_train_instances=1.5", "1.5", "'1.5' is not an int"),
        (
            "gsm:model=text,max_train_instances=-1",
            "max_train_instances=-1",
            "max_train_instances can't be -1",
        ),
        ("gsm:model=text,max_eval_instances=0", "max_eval_instances=0", "max_eval_instances can't be 0"),
        ("gsm:model=text,temperature=warm", "warm", "'warm' is not a float"),
        ("gsm:model=text,temperature=nan", "temperature=nan", "finite"),
        ("gsm:model=text,increase_temperature=-1", "increase_temperature=-1", "temperature can't be -1"),
        ("gsm:model=text,eval_split=train", "train", "'train' is not one of test, valid"),
        ("gsm:model=text,stop=hsh", "hsh", "did you mean 'hash'?"),
        (
            "gsm:model=text,output_format_instructions=x",
            "output_format_instructions=x",
            "unknown output format",
        ),
        ("gsm:model=text,stop=br,stop=br", "stop=br", "'stop' is given twice"),
        ("gsm:shots=1,model=text,max_train_instances=2", "max_train_instances=2", "says the same as 'shots'"),
        ("mmlu:subject=anatomy, model=text", " model", "blanks in the key ' model'"),
        ("gsm:=3", "=3", "this argument has no name"),
        (":model=text", None, "names no run spec"),
        ("gsm:model=text,", "", "expected key=value, found nothing"),
    ],
)
def test_a_mistake_is_marked_with_the_right_name(
    models: FakeModels, description: str, marked: str | None, message: str
) -> None:
    with pytest.raises(EntryError) as caught:
        expand(models, ConfEntry(description, source="x.conf:7"))
    start, end = caught.value.span
    assert description[start:end] == (description if marked is None else marked)
    assert message in caught.value.message
    assert "(x.conf:7)" in str(caught.value)
    if marked:
        assert start == description.rindex(marked) or marked in description[:end]


def test_all_mistakes_are_told_at_once(models: FakeModels) -> None:
    with pytest.raises(UsageError) as caught:
        expand(models, "mmul:model=text", "gsm:model=text", "gsm:stop=x,model=text")
    assert not isinstance(caught.value, EntryError)
    text = str(caught.value)
    assert text.startswith("2 run entries are wrong")
    assert "did you mean 'mmlu'" in text
    assert "  gsm:stop=x,model=text\n           ^" in text


def test_an_unknown_model_to_run_is_found_before_the_entries(models: FakeModels) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'openai/gpt2'"):
        expand(models, "mmul", models_to_run=("openai/gpt3",))


def test_no_entries_are_an_error(models: FakeModels) -> None:
    with pytest.raises(UsageError, match="no run entries were given"):
        expand(models)


# Arguments


def test_arguments_have_the_types_of_the_signature(models: FakeModels, typed: None) -> None:
    made = expand(models, "typed:flag=False,level=1,size=none,rate=2,kinds=a|b,model=openai/gpt2")
    assert the_one(made).scenario_spec.args == {
        "flag": False,
        "level": "1",
        "size": None,
        "rate": 2.0,
        "kinds": ("a", "b"),
    }


@pytest.mark.parametrize(
    ("argument", "message"),
    [("flag=maybe", "is not a bool"), ("size=big", "is not an int"), ("kinds=a|c", "'c' is not one of a, b")],
)
def test_arguments_of_the_wrong_type_are_marked(
    models: FakeModels, typed: None, argument: str, message: str
) -> None:
    with pytest.raises(EntryError, match=message) as caught:
        expand(models, f"typed:{argument},model=openai/gpt2")
    assert caught.value.span == (6 + argument.index("=") + 1, 6 + len(argument))


def test_plugins_of_the_wrong_shape_are_named(models: FakeModels) -> None:
    with isolated_registries():

        @run_spec_function("nothing")
        def nothing() -> None:
            return None

        @run_expander("bare")
        def bare(run_spec: RunSpec) -> Iterable[RunSpec]:
            return [run_spec]

        @run_expander("gone")
        def gone(run_spec: RunSpec, value: str) -> Iterable[RunSpec]:
            return []

        with pytest.raises(PluginError, match="'nothing' returned NoneType, not a RunSpec"):
            expand(models, "nothing:model=openai/gpt2")
        with pytest.raises(PluginError, match="'bare' must take"):
            expand(models, "gsm:bare=1,model=openai/gpt2")
        with pytest.raises(EntryError, match="'gone' leaves nothing to run"):
            expand(models, "gsm:gone=1,model=openai/gpt2")


def test_a_complaint_of_the_run_spec_function_shows_the_entry(models: FakeModels) -> None:
    with isolated_registries():

        @run_spec_function("strict")
        def strict(n: int) -> RunSpec:
            raise UsageError(f"n must be even, not {n}")

        with pytest.raises(EntryError, match="n must be even, not 3\n  strict:n=3"):
            expand(models, "strict:n=3,model=openai/gpt2")


# Fanning out


def test_expanders_multiply_from_left_to_right(models: FakeModels) -> None:
    made = expand(models, "gsm:max_train_instances=melt,num_outputs=copyright_sweep,model=text")
    assert len(made.run_specs) == 3 * 2 * 2
    assert names(made)[:3] == [
        "gsm:max_train_instances=0,num_outputs=1,model=openai_gpt2",
        "gsm:max_train_instances=0,num_outputs=1,model=simple_model1",
        "gsm:max_train_instances=0,num_outputs=10,model=openai_gpt2",
    ]


def test_models_to_run_take_the_place_of_a_wildcard(models: FakeModels) -> None:
    made = expand(models, "gsm:model=biomedical,stop=br", models_to_run=("simple/model1", "huggingface/gpt2"))
    assert names(made) == ["gsm:model=simple_model1,stop=br", "gsm:model=huggingface_gpt2,stop=br"]
    assert made.run_specs[1].run_spec.adapter_spec.model == "openai/gpt2"


def test_models_to_run_are_appended_last_where_no_model_is_named(models: FakeModels) -> None:
    twice = ("simple/model1", "simple/model1")
    assert names(expand(models, "gsm:eval_split=test", models_to_run=twice)) == [
        "gsm:eval_split=test,model=simple_model1"
    ]


def test_a_mistyped_wildcard_is_not_replaced(models: FakeModels) -> None:
    with pytest.raises(EntryError, match="did you mean 'text'"):
        expand(models, "gsm:model=txet", models_to_run=("simple/model1",))


def test_a_deployment_alone_names_its_model(models: FakeModels) -> None:
    made = the_one(expand(models, "gsm:model_deployment=elsewhere/gpt2"))
    assert made.adapter_spec.model == "openai/gpt2"
    assert made.name == "gsm:model_deployment=elsewhere_gpt2"


# Filters and overrides


def test_runs_of_other_models_are_left_out_and_told(models: FakeModels) -> None:
    made = expand(models, "gsm:model=openai/gpt2", "gsm", models_to_run=("simple/model1",))
    assert names(made) == ["gsm:model=simple_model1"]
    ((entry, reason),) = made.skipped
    assert entry.description == "gsm:model=openai/gpt2"
    assert reason == "its model openai/gpt2 is not among --models-to-run"


def test_where_filters_leave_nothing_the_reasons_are_told(models: FakeModels) -> None:
    with pytest.raises(UsageError) as caught:
        expand(models, *["gsm:model=openai/gpt2"] * 7, models_to_run=("simple/model1",))
    lines = str(caught.value).splitlines()
    assert lines[0] == "nothing is left to run"
    assert lines[1:] == [
        "  gsm:model=openai/gpt2 and 6 more: its model openai/gpt2 is not among --models-to-run"
    ]


def test_groups_to_run_are_those_of_the_run_spec(models: FakeModels) -> None:
    mine = ConfEntry("gsm:model=openai/gpt2", groups=("mine",))
    other = "mmlu:subject=anatomy,model=openai/gpt2"
    made = expand(models, mine, other, groups_to_run=("gsm",))
    assert the_one(made).groups == ("gsm", "mine")
    assert made.skipped[0][1] == "its groups (mmlu) are not among --groups-to-run"
    with pytest.raises(UsageError, match=r"its groups \(gsm\)"):
        expand(models, mine, groups_to_run=("mine",))


def test_groups_of_the_entry_go_into_name_and_groups(models: FakeModels) -> None:
    made = the_one(expand(models, ConfEntry("gsm:model=openai/gpt2", groups=("b", "a/c"))))
    assert made.name == "gsm:model=openai_gpt2,groups=a_c-b"
    assert made.groups == ("gsm", "b", "a/c")


def test_priority_leaves_out_larger_numbers_unread(models: FakeModels) -> None:
    entries = [ConfEntry("gsm:model=openai/gpt2", p) for p in (None, 2)]
    made = expand(models, *entries, ConfEntry("nonsense", 3), priority=2)
    assert len(made.run_specs) == 2
    assert made.skipped == [(ConfEntry("nonsense", 3), "its priority 3 is greater than 2")]


@pytest.mark.parametrize(
    ("description", "trials"),
    [("gsm:", 3), ("gsm:num_train_trials=2,", 3), ("gsm:max_train_instances=0,num_train_trials=2,", 1)],
)
def test_trials_asked_for_win_except_without_examples(
    models: FakeModels, description: str, trials: int
) -> None:
    made = expand(models, f"{description}model=openai/gpt2", num_train_trials=3)
    assert the_one(made).adapter_spec.num_train_trials == trials


def test_a_limit_in_the_entry_or_the_benchmark_wins(models: FakeModels) -> None:
    for description, limit in [("gsm:", 7), ("gsm:max_eval_instances=3,", 3), ("simple1:", 10)]:
        made = the_one(expand(models, f"{description}model=openai/gpt2", max_eval_instances=7))
        assert made.adapter_spec.max_eval_instances == limit


@pytest.mark.parametrize("number", ["jamp:items=20", "jnli:items=all", "jamp:testmode=true"])
def test_a_number_of_items_in_the_entry_wins(models: FakeModels, number: str) -> None:
    said = number.partition(":")[2]
    (run,) = expand(models, f"{number},model=openai/gpt2", max_eval_instances=5).run_specs
    assert run.run_spec == the_one(expand(models, f"{number},model=openai/gpt2"))
    assert run.notes == (f"-m 5 has no effect where an entry says {said}",)


@pytest.mark.parametrize(
    "free", ["jamp:items=edition,", "jamp:testmode=false,", "jamp:", "mt_bench_ja:", "arithmetic:num_test=9,"]
)
def test_m_counts_where_the_entry_says_only_how_many_items_there_are(models: FakeModels, free: str) -> None:
    made = the_one(expand(models, f"{free}model=openai/gpt2", max_eval_instances=5))
    assert made.adapter_spec.max_eval_instances == 5


def test_every_run_keeps_its_entry_and_a_name_without_slashes(models: FakeModels) -> None:
    entry = ConfEntry("gsm:model=together/meta/llama-2-7b", source="x.conf:1")
    (run,) = expand(models, entry).run_specs
    assert run.entry is entry
    assert run.run_spec.name == "gsm:model=meta_llama-2-7b"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(["gsm", "mmlu", "arithmetic", "x", ""]),
    st.lists(
        st.tuples(
            st.sampled_from(
                ["model", "subject", "stop", "shots", "digits", "temperature", "num_outputs", "", "z"]
            ),
            st.sampled_from(
                ["text", "anatomy", "br", "all", "1", "-1", "0.5", "nan", "", "=", "1e999", "openai/gpt2"]
            ),
        ),
        max_size=4,
    ),
)
def test_any_entry_expands_or_is_an_entry_error(
    models: FakeModels, name: str, args: list[tuple[str, str]]
) -> None:
    text = f"{name}:{','.join(f'{key}={value}' for key, value in args)}"
    try:
        made = names(expand(models, text))
    except EntryError as error:
        start, end = error.span
        is_right = error.entry == text and 0 <= start <= end <= len(text)
    else:
        is_right = bool(made) and not any("/" in name for name in made)
    assert is_right


@pytest.mark.parametrize("shots", ["shots=4", "max_train_instances=all", "shots=one"])
def test_where_a_benchmark_has_no_examples_shots_have_no_effect(shots: str, models: FakeModels) -> None:
    """The method shows none, or the benchmark has no train split: the entry means the same run without it."""
    for name in ("mt_bench_ja", "ifeval"):
        plain = the_one(expand(models, f"{name}:model=simple/model1"))
        expansion = expand(models, f"{name}:{shots},model=simple/model1")
        assert the_one(expansion) == plain
        note = f"{shots} has no effect: {name} has no few-shot examples"
        assert expansion.run_specs[0].notes[0] == note


def test_no_examples_asked_where_there_are_none_is_no_news(models: FakeModels) -> None:
    for zero in ("shots=0", "shots=zero"):
        assert expand(models, f"ifeval:{zero},model=simple/model1").run_specs[0].notes == ()


def test_where_there_are_examples_shots_count(models: FakeModels) -> None:
    expansion = expand(models, "gsm:shots=3,model=simple/model1")
    assert the_one(expansion).adapter_spec.max_train_instances == 3
    assert expansion.run_specs[0].notes == ()


def test_without_a_judge_the_answers_of_mt_bench_are_not_judged(models: FakeModels) -> None:
    """They can be judged later; a note says so."""
    expansion = expand(models, "mt_bench_ja:model=simple/model1")
    assert the_one(expansion).judge_specs == ()
    (note,) = expansion.run_specs[0].notes
    assert note == "mt_bench_ja: no judge is named, so its answers are not judged; add judge=<deployment>"
    judged = expand(models, "mt_bench_ja:model=simple/model1,judge=openai/gpt2")
    (spec,) = the_one(judged).judge_specs
    assert (spec.deployments, judged.run_specs[0].notes) == (("huggingface/gpt2",), ())
