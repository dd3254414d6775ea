"""A small forward proxy on loopback, as companies have: absolute addresses, CONNECT, and a password."""

from __future__ import annotations

import asyncio
import base64
import ssl
import subprocess
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from urllib.parse import urlsplit

_STARTS_WITHIN_S = 120.0


class Proxy:
    """A proxy for hosts that only it knows; used with `with`.

    Attributes:
        url: Where it listens.
        asked: The first line of each request that it was sent.
    """

    def __init__(self, hosts: Mapping[str, int], user: str | None = None) -> None:
        """A proxy.

        Args:
            hosts: The port on this machine at which each host is found.
            user: `name:password` that it wants; None: it takes anybody.
        """
        self.asked: list[str] = []
        self._hosts = hosts
        self._wanted = None if user is None else f"basic {base64.b64encode(user.encode()).decode()}".lower()
        self._started: Future[str] = Future()
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="proxy")

    def __enter__(self) -> Proxy:
        self._thread.start()
        self.url = self._started.result(_STARTS_WITHIN_S)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._take, "127.0.0.1", 0)
        self._started.set_result(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        await self._stop.wait()
        server.close()

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            first, *fields = head.rstrip().split("\r\n")
            self.asked.append(first)
            method, target, version = first.split(" ")
            headers = {name.lower(): value.strip() for name, _, value in (f.partition(":") for f in fields)}
            if self._wanted is not None and headers.get("proxy-authorization", "").lower() != self._wanted:
                writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
                await writer.drain()
            else:
                parts = urlsplit(f"//{target}" if method == "CONNECT" else target)
                inner, outer = await asyncio.open_connection("127.0.0.1", self._hosts[parts.hostname or ""])
                if method == "CONNECT":
                    writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                else:
                    lines = [f"{method} {parts.path} {version}", *fields, "Connection: close"]
                    outer.write("\r\n".join((*lines, "", "")).encode("latin-1"))
                await asyncio.gather(_pass(reader, outer), _pass(inner, writer))
        writer.close()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


def certificate(folder: Path, host: str) -> tuple[ssl.SSLContext, Path]:
    """A server's TLS for `host`, and the file of the authority that vouches for it; no system knows it."""
    authority, key, own = folder / "authority.pem", folder / "server.key", folder / "server.pem"
    openssl = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    made = {"check": True, "capture_output": True, "timeout": 60}
    authority_key = folder / "authority.key"
    subprocess.run([*openssl, "-keyout", authority_key, "-out", authority, "-subj", "/CN=a company"], **made)  # type: ignore[call-overload]
    signed = ["-CA", authority, "-CAkey", authority_key, "-addext", "basicConstraints=critical,CA:FALSE"]
    named = ["-subj", f"/CN={host}", "-addext", f"subjectAltName=DNS:{host}"]
    subprocess.run([*openssl, "-keyout", key, "-out", own, *signed, *named], **made)  # type: ignore[call-overload]
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(own, key)
    return context, authority
