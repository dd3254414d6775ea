"""The keys of Nejumi 3 and 4: a base file and the file of a model, as one config."""

from __future__ import annotations

from typing import Any, Literal

from evalkit.interchange.nejumi.neo_config import Wandb
from evalkit.interchange.nejumi.section import Section, recorded, refused, used

_ELSEWHERE = "settings of a benchmark that evalkit does not have"
_HUB = "wandb-japan/llm-leaderboard3"


def _missing(what: str) -> Any:
    """A switch of a benchmark that evalkit does not have."""
    return refused(False, f"evalkit does not evaluate {what}: set it to false, or give `--skip-bad-entries`")


class Run(Section):
    """Which benchmarks are evaluated."""

    jaster: bool = used(False, "jaster without and with `num_few_shots` examples")
    jmmlu_robustness: bool = used(False, "JMMLU's three variants with examples; needs `run.jaster`")
    mtbench: bool = used(False, "Japanese MT-Bench")
    m_ifeval: bool = used(False, "M-IFEval's Japanese part")
    aggregate: bool = used(False, "prints the leaderboard's row")
    jbbq: bool = _missing("JBBQ, whose data may not be passed on")
    lctg: bool = _missing("LCTG-Bench")
    toxicity: bool = _missing("LINE Yahoo's private toxicity set")
    jtruthfulqa: bool = _missing("JTruthfulQA, which a RoBERTa classifier with Juman++ scores")
    bfcl: bool = _missing("BFCL's function calls")
    swebench: bool = _missing("SWE-bench")
    hle: bool = _missing("HLE-JA")
    hallulens: bool = _missing("HalluLens")
    arc_agi: bool = _missing("ARC-AGI")
    arc_agi_2: bool = _missing("ARC-AGI-2")


class Lora(Section):
    """An adapter that is put on top of the weights."""

    enable: bool = used(False, "whether there is one")
    adapter_name: str | None = recorded(None, "its name at vLLM's server")
    adapter_path: str | None = used(None, "its folder: `adapter` of the vllm engine")
    max_lora_rank: int | None = used(None, "`max_lora_rank` of vLLM", at_least=1)
    max_loras: int | None = recorded(None, "adapters at once: evalkit uses one")
    max_cpu_loras: int | None = recorded(None, "adapters in memory: evalkit uses one")
    fully_sharded_loras: bool = recorded(False, "how GPUs share the work of an adapter")


class Thinking(Section):
    """Thinking of Claude."""

    type: str = used("enabled", "`enabled`, or no thinking")
    budget_tokens: int | None = used(None, "`thinking` in every request, with room for it on top", at_least=1)


class LaterModel(Section):
    """The model."""

    pretrained_model_name_or_path: str | None = used(
        None, "a deployment of yours, what the API calls the model, a folder or a name of the Hub"
    )
    base_model_name_or_path: str | None = used(None, "the weights that `lora` is put on")
    artifacts_path: str | None = used(None, "the artifact with the weights", spelled=("artifact_path",))
    use_wandb_artifacts: bool | None = recorded(None, "Nejumi does not read it")
    size_category: str | None = used(None, "in the model's metadata")
    size: int | float | str | None = used(None, "number of parameters, in the model's metadata")
    release_date: str | None = used(None, "`MM/DD/YYYY`, or `YYYY-MM-DD`; in the model's metadata")
    base_model: str | None = recorded(None, "a column of Nejumi 4's table")
    bfcl_model_id: str | None = recorded(None, "for BFCL, which evalkit does not have")
    max_model_len: int | None = used(None, "`max_length` of the vllm engine", at_least=1)
    chat_template: str | None = used(
        None,
        "a file, or the name of one in `chat_templates/` next to the configs' folder; null: the model's own",
    )
    dtype: str = used("auto", "`dtype` of the vllm engine")
    trust_remote_code: bool = used(False, "runs the code that comes with the model, with the vllm engine")
    device_map: str | None = recorded("auto", "vLLM finds the devices itself")
    load_in_8bit: bool = refused(False, "Nejumi does not read it; use `quantization`")
    load_in_4bit: bool = refused(False, "Nejumi does not read it; use `quantization`")
    lora: Lora = Lora()
    thinking: Thinking | None = None
    thinking_budget: int | None = used(None, "Gemini's thinking budget, in every request; -1: it decides")
    enable_thinking: bool = refused(False, "say how much: `thinking: {budget_tokens: …}`")
    safety_settings: Any = refused(
        None, "Gemini's OpenAI-compatible endpoint takes none (Nejumi reads them elsewhere); remove it"
    )


