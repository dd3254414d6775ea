"""Keys in longer texts: found behind their names, in whatever notation; not found in ordinary texts."""

from __future__ import annotations

import base64
import json
import re
import time
from typing import Any
from urllib.parse import quote

import pytest

from evalkit.clients.factory import check_client
from evalkit.errors import UsageError
from evalkit.models.secret_texts import holds_key
from tests.models.test_secret_fields import deployment
from tests.planted import KEYS, Planted, pieces

# Made of letters and digits, of words, with slashes, of hexadecimal digits, of digits and of a vendor.
OTHERS = {
    "hexadecimal": "0f9a2b7c4d1e8f60a3b5c7d9e1f20314",
    "numbers": "8842019937641",
    "base64": "mK8v/x2Qa+Zr0Lw9tY1nBg==",
    "uuid": "6f1d2c3b-9a8e-4b7c-8d5e-1f2a3b4c5d6e",
}
RANDOM = {name: key for name, key in (KEYS | OTHERS).items() if not key.startswith(("Bearer ", "Basic "))}

# `K` is where the key stands.
NAMED_LIKE_CODE = [
    "session_token=K; path=/",
    "path=/; session_token=K",
    "a=1; b=2;session_token=K;Secure",
    "theme=dark; auth-token=K; lang=en",
    "-H 'X-Api-Key: K'",
    "-H X-Api-Key:K",
    'curl -s -H "X-Api-Key: K" https://host/v1 -d "{}"',
    "curl --header 'Authorization: Bearer K' https://host",
    "Accept: text/plain\r\nX-Api-Key: K\r\nHost: host",
    "access_key_id: K",
    "region: eu\naccess_key_id: K\nformat: json",
    "aws_access_key_id = K and more",
    "AccessKeyId=K, Region=eu",
    "secret_access_key: K  # of mine",
    'first {"api_key": "K"} last',
    '{"a": 1, "api_key": "K", and no JSON',
    "{'api_key': 'K', 'a': 1} of Python",
    'text {\\"api_key\\": \\"K\\"} text',
    '{\\\\"api_key\\\\":\\\\"K\\\\"} twice',
    '<?xml version="1.0"?><a><api_key>K</api_key></a>',
    "<apiKey> K </apiKey>",
    '<server api_key="K" port="1"/>',
    "export API_KEY=K && run",
    "API_KEY=K run --port 1",
    "run --api-key K --port 1",
    "run --api-key=K --port 1",
    "run --port 1 --api-key 'K'",
    "?a=1&api_key=K and more",
    "see https://host/x?a=1&api_key=K&b=2 for more",
    "[default]\nport = 1\napi_key = K\n",
    "{:api_key => 'K'}",
    'api_key := "K"; done',
    "my API key: K, keep it",
    "the access token = K of mine",
    "api_key:\n  K",
    "host: x | api_key: K | port: 1",
    "connect with apiKey=K, please",
    "Server=x;Shared_Access_Key=K;Port=1",
    "SharedAccessKey=K;EntityPath=x",
    "ａｐｉ＿ｋｅｙ：K and more",
    "api\u200b_key=K and more",
    "a=1, auth_token: Token K, b=2",
    "use `api_key`: `K` here",
    "//registry/:_authToken=K x",
    "- name: API_KEY\n  value: K\n",
    '<add name="X-Api-Key" value="K"/>',
    'setHeader("X-Api-Key", "K"); go()',
    "request.header('Authorization', 'K')",
]
OTHER_NAMES = [
    "token=K; path=/",
    "password=K; user=me",
    "Server=x;User Id=me;Password=K;",
    '{"user": "me", "password": "K"} and more',
    "user: me\npassword: K\nport: 1",
    "machine host\nsecret=K\n",
    "sig=K&se=2026",
    "-H 'Cookie: session=K; path=/'",
    "Cookie: a=K; b=2",
    "<password>K</password>",
]


def put(key: str, text: str) -> str:
    return re.sub(r"(?<![A-Za-z_-])K(?![A-Za-z_-])", lambda _: key, text)


@pytest.mark.parametrize("key", RANDOM.values(), ids=RANDOM)
@pytest.mark.parametrize("text", NAMED_LIKE_CODE)
def test_a_key_behind_its_name_in_a_longer_text(text: str, key: str) -> None:
    assert holds_key(put(key, text))


