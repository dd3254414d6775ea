"""Which of MT-Bench's questions a config asks, as positions."""

from __future__ import annotations

from evalkit.interchange.nejumi.config_file import Config
from evalkit.interchange.nejumi.later_config import LaterConfig, LaterMtBench
from evalkit.interchange.nejumi.neo_config import NeoConfig, NeoMtBench


def positions_of(
    config: Config[NeoConfig] | Config[LaterConfig], settings: NeoMtBench | LaterMtBench
) -> dict[str, str]:
    """`question_begin` and `question_end` of the run entry, where they are not those of all questions.

    Raises:
        ConfigError: Two keys say where the questions end, or they end where they begin.
    """
    begin, end = settings.question_begin, settings.question_end
    if settings.first_n is not None:
        if end is not None:
            config.fail(
                "mtbench.first_n", "question_end says where the questions end too; remove one of them"
            )
        end = (begin or 0) + settings.first_n
    if end is not None and end <= (begin or 0):
        config.fail(
            "mtbench.question_end", f"the questions begin at {begin} and end at {end}; make it larger"
        )
    positions = {"question_begin": begin, "question_end": end}
    return {name: str(value) for name, value in positions.items() if value is not None}
