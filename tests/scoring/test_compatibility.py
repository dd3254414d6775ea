"""What an adapter gives and a metric can score: what is declared is true, and what can't fit is refused."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, get_args

import pytest

import evalkit
from evalkit.adapters.adapter import Adapter, RequestSlot
from evalkit.errors import DataError, EntryError, UnknownNameError, UsageError
from evalkit.instance import Instance, Reference
from evalkit.plugins import builtin_catalog, load_builtins
from evalkit.registry import ADAPTERS, METRICS, RUN_SPECS, Output, adapter, isolated_registries
from evalkit.request import Request, RequestState
from evalkit.response import Completion, Response, Token
from evalkit.runs.options import RunOptions
from evalkit.runs.plan import make_plan, open_plan_context
from evalkit.scoring.compatibility import FITTING, refuse_unfitting, takes_of
from evalkit.scoring.metric import Metric, adapter_of, asks_per_reference, build_metric
from evalkit.scoring.unit import Answer, Unit
from evalkit.specs.run_spec import AdapterSpec, MetricSpec, metric_specs

METHODS = [entry["name"] for entry in builtin_catalog()["adapter"]]
NEEDS_DATA_OF_ITS_OWN = {
    *("bbq", "code_eval_acc", "pass", "code_block_acc", "code_block_pass", "drop", "ifeval", "carried_over"),
    "code_exec",
    "m_ifeval_ja",
    "mt_bench_ratings",
    "variant_robustness",
}
TEMPLATE = "{instruction}\n{input}\n"  # needed by the method `template`, ignored by the others
ARGS: dict[str, dict[str, Any]] = {
    "output_processing": {"processor": "remove_thinking", "metric_specs": [{"name": "exact_match"}]},
    "calibration": {"platt": False},
    "ranking": {"measure_names": ("recip_rank.10",)},
    "format_control": {"dataset": "jnli"},
    "extracted_exact_match": {"dataset": "jnli"},
}


@pytest.fixture(autouse=True)
def isolated() -> Iterator[None]:
    load_builtins()
    with isolated_registries():
        yield


def unit_of(method: str, adapter_spec: AdapterSpec) -> Unit:
    """A unit as the method makes it, answered well."""
    references = (Reference("yes", ("correct", "relevance=1")), Reference("no"))
    instance = Instance("Is it?", references, "test", id="id0")
    made: Adapter = ADAPTERS.get(method)(adapter_spec)
    answers = []
    for slot in made.slots(instance):
        text = "yes" if slot.reference_index is None else "Yes"
        request = Request(f"Is it? {references[slot.reference_index or 0].text}")
        tokens = tuple(Token(word, -0.5) for word in ("Is it?", request.prompt.removeprefix("Is it?")))
        state = RequestState("k", "id0", 0, request, 0, slot.reference_index, slot.mode)
        if method.startswith("multiple_choice_joint"):
            state = RequestState("k", "id0", 0, request, output_mapping={"yes": "yes"})
        if method.startswith("multiple_choice_separate"):
            text = request.prompt
        answers.append(Answer(state, Response((Completion(text, "stop", -0.5, tokens),) * 2)))
    return Unit(instance, 0, 0, tuple(answers))


@pytest.mark.parametrize("method", METHODS)
def test_a_metric_gives_something_just_where_it_says_so(method: str) -> None:
    adapter_spec = AdapterSpec(
        method=method, max_train_instances=0, num_outputs=1, output_suffix="", prompt_template=TEMPLATE
    )
    gives = adapter_of(adapter_spec).gives
    unit = unit_of(method, adapter_spec)
    assert gives
    compared = 0
    for name in sorted({entry["name"] for entry in builtin_catalog()["metric"]} - NEEDS_DATA_OF_ITS_OWN):
        spec = MetricSpec(name=name, args=ARGS.get(name, {}))
        takes = takes_of(spec)
        assert takes is not None
        try:
            built = build_metric(spec, adapter_spec)
        except UsageError as error:
            if "pip install" not in str(error):
                raise
            continue
        try:
            given: Any = dict(built.score(unit)) or (
                built.run_level_row(unit) if built.run_level_names else None
            )
        except (UsageError, DataError) as error:  # it wants one generated answer, or a package is missing
            if "pip install" in str(error):
                continue
            given = None
        if takes & gives:
            assert given, f"{name} fits {method} and gives nothing"
        elif method != "language_modeling":  # which has a completion too, of which most make nothing good
            assert not given, f"{name} does not fit {method} and gives {given}"
        compared += 1
    assert compared >= 40


def test_every_kind_of_output_has_a_metric_to_propose() -> None:
    assert set(FITTING) == set(get_args(Output)) - {"embedding", "option_letter"}
    for output, name in FITTING.items():
        assert output in (takes_of(MetricSpec(name=name)) or ())


def arguments(parameter: Mapping[str, Any]) -> Sequence[Any]:
    """Some values for a parameter of a run spec: every method, and one of anything else that is required."""
    choices = [text.strip("' ") for text in parameter["type"].split("|")]
    if parameter["name"] == "method":
        return choices
    return choices[:1] if parameter["required"] else [parameter["default"]]


def entries() -> list[str]:
    made = []
    for entry in builtin_catalog()["run_spec"]:
        texts = [entry["name"] + ":"]
        for parameter in entry["params"]:
            if parameter["name"] == "method" or parameter["required"]:
                texts = [f"{text}{parameter['name']}={v}," for text in texts for v in arguments(parameter)]
        made += [
            text.replace("subject=str", "subject=all").replace("dataset=str", "dataset=jnli")
            + "model=evalkit/echo"
            for text in texts
        ]
    return made


def test_every_builtin_run_spec_plans_with_each_of_its_methods(tmp_path: Path) -> None:
    assert len(entries()) >= 29 + 4 * 3
    methods = set()
    for entry in entries():
        (run,) = make_plan(
            open_plan_context(RunOptions(run_entries=(entry,), data_dir=tmp_path, offline=True))
        ).runs
        methods.add(run.run_spec.adapter_spec.method)
    assert methods >= {m for m in METHODS if m.startswith(("multiple_choice", "generation"))}


def plan_with(method: str, *metrics: MetricSpec) -> None:
    spec = evalkit.RunSpec(
        name="mine",
        scenario_spec=evalkit.ScenarioSpec(name="simple_mcqa"),
        adapter_spec=AdapterSpec(
            method=method, max_train_instances=0, num_outputs=1, prompt_template=TEMPLATE
        ),
        metric_specs=metrics,
    )
    if "mine" not in RUN_SPECS:
        evalkit.run_spec_function("mine")(lambda: spec)
    RUN_SPECS.targets["mine"] = lambda: spec
    make_plan(open_plan_context(RunOptions(run_entries=("mine:model=evalkit/echo",))))


REWRITTEN = MetricSpec(
    name="output_processing",
    args={"processor": "remove_thinking", "metric_specs": [{"name": "exact_match", "args": {}}]},
)


@pytest.mark.parametrize(
    ("method", "metrics", "proposed"),
    [
        ("multiple_choice_separate_original", metric_specs("exact_match"), "basic_reference"),
        ("multiple_choice_separate_calibrated", metric_specs("rouge_1", "f1_score"), "basic_reference"),
        ("multiple_choice_separate_original", (REWRITTEN,), "basic_reference"),
        ("multiple_choice_separate_original", metric_specs("basic_generation"), "basic_reference"),
        ("multiple_choice_joint", metric_specs("basic_reference"), "exact_match"),
        ("generation", metric_specs("basic_reference", "ranking"), "exact_match"),
        ("ranking_binary", metric_specs("exact_match", "basic_reference"), "ranking"),
        ("language_modeling", metric_specs("exact_match"), "basic_generation"),
        ("chat", metric_specs("ranking"), "exact_match"),
        ("generation", metric_specs("chain_of_thought_correctness"), "exact_match"),
    ],
)
def test_metrics_none_of_which_fits_are_refused_by_the_plan(
    method: str, metrics: tuple[MetricSpec, ...], proposed: str
) -> None:
    with pytest.raises(EntryError, match=rf"no metric of this run fits the method {method}.*{proposed}"):
        plan_with(method, *metrics)
    plan_with(method, *metrics, MetricSpec(name=proposed))


def test_a_plugin_that_says_nothing_is_not_refused() -> None:
    @evalkit.metric("silent")
    class Silent(Metric):
        def score(self, unit: Unit) -> Mapping[str, float]:
            return {"silent": 1.0}

    @evalkit.metric("two_texts")
    def two_texts(gold: str, prediction: str) -> float:
        return 1.0

    @adapter("undeclared")
    class Undeclared(Adapter):
        pass

    for method in METHODS:
        plan_with(method, MetricSpec(name="silent"))
        plan_with(method)
    plan_with("undeclared", MetricSpec(name="ranking"))
    with pytest.raises(EntryError, match="basic_reference"):  # a function compares texts, whoever wrote it
        plan_with("multiple_choice_separate_original", MetricSpec(name="two_texts"))


def test_a_plugin_says_what_it_gives_and_takes() -> None:
    @evalkit.metric("vector_length")
    class VectorLength(Metric):
        takes: ClassVar[frozenset[Output] | None] = frozenset({"embedding"})

        def score(self, unit: Unit) -> Mapping[str, float]:
            return {"vector_length": 1.0}

    @adapter("embed")
    class Embed(Adapter):
        gives: ClassVar[frozenset[Output] | None] = frozenset({"embedding"})

    plan_with("embed", MetricSpec(name="vector_length"))
    for method, name in (("embed", "exact_match"), ("generation", "vector_length")):
        with pytest.raises(EntryError, match="another method"):
            plan_with(method, MetricSpec(name=name))


class EachOption(Adapter):
    """A plugin's own way to have each option scored, under a name of its own."""

    can_chat: ClassVar[bool] = False
    per_reference: ClassVar[bool] = True

    def slots(self, instance: Instance) -> Sequence[RequestSlot]:
        return [RequestSlot(index, mode) for index in range(len(instance.references)) for mode in self.modes]

    def question(self, instance: Instance, slot: RequestSlot) -> str:
        assert slot.reference_index is not None
        return f"{instance.input} {instance.references[slot.reference_index].text}"

    def parameters(self) -> dict[str, Any]:
        return {"temperature": 0.0, "max_tokens": 0, "echo_prompt": True}


