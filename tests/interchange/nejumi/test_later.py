from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from evalkit.errors import ConfigError, UsageError
from evalkit.interchange.nejumi.later import NEJUMI_3, NEJUMI_4
from evalkit.interchange.nejumi.nejumi_runs import NejumiRuns
from evalkit.interchange.nejumi.reading import config_files, read_nejumi
from evalkit.models.deployment import ModelDeployment
from evalkit.run_specs.jaster_datasets import DATASETS
from tests.interchange.nejumi.configs import BASE, MODEL, catalog, data_folder, openai, replaced

PATH = "pretrained_model_name_or_path"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    data_folder(tmp_path / "data")
    (tmp_path / "configs").mkdir()
    return tmp_path


def read(folder: Path, model: str = MODEL, base: str = BASE, *, skip_bad: bool = False) -> NejumiRuns:
    """What a base file and a model's file become."""
    (folder / "configs/base_config.yaml").write_text(base, encoding="utf-8")
    (folder / "configs/config-small.yaml").write_text(model, encoding="utf-8")
    return read_nejumi(
        [folder / "configs/base_config.yaml"],
        [Path("config-small")],
        catalog(openai("local/api")),
        folder / "data",
        skip_bad=skip_bad,
    )


def descriptions(runs: NejumiRuns) -> list[str]:
    return [entry.description for entry in runs.entries]


def answers(runs: NejumiRuns) -> ModelDeployment:
    (deployment,) = (each for each in runs.deployments if each.name != "openai/gpt-4o-2024-05-13")
    return deployment


def test_the_datasets_are_evalkits() -> None:
    assert {*NEJUMI_3, *NEJUMI_4} <= set(DATASETS)
    assert len(NEJUMI_3) == len(set(NEJUMI_3))
    assert len(NEJUMI_4) == len(set(NEJUMI_4))


def test_nejumi_3_with_vllm(folder: Path) -> None:
    runs = read(folder)
    rest = "folder=artifacts/jaster:v6/jaster"
    judge = "judge=openai/gpt-4o-2024-05-13"
    references = "japanese_mt_bench/reference_answer/base-gpt4o-with-human-annotation.jsonl"
    assert descriptions(runs) == [
        *(f"{n}:edition=nejumi3,{rest},shots=0,model=nejumi/small-7b" for n in NEJUMI_3),
        *(f"{n}:edition=nejumi3,{rest},shots=2,model=nejumi/small-7b" for n in NEJUMI_3),
        f"jmmlu_robustness:edition=nejumi3,{rest},shots=2,model=nejumi/small-7b",
        f"mt_bench_ja:references={references},temperatures=writing:0.7|humanities:0.1,"
        f"model=nejumi/small-7b,{judge}",
    ]
    assert runs.leaderboard == "nejumi3"
    made = answers(runs)
    assert made.client_spec.class_name == "vllm"
    assert made.client_spec.args == {
        "model": "org/small-7b",
        "dtype": "float16",
        "max_length": 3000,
        "trust_remote_code": True,
        "tensor_parallel_size": 2,
        "max_num_seqs": 256,
    }
    (model,) = runs.models
    assert model.name == "org/small-7b"
    assert (model.size_category, model.num_parameters) == ("<10B", 7241732096)
    assert model.release_date == date(2024, 3, 27)


def test_the_models_file_counts_and_keeps_its_places(folder: Path) -> None:
    model = (
        replaced(MODEL, ("model:\n", "model:\n  dtype: bfloat16\n")) + "num_few_shots: 4\ntestmode: true\n"
    )
    runs = read(folder, model)
    assert answers(runs).client_spec.args["dtype"] == "bfloat16"
    assert answers(runs).client_spec.args["max_length"] == 3000
    assert descriptions(runs)[-2].startswith("jmmlu_robustness:edition=nejumi3,testmode=true,folder=")
    assert "shots=4" in descriptions(runs)[-2]
    with pytest.raises(ConfigError, match=r"config-small.yaml:7: unknown key 'model.dtyp'; did you"):
        read(folder, replaced(MODEL, ("model:\n", "model:\n  dtyp: bfloat16\n")))
    with pytest.raises(ConfigError, match=r"base_config.yaml:26: unknown key 'generator.temprature'"):
        read(folder, base=replaced(BASE, ("  temperature:", "  temprature:")))


