"""What a container is tried with before any program: a look at all that it promises."""

from __future__ import annotations

from evalkit.sandbox.backend import PROBE_TIMEOUT_S
from evalkit.sandbox.process import BESIDE_BYTES, BESIDE_PROCESSES, OPEN_FILES
from evalkit.sandbox.program import Checks, Limits, Program

_LIMITS = Limits(time_s=PROBE_TIMEOUT_S, memory_bytes=512 << 20, disk_bytes=4 << 20, threads=8)
_EXPECTED = {
    "memory_bytes": _LIMITS.memory_bytes,
    "disk_bytes": _LIMITS.disk_bytes,
    "threads": _LIMITS.threads,
    "open_files": OPEN_FILES,
    "group_bytes": _LIMITS.memory_bytes + _LIMITS.disk_bytes + BESIDE_BYTES,
    "group_processes": _LIMITS.threads + BESIDE_PROCESSES,
}
# Engines mount some of these; whatever else is mounted comes from the machine or is a volume.
_SOURCE = """
import os, resource, socket

MOUNTS = ("/", "/tmp", "/dev", "/dev/pts", "/dev/mqueue", "/dev/console", "/etc/hostname", "/etc/hosts",
          "/etc/resolv.conf", "/etc/passwd", "/etc/group", "/run/.containerenv")
DEVICES = {"null", "zero", "full", "random", "urandom", "tty", "console", "ptmx", "pts", "mqueue", "core",
           "fd", "stdin", "stdout", "stderr"}

def text(path):
    with open(path) as file:
        return file.read()

def refused(act, *args):
    try:
        act(*args)
    except OSError:
        return True

def user():
    status = dict(line.split(":", 1) for line in text("/proc/self/status").splitlines())
    numbers = [int(number) for kind in ("Uid", "Gid", "Groups") for number in status[kind].split()]
    assert all(numbers), "it runs as root"
    sets = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
    assert not any(int(status[kind], 16) for kind in sets), "it has capabilities"
    # The sandbox has loaded two.
    assert int(status.get("Seccomp_filters", 0)) > 2, "the engine's filter of system calls (seccomp) is off"
    given = sorted(set(os.environ) - {"LC_CTYPE"})  # Python sets that one itself
    assert not given, "it has an environment: " + ", ".join(given)

def files():
    for line in text("/proc/self/mounts").splitlines():
        place, options = line.split()[1], line.split()[3].split(",")
        if place.startswith(("/proc", "/sys")):
            continue
        assert place in MOUNTS, place + " is mounted: a volume of the image, or a folder of the machine"
        assert place != "/" or "ro" in options, "its files are writable"
    devices = sorted(set(os.listdir("/dev")) - DEVICES)
    assert not devices, "it has the devices " + ", ".join(devices)
    for folder in ("/", "/dev", "/dev/shm", "/etc", "/run", "/var", "/var/tmp", "/home", "/root", "/usr",
                   "/proc", "/sys", "/sys/fs/cgroup"):
        assert not os.access(folder, os.W_OK), folder + " is writable"
    assert refused(os.mkdir, "/made"), "its files are writable"
    assert refused(open, "/dev/mqueue/made", "w"), "it can make message queues"

def working_folder():
    assert os.getcwd() == "/tmp" and not os.listdir("."), "its working folder is not an empty /tmp"
    facts = os.statvfs(".")
    assert facts.f_blocks * facts.f_frsize <= EXPECTED["disk_bytes"], "its working folder has no limit"
    assert os.access(".", os.W_OK), "its working folder is not writable"
    with open("made", "w") as file:
        file.write("made")
    os.remove("made")

def network():
    interfaces = [line.split(":")[0].strip() for line in text("/proc/net/dev").splitlines()[2:]]
    assert interfaces == ["lo"], "it has the network interfaces " + ", ".join(interfaces)
    with socket.socket() as outside:
        outside.settimeout(1)
        assert refused(outside.connect, ("192.0.2.1", 9)), "it has a network"
    assert refused(socket.socket, socket.AF_NETLINK), "the filter of system calls is off"

def processes():
    seen = {name for name in os.listdir("/proc") if name.isdecimal()}
    assert seen == {"1", str(os.getpid())}, "it sees other processes"
    assert refused(os.listdir, "/proc/1/fd") and refused(open, "/proc/1/mem"), "its tests can be read"
    assert refused(os.fork), "it can start processes"

def limits():
    for kind, limit in ((resource.RLIMIT_AS, EXPECTED["memory_bytes"]),
                        (resource.RLIMIT_FSIZE, EXPECTED["disk_bytes"]),
                        (resource.RLIMIT_NOFILE, EXPECTED["open_files"]),
                        (resource.RLIMIT_NPROC, EXPECTED["threads"] + 3)):
        assert resource.getrlimit(kind)[1] == limit, "a limit of its processes is missing"
    assert resource.getrlimit(resource.RLIMIT_CPU)[1] > 0, "its processor time has no limit"
    for what, paths, limit in (
        ("memory", ("memory.max", "memory/memory.limit_in_bytes"), EXPECTED["group_bytes"]),
        ("number of processes", ("pids.max", "pids/pids.max"), EXPECTED["group_processes"]),
    ):
        found = [f"/sys/fs/cgroup/{path}" for path in paths if os.path.exists(f"/sys/fs/cgroup/{path}")]
        values = [text(path).strip() for path in found]
        is_limited = any(value.isdecimal() and int(value) <= limit for value in values)
        assert is_limited, f"the engine does not limit its {what} (a control group, as far as it can be seen)"

def kept():
    for look in (user, files, working_folder, network, processes, limits):
        look()
    return "kept"
"""
PROBE = Program(
    f"EXPECTED = {_EXPECTED!r}\n{_SOURCE}",
    Checks("import os\nassert os.getpid() == 1\nassert kept() == 'kept'", ("kept",)),
    _LIMITS,
)