@pytest.mark.parametrize("key", [k for k in RANDOM.values() if any(map(str.isdigit, k)) and not k.isdigit()])
@pytest.mark.parametrize("text", OTHER_NAMES)
def test_a_key_behind_a_plain_word_in_a_longer_text(text: str, key: str) -> None:
    assert holds_key(put(key, text))


@pytest.mark.parametrize("key", RANDOM.values(), ids=RANDOM)
@pytest.mark.parametrize(
    "text",
    [
        "go to https://user:K@host/v1 and ask",
        "https://user:K@host",
        "postgres://me:K@host:5432/db?sslmode=require is the database",
        "proxies: http://a:1/, http://user:K@b:2/",
        "https://:K@host and more",
    ],
)
def test_an_address_with_a_password_in_a_longer_text(text: str, key: str) -> None:
    assert holds_key(put(key, text))


@pytest.mark.parametrize(
    "text",
    [
        "ask with sk-0123456789abcdef0123, please",
        "the key is ghp_0123456789abcdefghijABCDEFGHIJ012345.",
        "(AKIA0123456789ABCDEF)",
        "first\n-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----\nlast",
        "a jwt: eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abcdefghijklmnop, and more",
        "send Bearer 0f9a2b7c4d1e8f60 as always",
        f"send Basic {base64.b64encode(b'me:hunter2hunter2').decode()} as always",
        "my password is hunTer2Hunter2!x",
        "machine host login me password 9f8e7d6c5b4a39281706",
        "curl -u me:hunter2hunter2 https://host",
        "use api-key tk-9f-Quiet_Otter.77 for it",
        "my token is: 0f9a2b7c4d1e8f60a3b5c7d9e1f20314",
        "name,value\napi_key,0f9a2b7c4d1e8f60a3b5c7d9e1f20314\n",
        "curl --user 'me:hunter2hunter2' https://host",
        "https://9f8e7d6c5b4a39281706@host/v1 and more",
        quote('{"api_key": "tk9fQuietOtter77"}'),
        "api&#95;key=tk9fQuietOtter77 and more",
        '{"api\\u005fkey": "tk9fQuietOtter77"} and more',
    ],
)
def test_keys_that_need_no_name_and_names_in_other_spellings(text: str) -> None:
    assert holds_key(text)


ORDINARY = [
    "the token: a short word",
    "The token: a short word. The key: the most important idea.",
    "Each token is a piece of a word; the key is the label, the secret is practice.",
    "Answer key: photosynthesis",
    "Answer key: A, B, C, D, A, A, B\nName: Bob",
    "Question: What is a session token?\nAnswer:",
    "Password: say it, or the API key = 7 is lost; see https://host/?key=example for more",
    "Use the api_key argument, or set API_KEY in the environment.",
    "Set api_key: required, and session_token: optional.",
    "Never reveal the password: it is confidential.",
    "password: <your password>\nuser: <your name>",
    "Authorization: Bearer $TOKEN\nAuthorization: Bearer {token}",
    "curl -H 'X-Api-Key: YOUR_API_KEY' https://host and -H 'Authorization: Bearer <token>'",
    "export API_KEY=$OTHER_KEY_1 && run --api-key ${API_KEY_2}",
    "api_key=os.environ['OPENAI_API_KEY']",
    "client = OpenAI(api_key=settings.openai.api_key, base_url=url)",
    "api_key = getenv('A1B2C3D4E5')",
    "def login(user: str, password: str, session_token: str | None = None) -> bool:",
    "sorted(items, key=lambda pair: pair[1])",
    "sorted(items, key=operator.itemgetter(1), reverse=True)",
    "for key, value in items: key=value12",
    'Answer in JSON: {"key": "value", "token": "B-LOC", "confidence": 0.9}',
    '[{"token": "Berlin", "label": "B-LOC"}, {"token": "in", "label": "O"}] and more',
    '{"type": "object", "properties": {"password": {"type": "string"}}} is the schema',
    "{{ bos_token }}{% for message in messages %}{{ message['content'] + eos_token }}{% endfor %}",
    "{%- set eos_token = '<|im_end|>' %}{%- set sep_token = '\\n\\n###\\n\\n' %}",
    "key: 19th-century industrialisation; the key: COVID-19",
    "The cookie: flour, sugar, 200g butter; the secret: 2 eggs",
    "Signature: int main(int argc, char **argv)",
    "The key 2 concepts are tokens 1 to 100; max_tokens=1024, n_tokens: 4096000",
    "max_tokens: 100000; prompt_tokens=123456; token_ids: 50256",
    "the password is 'correct horse battery staple'",
    "task-based-evaluation-2024 with sk-learn-compatible estimators",
    "Bearer of good news; basic understanding, Basic Python3 questions; Basic arithmetic1",
    "git clone ssh://git@github.com/owner/repo, then http://localhost:8000/v1/x?mail=a@b.example",
    "https://user:password@host/ is how an address with a password looks",
    "docker run -u 1000:1000 image; chown -R user:group folder",
    "API-Key: see the manual, page 12",
    "the private key: keep it at /home/me/.ssh/id_ed25519_2024 and never share it",
    "Translate: Der Schlüssel: 42 Wörter. 鍵: 12345678 トークン：短い単語",
    "monkey: 12345678, turkey=abcdefgh1, keyboard: qwerty12345",
    'One of "key", "gpt-4o-mini-2024", "token", "B-PERSON-12", or password, user1234',
    "time: 12:30:00, ratio=16:9, date: 2024-01-15T10:00:00Z",
    "model: meta-llama/Llama-3.1-8B-Instruct, openai/gpt-4o-mini-2024-07-18, deepseek-r1:8b-q4_K_M",
    "The token is Llama-3.1-8B-Instruct",
    "stop at </s>, <|eot_id|>, \n\nQuestion:, Token:, key=, Password:",
    "sha256=9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "id: 6f1d2c3b-9a8e-4b7c-8d5e-1f2a3b4c5d6e, user: u-0123456789abcdef, revision: 0e9e39f249a16976",
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk",
]


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_texts_are_taken(text: str) -> None:
    assert not holds_key(text)
    check_client(deployment(extra_body={"system": text, "messages": [{"role": "user", "content": text}]}))