def test_how_answers_are_drawn(folder: Path) -> None:
    drawn = "generator: {temperature: 0.7, top_p: 0.9, top_k: 40, repetition_penalty: 1.1}\n"
    runs = read(folder, MODEL + drawn + "mtbench: {temperature_override: {writing: 0.5}, judge_count: 3}\n")
    cuts = "top_p=0.9,top_k=40,repetition_penalty=1.1"
    assert f"shots=0,temperature=0.7,{cuts},model=" in descriptions(runs)[0]
    mt_bench = descriptions(runs)[-1]
    assert f"temperatures=writing:0.5|humanities:0.1,judgements=3,{cuts},model=" in mt_bench
    assert ",temperature=" not in mt_bench


@pytest.mark.parametrize(
    ("api", "more", "of_model", "prefix", "args"),
    [
        ("openai", "", PATH, "openai/m", {"max_tokens_field": "max_completion_tokens"}),
        (
            "anthropic",
            "",
            f"thinking: {{budget_tokens: 2000}}\n  {PATH}",
            "anthropic/m",
            {
                "extra_body": {"thinking": {"type": "enabled", "budget_tokens": 2000}},
                "reasoning_tokens": 2000,
                "omit_fields": ["temperature", "top_p"],
            },
        ),
        (
            "google",
            "",
            f"thinking_budget: 0\n  {PATH}",
            "google/m",
            {"extra_body": {"extra_body": {"google": {"thinking_config": {"thinking_budget": 0}}}}},
        ),
        (
            "vllm-external",
            "base_url: http://gpu:8000/v1\ngenerator: {extra_body: {chat_template_kwargs: {x: true}}}",
            PATH,
            "openai-compatible/m",
            {"base_url": "http://gpu:8000/v1", "extra_body": {"chat_template_kwargs": {"x": True}}},
        ),
        ("amazon_bedrock", "", PATH, "bedrock/m", {"model": "m"}),
        ("upstage", "network: {http_timeout: {read: 77}}", PATH, "upstage/m", {"model": "m"}),
    ],
)
def test_apis(folder: Path, api: str, more: str, of_model: str, prefix: str, args: dict[str, Any]) -> None:
    runs = read(folder, f"{more}\napi: {api}\nbatch_size: 32\nmodel:\n  {of_model}: m\n")
    assert f"model={prefix}" in descriptions(runs)[0]
    made = answers(runs)
    assert made.name == prefix
    assert {**made.client_spec.args, **args} == made.client_spec.args
    assert made.limits.max_concurrency == 32
    assert made.limits.timeout_s == (77 if api == "upstage" else 300)


def test_a_deployment_of_the_users_keeps_its_limits(folder: Path) -> None:
    text = replaced(MODEL, ("api: vllm", "api: openai"), ("org/small-7b\n  size", "local/api\n  size"))
    runs = read(folder, text)
    assert "model=local/api" in descriptions(runs)[0]
    assert [each.name for each in runs.deployments] == []
    with pytest.raises(
        ConfigError, match=r"quantization: 'local/api' says itself how it is loaded; remove it"
    ):
        read(folder, f"{text}quantization: fp8\n")


def test_chat_templates_by_file(folder: Path) -> None:
    templates = folder / "chat_templates/org"
    templates.mkdir(parents=True)
    (templates / "small.jinja").write_text("{{ messages }}")
    text = replaced(MODEL, ("model:\n", "model:\n  chat_template: org/small\n"))
    assert answers(read(folder, text)).client_spec.args["chat_template"] == str(templates / "small.jinja")
    with pytest.raises(ConfigError, match=r"config-small.yaml:7: model.chat_template: there is no template"):
        read(folder, text.replace("org/small\n", "org/other\n", 1))
    api = replaced(text, ("api: vllm", "api: openai"))
    with pytest.raises(ConfigError, match=r"model.chat_template: api is openai.*remove it"):
        read(folder, api)


def test_the_name_of_the_model_as_chat_template_is_its_own(folder: Path) -> None:
    runs = read(folder, replaced(MODEL, ("model:\n", "model:\n  chat_template: org/small-7b\n")))
    assert "chat_template" not in answers(runs).client_spec.args


