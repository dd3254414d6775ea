"""The leaderboards that come with evalkit; each is a YAML file next to this module."""

from __future__ import annotations

from pathlib import Path

from evalkit.leaderboards.tree import LeaderboardTree
from evalkit.leaderboards.tree_file import read_leaderboard
from evalkit.registry import leaderboard

_FOLDER = Path(__file__).parent


@leaderboard("neo")
def neo() -> LeaderboardTree:
    """Nejumi's Neo: jaster in Japanese and English without and with examples, and both MT-Benches."""
    return read_leaderboard(_FOLDER / "neo.yaml")


@leaderboard("nejumi3")
def nejumi3() -> LeaderboardTree:
    """Nejumi 3: the mean of general language performance (GLP) and alignment (ALT)."""
    return read_leaderboard(_FOLDER / "nejumi3.yaml")


@leaderboard("nejumi4")
def nejumi4() -> LeaderboardTree:
    """Nejumi 4: GLP in three levels and ALT, of which some categories count twice in the total."""
    return read_leaderboard(_FOLDER / "nejumi4.yaml")


@leaderboard("mt_bench")
def mt_bench() -> LeaderboardTree:
    """MT-Bench of one language: by category, by turn, and the means over categories and over items."""
    return read_leaderboard(_FOLDER / "mt_bench.yaml")


@leaderboard("helm_lite")
def helm_lite() -> LeaderboardTree:
    """HELM Lite: the mean win rate over ten scenarios."""
    return read_leaderboard(_FOLDER / "helm_lite.yaml")
