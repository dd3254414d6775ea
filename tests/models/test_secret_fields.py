from __future__ import annotations

from typing import Any

import pytest

from evalkit.clients.client import Client
from evalkit.clients.factory import check_client, identity_of
from evalkit.errors import UsageError
from evalkit.models.catalog import ModelCatalog
from evalkit.models.deployment import ClientSpec, ModelDeployment
from evalkit.models.secret_names import says_secret
from evalkit.plugins import load_plugins
from evalkit.registry import CLIENTS
from tests.planted import Planted

KEY = "tk-9f-Quiet_Otter.77"
load_plugins(())
URL = "http://127.0.0.1:9/v1"

SECRETS = """
    Authorization authorization "authorization " Proxy-Authorization X-Authorization auth X-Auth
    helicone-auth X-Auth-Token X-Auth-Key auth_token authToken AuthToken authtoken X_AUTH_TOKEN
    x-access-token access_token accessToken refresh_token id_token session_token sessionToken
    security-token X-Amz-Security-Token PRIVATE-TOKEN X-Vault-Token hf_token HF_TOKEN token Token
    bearer bearer_token X-CSRF-Token api_key apikey api-key apiKey APIKEY X-API-KEY x-api-key
    "x-api-key " X-Goog-Api-Key api_key_2 api_keys apiKey1 Ocp-Apim-Subscription-Key
    subscription_key subscriptionKey X-Functions-Key access_key accessKey secret_access_key
    aws_secret_access_key private_key privateKey signing_key encryption_key master_key license_key
    key Key cookie Cookie Set-Cookie cookies session_cookie password Password db_password
    userPassword passwd pwd passphrase passwort secret client_secret clientSecret
    cf-access-client-secret credential credentials jwt otp signature sig hf_token_2 my_token_v2
    gateway-key-prod token_prod HFToken hftoken GATEWAYKEY X-PW X-PSK passcode hmac sas_token creds
    cred oauth X-OAuth token_value tokenValue X-Api-Key-Value  personal_access_token
    ssh_key user_pass passkey cf-aig-authorization X-Figma-Token
"""
SETTINGS = """
    max_tokens max_completion_tokens min_tokens stop_token_ids bad_words_ids tokenizer
    tokenizer_name tokenizer_mode reasoning_tokens budget_tokens skip_special_tokens
    spaces_between_special_tokens return_tokens_as_token_ids prompt_cache_key cache_key eos_token
    bos_token pad_token stop_token think_end_token eos_token_id token_ids tokens num_key_value_heads
    kv_cache_dtype temperature top_p top_k user model seed n logprobs top_logprobs response_format
    chat_template chat_template_kwargs provider route transforms keyword keywords keyboard monkey
    turkey author authority anthropic-beta anthropic-version OpenAI-Organization OpenAI-Project
    HTTP-Referer X-Title User-Agent Accept Content-Type X-Request-Id Idempotency-Key service_tier
    reasoning_effort thinking guided_json keep_alive signal design passage compass bypass
    safety_identifier store metadata donkey hotkey key_value eostoken stoptoken sortKey X-Session-Id
    pattern private salt test value header text key_points token_count keys_to_keep
"""


@pytest.fixture(autouse=True)
def searched(planted: Planted) -> None:
    """Whatever these tests print or write is searched for the key that they put into the wrong places."""
    planted.use()


def names(listed: str) -> list[str]:
    return [
        part
        for index, quoted in enumerate(listed.split('"'))
        for part in ([quoted] if index % 2 else quoted.split())
    ]


@pytest.mark.parametrize("name", names(SECRETS))
def test_names_of_secrets(name: str) -> None:
    assert says_secret(name)


@pytest.mark.parametrize("name", names(SETTINGS))
def test_names_of_settings(name: str) -> None:
    assert not says_secret(name)


def deployment(class_name: str = "openai", revision: str | None = None, **args: Any) -> ModelDeployment:
    spec = ClientSpec(class_name=class_name, args={"model": "m", **args})
    return ModelDeployment(name="local/m", client_spec=spec, revision=revision)


