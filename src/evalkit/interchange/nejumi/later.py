"""Nejumi 3 and 4: a base file and the file of a model, merged, as run entries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from evalkit.errors import nearest_names
from evalkit.interchange.nejumi.artifacts import find_artifact, own_files
from evalkit.interchange.nejumi.config_file import Config, ConfigText, checked, without_secrets
from evalkit.interchange.nejumi.later_config import LaterConfig
from evalkit.interchange.nejumi.later_models import LaterModels, later_models
from evalkit.interchange.nejumi.misspelled import doubtful
from evalkit.interchange.nejumi.nejumi_runs import NejumiRuns, written
from evalkit.interchange.nejumi.positions import positions_of
from evalkit.models.catalog import ModelCatalog
from evalkit.run_specs.mt_bench import TEMPERATURES
from evalkit.specs.conf import ConfEntry

_INFERENCE = ("jnli", "janli", "jsem", "jsick", "jamp")
_SYNTAX = ("jcola-in-domain", "jcola-out-of-domain", "jblimp")
_ALT = ("alt-e-to-j", "alt-j-to-e")
_QUESTIONS = ("jcommonsenseqa", "jemhopqa", "niilc", "aio", "jmmlu")
NEJUMI_3 = (
    *(*_ALT, "wikicorpus-e-to-j", "wikicorpus-j-to-e", "jsquad", "mawps", "mgsm", "wiki_ner"),
    *("wiki_coreference", "chabsa", *_QUESTIONS, "mmlu_en", *_INFERENCE, *_SYNTAX, "wiki_reading"),
    *("wiki_pas", "wiki_dependency", "commonsensemoralja"),
)
"""The datasets of jaster that Nejumi 3's table takes."""
NEJUMI_4 = (
    *_ALT,
    "jsquad",
    "mawps",
    "mgsm",
    *_QUESTIONS,
    *_INFERENCE,
    *_SYNTAX,
    "mmlu_prox_ja",
    "commonsensemoralja",
    "jhumaneval",
)
"""The datasets of jaster that Nejumi 4's table takes."""
_OF_NEJUMI_4 = {"bfcl", "swebench", "hle", "hallulens", "arc_agi", "m_ifeval"}
_SWITCHES = {"m_ifeval_ja": "m_ifeval", "mt_bench_ja": "mtbench", "jmmlu_robustness": "jmmlu_robustness"}
_JASTER_TEMPERATURE = 0.1
_MAX_TOKENS = 1024


def later_runs(
    text: ConfigText, catalog: ModelCatalog, mirror: Path | None, *, skip_bad: bool = False
) -> NejumiRuns:
    """The run entries of the benchmarks that are switched on.

    Args:
        text: The base file and the model's, merged.
        catalog: The deployments that there are.
        mirror: The data directory, if there is one.
        skip_bad: Leave out the benchmarks that evalkit does not have.

    Raises:
        ConfigError: A key is unknown, contradicts another, or can't be followed; or an artifact has no files.
    """
    config = checked(LaterConfig, text)
    left_out = config.refuse(may_skip="run." if skip_bad else None)
    run = config.values.run
    if run.jmmlu_robustness and not run.jaster:
        config.fail("run.jmmlu_robustness", "it is part of jaster; set run.jaster: true, or this to false")
    models = later_models(config, catalog, mirror)
    is_4 = bool(_OF_NEJUMI_4 & {str(key) for key in _mapping(text.data.get("run"))}) or "vllm" in text.data
    making = _Entries(config, models, mirror, "nejumi4" if is_4 else "nejumi3")
    entries = tuple(making.all())
    if not entries:
        config.fail("run", "no benchmark that evalkit has is switched on")
    return NejumiRuns(
        leaderboard=making.edition,
        sources=text.paths,
        entries=entries,
        deployments=models.made,
        models=models.described,
        settings=without_secrets(config.values.model_dump(mode="json")),
        notes=(*doubtful(config.values.model.pretrained_model_name_or_path, catalog), *making.notes),
        left_out=left_out,
        parameters={"num_few_shots": config.values.num_few_shots},
        has_row=run.aggregate,
    )


def _mapping(value: object) -> dict[object, object]:
    return value if isinstance(value, dict) else {}