class Generator(Section):
    """How answers are drawn."""

    temperature: float = used(0.1, "`temperature` of jaster's entries", at_least=0)
    top_p: float = used(1.0, "`top_p` of the entries")
    top_k: int | None = used(None, "`top_k` of the entries", at_least=0)
    repetition_penalty: float = used(1.0, "`repetition_penalty` of the entries")
    max_tokens: int | None = recorded(128, "each benchmark has its own limit, in Nejumi too")
    extra_body: dict[str, Any] | None = used(None, "`extra_body` of the deployment")
    effort: str | None = refused(None, "name the API's own field in `extra_body`")
    include_reasoning: bool | None = recorded(None, "evalkit keeps the thinking in any case")


class BenchmarkGenerator(Section):
    """How answers of one benchmark are drawn."""

    max_tokens: int | None = used(None, "`num_output_tokens` of the entry", at_least=1)
    temperature: float | None = recorded(None, "the benchmark has its own")
    top_p: float | None = recorded(None, "`generator.top_p` counts")
    extra_body: dict[str, Any] | None = recorded(None, "`generator.extra_body` counts")


class Jaster(Section):
    """jaster."""

    message_intro: str | None = recorded(None, "the first line of prompts, which Nejumi has in its code")
    artifacts_path: str = used(f"{_HUB}/jaster:v6", "the data; see [artifacts](#artifacts)")
    dataset_dir: str = used("jaster", "the folder in the artifact that holds train, dev and test")
    override_max_tokens: int | None = used(None, "`num_output_tokens` of the entries", at_least=1)
    jhumaneval: dict[str, Any] | None = recorded(None, "Nejumi's sandbox; evalkit has its own")
    soft_fail_on_error: bool = refused(False, "a request that failed has no score here; set it to false")


class Judge(Section):
    """Who judges."""

    model: str | None = used(None, "a deployment, or a model of OpenAI")
    parallel: int | None = recorded(None, "evalkit adapts the number of requests in flight")
    params: dict[str, Any] | None = recorded(None, "temperature 0 and 2,048 tokens are evalkit's too")


class LaterMtBench(Section):
    """MT-Bench."""

    temperature_override: dict[str, float] | None = used(
        None, "`temperatures` of the entry; Nejumi's own misspelling `humanities\"` is humanities"
    )
    question_artifacts_path: str = used(f"{_HUB}/mtbench_ja_question:v4", "the questions")
    question_artifacts_path_test: str | None = used(None, "the questions in `testmode`")
    referenceanswer_artifacts_path: str = used(
        f"{_HUB}/mtbench_ja_referenceanswer:v2", "the reference answers"
    )
    referenceanswer_artifacts_path_test: str | None = used(None, "the reference answers in `testmode`")
    judge_prompt_artifacts_path: str | None = used(None, "the judge's prompts")
    bench_name: str | None = recorded(None, "part of a path")
    model_id: str | None = recorded(None, "the name of an answer file")
    max_new_token: int = used(1024, "longest answer", at_least=1)
    num_choices: int = used(1, "conversations per question", at_least=1)
    judge_model: str | None = used(None, "who judges; `judge.model` is Nejumi 4's spelling")
    judge_count: int = used(1, "how often each answer is judged", at_least=1)
    judge: Judge = Judge()
    mode: str = refused("single", "Nejumi's table has single grading only; leave it `single`")
    baseline_model: str | None = refused(None, "single grading has no baseline; leave it null")
    parallel: int | None = recorded(None, "evalkit adapts the number of requests in flight")
    first_n: int | None = used(None, "only the first questions", at_least=1)
    question_begin: int | None = used(None, "the position of the first question", at_least=0)
    question_end: int | None = used(None, "the position behind the last question", at_least=1)
    dataset: str | None = recorded(None, "a name")
    system_message: str | None = used(None, "`system_message` of the entry")
    generator_config: BenchmarkGenerator = BenchmarkGenerator()
    num_gpus_per_model: int = recorded(1, "`num_gpus` counts")
    num_gpus_total: int = recorded(1, "`num_gpus` counts")
    max_gpu_memory: str | None = refused(None, "Nejumi 3 does not read it; leave it null")
    dtype: str | None = recorded(None, "`model.dtype` counts")


class MIfEval(Section):
    """M-IFEval."""

    artifacts_path: str | None = recorded(None, "evalkit reads `m_ifeval/` below the data directory")
    dataset_dir: str | None = recorded(None, "the name of its file")
    generator_config: BenchmarkGenerator = BenchmarkGenerator()


