"""What specs need to know of models: names. Implemented by `evalkit.models.catalog.ModelCatalog`."""

from __future__ import annotations

from typing import Protocol


class ModelNames(Protocol):
    """Names of models and where they are served."""

    def wildcard(self, name: str) -> list[str] | None:
        """The models that a wildcard such as `text` stands for, as registered; None if it is no wildcard."""

    def resolve(self, name: str) -> tuple[str, str]:
        """Model name and deployment name for the name of a model or of a deployment.

        Raises:
            UnknownNameError: Nothing has this name.
        """