@pytest.mark.parametrize("modes", [("original",), ("original", "calibration")])
def test_a_plugin_can_do_what_the_separate_methods_do(tmp_path: Path, modes: Any) -> None:
    adapter("my_options")(type("Mine", (EachOption,), {"modes": modes, "__module__": __name__}))
    spec = AdapterSpec(method="my_options")
    assert asks_per_reference(spec)
    assert build_metric(MetricSpec(name="basic_reference"), spec).names == (
        "exact_match",
        "max_prob",
        "predicted_index",
    )
    assert build_metric(MetricSpec(name="exact_match"), spec).names == ()

    @evalkit.run_spec_function("mine")
    def mine() -> evalkit.RunSpec:
        return evalkit.RunSpec(
            name="mine",
            scenario_spec=evalkit.ScenarioSpec(name="simple_mcqa"),
            adapter_spec=AdapterSpec(
                method="my_options", max_train_instances=0, max_eval_instances=4, output_suffix=""
            ),
            metric_specs=metric_specs("exact_match", "basic_reference"),
        )

    (result,) = evalkit.run("mine:model=evalkit/random", output_path=tmp_path)
    assert result.status == "complete", result.message
    assert result.path is not None
    assert evalkit.load_run(result.path).stat("exact_match").n == 4


def test_a_method_by_the_old_prefix_is_no_longer_taken_for_one_per_reference() -> None:
    @adapter("multiple_choice_separate_but_generated")
    class Generated(Adapter):
        gives: ClassVar[frozenset[Output] | None] = frozenset({"generated_text"})

    assert not asks_per_reference(AdapterSpec(method="multiple_choice_separate_but_generated"))
    assert not asks_per_reference(AdapterSpec(method="of_a_plugin_that_is_gone"))
    with pytest.raises(UnknownNameError):
        takes_of(MetricSpec(name="not_there"))
    refuse_unfitting(Generated, "x", metric_specs("exact_match"))