class Vllm(Section):
    """vLLM in Nejumi 4."""

    vllm_tag: str | None = recorded(None, "the image; evalkit runs the vLLM that is installed")
    vllm_docker_image: str | None = recorded(None, "likewise")
    disable_triton_mma: bool = recorded(False, "a setting of the image")
    lifecycle: str | None = recorded(None, "evalkit loads the model when it is needed, and lets it go")
    dtype: str | None = used(None, "`dtype` of the vllm engine")
    max_model_len: int | None = used(None, "`max_length` of the vllm engine", at_least=1)
    device_map: str | None = recorded(None, "vLLM finds the devices itself")
    gpu_memory_utilization: float | None = used(None, "of the vllm engine")
    trust_remote_code: bool = used(False, "of the vllm engine")
    chat_template: str | None = used(None, "as `model.chat_template`", spelled=("chat-template",))
    reasoning_parser: str | None = recorded(None, "evalkit finds thinking by its marks")
    tool_call_parser: str | None = recorded(None, "evalkit calls no tools")
    enable_auto_tool_choice: bool = recorded(False, "evalkit calls no tools")
    extra_args: list[str] = used(
        [],
        "`--name=value` is `engine_args: {name: value}` of the vllm engine; no effect on APIs",
    )


class HttpTimeout(Section):
    """Seconds that a request may take."""

    connect: float | None = recorded(None, "part of `read` here")
    read: float | None = used(None, "`limits.timeout_s` of the deployment", at_least=0)
    write: float | None = recorded(None, "part of `read` here")
    pool: float | None = recorded(None, "evalkit's requests wait for no pool")


class Network(Section):
    """Time-outs of all APIs, or of one."""

    http_timeout: HttpTimeout = HttpTimeout()


class RequestFailure(Section):
    """What becomes of a request that fails for good."""

    mode: Literal["hard", "soft"] = refused(
        "hard", "`soft` scores a request that failed as an empty answer; evalkit counts it as failed"
    )


class ErrorHandling(Section):
    """What becomes of errors."""

    request_failure: RequestFailure = RequestFailure()


def _other(meaning: str = _ELSEWHERE) -> Any:
    return recorded(None, meaning)


class LaterConfig(Section):
    """A base file and the file of a model."""

    wandb: Wandb = Wandb()
    testmode: bool = used(False, "one item of each dataset of jaster, one question of each category")
    inference_interval: float = recorded(0, "a pause before each request; limits are the deployment's")
    run: Run = Run()
    api: str = used("vllm", "one of the [API kinds](#api-kinds)")
    base_url: str | None = used(None, "where the API is, if not at its usual address")
    num_gpus: int | None = used(None, "`tensor_parallel_size` of the vllm engine", at_least=1)
    batch_size: int | None = used(None, "most requests in flight; changes no result", at_least=1)
    port: int | None = recorded(None, "evalkit's vLLM needs no port")
    gpu_memory_utilization: float | None = used(None, "of the vllm engine")
    quantization: str | None = used(None, "of the vllm engine")
    revision: str | None = used(None, "of the vllm engine")
    reasoning: bool | None = recorded(None, "evalkit finds thinking by its marks")
    model: LaterModel = LaterModel()
    generator: Generator = Generator()
    num_few_shots: int = used(2, "examples of the few-shot part of jaster", at_least=0)
    jaster: Jaster = Jaster()
    mtbench: LaterMtBench = LaterMtBench()
    m_ifeval: MIfEval = MIfEval()
    vllm: Vllm = Vllm()
    network: Network = Network()
    openai: Network = Network()
    azure_openai: Network = Network()
    xai: Network = Network()
    error_handling: ErrorHandling = ErrorHandling()
    github_version: str | None = recorded(None, "the version of Nejumi that a config was written for")
    jmmlu_robustness: dict[str, Any] | None = _other("its settings are jaster's")
    jbbq: dict[str, Any] | None = _other()
    lctg: dict[str, Any] | None = _other()
    toxicity: dict[str, Any] | None = _other()
    jtruthfulqa: dict[str, Any] | None = _other()
    bfcl: dict[str, Any] | None = _other()
    swebench: dict[str, Any] | None = _other()
    hle: dict[str, Any] | None = _other()
    hallulens: dict[str, Any] | None = _other()
    arc_agi: dict[str, Any] | None = _other()
    arc_agi_2: dict[str, Any] | None = _other()
    sample_dataset: dict[str, Any] | None = _other("a place for benchmarks of one's own")