class _Entries:
    """The entries of a config.

    Attributes:
        notes: What the user should know of the files.
    """

    def __init__(
        self, config: Config[LaterConfig], models: LaterModels, mirror: Path | None, edition: str
    ) -> None:
        self._config, self._models, self._mirror, self.edition = config, models, mirror, edition
        self.notes: list[str] = []

    def all(self) -> Iterator[ConfEntry]:
        """In the order of Nejumi 3's switches."""
        run = self._config.values.run
        if run.jaster:
            yield from self._jaster()
        if run.jmmlu_robustness:
            shots = {"shots": str(self._config.values.num_few_shots)}
            yield self._entry("jmmlu_robustness", self._of_jaster() | shots | self._drawing())
        if run.mtbench:
            yield self._mt_bench()
        if run.m_ifeval:
            longest = self._config.values.m_ifeval.generator_config.max_tokens
            yield self._entry("m_ifeval_ja", {"num_output_tokens": str(longest)} if longest else {})

    def _jaster(self) -> Iterator[ConfEntry]:
        values = self._config.values
        few = values.num_few_shots
        if few < 1:
            self._config.fail(
                "num_few_shots", f"it is {few}; jaster has a part with examples: give 1 or more"
            )
        arguments, drawing = self._of_jaster(), self._drawing()
        if values.jaster.override_max_tokens is not None:
            drawing["num_output_tokens"] = str(values.jaster.override_max_tokens)
        for shots in (0, few):
            for name in NEJUMI_4 if self.edition == "nejumi4" else NEJUMI_3:
                yield self._entry(name, arguments | {"shots": str(shots)} | drawing)

    def _of_jaster(self) -> dict[str, str]:
        """Arguments of all entries of jaster."""
        values, fail = self._config.values, self._config.fail
        arguments = {"edition": self.edition} | ({"testmode": "true"} if values.testmode else {})
        inside = "/".join(part for part in values.jaster.dataset_dir.split("/") if part)
        if ".." in inside.split("/"):
            fail("jaster.dataset_dir", "it leads out of the artifact")
        try:
            found = find_artifact(values.jaster.artifacts_path, self._mirror)
        except LookupError as error:
            fail("jaster.artifacts_path", str(error))
        folder = found.path
        if folder.startswith("artifacts/") and self._mirror is not None:
            folder = f"{folder}/{inside}"
            if not (self._mirror / folder).is_dir():
                fail("jaster.dataset_dir", f"there is no {folder} below {self._mirror}")
        if found.remark:
            self.notes.append(f"{values.jaster.artifacts_path}: evalkit reads {found.remark}")
        return arguments | ({"folder": folder} if folder != "1.2.6/evaluation" else {})

    def _drawing(self) -> dict[str, str]:
        """How answers are drawn, where it is not the benchmark's own way."""
        drawn = self._config.values.generator
        arguments = {}
        if drawn.temperature != _JASTER_TEMPERATURE:
            arguments["temperature"] = f"{drawn.temperature:g}"
        return arguments | self._cuts()

    def _cuts(self) -> dict[str, str]:
        drawn = self._config.values.generator
        arguments = {}
        if drawn.top_p != 1:
            arguments["top_p"] = f"{drawn.top_p:g}"
        if drawn.top_k:
            arguments["top_k"] = str(drawn.top_k)
        if drawn.repetition_penalty != 1:
            arguments["repetition_penalty"] = f"{drawn.repetition_penalty:g}"
        return arguments

    def _mt_bench(self) -> ConfEntry:
        values = self._config.values
        settings = values.mtbench
        arguments = {"testmode": "true"} if values.testmode else {}
        arguments |= own_files(dict(self._files()), "ja")
        if settings.temperature_override:
            arguments["temperatures"] = self._temperatures(settings.temperature_override)
        arguments |= positions_of(self._config, settings)
        for argument, count in (("choices", settings.num_choices), ("judgements", settings.judge_count)):
            arguments |= {argument: str(count)} if count != 1 else {}
        longest = settings.generator_config.max_tokens or settings.max_new_token
        if longest != _MAX_TOKENS:
            arguments["num_output_tokens"] = str(longest)
        texts = {"system_message": settings.system_message} if settings.system_message else {}
        judge = {"judge": self._models.judge(self.edition)}
        return self._entry("mt_bench_ja", arguments | self._cuts(), judge, texts)

    def _temperatures(self, given: Mapping[str, float]) -> str:
        """Temperatures by category, as an entry has them."""
        known = {name.rstrip('"'): value for name, value in given.items()}
        for name, value in known.items():
            if name not in TEMPERATURES:
                nearest = nearest_names(name, TEMPERATURES, limit=1)
                right = f"did you mean '{nearest[0]}'?" if nearest else f"known: {', '.join(TEMPERATURES)}"
                self._config.fail("mtbench.temperature_override", f"unknown category '{name}'; {right}")
            if not 0 <= value < float("inf"):
                self._config.fail("mtbench.temperature_override", f"{name}: {value} is not a temperature")
        return "|".join(f"{name}:{value:g}" for name, value in known.items())

    def _files(self) -> Iterator[tuple[str, str]]:
        """The files that are not the benchmark's own, by argument."""
        settings, is_test = self._config.values.mtbench, self._config.values.testmode
        for key, argument, file in (
            ("question_artifacts_path", "questions", "question.jsonl"),
            ("referenceanswer_artifacts_path", "references", "*.jsonl"),
            ("judge_prompt_artifacts_path", "judge_prompts", "judge_prompts.jsonl"),
        ):
            test = f"{key}_test"
            key = test if is_test and getattr(settings, test, None) is not None else key
            name = getattr(settings, key)
            if name is None:
                continue
            try:
                found = find_artifact(name, self._mirror, file)
            except LookupError as error:
                self._config.fail(f"mtbench.{key}", str(error))
            if found.remark:
                self.notes.append(f"{name}: evalkit reads {found.remark}")
            yield argument, found.path

    def _entry(
        self,
        name: str,
        arguments: dict[str, str],
        last: dict[str, str] | None = None,
        texts: dict[str, str] | None = None,
    ) -> ConfEntry:
        described = written(arguments | {"model": self._models.answers.name} | (last or {}))
        place = self._config.text.place(("run", _SWITCHES.get(name, "jaster")))
        return ConfEntry(f"{name}:{described}", source=place, args=tuple((texts or {}).items()))
