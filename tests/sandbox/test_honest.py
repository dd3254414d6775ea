"""Right programs pass, whatever of Python's library they use; wrong ones fail with what was wrong."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from evalkit.sandbox import cgroup
from evalkit.sandbox.execute import run_program
from evalkit.sandbox.program import Checks, Limits, Program
from evalkit.sandbox.program_result import ProgramResult

TIME_S = 60.0
_RIGHT = {
    "temporary files": """
import tempfile
def f():
    with tempfile.TemporaryDirectory() as folder, open(f"{folder}/a", "w+") as file:
        file.write("x" * 2_000_000)
        file.seek(0)
        return len(file.read())
""",
    "working folder": """
import os
def f():
    open("made", "w").write("1")
    os.mkdir("folder"); os.rename("made", "folder/made"); os.symlink("folder/made", "link")
    return os.getcwd(), open("link").read(), os.listdir("folder")
""",
    "threads": """
from concurrent.futures import ThreadPoolExecutor
def f():
    with ThreadPoolExecutor(8) as pool: return sum(pool.map(abs, range(-100, 0)))
""",
    "coroutines": """
import asyncio
async def one(n):
    await asyncio.sleep(0)
    return n
async def all_of(): return await asyncio.gather(*(one(n) for n in range(5)))
def f(): return asyncio.run(all_of())
""",
    "recursion": """
import sys
sys.setrecursionlimit(100_000)
def depth(n): return 0 if n == 0 else 1 + depth(n - 1)
def f(): return depth(50_000)
""",
    "decimal": "from decimal import Decimal\ndef f(): return Decimal('0.1') + Decimal('0.2')",
    "fractions": "from fractions import Fraction\ndef f(): return Fraction(1, 3) + Fraction(1, 6)",
    "regular expressions": "import re\ndef f(): return re.findall(r'(\\w)(\\d+)', 'a1 b22')",
    "raising again": """
def f():
    try:
        try: 1 / 0
        except ZeroDivisionError as error: raise ValueError("again") from error
    except ValueError as error: return str(error), type(error.__cause__).__name__
""",
    "printing 10 MB": "def f():\n    print('x' * 10_000_000)\n    return 1",
    "large integers": "def f(): return 3 ** 100_000 % 1_000_003, 2 ** 20_000",
    "collections": """
from collections import Counter, OrderedDict, defaultdict, namedtuple
def f():
    counts = defaultdict(int)
    counts["a"] += 1
    return Counter("aab"), OrderedDict(b=1), counts, namedtuple("P", "x y")(1, 2)
""",
    "iterators": "import itertools\ndef f(): return itertools.islice(itertools.count(), 3)",
    "generators": "def f():\n    yield from range(3)",
    "sets": "def f(): return {1, 2}, frozenset('ab'), {'a': 1}.keys()",
    "enumerations": "import enum\nclass A(enum.IntEnum):\n    X = 3\ndef f(): return A.X",
    "texts": "def f(): return 'é😀\\ud800', b'\\xff', bytearray(b'a'), 'x'.encode('utf-16-le')",
    "numbers": "import math\ndef f(): return math.inf, -0.0, 1 + 2j, math.pi, True, None",
    "libraries": """
import bisect, calendar, csv, datetime, hashlib, heapq, io, json, math, operator, random, sqlite3, statistics
import string, typing, unicodedata, uuid, zlib
def f():
    random.seed(1)
    database = sqlite3.connect(":memory:")
    return hashlib.md5(b"a").hexdigest(), json.dumps({"a": [1]}), database.execute("select 1").fetchone()
""",
    "a server of its own": """
import socket
def f():
    with socket.create_server(("127.0.0.1", 0)) as server:
        with socket.create_connection(server.getsockname()) as client:
            client.sendall(b"hello")
            with server.accept()[0] as taken: return taken.recv(5)
