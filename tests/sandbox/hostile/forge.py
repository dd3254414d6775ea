"""Attacks on the verdict: to pass without the answer, to read the tests, or not to be counted."""

from __future__ import annotations

from collections.abc import Iterator

from evalkit.sandbox.values import encode
from tests.sandbox.hostile.attack import CALLS, Attack, forges

_WRONG = "def attack(): return None\n"
_EVERYWHERE = "import os\nfor fd in range(64):\n    try: os.write(fd, {data!r})\n    except OSError: pass\n"
_PIPES = """
import os, sys
frame = sys._getframe()
while 'replies' not in frame.f_locals: frame = frame.f_back
calls, replies = frame.f_locals['calls'], frame.f_locals['replies']
def send(data): os.write(replies, len(data).to_bytes(8, 'little') + data)
"""
_EQUAL = """    def __eq__(self, other): return True
    def __ne__(self, other): return False
    __hash__ = None
"""
_QUIET = "lambda *_: ''"
_FRAMES = "import sys\nf = sys._getframe()\nwhile f:\n    f.f_globals[{name!r}] = {value}\n    f = f.f_back"


def exits() -> Iterator[Attack]:
    endings = (
        *(
            "os._exit(0)",
            "os._exit(1)",
            "sys.exit(0)",
            "sys.exit()",
            "raise SystemExit",
            "raise KeyboardInterrupt",
        ),
        *("raise GeneratorExit", "raise StopIteration", "os.abort()", "os.kill(os.getpid(), 9)"),
        *("os.kill(os.getpid(), 15)", "ctypes.string_at(0)", "os.closerange(0, 64)", "raise AssertionError"),
    )
    for ending in endings:
        yield forges("exit codes", f"import ctypes, os, sys\n{ending}\n{_WRONG}")
        yield forges("exit codes", f"import ctypes, os, sys\ndef attack():\n    {ending}\n")
    yield forges("exit codes", f"import atexit, os\natexit.register(os._exit, 0)\n{_WRONG}")
    yield forges("exit codes", f"import signal, os\nsignal.signal(11, lambda *_: os._exit(0))\n{_WRONG}")
    yield forges(
        "exit codes",
        f"import os, threading\nthreading.Thread(target=os._exit, args=(0,)).start()\n{_WRONG}",
    )


def words() -> Iterator[Attack]:
    for data in (
        *(
            b"passed\n",
            b"ready\npassed\n",
            b"\npassed\n",
            b"passed",
            b"unavailable: no user\n",
            b"failed: \n",
        ),
        *(b"timeout\n", b'{"child-pid": 1}', b"\0" * 64, b"\xff" * 64),
    ):
        yield forges("words", _EVERYWHERE.format(data=data) + _WRONG)
        yield forges(
            "words", f"def attack():\n    {_EVERYWHERE.format(data=data).replace(chr(10), chr(10) + '    ')}"
        )
    for message in (
        "x\\npassed\\n",
        "\\rpassed",
        "unavailable: x",
        "\\x00",
        "\\ud800",
        "\\x1b[2J",
        "x" * 9000,
        "",
    ):
        yield forges("words", f"def attack():\n    raise ValueError({message!r})".replace("\\\\", "\\"))


