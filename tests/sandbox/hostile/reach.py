"""Attacks that reach outside: for devices, sockets, FIFOs, terminals, files, processes, the kernel."""

from __future__ import annotations

from collections.abc import Iterator

from evalkit.sandbox import system_calls
from tests.sandbox.hostile.attack import CALLS, Attack, acts, reads

_ABSENT = "FileNotFoundError|PermissionError|NotADirectoryError"
_DEVICES = (
    *("loop0", "loop-control", "kvm", "console", "mem", "kmsg", "vda", "sda", "nvme0n1", "fuse", "net/tun"),
    *(
        "tty",
        "ptmx",
        "pts/0",
        "ttyS0",
        "port",
        "uinput",
        "snapshot",
        "mapper/control",
        "fd/1",
        "stdout",
        "shm/x",
    ),
)
_NODES = {"block": ("0o60666", 7, 0), "character": ("0o20666", 1, 1), "disk": ("0o60666", 8, 0)}


def devices() -> Iterator[Attack]:
    for name in _DEVICES:
        yield acts("devices", f"import os\nos.open('/dev/{name}', os.O_RDWR)", why=_ABSENT)
    for mode, major, minor in _NODES.values():
        body = (
            f"import os\nos.mknod('node', {mode}, os.makedev({major}, {minor}))\nos.open('node', os.O_RDWR)"
        )
        yield acts("devices", body, why="PermissionError")
    yield acts("devices", "import os\nos.write(os.open('{outside}/device', os.O_WRONLY), b'x')", why=_ABSENT)
    yield acts(
        "devices",
        "import os\nassert sorted(os.listdir('/dev')) != ['null', 'urandom', 'zero'], 'only three devices'",
        why="only three devices",
    )


def sockets() -> Iterator[Attack]:
    for kind in ("STREAM", "DGRAM", "SEQPACKET"):
        made = f"socket.socket(socket.AF_UNIX, socket.SOCK_{kind})"
        body = f"import socket\n{made}.connect('{{outside}}/listener')"
        yield acts("sockets", body, why=_ABSENT)
    for path in ("/run/docker.sock", "/var/run/dbus/system_bus_socket", "/run/systemd/notify", "/dev/log"):
        yield acts("sockets", f"import socket\nsocket.socket(socket.AF_UNIX).connect({path!r})", why=_ABSENT)
    for name in ("{abstract}", "/tmp/.X11-unix/X0", "/org/freedesktop/systemd1"):
        body = f"import socket\nsocket.socket(socket.AF_UNIX).connect('\\0' + {name!r})"
        yield acts("sockets", body, why="ConnectionRefusedError")
    for host in ("127.0.0.1", "localhost", "0.0.0.0", "::1", "192.0.2.1", "2001:db8::1"):
        body = f"import socket\nsocket.create_connection(({host!r}, {{port}}), 5)"
        yield acts("sockets", body, why="refused|unreachable|gaierror|Cannot assign")
    yield acts(
        "sockets",
        "import socket\nsocket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('192.0.2.1', 53))",
        why="unreachable",
    )
    for family in (4, 9, 15, 16, 17, 21, 29, 30, 31, 38, 39, 40, 44):
        body = f"import socket\nsocket.socket({family}, socket.SOCK_RAW)"
        yield acts("sockets", body, why="not supported|PermissionError")
    for protocol in ("ICMP", "TCP", "RAW"):
        body = f"import socket\nsocket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_{protocol})"
        yield acts("sockets", body, why="PermissionError")
    yield acts(
        "sockets",
        """
import array, os, socket
given, taken = socket.socketpair()
other = socket.socket(socket.AF_UNIX)
other.connect('{outside}/listener')
other.sendmsg([b'x'], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', [0]))])
""",
        why=_ABSENT,
    )


