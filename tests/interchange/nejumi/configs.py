"""Configs of Nejumi for tests, in the words of its documentation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from evalkit.interchange.nejumi.nejumi_runs import NejumiRuns
from evalkit.interchange.nejumi.reading import read_nejumi
from evalkit.models.catalog import ModelCatalog
from evalkit.models.deployment import ClientSpec, ModelDeployment

# Neo's template as its README has it, with that page's spellings, filled in.
NEO = """\
testmode: false
model_name: My Model
wandb:
  entity: me
  project: neo
  run_name: first
run_llm_jp_eval_ja_0_shot: true
run_llm_jp_eval_ja_few_shots: true
run_llm_jp_eval_en_0_shot: true
run_llm_jp_eval_en_few_shots: true
run_mt_bench_ja: true
run_mt_bench_en: true
model:
  api: false
  use_wandb_artifacts: true
  artifacts_path: ""
  pretrained_model_name_or_path: local/m
  device_map: "auto"
  load_in_8bit: false
  load_in_4bit: false
llm-jp-eval:
  max_seq_length: 2048
  target_dataset: "all"
  ja_num_shots: 4
  en_num_shots: 4
  torch_dtype: "bf16"
  dataset_artifact: "wandb-japan/llm-leaderboard/jaster:v11"
  dataset_dir: "/jaster/1.2.6/evaluation/test"
  ja:
    custom_prompt_template:
    custom_fewshots_template:
  en:
    custom_prompt_template:
    custom_fewshots_template:
mtbench:
  model_id:
  max_new_token: 1024
  num_gpus_per_model: 1
  num_gpus_total: 1
  max_gpu_memory:
  dtype: bfloat16
  use_azure: false
  judge_model: local/j
  custom_conv_template: false
  conv_name: "custom"
  conv_sep: "\\n\\n### "
  conv_stop_token_ids: "[2]"
  conv_stop_str: "###"
  conv_role_message_separator: ": \\n"
  conv_role_only_separator: ": \\n"
  ja:
    conv_system_message: "以下は、指示です。"
    conv_roles: "('指示', '応答')"
  en:
    conv_system_message: "Here is an instruction."
    conv_roles: "('Instruction', 'Response')"
  dateset:
    ja:
      question_artifacts_path: "wandb-japan/llm-leaderboard/mtbench_ja_question:v3"
      test_question_artifacts_path: "wandb-japan/llm-leaderboard/mtbench_ja_question_small_for_test:v5"
      referenceanswer_artifacts_path: "wandb-japan/llm-leaderboard/mtbench_ja_referenceanswer:v0"
      test_referenceanswer_artifacts_path: \
"wandb-japan/llm-leaderboard/mtbench_ja_referenceanswer_small_for_test:v1"
      judge_prompt_artifacts_path: "wandb-japan/llm-leaderboard/mtbench_ja_prompt:v1"
      bench_name: "japanese_mt_bench"
    en:
      question_artifacts_path: "wandb-japan/llm-leaderboard/mtbench_en_question:v0"
      test_question_artifacts_path: "wandb-japan/llm-leaderboard/mtbench_en_question_small_for_test:v0"
      referenceanswer_artifacts_path: "wandb-japan/llm-leaderboard/mtbench_en_referenceanswer:v0"
      test_referenceanswer_artifacts_path: \
"wandb-japan/llm-leaderboard/mtbench_en_referenceanswer_small_for_test:v0"
      judge_prompt_artifacts_path: "wandb-japan/llm-leaderboard/mtbench_en_prompt:v0"
      bench_name: "mt_bench"
github_version: g-eval-v1.0
"""

BASE = """\
wandb:
  entity: wandb-japan
  project: llm-leaderboard3
testmode: false
inference_interval: 0
run:
  jaster: true
  jmmlu_robustness: true
  mtbench: true
  jbbq: false
  lctg: false
  toxicity: false
  jtruthfulqa: false
  aggregate: true
model:
  artifact_path: null
  max_model_len: 3000
  chat_template: null
  dtype: 'float16'
  trust_remote_code: true
  device_map: "auto"
  load_in_8bit: false
  load_in_4bit: false
generator:
  top_p: 1.0
  temperature: 0.1
  max_tokens: 128
num_few_shots: 2
jaster:
  artifacts_path: "wandb-japan/llm-leaderboard3/jaster:v6"
  dataset_dir: "jaster"
jbbq:
  artifacts_path: "wandb-japan/llm-leaderboard3/jbbq:v3"
  language: ja
mtbench:
  question_artifacts_path: "wandb-japan/llm-leaderboard3/mtbench_ja_question:v4"
  referenceanswer_artifacts_path: "wandb-japan/llm-leaderboard3/mtbench_ja_referenceanswer:v2"
  max_new_token: 1024
  num_choices: 1
  judge_model: 'gpt-4o-2024-05-13'
  mode: 'single'
  parallel: 80
  num_gpus_per_model: 1
  num_gpus_total: 1
  max_gpu_memory: null
  dtype: bfloat16
  baseline_model: null
  first_n: null
  temperature_override:
    writing: 0.7
    humanities": 0.1
sample_dataset:
  artifacts_path: "here"
"""
MODEL = """\
wandb:
  run_name: "org/small-7b"
api: vllm
num_gpus: 2
batch_size: 256
model:
  pretrained_model_name_or_path: org/small-7b
  size_category: "<10B"
  size: 7241732096
  release_date: 03/27/2024
"""


def openai(name: str, **args: Any) -> ModelDeployment:
    """A server of the user's that speaks OpenAI's protocol."""
    args = {"base_url": "http://localhost:1/v1", "model": name, **args}
    return ModelDeployment(name=name, client_spec=ClientSpec(class_name="openai", args=args))


def catalog(*deployments: ModelDeployment) -> ModelCatalog:
    """The shipped models, `local/m`, `local/j` and these."""
    made = ModelCatalog.load()
    for deployment in (openai("local/m"), openai("local/j"), *deployments):
        made.add_deployment(deployment)
    return made


def data_folder(folder: Path) -> Path:
    """A data directory in which jaster's test split and the Japanese references of Nejumi 3 are."""
    (folder / "1.2.6/evaluation/test").mkdir(parents=True)
    (folder / "artifacts/jaster:v6/jaster").mkdir(parents=True)
    references = folder / "japanese_mt_bench/reference_answer"
    references.mkdir(parents=True)
    (references / "base-gpt4o-with-human-annotation.jsonl").write_text("")
    return folder


def replaced(text: str, *pairs: tuple[str, str]) -> str:
    """A config in which each of these texts, which are there, is another."""
    for old, new in pairs:
        assert old in text, old
        text = text.replace(old, new)
    return text


def read_neo(folder: Path, text: str = NEO, *, models: ModelCatalog | None = None) -> NejumiRuns:
    """What a config of Neo becomes."""
    path = folder / "config.yaml"
    path.write_text(text, encoding="utf-8")
    mirror = folder / "data"
    return read_nejumi([path], [], models or catalog(), mirror if mirror.exists() else None)
