"""The two processes of a sandbox; its code is sent there and runs under `python -I -S`.

`supervise` runs in the first process, which nothing in the sandbox can signal, trace or read. It makes itself
an ordinary user, starts the second process, and only then asks for a program and its tests. The program runs
in the second (`_serve`), which has two pipes to the first, for calls and their results, and nothing else. The
tests run in the first: the program never sees them, and the verdict is not its to give.

Uses `evalkit.sandbox.values`, which is sent along, and the standard library.
"""

from __future__ import annotations

import builtins
import marshal
import os
import sys

from evalkit.sandbox.values import decode, encode

TYPE_CHECKING = False  # the import of `typing` would take as long as a short program
if TYPE_CHECKING:
    from typing import Any, NoReturn

# From the kernel's headers: prctl.h, seccomp.h.
_SET_PARENT_DEATH_SIGNAL, _SET_DUMPABLE, _SET_NO_NEW_PRIVILEGES, _SET_SECCOMP, _FILTER = 1, 4, 38, 22, 2
_SIGKILL = 9
_MAX_MESSAGE, _MAX_REPLY_BYTES = 200, 16 << 20
_TESTS, _TESTS_BYTES = "<tests>", 512 << 20
_MALLOC_ARENAS = -8  # glibc's malloc.h: M_ARENA_MAX
_THREAD_STACK_BYTES = 8 << 20
_ROOM_FOR_ATTRIBUTES = 256  # of a thread; glibc's pthread_attr_t has up to 64 bytes
_POLL_S = 0.05


class _ProgramError(Exception):
    """The program raised its own exception class."""


class _EndedError(BaseException):
    """The program's process ended, went over a limit or broke the protocol; no test takes it for an error."""


def supervise(settings: dict[str, Any]) -> NoReturn:
    """Isolate, say so, take a program and its tests from standard input, and report on standard output."""
    import _thread
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    if os.getpid() != 1:
        raise OSError("another process is the sandbox's first, which alone can't be signalled from within")
    _become_ordinary(settings["user_id"])
    # A change of user forgets this, so it has to be said here again.
    _control(libc, _SET_PARENT_DEATH_SIGNAL, _SIGKILL)
    _control(libc, _SET_DUMPABLE, 0)
    _limit(settings)
    _save_address_space(libc)
    if settings["sandbox_filter"]:  # else it is loaded already
        _filter(libc, settings["sandbox_filter"])
    calls, calls_write = os.pipe()
    replies_read, replies = os.pipe()
    _ignore_interrupts()
    if os.fork() == 0:
        try:
            _close_all_but(calls, replies)
            _filter(libc, settings["program_filter"])
            _serve(calls, replies)
        finally:
            os._exit(1)
    os.close(calls)
    os.close(replies)
    _limit_tests()
    program = _Connection(calls_write, replies_read, settings["files"])
    program.receive()  # its process is closed off
    os.write(1, b"ready %d.%d.%d\n" % sys.version_info[:3])
    source, checks = _read_frame(0), marshal.loads(_read_frame(0))
    _thread.start_new_thread(_end_with_evalkit, (os.dup(0), settings["ends_after_s"]))
    report = os.dup(1)
    _silence()  # what a test prints is not a report
    problem = _run_program(program, source, checks)
    message = "".join(char if char.isprintable() else " " for char in problem[:_MAX_MESSAGE])
    os.write(report, f"failed: {message}\n".encode("utf-8", "replace") if problem else b"passed\n")
    os._exit(0)


def _run_program(program: _Connection, source: bytes, checks: dict[str, Any] | None) -> str:
    """Nothing if the program loads and its tests come to their end, else what stopped them."""
    try:
        program.send(source)
        program.receive()
        if checks is not None:
            names: dict[str, Any] = {}
            exec(compile(checks["helpers"], "<helpers>", "exec"), names)
            names.update({name: program.function(name) for name in checks["functions"]})
            exec(compile(checks["source"], _TESTS, "exec"), names)
    except BaseException as error:  # noqa: BLE001 - whatever is raised, the program has not passed
        is_own = isinstance(error, (_ProgramError, _EndedError))
        if is_own:
            return f"{error}" or "failed"
        return f"{type(error).__name__}: {f'{error}' or _line_of_tests(error, checks)}".removesuffix(": ")
    return ""


