"""The packages of extras, `metrics` above all, which only some metrics need."""

from __future__ import annotations

import importlib.util

from evalkit.errors import UsageError

_PACKAGES = {
    "MeCab": "mecab-python3",
    "comet": "unbabel-comet",
    "rouge_score": "rouge-score",
    "sklearn": "scikit-learn",
}


def require_module(module: str, what: str, extra: str = "metrics") -> None:
    """Nothing, if a module can be imported; imports nothing itself.

    Args:
        module: Its name.
        what: What needs it, for the message.
        extra: The extra of evalkit that installs it.

    Raises:
        UsageError: It is not installed; says how to.
    """
    try:
        found = importlib.util.find_spec(module) is not None
    except ValueError:  # a module that was blocked from being imported
        found = False
    if not found:
        package = _PACKAGES.get(module, module)
        raise UsageError(
            f"{what} needs the package {package}; install it with: pip install 'evalkit[{extra}]'"
        )
