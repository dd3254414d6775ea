"""Neo's template as run entries: jaster in two languages without and with examples, and MT-Bench twice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evalkit.errors import nearest_names
from evalkit.interchange.nejumi.artifacts import JASTER_VERSIONS, NEO, Found, find_artifact, own_files
from evalkit.interchange.nejumi.config_file import Config, without_secrets
from evalkit.interchange.nejumi.misspelled import doubtful
from evalkit.interchange.nejumi.nejumi_runs import NejumiRuns, written
from evalkit.interchange.nejumi.neo_config import EnData, JaData, NeoConfig
from evalkit.interchange.nejumi.neo_models import Language, NeoModels, neo_models, weights_folder
from evalkit.interchange.nejumi.positions import positions_of
from evalkit.models.catalog import ModelCatalog
from evalkit.run_specs.jaster_datasets import DATASETS
from evalkit.specs.conf import ConfEntry

JAPANESE = (
    *("jamp", "janli", "jnli", "jsem", "jsick", "jcommonsenseqa", "jemhopqa", "niilc", "jsquad", "jsts"),
    *("chabsa", "kuci", "commonsensemoralja", "wiki_reading", "wiki_ner", "wiki_dependency", "wiki_pas"),
    *("wiki_coreference", "mawps", "mgsm"),
)
"""The Japanese datasets of jaster 1.2.6: those that the template names, then the others."""
ENGLISH = ("mmlu_en",)
_DATASETS: Mapping[Language, tuple[str, ...]] = {"ja": JAPANESE, "en": ENGLISH}
_ALL = {"all": (*JAPANESE, *ENGLISH), "all-ja": JAPANESE, "all-en": ENGLISH}
_FOLDER = "1.2.6/evaluation"  # what jaster's run specs read by themselves
_API_TEMPERATURE = "0.1"  # Neo's, whatever the category
_MAX_TOKENS = 1024
_OWN_BENCH = {"ja": ("mt_bench_en", "mt_bench"), "en": ("mt_bench_ja", "japanese_mt_bench")}
"""Names of the other language's benchmark."""


def neo_runs(config: Config[NeoConfig], catalog: ModelCatalog, mirror: Path | None) -> NejumiRuns:
    """The run entries of Neo's six parts, in Neo's order.

    Args:
        config: The template, filled in.
        catalog: The deployments that there are.
        mirror: The data directory, if there is one.

    Raises:
        ConfigError: Keys contradict each other, a value can't be followed, or an artifact has no files; says
            where and what to do.
    """
    values = config.values
    _check(config)
    models = neo_models(config, catalog, weights_folder(config, mirror))
    notes = doubtful(values.model.pretrained_model_name_or_path, catalog)
    entries: list[ConfEntry] = []
    jaster = _Jaster(config, models, mirror)
    parts: tuple[tuple[bool, Language, int], ...] = (
        (values.run_llm_jp_eval_ja_0_shot, "ja", 0),
        (values.run_llm_jp_eval_ja_few_shots, "ja", values.llm_jp_eval.ja_num_shots),
        (values.run_llm_jp_eval_en_0_shot, "en", 0),
        (values.run_llm_jp_eval_en_few_shots, "en", values.llm_jp_eval.en_num_shots),
    )
    for is_on, language, shots in parts:
        entries += jaster.entries(language, shots) if is_on else ()
    mt_bench = _MtBench(config, models, mirror, notes)
    entries += mt_bench.entries("ja") if values.run_mt_bench_ja else ()
    entries += mt_bench.entries("en") if values.run_mt_bench_en else ()
    if not entries:
        config.fail("run_mt_bench_en", "all parts are switched off, or none has a dataset of target_dataset")
    return NejumiRuns(
        leaderboard="neo",
        sources=config.text.paths,
        entries=tuple(entries),
        deployments=models.made,
        models=models.described,
        settings=without_secrets(values.model_dump(mode="json")),
        notes=tuple(notes),
        parameters={
            "ja_num_shots": values.llm_jp_eval.ja_num_shots,
            "en_num_shots": values.llm_jp_eval.en_num_shots,
        },
    )


