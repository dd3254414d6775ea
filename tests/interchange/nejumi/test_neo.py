from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from evalkit.errors import ConfigError
from evalkit.interchange.nejumi.nejumi_runs import NejumiRuns
from evalkit.interchange.nejumi.neo import ENGLISH, JAPANESE
from evalkit.interchange.nejumi.neo_config import NeoConfig
from evalkit.interchange.nejumi.section import rows
from evalkit.specs.conf import read_conf
from tests.interchange.nejumi.configs import NEO, catalog, data_folder, openai, read_neo, replaced

ROOT = Path(__file__).parents[3]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    data_folder(tmp_path / "data")
    return tmp_path


def descriptions(runs: NejumiRuns) -> list[str]:
    return [entry.description for entry in runs.entries]


def test_the_six_parts_in_neos_order(folder: Path) -> None:
    runs = read_neo(folder)
    assert descriptions(runs) == [
        *(f"{name}:shots=0,model=local/m" for name in JAPANESE),
        *(f"{name}:shots=4,model=local/m" for name in JAPANESE),
        "mmlu_en:shots=0,model=local/m",
        "mmlu_en:shots=4,model=local/m",
        "mt_bench_ja:model=local/m,judge=local/j",
        "mt_bench_en:model=local/m,judge=local/j",
    ]
    assert runs.deployments == ()
    (model,) = runs.models
    assert (model.name, model.display_name) == ("local/m", "My Model")
    (note,) = runs.notes
    assert "mtbench_ja_question:v3: evalkit reads question_full.jsonl" in note
    assert runs.settings["github_version"] == "g-eval-v1.0"
    assert runs.settings["wandb"] == {"entity": "me", "project": "neo", "run_name": "first"}


def test_the_datasets_are_those_of_the_conf_file() -> None:
    entries = read_conf(ROOT / "run_entries/jaster_neo.conf")
    named = [entry.description.partition(":")[0] for entry in entries if "shots=0" in entry.description]
    assert set(named) == {*JAPANESE, *ENGLISH}


def test_parts_that_are_off_are_left_out(folder: Path) -> None:
    text = NEO.replace("shots: true", "shots: false").replace("shot: true", "shot: false")
    text = text.replace("run_mt_bench_en: true", "run_mt_bench_en: false")
    assert descriptions(read_neo(folder, text)) == ["mt_bench_ja:model=local/m,judge=local/j"]
    with pytest.raises(ConfigError, match=r"config.yaml:12: run_mt_bench_en: all parts are switched off"):
        read_neo(folder, text.replace("run_mt_bench_ja: true", "run_mt_bench_ja: false"))


def test_testmode_shots_and_one_dataset(folder: Path) -> None:
    runs = read_neo(
        folder,
        replaced(
            NEO,
            ("testmode: false", "testmode: true"),
            ("ja_num_shots: 4", "ja_num_shots: 2"),
            ('target_dataset: "all"', "target_dataset: jnli"),
            ("max_new_token: 1024", "max_new_token: 300"),
        ),
    )
    assert descriptions(runs) == [
        "jnli:testmode=true,shots=0,model=local/m",
        "jnli:testmode=true,shots=2,model=local/m",
        "mt_bench_ja:testmode=true,num_output_tokens=300,model=local/m,judge=local/j",
        "mt_bench_en:testmode=true,num_output_tokens=300,model=local/m,judge=local/j",
    ]


def test_templates_go_along_with_commas_and_line_breaks(folder: Path) -> None:
    runs = read_neo(
        folder,
        replaced(
            NEO,
            (
                "  ja:\n    custom_prompt_template:\n    custom_fewshots_template:",
                '  ja:\n    custom_prompt_template: "{instruction}, {input}"\n'
                '    custom_fewshots_template: "{input}\\n{output}"',
            ),
        ),
    )
    by_name = {entry.description: entry.args for entry in runs.entries}
    prompt, example = ("prompt_template", "{instruction}, {input}"), ("example_template", "{input}\n{output}")
    assert by_name["jnli:shots=0,model=local/m"] == (prompt,)
    assert by_name["jnli:shots=4,model=local/m"] == (prompt, example)
    assert by_name["mmlu_en:shots=4,model=local/m"] == ()