def refused(class_name: str = "openai", **args: Any) -> str:
    with pytest.raises(UsageError) as caught:
        check_client(deployment(class_name, **args))
    told = str(caught.value)
    assert KEY not in told
    assert "local/m" in told
    return told


@pytest.mark.parametrize("name", names(SECRETS))
@pytest.mark.parametrize("class_name", ["openai", "anthropic"])
@pytest.mark.parametrize("field", ["extra_headers", "extra_body"])
def test_secrets_are_refused_with_the_remedy(field: str, class_name: str, name: str) -> None:
    told = refused(class_name, **{field: {name: KEY}})
    assert name in told
    if field == "extra_headers":
        assert f"headers_from_env: {{{name.strip()}: VARIABLE}}" in told
    else:
        assert "api_key_env: VARIABLE, or headers_from_env: {NAME: VARIABLE}" in told
        assert "a gateway or a client of your own must add it" in told


@pytest.mark.parametrize("name", names(SETTINGS))
def test_settings_are_taken(name: str) -> None:
    check_client(deployment(extra_headers={name: "text"}, extra_body={name: "text"}))


@pytest.mark.parametrize(
    "body",
    [
        {"metadata": {"headers": {"X-Api-Key": KEY}}},
        {"tools": [{"type": "mcp", "authorization": KEY}]},
        {"headers": [["Authorization", KEY]]},
        {"headers": [{"name": "X-Api-Key", "value": KEY}]},
        {"api_keys": [KEY]},
        {"cookies": {"session": KEY}},
        {"password": 12345678},
        {"data_source": {"endpoint": f"https://user:{KEY}@host/x"}},
        {"anything": f"Bearer {KEY}"},
        {"anything": "sk-0123456789abcdef0123"},
        {"anything": ["xai-0123456789abcdef0123", "AIzaSyA0123456789abcdefghijklmnopqrstuv"]},
        {"anything": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abcdefghijklmnop"},
        {"anything": "ghp_0123456789abcdefghijABCDEFGHIJ012345"},
        {"anything": "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----"},
        {"anything": f"Token {KEY}"},
        {"anything": f"X-Api-Key: {KEY}"},
        {"anything": f"Authorization: Bearer {KEY}"},
        {"anything": f"https://host/x?a=1&api_key={KEY}"},
        {"anything": f"host/?sig={KEY}"},
        {"config": f'{{"deep": [{{"api_key": "{KEY}"}}]}}'},
        {"headers": {"headerName": "Authorization", "headerValue": KEY}},
        {"ａｐｉ_key": KEY},
        {"arguments": [f"--api-key={KEY}", "--port=1"]},
        {"arguments": f"--api-key {KEY}"},
    ],
)
def test_secrets_are_found_at_any_depth(body: dict[str, Any]) -> None:
    refused(extra_body=body)


@pytest.mark.parametrize(
    "body",
    [
        {
            "response_format": {
                "json_schema": {"properties": {"password": {"type": "string"}}, "required": ["password"]}
            }
        },
        {"max_tokens": 5, "token": 7, "key": None, "secret": "", "cookie": True},
        {"stop": ["Authorization:"], "logit_bias": {"50256": -100}},
        {"messages": [{"role": "system", "content": "the password is a secret token"}]},
        {"system": "Password: say it, or the API key = 7 is lost; see https://host/?key=example for more"},
        {"stop": ["Password: ", "Token: ", "key=", "\nKey:"], "config": '{"max_tokens": 5, "a": "b"}'},
        {"template": "{{ bos_token }}", "list": "[1, 2", "ratio": "16:9", "time": "12:30:00 tomorrow"},
    ],
)
def test_what_only_speaks_of_secrets_is_taken(body: dict[str, Any]) -> None:
    check_client(deployment(extra_body=body))


@pytest.mark.parametrize(
    "url",
    [
        f"http://user:{KEY}@127.0.0.1:9/v1",
        f"http://{KEY}@127.0.0.1:9/v1",
        f"http://user:a/{KEY}@127.0.0.1/v1",
        f"HTTP://user:{KEY}@127.0.0.1/v1",
        f" http://user:{KEY}@127.0.0.1/v1",
        f"//user:{KEY}@127.0.0.1/v1",
        f"user:{KEY}@127.0.0.1/v1",
        f"http:\\\\user:{KEY}@127.0.0.1\\v1",
        f"http://127.0.0.1:9/v1?key={KEY}",
        f"http://127.0.0.1:9/v1?{KEY}",
        f"http://127.0.0.1:9/v1#{KEY}",
        f"http://127.0.0.1:{KEY}/v1",
        "http://127.0.0.1/sk-0123456789abcdef0123/v1",
        f"http://127.0.0.1/v1;key={KEY}",
        f"http://127.0.0.1/api_key={KEY}/v1",
        f"http://127.0.0.1/token/{KEY}/v1",
        f"http://127.0.0.1/v1\r\nX-Api-Key: {KEY}",
    ],
)
@pytest.mark.parametrize("class_name", ["openai", "anthropic"])
def test_a_url_holds_no_secret(class_name: str, url: str) -> None:
    assert "base_url" in refused(class_name, base_url=url)


@pytest.mark.parametrize(
    "args",
    [
        {"extra_headers": {"X-A": f"a\r\nX-Api-Key: {KEY}"}},
        {"extra_headers": {f"X-A\nX-Api-Key: {KEY}": "a"}},
        {"extra_headers": {"X-A": f"a\x00{KEY}"}},
        {"extra_headers": {"": KEY}},
        {"extra_headers": {"X-A": "1", "x-a ": "2"}},
        {"extra_headers": f"X-A: {KEY}"},
        {"extra_headers": {"X-A": [KEY]}},
        {"headers_from_env": {"Authorization": f"Bearer {KEY}"}},
        {"headers_from_env": {"Authorization": KEY}},
        {"headers_from_env": {"Authorization": {"key": KEY}}},
        {"api_key_env": KEY},
        {"api_key_env": [KEY]},
        {"api_key_env": "hf_abcdefghijklmnopqrst"},
        {"api_key_file": {"key": KEY}},
        {"api_key": KEY},
    ],
)
def test_what_is_in_the_wrong_place_is_refused_and_not_shown(args: dict[str, Any]) -> None:
    refused(**args)


@pytest.mark.parametrize(
    ("class_name", "args"),
    [
        ("vllm_server", {"engine_args": {"api_key": KEY}}),
        ("vllm", {"engine_args": {"hf_token": KEY}}),
        ("transformers", {"model_args": {"token": KEY}}),
    ],
)
def test_engines_take_no_secrets(class_name: str, args: dict[str, Any]) -> None:
    refused(class_name, **args)


@pytest.mark.parametrize("name", ["api_key", "key", "token"])
def test_a_key_among_the_arguments_moves_to_the_variable_of_the_key(name: str) -> None:
    told = refused(**{name: KEY})
    assert "api_key_env: VARIABLE" in told
    assert "headers_from_env" not in told


def test_a_key_for_an_engine_moves_to_the_engines_own_variable() -> None:
    told = refused("vllm", engine_args={"hf_token": KEY})
    assert "HF_TOKEN" in told
    assert "api_key_env" not in told


@pytest.mark.parametrize(
    ("address", "found"),
    [
        (f"http://user:{KEY}@127.0.0.1/v1", "a user or password (@)"),
        (f"http://127.0.0.1/v1?{KEY}", "a query (?)"),
        (f"http://127.0.0.1/v1#{KEY}", "a fragment (#)"),
        (f"http://127.0.0.1/v1\\{KEY}", "a backslash"),
        (f"http://127.0.0.1/v 1/{KEY}", "a blank or control character"),
        (f"http://127.0.0.1/token/{KEY}/v1", "a key in its path"),
        (f"http://u@127.0.0.1/v1?{KEY}", "a user or password (@) and a query (?)"),
    ],
)
def test_what_is_wrong_with_an_address_is_said(address: str, found: str) -> None:
    told = refused(base_url=address)
    assert f"it holds {found}" in told.split("; ")


@pytest.mark.parametrize(
    "part",
    [
        "bot123456:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw",
        "bot/123456:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw",
        "bot123456%3AAAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw",
        "me:0a1b2c3d4e5f60718293",
        "%73k-0123456789abcdef0123",
        "api_key:tk9fQuietOtter77",
    ],
)
def test_keys_in_paths(part: str) -> None:
    told = refused(base_url=f"https://host/{part}/v1")
    assert "a key in its path" in told
    assert part not in told


@pytest.mark.parametrize(
    "path",
    [
        "client/v4/accounts/0123456789abcdef0123456789abcdef/ai/v1",
        "v1/projects/p-1/locations/europe-west4/endpoints/1234567890123456789",
        "openai/deployments/gpt-4o-mini-2024-07-18",
        "v1beta/models/gemini-2.0-flash-001:generateContent",
        "models/llama3:8b-instruct-q4_K_M/v1",
        "8d4c1a52-6f0e-4f0b-9c51-2f6f8d3a7b11/v1",
    ],
)
def test_names_of_accounts_and_models_in_paths_are_taken(path: str) -> None:
    check_client(deployment(base_url=f"https://host/{path}"))


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("X Title", "'X Title', which is not a valid header name: ' ' must"),
        ("Größe", "'Größe', which is not a valid header name: '\\xf6' must"),
        ("X-Title:", "'X-Title…', which is not a valid header name: ':' must"),
        (f"X-A: {KEY}", "'X-A…', which is not a valid header name: ':' must"),
        (f"X-A\n{KEY}", "'X-A…', which is not a valid header name: '\\n' must"),
        (f"Authorization {KEY}", "'Authorization…', which is not a valid header name: ' ' must"),
        ("sk-0123456789abcdef0123 x", "'…', which"),
        (" ", "a header without a name"),
    ],
)
def test_a_name_that_no_header_has_is_shown_up_to_what_is_wrong(name: str, shown: str) -> None:
    told = refused(extra_headers={name: "text"})
    assert f"'extra_headers' has {shown}" in told
    assert "0123456789abcdef" not in told


