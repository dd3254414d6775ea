"""Wrong key, no key, nobody there, no such model: said in one line, at once, with the right exit code."""

from __future__ import annotations

from tests.end_to_end.conftest import Serve
from tests.end_to_end.servers import dead_url, refusing
from tests.end_to_end.workspace import Finished, Workspace, contents, index_of
from tests.planted import KEYS

WRONG_KEY = KEYS["of a vendor"]
ENTRY = "arithmetic:num_test=1319,model=test/a"


def reasons(finished: Finished, name: str = "test/a") -> list[str]:
    """The lines that say why."""
    return [line for line in finished.err.splitlines() if f"{name} is stopped" in line]


def test_a_wrong_key_is_said_once_and_written_nowhere(workspace: Workspace, serve: Serve) -> None:
    server = serve(required_key=KEYS["of a vendor, right"])
    workspace.deploy("test/a", server.url, api_key_env="TEST_KEY")
    workspace.plant("TEST_KEY", "of a vendor")

    finished = workspace.evalkit("run", "-r", ENTRY)

    assert finished.code == 3
    (reason,) = reasons(finished)
    assert "HTTP 401" in reason
    assert reason.endswith("; check the API key in the environment variable TEST_KEY")
    assert "Traceback" not in finished.err
    assert server.num_received <= 64
    assert WRONG_KEY not in finished.out + finished.err
    for path, (_, data) in contents(workspace.path).items():
        assert WRONG_KEY.encode() not in data, path
    assert index_of(workspace.run()).num_lines == 0

    workspace.plant("TEST_KEY", "of a vendor, right")
    assert workspace.evalkit("run", "-r", ENTRY, "-q").code == 0
    assert server.num_answered == 1319
    for path, (_, data) in contents(workspace.path).items():
        assert b"sk-right-key" not in data, path


def test_a_wrong_header_is_called_a_header(workspace: Workspace, serve: Serve) -> None:
    server = serve(required_key=KEYS["of a vendor, right"])
    workspace.deploy("test/a", server.url, headers_from_env={"Authorization": "TEST_KEY"})
    (told,) = (line for line in workspace.evalkit("plan", "-r", ENTRY).err.splitlines() if "TEST_KEY" in line)
    missing = "variable TEST_KEY is not set; it must hold the whole value of the header Authorization"
    assert missing in told
    unset = workspace.evalkit("run", "-r", ENTRY)
    assert (unset.code, missing in unset.err, "API key" in unset.err) == (2, True, False)

    workspace.plant("TEST_KEY", "of a vendor")
    assert "TEST_KEY" not in workspace.evalkit("plan", "-r", ENTRY).err
    finished = workspace.evalkit("run", "-r", ENTRY)
    (reason,) = reasons(finished)
    assert reason.endswith(
        "; check the environment variable TEST_KEY, the whole value of the header Authorization"
    )
    assert "api_key" not in reason

    workspace.deploy("test/a", server.url)
    (reason,) = reasons(workspace.evalkit("run", "-r", ENTRY, "--suite", "no-key"))
    assert "the deployment names no API key" in reason


def test_a_server_that_echoes_the_key_does_not_make_it_public(workspace: Workspace) -> None:
    body = b'{"error": {"message": "Incorrect API key: ' + WRONG_KEY.encode() + b'", "type": "x"}}'
    for status, code in ((401, 3), (400, 3), (500, 3)):
        server = refusing(status, body)
        server.start()
        try:
            limits = {"backoff_s": 0.01, "max_backoff_s": 0.01}
            workspace.deploy("test/a", server.url, limits=limits, api_key_env="TEST_KEY")
            workspace.plant("TEST_KEY", "of a vendor")
            finished = workspace.evalkit("run", "-r", ENTRY, "--suite", f"s{status}")
        finally:
            server.close()
        assert finished.code == code
        assert "Incorrect API key" in finished.err
        assert WRONG_KEY not in finished.out + finished.err
    for path, (_, data) in contents(workspace.path).items():
        assert WRONG_KEY.encode() not in data, path


def test_a_missing_key_is_said_before_anything_is_sent(workspace: Workspace, serve: Serve) -> None:
    server = serve()
    workspace.deploy("test/a", server.url)
    workspace.deploy("test/b", server.url, api_key_env="NO_SUCH_KEY")
    finished = workspace.evalkit("run", "-r", ENTRY, "arithmetic:num_test=5,model=test/b")
    assert finished.code == 2
    (line,) = finished.err.strip().splitlines()
    assert "test/b" in line
    assert "NO_SUCH_KEY" in line
    assert server.num_received == 0
    assert not workspace.suite().exists()


def test_nobody_there_is_found_out_after_ten_attempts(workspace: Workspace) -> None:
    url = dead_url()
    workspace.deploy("test/a", url)
    finished = workspace.evalkit("run", "-r", ENTRY)
    assert finished.code == 3
    (reason,) = reasons(finished)
    assert url in reason
    assert "its first 10 attempts all failed" in reason
    assert "Traceback" not in finished.err
    assert index_of(workspace.run()).num_lines == 0


def test_a_model_that_is_not_there_is_one_error_not_1319(workspace: Workspace, serve: Serve) -> None:
    missing = refusing(404, b'{"error": {"message": "The model `double` does not exist"}}')
    missing.start()
    try:
        workspace.deploy("test/a", missing.url)
        finished = workspace.evalkit("run", "-r", ENTRY)
    finally:
        missing.close()
    assert finished.code == 3
    (reason,) = reasons(finished)
    assert "The model `double` does not exist" in reason
    assert len(index_of(workspace.run()).failures) < 100

    server = serve()
    workspace.deploy("test/a", server.url)
    finished = workspace.evalkit("run", "-r", ENTRY, "-q")
    assert finished.code == 0, finished.err
    assert server.num_answered == 1319
    assert workspace.stored().stat("exact_match").n_failed == 0


def test_one_dead_deployment_does_not_touch_the_others(workspace: Workspace, serve: Serve) -> None:
    server = serve()
    workspace.deploy("test/dead", dead_url())
    workspace.deploy("test/a", server.url)
    entries = ["arithmetic:num_test=50,model=test/dead", "arithmetic:num_test=50,model=test/a"]
    finished = workspace.evalkit("run", "-q", "-r", *entries)
    assert finished.code == 3
    assert server.num_answered == 50
    alive, dead = (run.manifest() for run in workspace.runs())
    assert alive is not None
    assert dead is not None
    assert (alive.status, dead.status) == ("complete", "stopped")


def test_missing_data_ends_its_own_run_only(workspace: Workspace) -> None:
    """One benchmark's file can't be had: told with the place it should have; the others go on."""
    finished = workspace.evalkit(
        *("run", "-r", "gsm:model=evalkit/echo", "simple_mcqa:model=evalkit/echo", "--offline", "-q"),
        *("--data-dir", str(workspace.path)),
    )
    assert finished.code == 3
    assert "gsm8k/train.jsonl" in finished.err or "gsm8k/test.jsonl" in finished.err
    assert workspace.stored().manifest.name == "simple_mcqa:model=evalkit_echo"
    assert workspace.stored().manifest.status == "complete"