def test_apis(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    text = replaced(
        NEO,
        ("api: false", "api: anthoropic"),
        ("pretrained_model_name_or_path: local/m", "pretrained_model_name_or_path: claude-2.1"),
        ("  judge_model: local/j\n", ""),
    )
    entry = descriptions(read_neo(folder, text))[-1]
    # Neo asks APIs at 0.1 whatever the category, and gpt-4 judges.
    assert entry == "mt_bench_en:temperature=0.1,model=anthropic/claude-2.1,judge=openai/gpt-4"
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", "https://mine.example")
    azure = read_neo(folder, replaced(text, ("use_azure: false", "use_azure: true")))
    assert descriptions(azure)[-1].endswith("judge=azure/gpt-4")


def test_weights_that_are_loaded_here(folder: Path) -> None:
    runs = read_neo(
        folder,
        replaced(
            NEO,
            ("pretrained_model_name_or_path: local/m", "pretrained_model_name_or_path: google/small"),
            ("load_in_8bit: false", "load_in_8bit: true"),
            ('torch_dtype: "bf16"', 'torch_dtype: "fp16"'),
            ("dtype: bfloat16", "dtype: None"),
            ("max_seq_length: 2048", "max_seq_length: 1500"),
        ),
    )
    assert descriptions(runs)[0] == "jamp:shots=0,model=nejumi/small+jaster"
    assert descriptions(runs)[-1] == "mt_bench_en:model=nejumi/small,judge=local/j"
    jaster, talking = runs.deployments
    common = {"model": "google/small", "quantization": "int8", "device_map": "auto"}
    assert jaster.client_spec.args == {**common, "dtype": "float16"}
    assert jaster.max_request_length == talking.max_request_length == 1500
    assert jaster.client_spec.class_name == talking.client_spec.class_name == "transformers"
    assert talking.client_spec.args == {**common, "dtype": "auto"}
    assert jaster.model_name == talking.model_name == "google/small"


def test_weights_are_loaded_once_where_all_parts_agree(folder: Path) -> None:
    runs = read_neo(folder, replaced(NEO, ("path: local/m", "path: google/small")))
    assert {entry.description.partition("model=")[2].partition(",")[0] for entry in runs.entries} == {
        "nejumi/small"
    }
    (deployment,) = runs.deployments
    assert deployment.client_spec.args["dtype"] == "bfloat16"


def test_the_custom_conversation_format(folder: Path) -> None:
    models = catalog(openai("local/texts", mode="completions"))
    text = replaced(
        NEO,
        ("custom_conv_template: false", "custom_conv_template: true"),
        ("path: local/m", "path: local/texts"),
    )
    runs = read_neo(folder, text, models=models)
    assert descriptions(runs)[0] == "jamp:shots=0,model=local/texts"
    assert descriptions(runs)[-2:] == [
        "mt_bench_ja:model=local/texts+mt-bench-ja,judge=local/j",
        "mt_bench_en:model=local/texts+mt-bench-en,judge=local/j",
    ]
    ja, en = runs.deployments
    assert ja.client_spec.args["conversation"] == {
        "system": "以下は、指示です。",
        "roles": ["指示", "応答"],
        "separator": "\n\n### ",
        "role_message_separator": ": \n",
        "role_only_separator": ": \n",
        "stop": ["###"],
        "stop_token_ids": [2],
    }
    assert en.client_spec.args["conversation"]["roles"] == ["Instruction", "Response"]
    assert ja.model_name == en.model_name == "local/texts"


def test_files_of_artifacts(folder: Path) -> None:
    data = folder / "data"
    own = data / "artifacts/mtbench_en_question:v0"
    own.mkdir(parents=True)
    (own / "question.jsonl").write_text("")
    references = data / "japanese_mt_bench/model_answer"
    references.mkdir(parents=True)
    (references / "gpt-4.jsonl").write_text("")
    jaster = data / "artifacts/jaster:v11/jaster/1.2.6/evaluation/test"
    jaster.mkdir(parents=True)
    text = replaced(NEO, ("mtbench_ja_referenceanswer:v0", "mtbench_ja_referenceanswer:v1"))
    made = descriptions(read_neo(folder, text))
    assert made[0] == "jamp:folder=artifacts/jaster:v11/jaster/1.2.6/evaluation,shots=0,model=local/m"
    assert made[-2:] == [
        "mt_bench_ja:references=japanese_mt_bench/model_answer/gpt-4.jsonl,model=local/m,judge=local/j",
        "mt_bench_en:questions=artifacts/mtbench_en_question:v0/question.jsonl,"
        "references=mt_bench/reference_answer/gpt-4.jsonl,model=local/m,judge=local/j",
    ]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("model_name:", "modelname:", r"unknown key 'modelname'; did you mean 'model_name'\?"),
        ("num_gpus_total", "num_gpu", r"unknown key 'mtbench.num_gpu'; did you mean"),
        ("github_version", "zzz", r"unknown key 'zzz'; remove it \(known: testmode, "),
        ("ja_num_shots: 4", "ja_num_shots: many", r"llm_jp_eval.ja_num_shots: .*'many'"),
        ("ja_num_shots: 4", "ja_num_shots: 0", r".*give 1 or more examples, or set run_llm_jp_eval_ja"),
        (
            "max_new_token: 1024",
            "max_new_token: 0",
            r"mtbench.max_new_token: should be greater than",
        ),
        ("max_seq_length: 2048", "max_seq_length: -1", r"llm_jp_eval.max_seq_length: should be greater"),
        ("testmode: false", "testmode: ${mode}", r"testmode: interpolations"),
        (
            "  dateset:",
            "  dataset: {ja: {}}\n  dateset:",
            r"'mtbench.dateset' and 'dataset' \(at",
        ),
        ("testmode: false", "testmode: false\ntestmode: true", r"the key 'testmode' is already set"),
        ("api: false", "api: opnai", r"model.api: unknown API 'opnai'; did you mean 'openai'"),
        ("local/m\n", "''\n", r"model.pretrained_model_name_or_path: it is empty"),
        ("load_in_4bit: false", "load_in_4bit: true", r"model.load_in_4bit: 'local/m' is a deployment"),
        ("max_gpu_memory:", "max_gpu_memory: 10GiB", r"mtbench.max_gpu_memory: evalkit has no limit"),
        ("_per_model: 1", "_per_model: 2", r"mtbench.num_gpus_total: a model takes 2 GPUs"),
        (
            "jaster:v11",
            "jaster:v99",
            r".*no file for .*jaster:v99.*no artifacts/jaster:v99 below",
        ),
        ("jaster:v11", "jaster:v10", r".*dataset_artifact is version 1.2.5 of jaster.*/jaster/1.2.5/"),
        ("evaluation/test", "evaluation", r".*must be the folder of the test split"),
        (
            '"all"',
            "jnl",
            r"llm_jp_eval.target_dataset: jaster has no dataset 'jnl'; did you mean",
        ),
        ('"all"', "jblimp", r".*'jblimp' is not in jaster 1.2.6"),
        (
            "ja_question:v3",
            "ja_question:v0",
            r"no artifacts/mtbench_ja_question:v0/question.jsonl",
        ),
        ('"japanese_mt_bench"', '"mt_bench"', r".*bench_name: 'mt_bench' is the benchmark of the other"),
        ("custom_conv_template: false", "custom_conv_template: true", r".*mode: completions"),
        ("use_azure: false", "use_azure: true", r".*'local/j' is a deployment of yours"),
        ('artifacts_path: ""', "artifacts_path: 'a/b/c:v0'", r".*no artifacts/c:v0 below"),
        ("custom_prompt_template:", "custom_prompt_template: '{input}'", r"it lacks {instruction}"),
        ("model_id:", "first_n: 5\n  question_end: 9\n  model_id:", r"mtbench.first_n: question_end says"),
        (
            "model_id:",
            "question_begin: 9\n  question_end: 9\n  model_id:",
            r"question_end: the questions",
        ),
        ("model_id:", "mode: pairwise-all\n  model_id:", r"mtbench.mode: only single grading"),
    ],
)
def test_mistakes_are_shown_with_place_and_remedy(folder: Path, old: str, new: str, message: str) -> None:
    text = replaced(NEO, (old, new)) if NEO.count(old) == 1 else NEO.replace(old, new, 1)
    with pytest.raises(ConfigError, match=message) as raised:
        read_neo(folder, text)
    found = re.search(r"config.yaml:(\d+): (?:unknown key |the key )?'?([\w.]+)", str(raised.value))
    assert found is not None
    assert found[2].rpartition(".")[2] in text.splitlines()[int(found[1]) - 1]