@pytest.mark.parametrize("class_name", ["openai", "anthropic"])
@pytest.mark.parametrize(
    "address", ["host/v1", "localhost:8000/v1", "//host/v1", "ftp://host/v1", "", "http:///v1"]
)
def test_an_address_that_no_request_can_go_to_is_refused_by_the_plan(class_name: str, address: str) -> None:
    assert "base_url " in refused(class_name, base_url=address)


def test_clients_of_plugins_take_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    class Mine(Client):
        def __init__(self, model: str, api_key: str = "", password_file: str = "", url: str = "") -> None:
            """A client."""

    monkeypatch.setitem(CLIENTS.targets, "mine", Mine)
    monkeypatch.setitem(CLIENTS.origins, "mine", "here")
    refused("mine", api_key=KEY)
    refused("mine", url=f"https://user:{KEY}@host/")
    check_client(deployment("mine", password_file="~/.password", url="https://host/x"))


def test_the_identity_has_headers_by_name_only(monkeypatch: pytest.MonkeyPatch) -> None:
    def known(**args: Any) -> dict[str, Any]:
        return identity_of(deployment(base_url=URL, **args))

    first = known(
        extra_headers={"X-Title ": "a"}, headers_from_env={"X-Auth-Token": "ONE"}, extra_body={"a": 1}
    )
    assert first["args"]["extra_headers"] == ["x-title"]
    assert first["args"]["headers_from_env"] == ["x-auth-token"]
    assert first["args"]["extra_body"] == {"a": 1}
    assert first == known(
        extra_headers={"x-title": "b"}, headers_from_env={"x-auth-token": "TWO"}, extra_body={"a": 1}
    )
    assert first != known(
        extra_headers={"X-Title": "a"}, headers_from_env={"X-Auth-Token": "ONE"}, extra_body={"a": 2}
    )
    assert known(api_key_env="A") == known(api_key_env="B") == known(api_key_file="x")


def test_no_shipped_deployment_is_refused() -> None:
    catalog = ModelCatalog.load()
    for name in catalog.names():
        for each in catalog.deployments_of(name):
            check_client(catalog.deployment(each.name))