def test_words_for_vllm(folder: Path) -> None:
    words = "['--reasoning-parser=qwen3', '--enforce-eager', '--rope_scaling={\"factor\": 2.0}']"
    runs = read(folder, f"{MODEL}vllm: {{extra_args: {words}}}\n")
    assert answers(runs).client_spec.args["engine_args"] == {
        "reasoning_parser": "qwen3",
        "enforce_eager": True,
        "rope_scaling": {"factor": 2.0},
    }
    with pytest.raises(ConfigError, match=r"vllm.extra_args: '--a b' is not --name"):
        read(folder, MODEL + "vllm: {extra_args: ['--a b']}\n")


def test_lengths_of_a_benchmark(folder: Path) -> None:
    base = replaced(BASE, ("  aggregate: true", "  m_ifeval: true\n  aggregate: true"))
    more = "mtbench: {generator_config: {max_tokens: 3000}}\nm_ifeval: {generator_config: {max_tokens: 99}}\n"
    ifeval, mt_bench = descriptions(read(folder, MODEL + more, base))[:-3:-1]
    assert ",num_output_tokens=3000," in mt_bench
    assert ifeval == "m_ifeval_ja:num_output_tokens=99,model=nejumi/small-7b"


def test_some_of_the_questions(folder: Path) -> None:
    some = "mtbench: {question_begin: 10, first_n: 5}\n"
    assert ",question_begin=10,question_end=15," in descriptions(read(folder, MODEL + some))[-1]


def test_adapters(folder: Path) -> None:
    lora = "model:\n  lora: {enable: true, adapter_path: ./lora, max_lora_rank: 64}\n"
    text = replaced(MODEL, ("model:\n", f"{lora}  base_model_name_or_path: org/base\n"))
    args = answers(read(folder, text)).client_spec.args
    assert (args["model"], args["adapter"], args["engine_args"]) == (
        "org/base",
        "./lora",
        {"max_lora_rank": 64},
    )
    with pytest.raises(ConfigError, match=r"lora.enable is true; name the adapter's folder"):
        read(folder, text.replace(", adapter_path: ./lora", ""))


def test_benchmarks_that_evalkit_does_not_have(folder: Path) -> None:
    base = replaced(BASE, ("jbbq: false", "jbbq: true"), ("toxicity: false", "toxicity: true"))
    with pytest.raises(ConfigError) as raised:
        read(folder, base=base)
    first, second = str(raised.value).splitlines()
    assert "base_config.yaml:10: run.jbbq: evalkit does not evaluate JBBQ" in first
    assert "base_config.yaml:12: run.toxicity" in second
    runs = read(folder, base=base, skip_bad=True)
    assert [each.partition(" (")[0] for each in runs.left_out] == ["run.jbbq", "run.toxicity"]