def test_all_mistakes_are_listed_at_once(folder: Path) -> None:
    text = replaced(NEO, ("model_name:", "modelname:"), ("max_seq_length: 2048", "max_seq_length: long"))
    with pytest.raises(ConfigError) as raised:
        read_neo(folder, text)
    assert len(str(raised.value).splitlines()) == 2


def test_a_key_in_the_wrong_place_is_not_shown(folder: Path) -> None:
    key = "sk-c0ffee-92f1d7a3b8e64c05"
    for old, new in (("api: false", f"api: {key}"), ("ja_num_shots: 4", f"ja_num_shots: {key}")):
        with pytest.raises(ConfigError, match=r"config.yaml:\d+") as raised:
            read_neo(folder, replaced(NEO, (old, new)))
        assert "c0ffee" not in str(raised.value)


def test_datasets_by_language(folder: Path) -> None:
    runs = read_neo(
        folder, replaced(NEO, ('"all"', "all-en"), ("run_mt_bench_ja: true", "run_mt_bench_ja: false"))
    )
    assert [entry.partition(":")[0] for entry in descriptions(runs)] == ["mmlu_en", "mmlu_en", "mt_bench_en"]


@pytest.mark.parametrize(
    ("roles", "ids"),
    [
        ("\"__import__('os').getcwd()\"", '"[2]"'),
        ("\"('a', 'b')\"", "\"__import__('os').getcwd()\""),
        ("\"('a', 'b', 'c')\"", '"[2]"'),
        ("[a, 3]", '"[2]"'),
        ("\"('a', 'b')\"", "[two]"),
        ('"' + "(" * 5_000 + '"', '"[2]"'),
    ],
)
def test_texts_of_python_are_never_evaluated(folder: Path, roles: str, ids: str) -> None:
    models = catalog(openai("local/texts", mode="completions"))
    text = replaced(
        NEO,
        ("custom_conv_template: false", "custom_conv_template: true"),
        ("path: local/m", "path: local/texts"),
        ("\"('指示', '応答')\"", roles),
        ('conv_stop_token_ids: "[2]"', f"conv_stop_token_ids: {ids}"),
    )
    with pytest.raises(ConfigError, match=r"config.yaml:\d+: mtbench.(ja.conv_roles|conv_stop_token_ids): "):
        read_neo(folder, text, models=models)