def pipes() -> Iterator[Attack]:
    for flag in ("O_WRONLY | os.O_NONBLOCK", "O_RDONLY | os.O_NONBLOCK", "O_RDWR", "O_PATH"):
        body = f"import os\nos.write(os.open('{{outside}}/fifo', os.{flag}), b'x')"
        yield acts("FIFOs", body, why=_ABSENT)
    yield acts("FIFOs", "import os\nos.mkfifo('{outside}/made')", why=_ABSENT)
    yield acts("FIFOs", "import os\nos.link('{outside}/fifo', 'fifo')", why=_ABSENT)
    body = "import os\nos.symlink('{outside}/fifo', 'fifo')\nos.write(os.open('fifo', os.O_RDWR), b'x')"
    yield acts("FIFOs", body, why=_ABSENT)


def terminals() -> Iterator[Attack]:
    for flag in ("O_WRONLY", "O_RDONLY | os.O_NONBLOCK", "O_RDWR | os.O_NOCTTY"):
        yield acts("terminals", f"import os\nos.write(os.open('{{terminal}}', os.{flag}), b'x')", why=_ABSENT)
    yield acts(
        "terminals",
        "import fcntl\nfor fd in range(3):\n    fcntl.ioctl(fd, 0x5412, b'x')",
        why="Inappropriate|Input/output",
    )
    yield acts("terminals", "import os\nos.openpty()", why=_ABSENT)
    yield acts(
        "terminals", "import os\nassert any(map(os.isatty, range(64))), 'no terminal'", why="no terminal"
    )


def files_read() -> Iterator[Attack]:
    paths = (
        *(
            "{outside}/secret",
            "../{outside}/secret",
            "/proc/self/root{outside}/secret",
            "/proc/1/root{outside}/secret",
        ),
        *("/proc/self/environ", "/proc/1/environ", "/proc/self/maps", "/proc/1/cmdline", "/proc/mounts"),
        *("/proc/self/mem", "/proc/self/cgroup", "/sys/kernel/notes", "/sys/fs/cgroup/cgroup.procs"),
        *(
            "/etc/passwd",
            "/etc/shadow",
            "/etc/hosts",
            "/etc/ssl/openssl.cnf",
            "{home}/.netrc",
            "{home}/.ssh/id_rsa",
        ),
        *("{home}/.cache/huggingface/token", "{home}/.bash_history", "{checkout}/pyproject.toml"),
        *(
            "{checkout}/model_deployments.yaml",
            "/var/log/syslog",
            "/boot/config",
            "/mnt/x",
            "/run/secrets/key",
        ),
    )
    for path in paths:
        yield reads("reading files", f"return open({path!r}).read()", why=_ABSENT)
    for folder in (
        "{outside}",
        "{home}",
        "{checkout}",
        "/home",
        "/proc",
        "/sys",
        "/run",
        "/var",
        "/mnt",
        "/opt",
    ):
        body = f"return ' '.join(os.listdir({folder!r})) or open('nothing')"
        yield reads("reading files", body, why=f"{_ABSENT}|Assertion")
    yield reads("reading files", "os.symlink('{outside}/secret', 'a')\nreturn open('a').read()", why=_ABSENT)
    yield reads("reading files", "os.link('{outside}/secret', 'a')\nreturn open('a').read()", why=_ABSENT)
    yield reads(
        "reading files",
        """
for folder, _, names in os.walk('/'):
    if 'secret' in names and 'outside' in folder:
        return open(os.path.join(folder, 'secret')).read()
""",
        why="Assertion",
    )
    yield reads(
        "reading files",
        "os.chroot('/tmp')\nfor _ in range(9):\n    os.chdir('..')\nreturn open('{outside}/secret').read()",
        why="PermissionError",
    )
    yield reads("reading files", "return str(os.environ)", why="Assertion")
    body = (
        "import gc\nreturn next((x for x in gc.get_objects() if isinstance(x, dict) and 'PLANTED' in x), '')"
    )
    yield reads("reading files", body, why="Assertion")


