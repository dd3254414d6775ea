"""Containers as sandboxes, through the command lines of Docker and Podman, which take the same arguments."""

from __future__ import annotations

import importlib.util
import marshal
import re
import shutil
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from types import ModuleType
from uuid import uuid4

from evalkit.errors import UsageError
from evalkit.sandbox import supervisor, system_calls, values
from evalkit.sandbox.backend import Description, refusal
from evalkit.sandbox.choice import Choice
from evalkit.sandbox.container_probe import PROBE
from evalkit.sandbox.process import (
    BESIDE_BYTES,
    BESIDE_PROCESSES,
    BOOTSTRAP,
    MARSHAL_VERSION,
    OPEN_FILES,
    PYTHON_OPTIONS,
    WORKING_FOLDER,
    NoSandboxError,
    SandboxProcess,
    last_line,
)
from evalkit.sandbox.program import Limits, Program

_REMEDY = (
    "It takes an engine that lets you start containers, on Linux, and an image with Python 3.11 or later and "
    "glibc, without a VOLUME; or leave the choice of {kind} out (--sandbox, EVALKIT_SANDBOX) for bubblewrap"
)
_COMMAND_TIMEOUT_S = 60.0
_END_TIMEOUT_S = 5.0
# How Docker's and Podman's `run` end if they themselves have failed.
_ENGINE_FAILED = 125
# User numbers that also a user namespace of the usual size has, and where few systems have users. Containers
# side by side get different ones, since the kernel counts threads by user.
_USER_IDS = range(20_000, 60_000)
_NO_IMAGE = re.compile(
    r"no such image|no such object|image not known|reference does not exist", re.IGNORECASE
)
# Podman alone would add writable folders, the image's volumes, and proxies and hosts of this machine.
_PODMAN_ONLY = ("--read-only-tmpfs=false", "--image-volume=ignore", "--http-proxy=false", "--no-hosts")
# The image's Python starts itself anew, without the environment that the image and the engine have given it.
_FIRST = (
    "import os, sys\n"
    "try: libc = os.confstr('CS_GNU_LIBC_VERSION')\n"
    "except (ValueError, OSError): libc = ''\n"
    "if sys.version_info < (3, 11): sys.exit('the Python of the image is %d.%d' % sys.version_info[:2])\n"
    "if not libc: sys.exit('the C library of the image is not glibc')\n"
    f"os.execve(sys.executable, [sys.executable, *{PYTHON_OPTIONS!r}, '-c', sys.argv[1]], {{}})\n"
)


@dataclass(frozen=True, slots=True)
class Container:
    """Makes containers of one image.

    Attributes:
        choice: What the user has chosen, with the image.
        path: The program: Docker's or Podman's.
        is_podman: Whether it is Podman, also under the name `docker`.
        image_id: The image that the name had when it was looked up.
    """

    choice: Choice
    path: str
    is_podman: bool
    image_id: str

    @property
    def description(self) -> Description:
        """The engine and the image."""
        kind, image = self.choice.kind, self.choice.image
        short = self.image_id.removeprefix("sha256:")[:12]
        return Description(
            f"{kind} with the image {image}",
            _REMEDY.format(kind=kind),
            f"{kind} containers of the image {image}, {short}",
        )

    @property
    def probe(self) -> Program:
        """Looks at the user, rights, files, mounts, network, processes and limits."""
        return PROBE

    def sandbox(self, limits: Limits) -> SandboxProcess:
        """A sandbox with these limits; it is made when its context is entered."""
        return _ContainerProcess(self, limits)

    def command(self, name: str, limits: Limits) -> list[str]:
        """The command that starts an interpreter in a new container; it takes its code from standard input.

        Args:
            name: Of the container.
            limits: Those that the engine imposes; the first process imposes the others.
        """
        memory_bytes = limits.memory_bytes + limits.disk_bytes + BESIDE_BYTES
        processes = limits.threads + BESIDE_PROCESSES
        user_id = _USER_IDS[uuid4().int % len(_USER_IDS)]
        disk = f"rw,noexec,nosuid,nodev,size={limits.disk_bytes},mode=1777"
        return [
            *(self.path, "run", "--rm", "--interactive", "--pull=never", "--name", name),
            *("--label=evalkit=sandbox", "--hostname=sandbox", "--log-driver=none", "--no-healthcheck"),
            # Podman looks for its keys to detach in what a program is sent.
            *("--init=false", "--sig-proxy=false", "--detach-keys="),
            *("--network=none", "--ipc=none", "--read-only", "--tmpfs", f"{WORKING_FOLDER}:{disk}"),
            *("--cap-drop=ALL", "--security-opt=no-new-privileges", f"--user={user_id}:{user_id}"),
            *(f"--memory={memory_bytes}b", f"--memory-swap={memory_bytes}b", f"--pids-limit={processes}"),
            *(f"--ulimit=nofile={OPEN_FILES}", f"--ulimit=nproc={processes}", "--ulimit=core=0"),
            *(_PODMAN_ONLY if self.is_podman else ()),
            *(f"--workdir={WORKING_FOLDER}", "--entrypoint=python3", self.image_id),
            *(*PYTHON_OPTIONS, "-c", _FIRST, BOOTSTRAP),
        ]


