"""WMT 2014: translation from and into English (Bojar et al. 2014)."""

from __future__ import annotations

from typing import Literal

from evalkit.registry import run_spec_function
from evalkit.run_specs.layouts import OPEN_ENDED
from evalkit.specs.run_spec import AdapterSpec, RunSpec, ScenarioSpec, metric_specs

LanguagePair = Literal[
    "cs-en", "de-en", "fr-en", "hi-en", "ru-en", "en-cs", "en-de", "en-fr", "en-hi", "en-ru"
]
_LANGUAGES = {
    "cs": "Czech",
    "de": "German",
    "en": "English",
    "fr": "French",
    "hi": "Hindi",
    "ru": "Russian",
}


@run_spec_function("wmt_14")
def wmt_14(language_pair: LanguagePair) -> RunSpec:
    """News translated, after one example; another number of examples is the expander `max_train_instances`.

    Args:
        language_pair: From which language into which.
    """
    source, target = language_pair.split("-")
    asked, wanted = _LANGUAGES[source], _LANGUAGES[target]
    return RunSpec(
        name=f"wmt_14:language_pair={language_pair}",
        scenario_spec=ScenarioSpec(
            name="wmt_14", args={"source_language": source, "target_language": target}
        ),
        adapter_spec=AdapterSpec(
            method="generation",
            instructions=f"Translate the following sentences from {asked} to {wanted}.",
            input_prefix=f"{asked}: ",
            output_prefix=f"{wanted}: ",
            max_train_instances=1,
            num_outputs=1,
            temperature=0,
            stop_sequences=("\n\n",),
        ),
        metric_specs=metric_specs(*OPEN_ENDED),
        groups=("wmt_14",),
    )