def test_every_key_of_the_seeds_page_is_in_the_table() -> None:
    """Keys as Neo's documentation names them."""
    table = {row.path.rpartition(".")[2]: row for row in rows(NeoConfig)}
    names = re.findall(r"^ *([\w-]+):", NEO, re.MULTILINE)
    sections = {"wandb", "model", "llm-jp-eval", "mtbench", "dateset", "ja", "en"}
    assert set(names) - sections <= set(table)
    uses = {row.use for row in table.values()}
    assert uses == {"used", "recorded", "refused"}
    assert (table["num_gpus_per_model"].use, table["github_version"].use) == ("recorded", "recorded")
    assert table["max_gpu_memory"].use == "refused"


def test_an_empty_config_has_the_templates_values(folder: Path) -> None:
    references = folder / "data/japanese_mt_bench/model_answer"
    references.mkdir()
    (references / "gpt-4.jsonl").write_text("")
    text = "model: {pretrained_model_name_or_path: local/m}\nmtbench: {judge_model: local/j}\n"
    runs = read_neo(folder, text)
    whole: Any = NeoConfig().model_dump(mode="json")
    whole["model"]["pretrained_model_name_or_path"] = "local/m"
    whole["mtbench"]["judge_model"] = "local/j"
    assert runs.settings == whole


