"""Filters of system calls (seccomp) for programs that need little of the kernel."""

from __future__ import annotations

import errno
import platform
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from evalkit.errors import UsageError

# Instructions of the classic packet filter and answers of seccomp, from linux/filter.h and linux/seccomp.h.
_LOAD, _JUMP_EQUAL, _JUMP_FROM, _JUMP_BITS, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL_PROCESS, _ERROR = 0x7FFF0000, 0x80000000, 0x00050000
_NUMBER, _MACHINE, _FIRST_ARGUMENT = 0, 4, 16

_CLONE_THREAD = 0x00010000
_CLONE_NEW = 0x02000000 | 0x04000000 | 0x08000000 | 0x10000000 | 0x20000000 | 0x40000000 | 0x00020000
_UNIX_INET_INET6 = (1, 2, 10)

# By name, the numbers on x86_64 and in the table that newer machines share (asm-generic/unistd.h).
_DENIED = {
    # other processes
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "kcmp": (312, 272),
    "pidfd_getfd": (438, 438),
    # mounts and namespaces
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "unshare": (272, 97),
    "setns": (308, 268),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "mknod": (133, None),
    "mknodat": (259, 33),
    # kernel interfaces with a long list of holes
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "io_setup": (206, 0),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "fanotify_init": (300, 262),
    "modify_ldt": (154, None),
    "personality": (135, 92),
    "vhangup": (153, 58),
    # memory that no limit of a process counts
    "shmget": (29, 194),
    "shmat": (30, 196),
    "shmctl": (31, 195),
    "semget": (64, 190),
    "msgget": (68, 186),
    "mq_open": (240, 180),
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    # the machine
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "adjtimex": (159, 171),
    "clock_adjtime": (305, 266),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "syslog": (103, 116),
    "acct": (163, 89),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "iopl": (172, None),
    "ioperm": (173, None),
    "move_pages": (279, 239),
    "migrate_pages": (256, 238),
}
_NEW_PROCESS = {"fork": (57, None), "vfork": (58, None), "execve": (59, 221), "execveat": (322, 281)}
_NEW_PROCESS_OR_THREAD = {"clone": (56, 220)}
_MISSING = {
    "clone3": (435, 435)
}  # its flags lie in memory, where no filter sees them; glibc then takes clone
_SOCKET = {"socket": (41, 198)}
_LAST_KNOWN = 462


@dataclass(frozen=True, slots=True)
class _Machine:
    """A machine's mark in the kernel (linux/audit.h) and its column of the tables above."""

    mark: int
    column: int


_MACHINES = {
    "x86_64": _Machine(0xC000003E, 0),
    "aarch64": _Machine(0xC00000B7, 1),
    "riscv64": _Machine(0xC00000F3, 1),
}


def sandbox_filter() -> bytes:
    """The filter for all processes of a sandbox: what only a way out, or memory outside the limits, needs.

    Raises:
        UsageError: This machine's system calls are not known.
    """
    machine = _machine()
    lines = [*_start(machine), _line(_JUMP_FROM, _LAST_KNOWN + 1, 0, 1), _error(errno.ENOSYS)]
    lines += _refuse(_numbers(_MISSING, machine), errno.ENOSYS)
    lines += _refuse(_numbers(_DENIED, machine), errno.EPERM)
    for clone in _numbers(_NEW_PROCESS_OR_THREAD, machine):
        lines += [
            _line(_JUMP_EQUAL, clone, 0, 4),
            _line(_LOAD, _FIRST_ARGUMENT),
            _line(_JUMP_BITS, _CLONE_NEW, 0, 1),
            _error(errno.EPERM),
            _line(_RETURN, _ALLOW),
        ]
    for socket in _numbers(_SOCKET, machine):
        lines += [_line(_JUMP_EQUAL, socket, 0, 2 + 2 * len(_UNIX_INET_INET6)), _line(_LOAD, _FIRST_ARGUMENT)]
        for family in _UNIX_INET_INET6:
            lines += [_line(_JUMP_EQUAL, family, 0, 1), _line(_RETURN, _ALLOW)]
        lines += [_error(errno.EAFNOSUPPORT)]
    return b"".join([*lines, _line(_RETURN, _ALLOW)])


def program_filter() -> bytes:
    """The filter for the program alone: it can start threads, but no processes and no other programs.

    Raises:
        UsageError: This machine's system calls are not known.
    """
    machine = _machine()
    lines = [*_start(machine), *_refuse(_numbers(_NEW_PROCESS, machine), errno.EPERM)]
    for clone in _numbers(_NEW_PROCESS_OR_THREAD, machine):
        lines += [
            _line(_JUMP_EQUAL, clone, 0, 3),
            _line(_LOAD, _FIRST_ARGUMENT),
            _line(_JUMP_BITS, _CLONE_THREAD, 1, 0),
            _error(errno.EPERM),
        ]
    return b"".join([*lines, _line(_RETURN, _ALLOW)])


def _machine() -> _Machine:
    name = platform.machine()
    if name not in _MACHINES:
        raise UsageError(f"system calls can't be filtered on {name}, only on {', '.join(_MACHINES)}")
    return _MACHINES[name]


def _numbers(table: Mapping[str, tuple[int | None, ...]], machine: _Machine) -> list[int]:
    return [number for row in table.values() if (number := row[machine.column]) is not None]


def _start(machine: _Machine) -> Iterable[bytes]:
    """Kill who calls as another machine (32 bits), then load the number of the call."""
    return (
        _line(_LOAD, _MACHINE),
        _line(_JUMP_EQUAL, machine.mark, 1, 0),
        _line(_RETURN, _KILL_PROCESS),
        _line(_LOAD, _NUMBER),
    )


def _refuse(numbers: Iterable[int], error: int) -> list[bytes]:
    return [line for number in numbers for line in (_line(_JUMP_EQUAL, number, 0, 1), _error(error))]


def _error(error: int) -> bytes:
    return _line(_RETURN, _ERROR | error)


def _line(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)
