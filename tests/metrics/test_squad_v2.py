from __future__ import annotations

import evalkit.metrics.squad_v2  # noqa: F401 - registers the metrics
from tests.scoring.units import built, instance, unit


def test_no_answer_is_right_where_there_is_none() -> None:
    for name in ("squad_v2_em", "squad_v2_f1"):
        metric = built(name)
        assert metric.score(unit(instance(), "")) == {name: 1}
        assert metric.score(unit(instance(""), "something")) == {name: 0}
        assert metric.score(unit(instance("Paris", "in Paris"), "paris")) == {name: 1}
        assert metric.score(unit(instance("Paris"), "")) == {name: 0}


def test_the_model_may_say_so_in_words() -> None:
    metric = built("squad_v2_em", no_answer="Unanswerable")
    assert metric.score(unit(instance(), " unanswerable\n")) == {"squad_v2_em": 1}
    assert metric.score(unit(instance("Paris"), "unanswerable")) == {"squad_v2_em": 0}
