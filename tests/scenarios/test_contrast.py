from __future__ import annotations

import json

from evalkit.scenarios.contrast import contrast_extra


def test_contrast_sets_are_plain_data() -> None:
    extra = contrast_extra(pair for pair in [("Not bad.", "Positive"), ("So bad.", "Negative")])
    assert extra["contrast_inputs"] == ["Not bad.", "So bad."]
    assert [refs[0]["text"] for refs in extra["contrast_references"]] == ["Positive", "Negative"]
    assert json.loads(json.dumps(extra)) == extra