def _check(config: Config[NeoConfig]) -> None:
    """Refuse what contradicts itself, and what evalkit can't follow.

    Raises:
        ConfigError: There is such a key.
    """
    config.refuse()
    values, mt_bench = config.values, config.values.mtbench
    few_shot_parts = {"ja": values.run_llm_jp_eval_ja_few_shots, "en": values.run_llm_jp_eval_en_few_shots}
    for language, few_shots in few_shot_parts.items():
        shots = getattr(values.llm_jp_eval, f"{language}_num_shots")
        if few_shots and shots < 1:
            config.fail(
                f"llm_jp_eval.{language}_num_shots",
                f"it is {shots}; give 1 or more examples, or set run_llm_jp_eval_{language}_few_shots: false",
            )
    if mt_bench.num_gpus_total < mt_bench.num_gpus_per_model or mt_bench.num_gpus_per_model < 1:
        config.fail(
            "mtbench.num_gpus_total",
            f"a model takes {mt_bench.num_gpus_per_model} GPUs (num_gpus_per_model) of "
            f"{mt_bench.num_gpus_total}; correct one of the two",
        )


@dataclass(frozen=True, slots=True)
class _Jaster:
    """The entries of jaster."""

    config: Config[NeoConfig]
    models: NeoModels
    mirror: Path | None

    def entries(self, language: Language, shots: int) -> Iterator[ConfEntry]:
        """Those of one part."""
        values = self.config.values
        wanted = [name for name in _DATASETS[language] if name in self._targets()]
        folder = self._folder() if wanted else _FOLDER
        for name in wanted:
            arguments = {}
            if values.testmode:
                arguments["testmode"] = "true"
            if folder != _FOLDER:
                arguments["folder"] = folder
            arguments |= {"shots": str(shots), "model": self.models.jaster.name}
            yield ConfEntry(
                f"{name}:{written(arguments)}",
                source=self._place(language, shots),
                args=tuple(self._templates(language, shots)),
            )

    def _targets(self) -> tuple[str, ...]:
        given = self.config.values.llm_jp_eval.target_dataset
        names = given if isinstance(given, list) else [name.strip() for name in given.split(",")]
        if len(names) == 1 and names[0] in _ALL:
            return _ALL[names[0]]
        for name in names:
            if name not in DATASETS:
                nearest = nearest_names(name, ["all", *DATASETS])
                hint = f"did you mean '{nearest[0]}'?" if nearest else f"write all, or {', '.join(DATASETS)}"
                self.config.fail("llm_jp_eval.target_dataset", f"jaster has no dataset '{name}'; {hint}")
            if name not in (*JAPANESE, *ENGLISH):
                self.config.fail(
                    "llm_jp_eval.target_dataset",
                    f"'{name}' is not in jaster 1.2.6; run it by itself: evalkit run -r {name}:model=…",
                )
        return tuple(names)

    def _folder(self) -> str:
        """Where train, dev and test are, below the data directory."""
        settings, fail = self.config.values.llm_jp_eval, self.config.fail
        parts = [part for part in settings.dataset_dir.split("/") if part]
        if not parts or parts[-1] != "test" or ".." in parts:
            fail("llm_jp_eval.dataset_dir", "it must be the folder of the test split: …/evaluation/test")
        inside = "/".join(parts[:-1])
        number = settings.dataset_artifact.rpartition(":v")[2]
        version = JASTER_VERSIONS.get(int(number)) if number.isdecimal() else None
        if settings.dataset_artifact.startswith(f"{NEO}/") and version is not None and version not in parts:
            fail(
                "llm_jp_eval.dataset_dir",
                f"dataset_artifact is version {version} of jaster, and this is another folder; write "
                f"/jaster/{version}/evaluation/test, or name the artifact of this version",
            )
        try:
            found = find_artifact(settings.dataset_artifact, self.mirror)
        except LookupError as error:
            fail("llm_jp_eval.dataset_artifact", str(error))
        if found.path.startswith("artifacts/") and self.mirror is not None:
            whole = f"{found.path}/{inside}"
            if not (self.mirror / whole).is_dir():
                fail("llm_jp_eval.dataset_dir", f"there is no {whole} below {self.mirror}")
            return whole
        return found.path

    def _templates(self, language: Language, shots: int) -> Iterator[tuple[str, str]]:
        section = f"llm_jp_eval.{language}"
        given = getattr(self.config.values.llm_jp_eval, language)
        for key, argument, needed, is_for in (
            ("custom_prompt_template", "prompt_template", ("{instruction}", "{input}"), True),
            ("custom_fewshots_template", "example_template", ("{input}", "{output}"), shots > 0),
        ):
            text = getattr(given, key)
            if text is None or not is_for:
                continue
            if lacking := [each for each in needed if each not in text]:
                self.config.fail(f"{section}.{key}", f"it lacks {' and '.join(lacking)}; write where they go")
            if text.startswith("@"):
                self.config.fail(f"{section}.{key}", "a template can't begin with @")
            yield argument, text

    def _place(self, language: Language, shots: int) -> str:
        part = "0_shot" if shots == 0 else "few_shots"
        return self.config.text.place((f"run_llm_jp_eval_{language}_{part}",))