def _line_of_tests(error: BaseException, checks: dict[str, Any] | None) -> str:
    """Where in the tests an error was raised: most `assert` statements have no message."""
    line, place = "", error.__traceback__
    while checks is not None and place is not None:
        if place.tb_frame.f_code.co_filename == _TESTS:
            line = checks["source"].split("\n")[(place.tb_lineno or 1) - 1].strip()
        place = place.tb_next
    return line


class _Connection:
    """The program's functions, seen from the process that has the tests."""

    def __init__(self, calls: int, replies: int, max_files: int) -> None:
        self._calls, self._replies, self._max_files = calls, replies, max_files
        self._counted_s = 0.0

    def send(self, data: bytes) -> None:
        try:
            _write_frame(self._calls, data)
        except BrokenPipeError:
            raise _EndedError("the process was killed") from None

    def receive(self) -> Any:
        """The program's reply; raises what the program raised."""
        size = int.from_bytes(self._read(8), "little")
        if size > _MAX_REPLY_BYTES:
            raise _EndedError(f"a result of more than {_MAX_REPLY_BYTES} bytes")
        try:
            reply = decode(self._read(size))
        except ValueError:
            reply = None
        if not isinstance(reply, tuple) or len(reply) != 3:
            raise _EndedError("the process sent something else than a reply")
        kind, value, more = reply
        if kind != "value":
            raise _error(value, more)
        return value, more

    def function(self, name: str) -> Any:
        """A function that calls the program's."""

        def call(*args: Any, **kwargs: Any) -> Any:
            self.send(encode((name, list(args), kwargs)))
            value, changed = self.receive()
            if isinstance(changed, list) and len(changed) == len(args):
                for given, left in zip(args, changed, strict=True):
                    _update(given, left)
            return value

        call.__name__ = name
        return call

    def _read(self, size: int) -> bytes:
        """Bytes from the program; looks at its folder while waiting."""
        import select
        import time

        data = bytearray()
        while len(data) < size:
            is_ready = select.select([self._replies], [], [], _POLL_S)[0]
            if time.monotonic() > self._counted_s + _POLL_S:
                self._count_files()
                self._counted_s = time.monotonic()
            if not is_ready:
                continue
            part = os.read(self._replies, min(size - len(data), 1 << 20))
            if not part:
                raise _EndedError("the process was killed")
            data += part
        return bytes(data)

    def _count_files(self) -> None:
        folder = os.statvfs(".")
        if folder.f_files - folder.f_ffree > self._max_files:
            raise _EndedError(f"more than {self._max_files} files")


def _error(class_name: Any, message: Any) -> BaseException:
    """The program's exception, as far as it is one of Python's own."""
    if not isinstance(class_name, str) or not isinstance(message, str):
        return _EndedError("the process sent something else than a reply")
    kind = getattr(builtins, class_name, None)
    if isinstance(kind, type) and issubclass(kind, Exception):
        try:
            return kind(message)
        except TypeError:  # UnicodeDecodeError and the like take other arguments
            pass
    return _ProgramError(f"{class_name}: {message}")


def _update(given: Any, left: Any) -> None:
    """Do to an argument here what the program did to its copy."""
    if type(given) is not type(left):
        return
    if isinstance(given, (list, bytearray)):
        given[:] = left
    elif isinstance(given, (dict, set)):
        given.clear()
        given.update(left)


def _serve(calls: int, replies: int) -> None:
    """Run the program, then call its functions as asked; what goes wrong here is the program's failure."""
    _write_frame(replies, encode(("value", None, None)))
    runner = os.getpid()
    names: dict[str, Any] = {}
    source = _read_frame(calls).decode("utf-8", "surrogatepass")
    try:
        exec(compile(source, "<program>", "exec"), names)
        reply = encode(("value", None, None))
    except BaseException as error:  # noqa: BLE001 - whatever the program raises is its failure
        reply = _encode_error(error)
    while os.getpid() == runner:
        _write_frame(replies, reply)
        request = _read_frame(calls)
        try:
            name, args, kwargs = decode(request)
            if name not in names:
                raise NameError(f"name {name!r} is not defined")
            value = names[name](*args, **kwargs)
            is_changed = encode((name, args, kwargs)) != request
            reply = encode(("value", value, args if is_changed else None))
        except BaseException as error:  # noqa: BLE001 - as above
            reply = _encode_error(error)


