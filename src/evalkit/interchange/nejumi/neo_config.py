"""The keys of Neo's template (wandb/llm-leaderboard, branch g-leaderboard, 2024)."""

from __future__ import annotations

from typing import Any, Literal

from evalkit.interchange.nejumi.section import Section, recorded, refused, used

_JA_SYSTEM = (
    "以下は、タスクを説明する指示と、文脈のある入力の組み合わせです。要求を適切に満たす応答を書きなさい。"
)
_EN_SYSTEM = (
    "Here is a set of instructions explaining a task, combined with contextually relevant input. "
    "Please write an appropriate response fulfilling the request."
)
_HUB = "wandb-japan/llm-leaderboard"


class Wandb(Section):
    """Where the run was shown."""

    entity: str | None = recorded(None, "the W&B entity")
    project: str | None = recorded(None, "the W&B project")
    run_name: str | None = recorded(None, "the name of the W&B run")


class NeoModel(Section):
    """How the model is loaded, or which API has it."""

    api: bool | str = used(
        False, "`false`: the weights are loaded here; else one of the [API kinds](#api-kinds)"
    )
    use_wandb_artifacts: bool = used(
        True,
        "`true` with `artifacts_path`: the weights are in the folder of that artifact; counts only with "
        "`api: false`",
    )
    artifacts_path: str | None = used("", "the artifact with the weights; see [artifacts](#artifacts)")
    pretrained_model_name_or_path: str | None = used(
        None,
        "a deployment of yours, else what the API calls the model, else a folder or a name of the Hub",
    )
    trust_remote_code: bool = used(False, "runs the code that comes with the model; Neo always does")
    device_map: str | dict[str, Any] | None = used("auto", "`device_map` of the transformers engine")
    load_in_8bit: bool = used(False, "`quantization: int8` of the transformers engine, in all parts")
    load_in_4bit: bool = used(False, "`quantization: int4` of the transformers engine, in all parts")


class JasterTemplates(Section):
    """The prompts of one language."""

    custom_prompt_template: str | None = used(
        None, "`prompt_template` of the run entries; needs `{instruction}` and `{input}`"
    )
    custom_fewshots_template: str | None = used(
        None, "`example_template` of the entries with examples; needs `{input}` and `{output}`"
    )


class LlmJpEval(Section):
    """jaster."""

    max_seq_length: int | None = used(
        2048,
        "longest prompt in tokens, in all parts, of weights that are loaded here; not of APIs, as in Neo",
        at_least=1,
    )
    target_dataset: str | list[str] = used(
        "all", "`all`, `all-ja`, `all-en`, or the names of datasets; Neo reads it and evaluates all"
    )
    ja_num_shots: int = used(4, "examples of the Japanese few-shot part", at_least=0)
    en_num_shots: int = used(4, "examples of the English few-shot part", at_least=0)
    torch_dtype: Literal["fp16", "bf16", "fp32", "float16", "bfloat16", "float32"] = used(
        "bf16", "`dtype` of the transformers engine in the jaster parts"
    )
    dataset_artifact: str = used(f"{_HUB}/jaster:v11", "the version of jaster; see [artifacts](#artifacts)")
    dataset_dir: str = used(
        "/jaster/1.2.6/evaluation/test",
        "the folder of the test split in the artifact; its version must be that of `dataset_artifact`",
    )
    log_dir: str | None = recorded("./logs", "evalkit keeps its own files")
    ja: JasterTemplates = JasterTemplates()
    en: JasterTemplates = JasterTemplates()


class JaConversation(Section):
    """Japanese words of the conversation format."""

    conv_system_message: str = used(_JA_SYSTEM, "what stands before the conversation, in Japanese MT-Bench")
    conv_roles: str | list[str] = used(
        "('指示', '応答')", "what user and model are called, in Japanese MT-Bench; two texts, never evaluated"
    )


class EnConversation(Section):
    """English words of the conversation format."""

    conv_system_message: str = used(_EN_SYSTEM, "what stands before the conversation, in English MT-Bench")
    conv_roles: str | list[str] = used(
        "('Instruction', 'Response')",
        "what user and model are called, in English MT-Bench; two texts, never evaluated",
    )


_QUESTIONS = "the questions; see [artifacts](#artifacts)"
_TEST_QUESTIONS = "the questions in `testmode`: ids 1, 11, …, 71 (English: 81, 91, …, 151)"
_REFERENCES = "the reference answers; see [artifacts](#artifacts)"
_TEST_REFERENCES = "the reference answers in `testmode`"
_PROMPTS = "the judge's prompts; see [artifacts](#artifacts)"
_BENCH = "part of a path in Neo; the name of the other language's benchmark is an error"


class JaData(Section):
    """Files of Japanese MT-Bench."""

    question_artifacts_path: str = used(f"{_HUB}/mtbench_ja_question:v3", _QUESTIONS)
    test_question_artifacts_path: str = used(f"{_HUB}/mtbench_ja_question_small_for_test:v5", _TEST_QUESTIONS)
    referenceanswer_artifacts_path: str = used(f"{_HUB}/mtbench_ja_referenceanswer:v1", _REFERENCES)
    test_referenceanswer_artifacts_path: str = used(
        f"{_HUB}/mtbench_ja_referenceanswer_small_for_test:v1", _TEST_REFERENCES
    )
    judge_prompt_artifacts_path: str = used(f"{_HUB}/mtbench_ja_prompt:v1", _PROMPTS)
    bench_name: str = recorded("mt_bench_ja", _BENCH)