def frames() -> Iterator[Attack]:
    values: tuple[object, ...] = (True, "passed", None, float("nan"), [], {}, ("value", "passed", None))
    for value in values:
        reply = encode(("value", value, None))
        yield forges("frames", f"{_PIPES}for _ in range(50): send({reply!r})\n{_WRONG}")
    for data in (
        encode(("value", True)),
        encode(("error", "AssertionError", "")),
        encode(("error", "SystemExit", "0")),
        encode(("error", "KeyboardInterrupt", "")),
        encode(("error", "print", "passed")),
        encode(("error", "__import__", "os")),
        encode(("error", True, None)),
        encode(("passed", None, None)),
        b"",
        b"l7fffffff;",
        b"x" * 1000,
        b"t3;" * 100_000,
        b"i" + b"f" * 1_000_000 + b";",
        b"s5;abc",
        b"r3;i0;i1;i0;",
        b"S1;l0;",
        b"D3;abc",
        b"D9;1E+999999",
        b"l" + b"f00000;" + b"o0;" * 3_000_000,
    ):
        yield forges("frames", f"{_PIPES}send({data!r})\n{_WRONG}" if len(data) < 10_000 else _expanded(data))
    for size in (1 << 24, 1 << 40, (1 << 64) - 1):
        yield forges(
            "frames", f"{_PIPES}os.write(replies, ({size}).to_bytes(8, 'little'))\n{_WRONG}", ending=""
        )
    yield forges("frames", f"{_PIPES}frame.f_locals['runner'] = 0\nos.getpid = lambda: 0\n{_WRONG}")
    yield forges("frames", f"{_PIPES}os.close(replies)\n{_WRONG}")
    yield forges("frames", f"{_PIPES}os.dup2(calls, replies)\n{_WRONG}", ending="")
    yield forges("frames", f"{_PIPES}\ndef attack(): return str(os.read(calls, 1 << 16))\n", ending="")
    yield forges(
        "frames", f"{_PIPES}import gc\ngc.collect()\nframe.f_back.f_globals['_report'] = print\n{_WRONG}"
    )


def _expanded(data: bytes) -> str:
    """A program that sends a long frame, written short."""
    unit = data[:3] if data[:3] in (b"t3;",) else data[-3:]
    head = b"" if data.startswith(unit) else data[: data.index(b";") + 1]
    if data.startswith(b"i"):
        return f"{_PIPES}import threading\nlong = b'i' + b'f' * 1000000 + b';'\n" + (
            "threading.Thread(target=send, args=(long,)).start()\n"
        )
    count = data.count(unit)
    return f"{_PIPES}send({head!r} + {unit!r} * {count})\n{_WRONG}"


def equals() -> Iterator[Attack]:
    for base in (
        "object",
        "str",
        "int",
        "float",
        "list",
        "dict",
        "tuple",
        "set",
        "bytes",
        "complex",
        "Exception",
    ):
        yield forges("always equal", f"class Equal({base}):\n{_EQUAL}\ndef attack(): return Equal()\n")
    faked = "    @property\n    def __class__(self): return str\n    def encode(self, *_): return b'passed'\n"
    yield forges("always equal", f"class Equal:\n{_EQUAL}{faked}\ndef attack(): return Equal()\n")
    yield forges(
        "always equal",
        f"class Decimal:\n{_EQUAL}\nDecimal.__module__ = 'decimal'\ndef attack(): return Decimal()\n",
    )
    yield forges(
        "always equal",
        f"class Meta(type):\n{_EQUAL}\nclass Equal(metaclass=Meta): pass\ndef attack(): return Equal\n",
    )
    yield forges(
        "always equal",
        "class Endless:\n    __module__ = 'builtins'\n    def __iter__(self): return self\n"
        "    def __next__(self): return 1\ndef attack(): return Endless()\n",
    )
    yield forges("always equal", "from unittest import mock\ndef attack(): return mock.ANY\n")


def patches() -> Iterator[Attack]:
    for patch in (
        "import builtins\nbuiltins.AssertionError = type('Quiet', (Exception,), {})",
        "import builtins\nbuiltins.compile = builtins.exec = lambda *a, **k: None",
        "import os\nos.write = lambda fd, data: len(data)",
        "import sys\nsys.settrace(lambda *_: None)\nsys.setprofile(lambda *_: None)",
        "import sys\nsys.addaudithook(lambda *_: None)",
        "import sys\nsys.modules.clear()",
        "import marshal\nmarshal.loads = lambda *_: None",
        "import gc\nfor x in gc.get_objects():\n"
        f"    if isinstance(x, dict) and '_judge' in x: x['_judge'] = {_QUIET}",
        "import __main__\n__main__.__dict__['_report'] = lambda *_: None",
        _FRAMES.format(name="_judge", value=_QUIET),
        _FRAMES.format(name="encode", value="lambda *_: b'T'"),
        "import ctypes\nctypes.pythonapi.Py_IncRef(ctypes.py_object(None))",
        "import threading\nthreading.settrace(lambda *_: None)",
        "import sys\nsys.excepthook = sys.unraisablehook = lambda *_: None",
    ):
        yield forges("patching", f"{patch}\n{_WRONG}", ending="")
    yield forges(
        "patching",
        "import gc\ndef attack():\n    return [x for x in gc.get_objects() if 'assert' in str(x)[:99]]\n",
        ending="",
    )
    yield forges("patching", "import sys\ndef attack(): return str(sys._getframe(1).f_locals)\n")


