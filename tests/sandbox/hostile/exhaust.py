"""Attacks on limits: memory, disk, time; each for all that a program starts together."""

from __future__ import annotations

from collections.abc import Iterator

from tests.sandbox.hostile.attack import CALLS, Attack, acts, lasts

_FULL = (
    "MemoryError|Cannot allocate|killed|refused|PermissionError|can't start|FileNotFound|No space|too large"
    "|Too many"
)
_WRONG = "def attack(): return None\n"


def memory() -> Iterator[Attack]:
    for body in (
        "bytearray(4 << 30)",
        "bytearray(1536 << 20)",
        "held = [bytearray(256 << 20) for _ in range(5)]",
        "import mmap\nheld = [mmap.mmap(-1, 256 << 20) for _ in range(5)]",
        "import mmap\nheld = mmap.mmap(-1, 2 << 30, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)",
        "'x' * (2 << 30)",
        "range(10 ** 12).__len__()\nlist(range(10 ** 9))",
        "import os\nos.memfd_create('x')",
        "from multiprocessing import shared_memory\nshared_memory.SharedMemory(create=True, size=1 << 28)",
        "import array\nheld = array.array('q', bytes(8)) * (1 << 28)",
    ):
        yield acts("memory", body, why=_FULL)
    for number, size in ((29, "1 << 28"), (194, "1 << 28")):
        machine = "x86_64" if number == 29 else "aarch64"
        body = f"import platform\nassert platform.machine() == {machine!r}, 'refused'"
        yield acts("memory", f"{body}\ncall({number}, 0, {size}, 0o1600)", before=CALLS, why="refused")
    for name in ("shmget(0, 1 << 28, 0o1600)", "msgget(0, 0o1600)", "semget(0, 250, 0o1600)"):
        body = f"if libc.{name} < 0: raise OSError(ctypes.get_errno(), 'refused')"
        yield acts("memory", body, before=CALLS, why="refused")
    lock = "libc.mlock(ctypes.create_string_buffer(1 << 20), 1 << 20)"
    body = f"if {lock}: raise OSError(ctypes.get_errno(), 'refused')"
    yield acts("memory", body, before=CALLS, why="refused")
    threads = """
import threading
threading.stack_size(64 << 10)
stop = threading.Event()
try:
    for _ in range(200): threading.Thread(target=stop.wait, daemon=True).start()
finally:
    stop.set()
"""
    yield acts("memory", threads, why="can't start")
    each = """
import threading
held, failed, stop = [], [], threading.Event()
def hold():
    try: held.append(bytearray(48 << 20))
    except MemoryError as error: failed.append(error)
    stop.wait()
threads = [threading.Thread(target=hold) for _ in range(32)]
try:
    for thread in threads: thread.start()
finally:
    stop.set()
for thread in threads: thread.join()
if failed: raise failed[0]
"""
    yield acts("memory", each, why=_FULL)
    yield acts("memory", "import os\nheld = [os.pipe() for _ in range(200)]", why="Too many open files")
    yield acts(
        "memory", "import socket\nheld = [socket.socketpair() for _ in range(200)]", why="Too many open files"
    )


def disk() -> Iterator[Attack]:
    for body in (
        "open('a', 'wb').write(bytes(64 << 20))",
        "for i in range(40): open(str(i), 'wb').write(bytes(1 << 20))",
        "open('a', 'wb').truncate(1 << 40)",
        "import os\nos.posix_fallocate(os.open('a', os.O_CREAT | os.O_RDWR), 0, 64 << 20)",
        "import os\nos.mkdir('/dev/shm')",
        "import sqlite3\nd = sqlite3.connect('a')\nd.execute('create table t (x)')\n"
        "for _ in range(40): d.execute('insert into t values (zeroblob(1000000))')\nd.commit()",
    ):
        yield acts("disk", body, why=f"{_FULL}|OSError|full|disk|Read-only|Error")
    many = """
import os, time
for i in range(10 ** 9):
    os.close(os.open(str(i), os.O_CREAT | os.O_WRONLY))
"""
    yield Attack(
        "disk", f"def attack(): pass\n{many}", "", "more than 4096 files|No space|killed|not finished"
    )
    folders = "import os\nfor i in range(10 ** 9):\n    os.mkdir(str(i))"
    yield Attack(
        "disk", f"def attack(): pass\n{folders}", "", "more than 4096 files|No space|killed|not finished"
    )
    trickle = """
import os, sys
frame = sys._getframe()
while 'replies' not in frame.f_locals: frame = frame.f_back
replies = frame.f_locals['replies']
os.write(replies, (1 << 20).to_bytes(8, 'little'))
for i in range(10 ** 9):
    os.close(os.open(str(i), os.O_CREAT | os.O_WRONLY))
    if i % 100 == 0: os.write(replies, b'x')
"""
    yield Attack("disk", trickle, "", "more than 4096 files|No space|killed|not finished")


def time() -> Iterator[Attack]:
    for body in (
        "while True: pass",
        "import time\ntime.sleep(10 ** 6)",
        "import signal\nsignal.pause()",
        "import threading\nthreading.Lock().acquire() and threading.Event().wait()",
        "import re\nre.match(r'(a+)+$', 'a' * 64 + 'b')",
        "import os\nos.kill(os.getpid(), 19)",
        "import os\nos.read(os.pipe()[0], 1)",
        "import select\nselect.select([], [], [])",
        "import signal\nfor n in range(1, 65):\n    try: signal.signal(n, signal.SIG_IGN)\n"
        "    except (OSError, ValueError): pass\nwhile True: pass",
        "while True:\n    try:\n        while True: pass\n    except BaseException: pass",
        "import threading\nthreading.Thread(target=lambda: sum(iter(int, 1))).start()\nwhile True: pass",
        "sum(iter(int, 1))",
        "10 ** (10 ** 10)",
    ):
        indented = body.replace("\n", "\n    ")
        yield lasts("time", f"{body}\n{_WRONG}")
        yield lasts("time", f"def attack():\n    {indented}\n")
    yield lasts(
        "time", "import atexit, time\natexit.register(time.sleep, 10**6)\nraise SystemExit", ending=""
    )
    yield lasts(
        "time",
        "import time\nclass Slow:\n    def __del__(self): time.sleep(10 ** 6)\ndef attack():\n    Slow()\n",
    )
    yield lasts(
        "time",
        "import threading\nfor _ in range(20):\n"
        "    threading.Thread(target=lambda: sum(iter(int, 1))).start()\ndef attack(): return None\n",
        ending="",
    )


def all_attacks() -> Iterator[Attack]:
    for group in (memory, disk, time):
        yield from group()
