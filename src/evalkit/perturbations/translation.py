"""Texts in another language."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from random import Random
from typing import Any

from evalkit.errors import UsageError
from evalkit.perturbations.perturbation import Perturbation
from evalkit.registry import perturbation

_LIBRARY = "google.cloud.translate_v2"


@perturbation("translate")
class Translate(Perturbation):
    """The input translated by Google Cloud Translation.

    Needs the library `google-cloud-translate` and credentials for it in the environment
    (GOOGLE_APPLICATION_CREDENTIALS). What the service answers today it may not answer tomorrow; a plugin
    that registers a perturbation of another name can ask another one.

    Args:
        language_code: The language wanted, such as zh-CN, hi, es or sw.

    Raises:
        UsageError: The library is missing; the message has the command.
    """

    asks_service = True

    def __init__(self, language_code: str) -> None:
        if not _is_installed():
            raise UsageError(
                "perturbation 'translate' needs Google's library and credentials: "
                "pip install google-cloud-translate, and set GOOGLE_APPLICATION_CREDENTIALS"
            )
        self._language = language_code
        self._client: Any = None

    def perturb(self, text: str, rng: Random) -> str:
        """The text in the other language."""
        if self._client is None:
            self._client = import_module(_LIBRARY).Client()
        answer: dict[str, str] = self._client.translate(text, target_language=self._language)
        return answer["translatedText"]


def _is_installed() -> bool:
    try:
        return find_spec(_LIBRARY) is not None
    except ModuleNotFoundError:  # not even the package above it
        return False
