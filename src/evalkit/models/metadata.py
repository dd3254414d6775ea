"""What is known of a model, whoever serves it, and the tags that wildcards select by."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Literal

from pydantic import Field, field_validator

from evalkit.errors import nearest_names
from evalkit.specs.spec import Spec

TEXT = "TEXT_MODEL_TAG"
CODE = "CODE_MODEL_TAG"
FULL_FUNCTIONALITY_TEXT = "FULL_FUNCTIONALITY_TEXT_MODEL_TAG"
LIMITED_FUNCTIONALITY_TEXT = "LIMITED_FUNCTIONALITY_TEXT_MODEL_TAG"
INSTRUCTION_FOLLOWING = "INSTRUCTION_FOLLOWING_MODEL_TAG"
ABLATION = "ABLATION_MODEL_TAG"
TEXT_TO_IMAGE = "TEXT_TO_IMAGE_MODEL_TAG"
VISION_LANGUAGE = "VISION_LANGUAGE_MODEL_TAG"
AUDIO_LANGUAGE = "AUDIO_LANGUAGE_MODEL_TAG"
DEPRECATED = "DEPRECATED_MODEL_TAG"
UNSUPPORTED = "UNSUPPORTED_MODEL_TAG"

NO_NEWLINES = "NO_NEWLINES_TAG"
NLG_PREFIX = "NLG_PREFIX_TAG"
CHATML = "CHATML_MODEL_TAG"
BUGGY_TEMP_0 = "BUGGY_TEMP_0_TAG"
ANTHROPIC_CLAUDE_1 = "ANTHROPIC_CLAUDE_1_MODEL_TAG"
ANTHROPIC_CLAUDE_2 = "ANTHROPIC_CLAUDE_2_MODEL_TAG"
ANTHROPIC_CLAUDE_3 = "ANTHROPIC_CLAUDE_3_MODEL_TAG"
OPENAI_CHATGPT = "OPENAI_CHATGPT_MODEL_TAG"

# Labels of HELM's files that select nothing here, known so that those files load.
_LABELS = (
    "IMAGE_MODEL_TAG",
    "EMBEDDING_MODEL_TAG",
    "NOVA_MODEL_TAG",
    "GOOGLE_PALM_2_MODEL_TAG",
    "GOOGLE_GEMINI_MODEL_TAG",
    "GOOGLE_GEMINI_PRO_VISION_V1_TAG",
    "GOOGLE_GEMMA_INSTRUCT_MODEL_TAG",
    "IDEFICS_MODEL_TAG",
    "IDEFICS_INSTRUCT_MODEL_TAG",
    "LLAVA_MODEL_TAG",
    "OPEN_FLAMINGO_MODEL_TAG",
    "LIMITED_FUNCTIONALITY_VLM_TAG",
    "FULL_FUNCTIONALITY_VLM_TAG",
    "PARTIAL_FUNCTIONALITY_TEXT_MODEL_TAG",
    "BEDROCK_MODEL_TAG",
    "TEXT_SIMILARITY_MODEL_TAG",
)

KNOWN_TAGS: tuple[str, ...] = (
    *(TEXT, CODE, FULL_FUNCTIONALITY_TEXT, LIMITED_FUNCTIONALITY_TEXT, INSTRUCTION_FOLLOWING, ABLATION),
    *(TEXT_TO_IMAGE, VISION_LANGUAGE, AUDIO_LANGUAGE, DEPRECATED, UNSUPPORTED),
    *(NO_NEWLINES, NLG_PREFIX, CHATML, BUGGY_TEMP_0),
    *(ANTHROPIC_CLAUDE_1, ANTHROPIC_CLAUDE_2, ANTHROPIC_CLAUDE_3, OPENAI_CHATGPT),
    *_LABELS,
)

DEFAULT_TAGS = (TEXT, FULL_FUNCTIONALITY_TEXT)
"""The tags of a model that no file describes."""

WILDCARDS: Mapping[str, tuple[str, ...]] = {
    "all": (),
    "text": (TEXT,),
    "code": (CODE,),
    "text_code": (TEXT, CODE),
    "full_functionality_text": (FULL_FUNCTIONALITY_TEXT,),
    "limited_functionality_text": (LIMITED_FUNCTIONALITY_TEXT,),
    "instruction_following": (INSTRUCTION_FOLLOWING,),
    "text_to_image": (TEXT_TO_IMAGE,),
    "vlm": (VISION_LANGUAGE,),
    "audiolm": (AUDIO_LANGUAGE,),
}
"""Wildcard to the tags it unites, in order; no tag: every model. `ablation_<name>` narrows each to the
models with the ablation tag, and `ablation` alone is `ablation_all`."""

RETIRED_WILDCARDS = frozenset(
    {"summarization_zs", "biomedical", "interactive_qa", "opinions_qa_openai", "opinions_qa_ai21"}
)
"""Wildcards of HELM's conf files that match no model any more: all of theirs are retired."""


class ModelMetadata(Spec):
    """A model, whoever serves it. Field names are HELM's."""

    name: str = Field(pattern=r"^[^\s,=:][^\s,=]*$")
    creator_organization_name: str = ""
    display_name: str = ""
    """For tables; the name if left out."""
    description: str = ""
    access: Literal["open", "limited", "closed"] = "limited"
    release_date: date | None = None
    tags: tuple[str, ...] = ()
    num_parameters: int | None = Field(default=None, ge=1)
    size_category: str = ""
    """For tables, such as `small (<10B)`."""

    @field_validator("tags")
    @classmethod
    def _known_tags(cls, tags: tuple[str, ...]) -> tuple[str, ...]:
        for tag in tags:
            if tag not in KNOWN_TAGS:
                nearest = nearest_names(tag, KNOWN_TAGS, limit=1)
                hint = f"; did you mean '{nearest[0]}'?" if nearest else ""
                raise ValueError(f"unknown tag '{tag}'{hint}")
        return tags

    @property
    def retired(self) -> bool:
        """Whether wildcards leave this model out."""
        return DEPRECATED in self.tags or UNSUPPORTED in self.tags


def undescribed(name: str) -> ModelMetadata:
    """Metadata for a model that no file describes: a full-functionality text model."""
    creator = name.split("/", 1)[0] if "/" in name else ""
    return ModelMetadata(name=name, creator_organization_name=creator, display_name=name, tags=DEFAULT_TAGS)
