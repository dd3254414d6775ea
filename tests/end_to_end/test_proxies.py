"""Behind a company's proxy: what goes through it, with which password, and whose certificates count."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from contextlib import closing
from urllib.parse import quote, urlsplit

import pytest

from evalkit.testing.server import ServerConfig
from tests.end_to_end.proxies import Proxy, certificate
from tests.end_to_end.servers import Double, solve
from tests.end_to_end.workspace import Finished, Workspace

Serve = Callable[..., Double]
ENTRY = "arithmetic:num_test=3,model=test/a"
HOST = "evaluated.example"


def port_of(server: Double) -> int:
    port = urlsplit(server.url).port
    assert port is not None
    return port


def run(workspace: Workspace, *, fresh_process: bool = False) -> Finished:
    """A run of three requests; certificates are read once, when a process starts."""
    if not fresh_process:
        return workspace.evalkit("run", "-r", ENTRY)
    words = [sys.executable, "-c", "from evalkit.cli.app import main; main()", "run", "-r", ENTRY]
    return workspace.finish(workspace.start_program(words))


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY"])
def test_requests_go_through_the_proxy_with_its_password(
    workspace: Workspace, serve: Serve, variable: str
) -> None:
    password = workspace.planted.use("proxy")
    with Proxy({HOST: port_of(serve())}, user=f"me:{password}") as proxy:
        workspace.env[variable] = proxy.url.replace("//", f"//me:{quote(password, safe='')}@")
        workspace.deploy("test/a", f"http://{HOST}")
        assert run(workspace).code == 0
        assert proxy.asked == [f"POST http://{HOST}/v1/chat/completions HTTP/1.1"] * len(proxy.asked)
        assert proxy.asked


def test_a_proxy_without_a_scheme_is_taken_as_http(workspace: Workspace, serve: Serve) -> None:
    with Proxy({HOST: port_of(serve())}) as proxy:
        workspace.env["http_proxy"] = proxy.url.removeprefix("http://")
        workspace.deploy("test/a", f"http://{HOST}")
        assert run(workspace).code == 0
        assert proxy.asked


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_server_on_this_machine_is_asked_directly(workspace: Workspace, serve: Serve, host: str) -> None:
    with Proxy({}) as proxy:
        workspace.env |= {"http_proxy": proxy.url, "no_proxy": ""}
        workspace.deploy("test/a", f"http://{host}:{port_of(serve())}")
        assert run(workspace).code == 0
        assert proxy.asked == []


def test_no_proxy_leaves_hosts_out(workspace: Workspace, serve: Serve) -> None:
    with Proxy({HOST: port_of(serve())}) as proxy:
        workspace.env |= {"http_proxy": proxy.url, "no_proxy": f"other.example,.{HOST.partition('.')[2]}"}
        workspace.deploy("test/a", f"http://{HOST}")
        finished = run(workspace)
        assert finished.code == 3  # nobody else knows the host
        assert f"connection to http://{HOST}" in finished.err
        assert proxy.asked == []


def test_a_wrong_password_of_the_proxy_is_said(workspace: Workspace, serve: Serve) -> None:
    with Proxy({HOST: port_of(serve())}, user="me:right") as proxy:
        password = quote(workspace.planted.use("proxy"), safe="")
        workspace.env["http_proxy"] = proxy.url.replace("//", f"//me:{password}@")
        workspace.deploy("test/a", f"http://{HOST}")
        finished = run(workspace)
        assert finished.code == 3
        assert "HTTP 407" in finished.err


@pytest.mark.parametrize("kind", ["socks5", "socks5h", "ftp"])
def test_a_proxy_of_another_kind_is_refused_before_anything_is_sent(workspace: Workspace, kind: str) -> None:
    password = quote(workspace.planted.use("proxy"), safe="")
    workspace.env["http_proxy"] = f"{kind}://me:{password}@127.0.0.1:9"
    workspace.deploy("test/a", f"http://{HOST}")
    finished = run(workspace)
    assert finished.code == 2
    assert f"names a proxy of the kind '{kind}'" in finished.err.replace("…", kind)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificates")
def test_https_goes_through_a_tunnel_and_a_companys_certificates_count(
    workspace: Workspace,
) -> None:
    context, authority = certificate(workspace.path, HOST)
    key = workspace.plant("TEST_KEY")
    server = Double(ServerConfig(answers=solve, required_key=key), context)
    server.start()
    with closing(server), Proxy({HOST: port_of(server)}) as proxy:
        workspace.env["https_proxy"] = proxy.url
        workspace.deploy("test/a", f"https://{HOST}", api_key_env="TEST_KEY")
        refused = run(workspace, fresh_process=True)
        assert refused.code == 3
        assert "certificate verify failed" in refused.err.lower()
        workspace.env["SSL_CERT_FILE"] = str(authority)
        assert run(workspace, fresh_process=True).code == 0
        # The proxy sees the host, and nothing of what is said.
        assert set(proxy.asked) == {f"CONNECT {HOST}:443 HTTP/1.1"}
