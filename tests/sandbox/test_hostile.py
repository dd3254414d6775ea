"""Hostile programs: none passes, all get a verdict, nothing outside is touched, nothing survives."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import groupby
from uuid import uuid4

import pytest

from evalkit.sandbox import cgroup
from evalkit.sandbox.execute import run_program
from evalkit.sandbox.program import Checks, Limits, Program
from evalkit.sandbox.program_result import ProgramResult
from tests.sandbox.hostile import exhaust, forge, reach
from tests.sandbox.hostile.attack import Attack
from tests.sandbox.outside import Outside, no_child_left, outside

ATTACKS = sorted(
    (*reach.all_attacks(), *forge.all_attacks(), *exhaust.all_attacks()), key=lambda attack: attack.kind
)
BY_KIND = {kind: list(attacks) for kind, attacks in groupby(ATTACKS, lambda attack: attack.kind)}
AT_ONCE = 6
# An attack that fails by one of these has a mistake of its own, unless it says so.
MISTAKES = re.compile(r"(Name|Syntax|Attribute|Type|Import|ModuleNotFound|Indentation|UnboundLocal|Key)Error")


def verdict_on(attack: Attack, world: Outside) -> ProgramResult:
    """The verdict; to pass, the program has to answer what only a successful attack can."""
    answer = attack.answer
    if answer is None:
        answer = world.secret if attack.kind == "reading files" else uuid4().hex
    checks = Checks(f"answer = attack()\nassert {answer!r} == answer", ("attack",))
    return run_program(Program(world.filled(attack.source), checks, Limits(time_s=attack.time_s)))


def what_went_wrong(attack: Attack, verdict: ProgramResult) -> str:
    """Nothing, if an attack ended as it must."""
    if verdict.has_passed or (attack.ending and verdict.ending != attack.ending):
        return f"{verdict} after {attack.source}"
    if attack.why and not re.search(attack.why, verdict.message):
        return f"{verdict}, not '{attack.why}', after {attack.source}"
    if (
        not attack.why
        and attack.kind not in ("words", "frames", "patching")
        and MISTAKES.search(verdict.message)
    ):
        return f"{verdict}: a mistake in {attack.source}"
    return ""


def all_wrong(attacks: Sequence[Attack]) -> list[str]:
    """What went wrong, and nothing is left."""
    with no_child_left():
        return wrong_verdicts(attacks)


def wrong_verdicts(attacks: Sequence[Attack]) -> list[str]:
    """What went wrong, run side by side as metrics may."""
    with outside() as world, ThreadPoolExecutor(AT_ONCE) as pool:
        verdicts = list(pool.map(lambda attack: verdict_on(attack, world), attacks))
        wrong = [what_went_wrong(*pair) for pair in zip(attacks, verdicts, strict=True)]
        return [*filter(None, wrong), *world.traces()]


def test_there_are_enough() -> None:
    assert len(ATTACKS) >= 200
    assert len({attack.source for attack in ATTACKS}) >= 200


@pytest.mark.parametrize("kind", BY_KIND)
def test_hostile_programs(kind: str, sandbox: None) -> None:
    assert all_wrong(BY_KIND[kind]) == []


@pytest.mark.parametrize("kind", ["memory", "processes", "disk"])
def test_limits_hold_without_a_control_group(
    kind: str, sandbox: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cgroup, "_parents", lambda: ())
    assert all_wrong(BY_KIND[kind]) == []


def test_the_traces_are_found(sandbox: None) -> None:
    """The same attacks, outside a sandbox, leave their traces; so the tests above can fail."""
    kinds = ("sockets", "FIFOs", "terminals")
    with outside() as world:
        made = "import pathlib\ndef attack(): pathlib.Path('{outside}/made').touch()"
        sources = [*(next(attack.source for attack in BY_KIND[kind]) for kind in kinds), made]
        for source in sources:
            program = world.filled(f"{source}\nattack()")
            subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
        assert len(world.traces()) == len(kinds) + 1
    world_answers = Attack("reading files", "def attack(): return 'x'", answer="x")
    with outside() as world:
        assert verdict_on(world_answers, world).has_passed
        assert what_went_wrong(world_answers, verdict_on(world_answers, world))
        assert not verdict_on(replace(world_answers, answer=None), world).has_passed