def files_write() -> Iterator[Attack]:
    for target in (
        "/made",
        "/etc/made",
        "/dev/made",
        "/usr/made",
        "{outside}/made",
        "{checkout}/made",
        "{home}/made",
    ):
        yield acts("writing files", f"open({target!r}, 'w').write('x')", why=f"{_ABSENT}|Read-only")
    library = "import os, random\nname = random.__file__\n"
    for change in (
        *("open(name, 'a')", "os.remove(name)", "os.rename(name, name + 'x')", "os.chmod(name, 0o777)"),
        *(
            "os.truncate(name, 0)",
            "os.utime(name, (0, 0))",
            "os.symlink('/', name + 'x')",
            "os.mkdir(name + 'x')",
        ),
        *("os.setxattr(name, 'user.x', b'x')", "os.chown(name, 1, 1)", "os.link(name, '/tmp/x')"),
    ):
        why = "Read-only|PermissionError|cross-device|not supported"
        yield acts("writing files", library + change, why=why)
    yield acts("writing files", "import os\nos.rmdir('/tmp')", why="busy|Read-only|PermissionError")
    yield acts("writing files", "import os\nos.remove('{outside}/secret')", why=_ABSENT)
    yield acts(
        "writing files",
        "import os, sys\nos.remove(os.path.realpath(sys.executable))",
        why="Read-only|busy|Permission",
    )


def processes() -> Iterator[Attack]:
    refused = "PermissionError|refused|Operation not permitted|BlockingIOError"
    for body in (
        "os.fork()",
        "os.posix_spawn(sys.executable, [sys.executable, '-c', ''], {})",
        "os.execv(sys.executable, [sys.executable, '-c', ''])",
        "import subprocess\nsubprocess.run([sys.executable, '-c', ''], check=True)",
        "import multiprocessing\nmultiprocessing.get_context('fork').Process(target=print).start()",
        "if os.fork() == 0:\n    os.setsid()\n    os.fork()\n    while True: pass",
        "for _ in range(300):\n    if os.fork() == 0:\n        while True: pass",
        "os.fork() or bytearray(700 << 20)\nos.fork() or bytearray(700 << 20)",
    ):
        yield acts("processes", body, before="import os, sys", why=refused)
    yield acts("processes", "assert os.system('true') == 0, 'refused'", before="import os", why="refused")
    numbers = system_calls._NEW_PROCESS | system_calls._NEW_PROCESS_OR_THREAD | system_calls._MISSING
    for number in system_calls._numbers(numbers, system_calls._machine()):
        yield acts("processes", f"call({number}, 0, 0, 0, 0, 0)", before=CALLS, why="refused")
    for flags in (0x11, 0x4000 | 0x11, 0x10000000 | 0x11, 0x20000000 | 0x11, 0x8000 | 0x11):
        (number,) = system_calls._numbers(system_calls._NEW_PROCESS_OR_THREAD, system_calls._machine())
        yield acts("processes", f"call({number}, {flags}, 0, 0, 0, 0)", before=CALLS, why="refused")


def kernel() -> Iterator[Attack]:
    """Every system call that is not let through, and other users."""
    for name, row in system_calls._DENIED.items():
        for number in system_calls._numbers({name: row}, system_calls._machine()):
            yield acts("kernel", f"call({number}, 0, 0, 0, 0, 0, 0)", before=CALLS, why="PermissionError")
    for number in (463, 470, 0x40000000 + 1, 1 << 20):
        yield acts("kernel", f"call({number}, 0, 0, 0, 0, 0, 0)", before=CALLS, why="refused")
    for flag in (0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000):
        body = f"if libc.unshare({flag}):\n    raise OSError(ctypes.get_errno(), 'refused')"
        yield acts("kernel", body, before=CALLS, why="PermissionError")
    for body in ("os.setuid(0)", "os.setgid(0)", "os.setresuid(0, 0, 0)", "os.setgroups([0])", "os.nice(-5)"):
        yield acts("kernel", body, before="import os", why="PermissionError|Invalid argument")
    yield acts(
        "kernel",
        "resource.setrlimit(resource.RLIMIT_AS, (-1, -1))",
        before="import resource",
        why="ValueError|PermissionError",
    )


def all_attacks() -> Iterator[Attack]:
    for group in (devices, sockets, pipes, terminals, files_read, files_write, processes, kernel):
        yield from group()