@dataclass(frozen=True, slots=True)
class _MtBench:
    """The entries of MT-Bench."""

    config: Config[NeoConfig]
    models: NeoModels
    mirror: Path | None
    notes: list[str]

    def entries(self, language: Language) -> Iterator[ConfEntry]:
        """That of one language."""
        values, settings = self.config.values, self.config.values.mtbench
        data: JaData | EnData = getattr(settings.dataset, language)
        if data.bench_name in _OWN_BENCH[language]:
            self.config.fail(
                f"mtbench.dataset.{language}.bench_name",
                f"'{data.bench_name}' is the benchmark of the other language; exchange them",
            )
        arguments = {"testmode": "true"} if values.testmode else {}
        arguments |= own_files(dict(self._files(language)), language)
        arguments |= self._part()
        if settings.num_choices != 1:
            arguments["choices"] = str(settings.num_choices)
        if settings.max_new_token != _MAX_TOKENS:
            arguments["num_output_tokens"] = str(settings.max_new_token)
        if self.models.is_api:
            arguments["temperature"] = _API_TEMPERATURE
        arguments |= {"model": self.models.mt_bench[language].name, "judge": self.models.judge.name}
        place = self.config.text.place((f"run_mt_bench_{language}",))
        yield ConfEntry(f"mt_bench_{language}:{written(arguments)}", source=place)

    def _part(self) -> dict[str, str]:
        """Which of the questions, as positions."""
        settings = self.config.values.mtbench
        return positions_of(self.config, settings)

    def _files(self, language: Language) -> Iterator[tuple[str, str]]:
        """The files that are not the benchmark's own, by argument."""
        test = "test_" if self.config.values.testmode else ""
        for key, argument, file in (
            (f"{test}question_artifacts_path", "questions", "question.jsonl"),
            (f"{test}referenceanswer_artifacts_path", "references", "*.jsonl"),
            ("judge_prompt_artifacts_path", "judge_prompts", "judge_prompts.jsonl"),
        ):
            yield argument, self._file(f"mtbench.dataset.{language}.{key}", file).path

    def _file(self, key: str, file: str) -> Found:
        name: Any = self.config.values
        for part in key.split("."):
            name = getattr(name, part)
        try:
            found = find_artifact(name, self.mirror, file)
        except LookupError as error:
            self.config.fail(key, str(error))
        if found.remark:
            self.notes.append(f"{name}: evalkit reads {found.remark}")
        return found
