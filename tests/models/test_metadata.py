from __future__ import annotations

import pytest
from pydantic import ValidationError

from evalkit.models.metadata import DEPRECATED, KNOWN_TAGS, TEXT, WILDCARDS, ModelMetadata, undescribed


def test_a_mistyped_tag_is_refused_with_the_right_one() -> None:
    with pytest.raises(ValidationError, match="did you mean 'TEXT_MODEL_TAG'"):
        ModelMetadata(name="a/b", tags=("TEXT_MODEL_TAGS",))


def test_wildcards_select_by_known_tags_only() -> None:
    assert all(tag in KNOWN_TAGS for tags in WILDCARDS.values() for tag in tags)


def test_retired() -> None:
    assert ModelMetadata(name="a/b", tags=(TEXT, DEPRECATED)).retired
    assert not ModelMetadata(name="a/b", tags=(TEXT,)).retired


def test_an_undescribed_model_is_a_full_functionality_text_model() -> None:
    model = undescribed("meta/llama")
    assert model.tags == ("TEXT_MODEL_TAG", "FULL_FUNCTIONALITY_TEXT_MODEL_TAG")
    assert model.creator_organization_name == "meta"
