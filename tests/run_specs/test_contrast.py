from __future__ import annotations

from evalkit.run_specs.boolq import boolq
from evalkit.run_specs.imdb import imdb


def test_only_contrast_is_in_the_name_where_it_is_asked_for() -> None:
    assert (boolq().name, imdb().name) == ("boolq", "imdb")
    assert boolq(only_contrast=True).name == "boolq:only_contrast=True"
    assert imdb(only_contrast=True).name == "imdb:only_contrast=True"
    assert boolq(only_contrast=True).scenario_spec.args == {"only_contrast": True}
    assert imdb().groups == ("imdb",)