def _encode_error(error: BaseException) -> bytes:
    try:
        message = str(error)
    except BaseException:  # noqa: BLE001 - the text is the program's code too
        message = ""
    return encode(("error", type(error).__name__, message[:_MAX_MESSAGE]))


def _become_ordinary(user_id: int | None) -> None:
    """Root becomes a user without other processes; for other users the sandbox has no user but theirs."""
    if user_id is not None:
        os.setgroups([])
        os.setresgid(user_id, user_id, user_id)
        os.setresuid(user_id, user_id, user_id)
    if os.getuid() == 0 or os.geteuid() == 0:
        raise OSError("the sandbox must not run as root")


def _limit(settings: dict[str, Any]) -> None:
    import resource

    for kind, limit in (
        (resource.RLIMIT_CPU, settings["processor_s"]),
        (resource.RLIMIT_AS, settings["memory_bytes"]),
        (resource.RLIMIT_FSIZE, settings["disk_bytes"]),
        (resource.RLIMIT_NOFILE, settings["open_files"]),
        (resource.RLIMIT_NPROC, settings["threads"] + 3),
        (resource.RLIMIT_MEMLOCK, 0),
        (resource.RLIMIT_MSGQUEUE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(kind, (limit, limit))


def _save_address_space(libc: Any) -> None:
    """Let all threads that a program may start fit into its limit, which is one of address space.

    As glibc has it, each thread takes 64 MiB for its own heap before it uses any, and a stack as large
    as the machine's limit. Here they share one heap, and a stack has the size that is usual.
    """
    import ctypes

    attributes = ctypes.create_string_buffer(_ROOM_FOR_ATTRIBUTES)
    if (
        libc.mallopt(_MALLOC_ARENAS, 1) != 1
        or libc.pthread_attr_init(attributes) != 0
        or libc.pthread_attr_setstacksize(attributes, ctypes.c_size_t(_THREAD_STACK_BYTES)) != 0
        or libc.pthread_setattr_default_np(attributes) != 0
    ):
        raise OSError("the threads' memory can't be limited")


def _limit_tests() -> None:
    """A program can make its tests hold what it sends, so they get less memory than it."""
    import resource

    bytes_left = min(_TESTS_BYTES, resource.getrlimit(resource.RLIMIT_AS)[1])
    resource.setrlimit(resource.RLIMIT_AS, (bytes_left, bytes_left))


def _end_with_evalkit(pipe: int, ends_after_s: float) -> None:
    """End all processes of the sandbox when the other end of standard input closes, or when time is long up.

    The signal at a parent's death is not enough: root's bubblewrap has given up the right to signal the
    ordinary user that this process became, and a container's parent is not evalkit.
    """
    import select

    select.select([pipe], [], [], ends_after_s)
    os._exit(1)


def _ignore_interrupts() -> None:
    """As the first process of its namespace, this one only gets signals that it handles: then none."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _silence() -> None:
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nothing, standard)
    os.close(nothing)


def _close_all_but(*kept: int) -> None:
    _silence()
    start = 3
    for number in sorted(kept):
        os.closerange(start, number)
        start = number + 1
    os.closerange(start, 1 << 16)


def _filter(libc: Any, instructions: bytes) -> None:
    """Load a filter of system calls (seccomp) into this process."""
    import ctypes

    class _Filter(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))

    loaded = _Filter(len(instructions) // 8, instructions)
    _control(libc, _SET_NO_NEW_PRIVILEGES, 1)
    _control(libc, _SET_SECCOMP, _FILTER, ctypes.byref(loaded))


def _control(libc: Any, option: int, value: int, more: Any = 0) -> None:
    import ctypes

    word = ctypes.c_ulong
    if libc.prctl(option, word(value), more or word(0), word(0), word(0)) != 0:
        raise OSError(f"prctl {option} was refused")


def _read_frame(pipe: int) -> bytes:
    size = int.from_bytes(_read_exactly(pipe, 8), "little")
    return _read_exactly(pipe, size)


def _read_exactly(pipe: int, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        part = os.read(pipe, size - len(data))
        if not part:
            os._exit(1)
        data += part
    return bytes(data)


def _write_frame(pipe: int, data: bytes) -> None:
    view = memoryview(len(data).to_bytes(8, "little") + data)
    while view:
        view = view[os.write(pipe, view) :]