def test_nejumi_4(folder: Path) -> None:
    base = replaced(BASE, ("  aggregate: true", "  m_ifeval: true\n  aggregate: true"))
    base = replaced(base, ("judge_model: 'gpt-4o-2024-05-13'", "judge: {model: local/j, parallel: 32}"))
    base += "error_handling: {request_failure: {mode: hard}}\nvllm: {vllm_tag: latest, max_model_len: 4096}\n"
    runs = read(folder, base=base)
    assert runs.leaderboard == "nejumi4"
    assert descriptions(runs)[-1] == "m_ifeval_ja:model=nejumi/small-7b"
    assert descriptions(runs)[-2].endswith("judge=local/j")
    assert sum("jhumaneval" in each for each in descriptions(runs)) == 2
    assert answers(runs).client_spec.args["max_length"] == 4096
    with pytest.raises(ConfigError, match=r"error_handling.request_failure.mode: `soft` scores"):
        read(folder, base=base.replace("mode: hard", "mode: soft"))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (MODEL.replace("03/27/2024", "soon"), r"model.release_date: 'soon' is not a day"),
        (MODEL.replace("7241732096", "seven"), r"model.size: 'seven' is not a number of parameters"),
        (MODEL.replace("api: vllm", "api: vlm"), r"api: unknown API 'vlm'; did you mean 'vllm'"),
        (
            MODEL + "mtbench: {temperature_override: {writting: 1}}\n",
            r"category 'writting'; did you",
        ),
        (MODEL + "generate: {x: 1}\n", r"unknown key 'generate'; did you mean 'generator'"),
        (MODEL + "base_url: http://x\n", r"base_url: api is vllm, which is loaded here"),
        (MODEL + "run: {jaster: false}\n", r"run.jmmlu_robustness: it is part of jaster"),
        (MODEL + "num_few_shots: 0\n", r"num_few_shots: it is 0"),
        (
            MODEL + "mtbench: {judge: {model: local/j}}\n",
            r"mtbench.judge_model: mtbench.judge.model is",
        ),
        (MODEL + "jaster: {artifacts_path: a/b/jaster:v7}\n", r"no artifacts/jaster:v7 below"),
        (MODEL.replace("model:\n", "model:\n  load_in_8bit: true\n"), r"model.load_in_8bit: Nejumi does not"),
    ],
)
def test_mistakes(folder: Path, model: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as raised:
        read(folder, model)
    assert ".yaml:" in str(raised.value)


def test_whether_the_row_is_wanted(folder: Path) -> None:
    assert read(folder).has_row
    assert not read(folder, base=replaced(BASE, ("aggregate: true", "aggregate: false"))).has_row


def test_which_files_are_meant(folder: Path) -> None:
    configs = folder / "configs"
    base, mine, other = configs / "base_config.yaml", configs / "config-mine.yaml", configs / "config-o.yaml"
    base.write_text(BASE)
    for path in (mine, other):
        path.write_text(MODEL)
    expected = (base, mine)
    assert config_files([base, mine], []) == expected
    assert config_files([base], [mine]) == expected
    assert config_files([base], [Path("config-mine")]) == expected
    assert config_files([base], [Path("config-mine.yaml")]) == expected
    assert config_files([configs], [Path("config-mine")]) == expected
    assert config_files([mine], []) == expected
    with pytest.raises(UsageError, match=r"of a model with -c.*config-mine.yaml, config-o.yaml"):
        config_files([base], [])
    with pytest.raises(UsageError, match=r"-c config-min: there is no such.*did you mean config-mine.yaml"):
        config_files([base], [Path("config-min")])
    with pytest.raises(UsageError, match="takes one file, or a base file and the file of one model"):
        config_files([base, mine, other], [])
    with pytest.raises(UsageError, match=r"has no base_config.yaml"):
        config_files([folder], [])


def test_a_misspelled_deployment_is_no_model_of_the_hub(folder: Path) -> None:
    with pytest.raises(ConfigError, match=rf"model.{PATH}: 'local/mm' is neither .* 'local/m'"):
        read(folder, replaced(MODEL, (f"{PATH}: org/small-7b", f"{PATH}: local/mm")))
    for judge, key in (("judge_model: local/jj", "judge_model"), ("judge: {model: local/jj}", "judge.model")):
        base = replaced(BASE, ("judge_model: 'gpt-4o-2024-05-13'", judge))
        with pytest.raises(ConfigError, match=rf"mtbench.{key}: 'local/jj' is not .* 'local/j'"):
            read(folder, base=base)


def test_what_is_called_a_key_is_not_kept(folder: Path) -> None:
    base = BASE + "swebench: {api_server: {api_key: hush, endpoint: 'http://here'}}\n"
    base = replaced(base, ('  dataset_dir: "jaster"', "  jhumaneval: {dify_sandbox: {api_key: hush}}"))
    settings = read(folder, base=base).settings
    assert settings["swebench"]["api_server"] == {"api_key": "…", "endpoint": "http://here"}
    assert settings["jaster"]["jhumaneval"]["dify_sandbox"] == {"api_key": "…"}
    assert "hush" not in str(settings)
    assert settings["mtbench"]["max_new_token"] == 1024


@pytest.mark.parametrize(
    "model",
    [
        "<<: {model: {pretrained_model_name_or_path: org/small-7b}, api: vllm}\n",
        "x: &x\n  pretrained_model_name_or_path: org/small-7b\nmodel: *x\napi: vllm\n",
    ],
)
def test_sections_that_come_by_an_alias_are_merged(folder: Path, model: str) -> None:
    if model.startswith("x:"):
        with pytest.raises(ConfigError, match=r"yaml:1: unknown key 'x'"):
            read(folder, model)
    else:
        assert "nejumi/small-7b" in descriptions(read(folder, model))[0]


def test_keys_that_are_no_texts_are_unknown_keys_in_both_files(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"unknown key 'True'"):
        read(folder, MODEL + "yes: {a: 1}\n", base=BASE + "yes: {b: 1}\n")