def backend(choice: Choice) -> Container:
    """What makes containers as the user has chosen.

    Raises:
        UsageError: The program or the image is missing, or the engine does not answer.
    """
    kind, image = choice.kind, choice.image or default_image()
    path = shutil.which(kind)
    if path is None:
        raise UsageError(refusal(f"the command {kind} is not installed", _REMEDY.format(kind=kind)))
    version = _output_of(path, kind, "--version")
    try:
        image_id = _output_of(path, kind, "image", "inspect", "--format", "{{.Id}}", image)
    except UsageError as error:
        if not _NO_IMAGE.search(str(error)):
            raise
        raise UsageError(
            f"model-written programs run in containers of the image {image}, which is not on this machine; "
            f"evalkit downloads none: `{kind} pull {image}` does"
        ) from None
    return Container(Choice(kind, image), path, "podman" in version.lower(), image_id)


def default_image() -> str:
    """The official image with evalkit's own version of Python."""
    return f"docker.io/library/python:{sys.version_info[0]}.{sys.version_info[1]}-slim"


def _output_of(path: str, kind: str, *arguments: str) -> str:
    """What a command of the engine writes.

    Raises:
        UsageError: It fails; says what it wrote on standard error.
    """
    try:
        ended = _run(path, *arguments)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UsageError(refusal(f"`{kind} {arguments[0]}`: {error}", _REMEDY.format(kind=kind))) from None
    if ended.returncode:
        reason = last_line(ended.stderr) or f"it ends with code {ended.returncode}"
        raise UsageError(refusal(f"`{kind} {arguments[0]}`: {reason}", _REMEDY.format(kind=kind)))
    return ended.stdout.decode("utf-8", "replace").strip()


def _run(path: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [path, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        cwd="/",
        start_new_session=True,
        timeout=_COMMAND_TIMEOUT_S,
    )


class _ContainerProcess(SandboxProcess):
    """A sandbox that is a container."""

    def __init__(self, backend: Container, limits: Limits) -> None:
        super().__init__(limits)
        self._backend = backend
        self._name = f"evalkit-{uuid4().hex}"

    def _start(self) -> None:
        self._launch(self._backend.command(self._name, self._limits))
        settings = {**self._settings(), "sandbox_filter": system_calls.sandbox_filter()}
        self.deliver(marshal.dumps((_source(values), _source(supervisor), settings), MARSHAL_VERSION))

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        """Without standard input the first process ends, and with it the container; else it is removed."""
        assert process.stdin is not None
        with suppress(BrokenPipeError):
            process.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            process.wait(_END_TIMEOUT_S)
        code = process.returncode
        self.is_lost = self.is_lost or (code is not None and (code < 0 or code == _ENGINE_FAILED))
        if code is None or self.is_lost:
            try:
                self._remove()
            finally:
                process.kill()
                process.wait()

    def _remove(self) -> None:
        """End the container, whatever became of the command that started it.

        Raises:
            NoSandboxError: The engine does not say that it is gone.
        """
        more = ("--ignore",) if self._backend.is_podman else ()
        try:
            ended = _run(self._backend.path, "rm", "--force", *more, self._name)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise NoSandboxError(f"the container {self._name} may still run: {error}") from error
        reason = last_line(ended.stderr)
        if ended.returncode and not re.search("no such container|already in progress", reason, re.IGNORECASE):
            raise NoSandboxError(f"the container {self._name} may still run: {reason}")


def _source(module: ModuleType) -> str:
    """The source of a module of the sandbox's own, for whatever Python the image has."""
    spec = importlib.util.find_spec(module.__name__)
    assert spec is not None
    assert spec.loader is not None
    source: str | None = spec.loader.get_source(module.__name__)  # type: ignore[attr-defined]
    if source is None:
        raise NoSandboxError("evalkit is installed without its source, which containers need")
    return source