@pytest.mark.parametrize(
    "words",
    [
        ["Password", "User"],
        ["Token:", "Answer:"],
        ["\nKey:", "Question:"],
        ["password", "secret", "token"],
        ["Authorization", "Bearer"],
    ],
)
def test_stop_sequences_and_lists_of_words_are_taken(words: list[str]) -> None:
    check_client(deployment(extra_body={"stop": words, "tags": words}))


K = KEYS["plain"]


@pytest.mark.parametrize(
    "args",
    [
        {"extra_body": {"a": {"b": [f"x; session_token={K}; path=/"]}}},
        {"extra_body": {"note": f"-H 'X-Api-Key: {K}'"}},
        {"extra_body": {f"session_token={K}; path=/": 1}},
        {"extra_body": {"argv": ["--port", "1", "--api-key", K, "--quiet"]}},
        {"extra_body": {"argv": ["--api-key", K]}},
        {"extra_body": {"argv": ["curl", "-H", f"X-Api-Key: {K}", "https://host"]}},
        {"extra_body": {"headers": [["Accept", "x"], ["Authorization", K]]}},
        {"extra_body": {"headers": ["Accept", "x", "X-Api-Key", K]}},
        {"extra_headers": {"X-Meta": f"a=1; session_token={K}"}},
        {"extra_headers": {"X-Forward": f"https://user:{K}@host"}},
        {"extra_headers": {"X-Meta": json.dumps({"a": {"api_key": K}}) + " and more"}},
        {"extra_body": {"access_key_id": K}},
        {"model": f"m; api_key={K}; x"},
    ],
)
def test_named_keys_are_refused_with_the_remedy(args: dict[str, Any], planted: Planted) -> None:
    planted.use()
    with pytest.raises(UsageError, match="must not hold a secret") as caught:
        check_client(deployment(**args))
    told = str(caught.value)
    assert not any(piece.decode() in told for piece in pieces(K))
    if "extra_headers" in args:
        assert f"headers_from_env: {{{next(iter(args['extra_headers']))}: VARIABLE}}" in told
    else:
        assert "api_key_env: VARIABLE" in told


@pytest.mark.parametrize("text", [f"a; hf_token={K}; b", f"https://user:{K}@host/x", f"--hf-token {K} -v"])
def test_arguments_of_engines_hold_no_named_key(text: str) -> None:
    args: dict[str, Any] = {"engine_args": {"extra": text}}
    with pytest.raises(UsageError, match="HF_TOKEN"):
        check_client(deployment("vllm", **args))


LONG = ["a", "key ", "a.b-", "key=", "://:", "\\u0061", "api_key=a ", "a b=", "--key "]


@pytest.mark.parametrize("part", LONG)
def test_long_texts_take_time_in_proportion(part: str) -> None:
    begun = time.process_time()
    holds_key(part * (200_000 // len(part)))
    assert time.process_time() - begun < 5