def test_every_builtin_declares_itself() -> None:
    for entry in builtin_catalog()["adapter"]:
        assert ADAPTERS.get(entry["name"]).gives, entry["name"]  # type: ignore[attr-defined]
    for entry in builtin_catalog()["metric"]:
        target = METRICS.get(entry["name"])
        spec = MetricSpec(name=entry["name"], args=ARGS.get(entry["name"], {}))
        assert takes_of(spec) or entry["name"] == "carried_over", entry["name"]
        assert inspect.isclass(target) or takes_of(spec) == frozenset[Output]({"generated_text"})


def test_a_question_without_a_right_answer_is_told_by_the_plan(tmp_path: Path) -> None:
    from evalkit.cli.plan import describe_run

    @evalkit.scenario("unlabelled")
    class Unlabelled(evalkit.Scenario):
        def instances(self, data: evalkit.DataStore) -> list[Instance]:
            return [Instance("q", (Reference("a"),), "test")]

    @evalkit.run_spec_function("unlabelled")
    def unlabelled() -> evalkit.RunSpec:
        return evalkit.RunSpec(
            name="unlabelled",
            scenario_spec=evalkit.ScenarioSpec(name="unlabelled"),
            adapter_spec=AdapterSpec(method="generation"),
            metric_specs=metric_specs("exact_match"),
        )

    context = open_plan_context(RunOptions(run_entries=("unlabelled:model=evalkit/echo",)))
    (run,) = make_plan(context).runs
    assert "needs a right answer" in describe_run(run, context)["problem"]
