"""Names of models in a config that were probably meant to be a deployment of the user's."""

from __future__ import annotations

from evalkit.errors import UsageError, nearest_names
from evalkit.models.catalog import ModelCatalog
from evalkit.models.weights import find_model, is_folder

_LOCAL = "local/"


def refuse_misspelled(name: str, catalog: ModelCatalog) -> None:
    """Refuse weights named `local/…`, as deployments of the user's are, if nothing here has the name.

    Args:
        name: What the config calls the model; no deployment.
        catalog: The deployments that there are.

    Raises:
        UsageError: There is neither a folder nor a downloaded model of that name; says which deployments the
            user may have meant.
    """
    if name.startswith(_LOCAL) and find_model(name) is None:
        meant = _meant(name, catalog) or "name a deployment, a folder or a model of the Hub"
        raise UsageError(
            f"'{name}' is neither a deployment of a deployment file nor a folder with a config.json; {meant}"
        )


def refuse_misspelled_judge(name: str, catalog: ModelCatalog) -> None:
    """Refuse a judge of OpenAI, whose names have no `/`, that is named like the user's deployments.

    Raises:
        UsageError: It is; says which deployments the user may have meant.
    """
    if "/" in name and (meant := _meant(name, catalog)):
        raise UsageError(f"'{name}' is not a deployment of a deployment file; {meant}")


def doubtful(name: str | None, catalog: ModelCatalog) -> list[str]:
    """What to tell the user of a name that is taken as it is, and resembles a deployment of theirs."""
    if not name or catalog.is_given(name) or is_folder(name) or not (meant := _meant(name, catalog)):
        return []
    return [f"'{name}' is not a deployment of yours, and evalkit uses the name as given; {meant}"]


def _meant(name: str, catalog: ModelCatalog) -> str:
    """The user's deployments that a name resembles, or that begin as it does; "" if there are none."""
    given = catalog.given()
    prefix, slash, _ = name.partition("/")
    alike = [each for each in given if slash and each.startswith(f"{prefix}/")]
    slip = catalog.likely_meant(name)
    if slip not in given and not alike:
        return ""
    nearest = nearest_names(name, given) or alike[:3]
    return f"did you mean {' or '.join(repr(each) for each in nearest)}?"
