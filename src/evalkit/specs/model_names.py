"""What specs need to know of models: names. Implemented by `evalkit.models.catalog.ModelCatalog`."""

from __future__ import annotations

from typing import Protocol


class ModelNames(Protocol):
    """Names of models and where they are served."""

    def wildcard(self, name: str) -> list[str] | None:
        """The models that a wildcard such as `text` matches, as registered; None if it is not a wildcard."""

    def resolve(self, name: str) -> tuple[str, str]:
        """Model name and deployment name for the name of a model or of a deployment.

        Raises:
            UnknownNameError: Nothing has this name.
        """

    def tags(self, model: str) -> tuple[str, ...]:
        """The tags of a model; those of a plain text model where nothing is known of it."""

    def tokenizer_name(self, deployment: str) -> str | None:
        """The tokenizer of a deployment; None where it names none.

        Raises:
            UnknownNameError: There is no such deployment.
        """