def test_a_misspelled_deployment_is_no_model_of_the_hub(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HF_HOME", str(folder / "hub"))
    text = replaced(
        NEO, ("pretrained_model_name_or_path: local/m", "pretrained_model_name_or_path: local/mm")
    )
    place = r"config.yaml:\d+: model.pretrained_model_name_or_path: 'local/mm' is neither a deployment"
    with pytest.raises(ConfigError, match=place + r".*; did you mean 'local/m'"):
        read_neo(folder, text)
    (folder / "local/mm").mkdir(parents=True)
    with pytest.raises(ConfigError, match=r"folder with a config\.json"):
        read_neo(folder, text)
    (folder / "local/mm/config.json").write_text("{}")
    runs = read_neo(folder, text)
    assert runs.deployments[0].client_spec.args["model"] == "local/mm"
    assert not [note for note in runs.notes if "did you mean" in note]


def test_a_misspelled_judge_is_no_model_of_openai(folder: Path) -> None:
    text = replaced(NEO, ("judge_model: local/j", "judge_model: local/jj"))
    with pytest.raises(ConfigError, match=r"mtbench.judge_model: 'local/jj' is not .* 'local/j'"):
        read_neo(folder, text)


@pytest.mark.parametrize("api", ["false", "openai"])
def test_a_name_like_a_deployments_has_a_note(folder: Path, api: str) -> None:
    models = catalog(openai("mine/small-model-7b"))
    for name, is_like in (("mine/large", True), ("mime/small-model-7b", True), ("org/large", False)):
        text = replaced(NEO, ("path: local/m", f"path: {name}"), ("api: false", f"api: {api}"))
        notes = [note for note in read_neo(folder, text, models=models).notes if "did you mean" in note]
        meant = f"'{name}' is not a deployment of yours, and evalkit uses the name as given; did you mean "
        assert notes == ([f"{meant}'mine/small-model-7b'?"] if is_like else [])


KEY = "sk-proj-" + "abcDEF0123456789" * 3


@pytest.mark.parametrize(
    ("before", "place"),
    [
        ("model_name: My Model", "config.yaml:2: model_name"),
        ("  run_name: first", "config.yaml:6: wandb.run_name"),
        ('  torch_dtype: "bf16"', "config.yaml:26: llm_jp_eval.torch_dtype"),
        ("github_version: g-eval-v1.0", "config.yaml:72: github_version"),
        ('    conv_system_message: "以下は、指示です。"', "config.yaml:52: mtbench.ja.conv_system_message"),
    ],
)
def test_a_key_in_a_config_is_refused_with_its_place_and_not_shown(
    folder: Path, before: str, place: str
) -> None:
    text = replaced(NEO, (before, f"{before.partition(':')[0]}: 'the key is {KEY}'"))
    with pytest.raises(ConfigError, match=rf"{re.escape(place)}: it holds a key") as raised:
        read_neo(folder, text)
    assert KEY[:12] not in str(raised.value)