""",
    "a main block": "def f(): return 7\nif __name__ == '__main__':\n    raise SystemExit",
    "memory": "def f():\n    held = bytearray(500 << 20)\n    return len(held)",
    "no input": "import sys\ndef f(): return sys.stdin.read()",
    "globals": "n = 0\ndef f():\n    global n\n    n += 1\n    return n",
}
_ANSWERS = {
    "temporary files": "2_000_000",
    "working folder": "('/tmp', '1', ['made'])",
    "threads": "5050",
    "coroutines": "[0, 1, 2, 3, 4]",
    "recursion": "50_000",
    "decimal": "__import__('decimal').Decimal('0.3')",
    "fractions": "0.5",
    "regular expressions": "[('a', '1'), ('b', '22')]",
    "raising again": "('again', 'ZeroDivisionError')",
    "printing 10 MB": "1",
    "large integers": "(pow(3, 100_000, 1_000_003), 1 << 20_000)",
    "collections": "({'a': 2, 'b': 1}, {'b': 1}, {'a': 1}, (1, 2))",
    "iterators": "[0, 1, 2]",
    "generators": "[0, 1, 2]",
    "sets": "({1, 2}, {'a', 'b'}, {'a'})",
    "enumerations": "3",
    "texts": "('é😀\\ud800', b'\\xff', bytearray(b'a'), b'x\\x00')",
    "numbers": "(float('inf'), 0.0, 1 + 2j, 3.141592653589793, True, None)",
    "libraries": "('0cc175b9c0f1b6a831c399e269772661', '{\"a\": [1]}', (1,))",
    "a server of its own": "b'hello'",
    "a main block": "7",
    "memory": "500 << 20",
    "no input": "''",
    "globals": "1",
}


def test_right_programs_pass(sandbox: None) -> None:
    def verdict(name: str) -> object:
        got = "list(f())" if name in ("iterators", "generators") else "f()"
        checks = Checks(f"got = {got}\nassert got == {_ANSWERS[name]}, got", ("f",))
        return run_program(Program(_RIGHT[name], checks, Limits(TIME_S)))

    with ThreadPoolExecutor(4) as pool:
        found = dict(zip(_RIGHT, pool.map(verdict, _RIGHT), strict=True))
    assert {name: one for name, one in found.items() if getattr(one, "ending", "") != "passed"} == {}


@pytest.mark.parametrize(
    ("source", "test", "message"),
    [
        ("def f(): return 1", "assert f() == 2, 'not two'", "AssertionError: not two"),
        (
            "def f(): return 1",
            "def check(g):\n\n    assert g() == 1\n    assert g() == 2\ncheck(f)",
            "g() == 2",
        ),
        ("def f(): assert 0", "assert f() is None", "AssertionError: assert f() is None"),
        ("def f(): raise ValueError('x')", "f()", "ValueError: x"),
        ("class E(Exception): pass\ndef f(): raise E('own')", "f()", "E: own"),
        ("def f(: pass", "f()", "SyntaxError"),
        ("import numpy\ndef f(): pass", "f()", "No module named 'numpy'"),
        ("def g(): pass", "f()", "NameError: name 'f'"),
        ("import os\ndef f(): os._exit(0)", "f()", "the process was killed"),
    ],
)
def test_what_was_wrong_is_said(source: str, test: str, message: str, sandbox: None) -> None:
    verdict = run_program(Program(source, Checks(test, ("f",)), Limits(TIME_S)))
    assert verdict.ending == "failed"
    assert message in verdict.message


@pytest.mark.parametrize(
    "test",
    [
        "given = [3, 1]\nassert f(given) is None and given == [1, 3]",
        "given = {'a': [1]}\ng(given)\nassert given == {'a': [1], 'b': 2}",
        "try: h()\nexcept ZeroDivisionError: pass\nelse: raise AssertionError",
        "assert f(iter([2, 1])) == [1, 2] and list(g(range(3))) == [0, 1, 2]",
        "print('passed')\nassert f([]) is None",
        "assert g(g(g({}))) == {'b': 2}",
        "class Own: pass\nassert f([], Own()) is None",
        "assert f(given=[2, 1]) is None",
    ],
)
def test_tests_see_the_program_as_if_it_were_beside_them(test: str, sandbox: None) -> None:
    source = """
def f(given, _=None):
    if not isinstance(given, list): return sorted(given)
    given.sort()
def g(given):
    if isinstance(given, dict): given["b"] = 2
    return given
def h(): return 1 / 0
"""
    assert run_program(Program(source, Checks(test, ("f", "g", "h")), Limits(TIME_S))).has_passed


def test_tests_that_print_say_nothing_about_the_verdict(sandbox: None) -> None:
    test = "import os, sys\nprint('passed', flush=True)\nos.write(1, b'passed\\n')\nassert f() == 1"
    assert not run_program(Program("def f(): return 2", Checks(test, ("f",)), Limits(TIME_S))).has_passed


def test_long_programs_and_tests_are_delivered(sandbox: None) -> None:
    long = "# " + "x" * 1_000_000 + "\n"
    test = Checks(f"{long}assert f('y' * 3_000_000) == 3_000_000", ("f",))
    assert run_program(Program(f"{long}def f(x): return len(x)", test, Limits(TIME_S))).has_passed
    assert run_program(Program("while True: pass", test, Limits(0.3))).ending == "timeout"


_AT_ONCE = """
import threading
def f(number):
    stop, held, started = threading.Event(), [], []
    def work():
        held.append(bytearray(1 << 16))
        stop.wait()
    try:
        for _ in range(number):
            thread = threading.Thread(target=work)
            thread.start()
            started.append(thread)
    finally:
        stop.set()
        for thread in started: thread.join()
    return len(held)
"""


@pytest.fixture(params=["control group", "no control group", "large stacks"])
def machine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine with control groups, one without, and one that gives each thread a stack of 64 MiB."""
    if request.param == "no control group":
        monkeypatch.setattr(cgroup, "_parents", lambda: ())
    was, most = resource.getrlimit(resource.RLIMIT_STACK)
    if request.param == "large stacks":
        if most != resource.RLIM_INFINITY and most < 64 << 20:
            pytest.skip(f"stacks can't be larger than {most} bytes here")
        resource.setrlimit(resource.RLIMIT_STACK, (64 << 20, most))
    yield
    resource.setrlimit(resource.RLIMIT_STACK, (was, most))


def test_all_threads_that_a_program_may_start_fit_into_its_memory(sandbox: None, machine: None) -> None:
    most = Limits().threads

    def verdict(number: int) -> ProgramResult:
        return run_program(
            Program(_AT_ONCE, Checks(f"assert f({number}) == {number}", ("f",)), Limits(TIME_S))
        )

    assert verdict(most) == verdict(most - 1) == ProgramResult("passed")
    assert verdict(most + 1) == ProgramResult("failed", "RuntimeError: can't start new thread")


def test_threads_leave_room_for_data(sandbox: None, machine: None) -> None:
    source = f"{_AT_ONCE}\ndef g():\n    held = bytearray(600 << 20)\n    return f(32) and len(held)"
    assert run_program(Program(source, Checks("assert g() == 600 << 20", ("g",)), Limits(TIME_S))).has_passed