class EnData(Section):
    """Files of English MT-Bench."""

    question_artifacts_path: str = used(f"{_HUB}/mtbench_en_question:v0", _QUESTIONS)
    test_question_artifacts_path: str = used(f"{_HUB}/mtbench_en_question_small_for_test:v0", _TEST_QUESTIONS)
    referenceanswer_artifacts_path: str = used(f"{_HUB}/mtbench_en_referenceanswer:v0", _REFERENCES)
    test_referenceanswer_artifacts_path: str = used(
        f"{_HUB}/mtbench_en_referenceanswer_small_for_test:v0", _TEST_REFERENCES
    )
    judge_prompt_artifacts_path: str = used(f"{_HUB}/mtbench_en_prompt:v0", _PROMPTS)
    bench_name: str = recorded("mt_bench_en", _BENCH)


class NeoData(Section):
    """Files of MT-Bench."""

    ja: JaData = JaData()
    en: EnData = EnData()


class NeoMtBench(Section):
    """MT-Bench."""

    model_id: str | None = recorded(None, "the name of Neo's answer file; evalkit's folders need none")
    max_new_token: int = used(
        1024, "longest answer in new tokens (Neo's page says: of the input)", at_least=1
    )
    num_gpus_per_model: int = recorded(1, "how many GPUs share a model: `device_map` says that")
    num_gpus_total: int = recorded(1, "how many GPUs there are; must not be fewer than `num_gpus_per_model`")
    max_gpu_memory: str | None = refused(
        None, "evalkit has no limit of memory per GPU; limit it with `device_map`, or leave it null"
    )
    dtype: Literal["None", "float32", "float16", "bfloat16"] | None = used(
        "bfloat16", "`dtype` of the transformers engine in MT-Bench; `None`: as the weights are stored"
    )
    use_azure: bool = used(False, "the judge is asked at Azure (`azure/`), not at OpenAI")
    parallel: int = recorded(1, "threads of the judge; evalkit adapts the number of requests in flight")
    custom_conv_template: bool = used(
        False,
        "`true`: prompts are written as `conv_…` say. Never for the judge, which Neo asks that way too; not "
        "for chat APIs, which write prompts themselves",
    )
    conv_name: str = recorded("custom", "the name of the conversation format")
    conv_sep: str = used("\n\n### ", "stands behind the system message and each message")
    conv_stop_token_ids: str | int | list[int] | None = used(
        "[2]", "tokens that end an answer; a list of whole numbers, never evaluated"
    )
    conv_stop_str: str | list[str] | None = used("###", "texts that end an answer")
    conv_role_message_separator: str = used(": \n", "stands between a role and its message")
    conv_role_only_separator: str = used(": \n", "stands behind the role that answers next")
    ja: JaConversation = JaConversation()
    en: EnConversation = EnConversation()
    dataset: NeoData = used(NeoData(), "", spelled=("dateset",))
    judge_model: str = used("gpt-4", "who judges: a deployment, or a model of OpenAI; Neo overwrites it")
    mode: str = refused("single", "only single grading has a column in Neo's table; leave it `single`")
    num_choices: int = used(1, "conversations per question (`choices`); Neo overwrites it", at_least=1)
    baseline_model: str | None = refused(None, "Neo's single grading has no baseline; leave it null")
    first_n: int | None = used(None, "only the first questions; Neo overwrites it", at_least=1)
    question_begin: int | None = used(None, "position of the first question; Neo overwrites it", at_least=0)
    question_end: int | None = used(None, "position behind the last question; Neo overwrites it", at_least=1)


class NeoConfig(Section):
    """Neo's template."""

    testmode: bool = used(
        False,
        "2 items of each dataset of jaster, 1 of each subject, one question of each category of MT-Bench",
    )
    model_name: str | None = used(None, "the model's name in tables; changes no answer")
    wandb: Wandb = Wandb()
    run_llm_jp_eval_ja_0_shot: bool = used(True, "part 1: the Japanese datasets without examples")
    run_llm_jp_eval_ja_few_shots: bool = used(True, "part 2: those with `ja_num_shots` examples")
    run_llm_jp_eval_en_0_shot: bool = used(True, "part 3: the English dataset without examples")
    run_llm_jp_eval_en_few_shots: bool = used(True, "part 4: that with `en_num_shots` examples")
    run_mt_bench_ja: bool = used(True, "part 5: Japanese MT-Bench")
    run_mt_bench_en: bool = used(True, "part 6: English MT-Bench")
    model: NeoModel = NeoModel()
    llm_jp_eval: LlmJpEval = used(LlmJpEval(), "", spelled=("llm-jp-eval",))
    mtbench: NeoMtBench = NeoMtBench()
    github_version: str | None = recorded("g-eval-v1.0", "the version of Neo that a config was written for")