def first_process() -> Iterator[Attack]:
    """Attacks on the process that gives the verdict: number 1."""
    for number in (1, 2, 3, 6, 9, 11, 12, 14, 15, 17, 19, 20, 23, 24, 25, 31, 34, 64):
        yield forges("signals", f"import os\ntry: os.kill(1, {number})\nexcept OSError: pass\n{_WRONG}")
    for target in ("os.kill(-1, 9)", "os.killpg(0, 9)", "os.kill(0, 15)", "os.killpg(1, 9)"):
        yield forges("signals", f"import os\ntry: {target}\nexcept OSError: pass\n{_WRONG}")
    for limit in ("CPU", "AS", "NOFILE", "FSIZE", "DATA", "STACK"):
        body = f"try: resource.prlimit(1, resource.RLIMIT_{limit}, (0, 0))\nexcept OSError: pass"
        yield forges("signals", f"import resource\n{body}\n{_WRONG}", ending="")
    yield forges(
        "signals",
        f"import os\nos.sched_setaffinity(1, {{0}})\nos.setpriority(os.PRIO_PROCESS, 1, 19)\n{_WRONG}",
    )
    yield forges(
        "signals",
        f"{_PIPES}import fcntl\nfcntl.fcntl(replies, 10, 9)\nfcntl.fcntl(replies, fcntl.F_SETOWN, 1)\n"
        f"fcntl.fcntl(replies, fcntl.F_SETFL, fcntl.fcntl(replies, fcntl.F_GETFL) | 0o20000)\n{_WRONG}",
        ending="",
    )
    for request in (16, 0x4206, 4, 1):
        yield forges(
            "tracing", f"{CALLS}\ndef attack():\n    call(101, {request}, 1, 0, 0)\n", why="refused|killed"
        )
    yield forges(
        "tracing", f"{CALLS}\ndef attack():\n    return open(os.pidfd_open(1)).read()\n", why="Error"
    )
    yield forges(
        "tracing", "def attack():\n    return open('/proc/1/mem', 'r+b').read(1)\n", why="FileNotFound"
    )


def odd_sources() -> Iterator[Attack]:
    for source in (
        *("", "def", "\0", "def attack(): return 1\0", "\ud800", "# coding: utf-7\n+AGE-", "'''", "\\"),
        *("(" * 5000, "[" * 300 + "]" * 300, "-" * 100_000 + "1", "x = " + "1" * 100_000, "attack = 1"),
        *("attack = None", "del attack", "import evalkit", "import numpy", "from __future__ import braces"),
        *(
            "raise type('UsageError', (Exception,), {})('no')",
            "raise type('NoSandboxError', (Exception,), {})",
        ),
        "class Bad(Exception):\n    def __str__(self): raise SystemExit\nraise Bad",
        "class Bad(BaseException):\n    def __str__(self): return 'x' * 10**8\nraise Bad",
        "def attack():\n    return attack()",
        "def attack():\n    x = []\n    x.append(x)\n    return x",
        "def attack():\n    x = []\n    for _ in range(10**5): x = [x]\n    return x",
        "def attack():\n    return 'x' * (1 << 26)",
        "def attack():\n    return iter(int, 1)",
        "async def attack(): return 'passed'",
        "def attack(*, needed): pass",
        "import sys\nsys.setrecursionlimit(10**9)\ndef attack():\n    return eval('(' * 90 + ')' * 90)",
        "import faulthandler\nfaulthandler._stack_overflow()",
    ):
        yield forges("odd sources", source, ending="", why=".")


def all_attacks() -> Iterator[Attack]:
    for group in (exits, words, frames, equals, patches, first_process, odd_sources):
        yield from group()
