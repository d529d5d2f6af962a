"""OIDC tokens beside keys: what an identity provider signed for this service is taken, all else is refused."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import get_default_algorithms

from cartograph.settings import Settings, SettingsError, load_settings
from tests.api.making import problem, publish, service

ISSUER, AUDIENCE = "https://id.example.com/", "cartograph"
SECRET = "a secret that both sides know, 32+ bytes"  # noqa: S105
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
SIGNERS: dict[str, tuple[str, PrivateKeyTypes]] = {
    "rsa": ("RS256", RSA),
    "ec": ("ES256", ec.generate_private_key(ec.SECP256R1())),
    "ed": ("EdDSA", ed25519.Ed25519PrivateKey.generate()),
}


def key_set() -> dict[str, Any]:
    """The provider's document: three public keys, and a secret that nobody should have put there."""
    algorithms: dict[str, Any] = get_default_algorithms()
    found = []
    for kid, (name, key) in SIGNERS.items():
        public = key.public_key()
        found.append(algorithms[name].to_jwk(public, as_dict=True) | {"kid": kid, "use": "sig"})
    return {"keys": [*found, algorithms["HS256"].to_jwk(SECRET, as_dict=True) | {"kid": "secret"}]}


@contextmanager
def provider() -> Iterator[tuple[str, list[str]]]:
    """An identity provider's address for its keys, and the requests that it got."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            body = json.dumps(key_set()).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/jwks", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def settings_of(home: Path, jwks_url: str, **changes: Any) -> Settings:
    return Settings(home=home, oidc_issuer=ISSUER, oidc_audience=AUDIENCE, oidc_jwks_url=jwks_url, **changes)


@pytest.fixture(scope="module")
def with_tokens(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with provider() as (address, _):
        settings = settings_of(tmp_path_factory.mktemp("oidc"), address)
        publish(settings)
        with service(settings) as client:
            yield client


def claims(**changes: Any) -> dict[str, Any]:
    usual = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "ada",
        "exp": datetime.now(UTC) + timedelta(hours=1),
        "scope": "openid cartograph:read",
    }
    return {name: value for name, value in {**usual, **changes}.items() if value is not None}


def token(signer: str = "rsa", kid: str | None = None, **changes: Any) -> str:
    algorithm, key = SIGNERS[signer]
    return jwt.encode(claims(**changes), key, algorithm, {"kid": kid or signer})  # type: ignore[arg-type]


def ask(client: httpx.Client, sent: str, path: str = "/v1/release") -> httpx.Response:
    return client.get(path, headers={"Authorization": f"Bearer {sent}"})


@pytest.mark.parametrize("signer", SIGNERS)
def test_a_token_is_taken_for_what_it_allows(with_tokens: httpx.Client, signer: str) -> None:
    answer = ask(with_tokens, token(signer))
    assert answer.status_code == 200
    assert answer.headers["ratelimit-policy"] == '"key";q=12000;w=60'
    assert ask(with_tokens, token(signer, scope=["cartograph:read", "email"])).status_code == 200
    assert ask(with_tokens, token(signer, aud=["others", AUDIENCE])).status_code == 200


@pytest.mark.parametrize(
    "scope", ["", "read", "cartograph:predict", "xcartograph:read", ["read"], {"read": 1}, 7, None]
)
def test_other_scopes_do_not_let_it_read(with_tokens: httpx.Client, scope: object) -> None:
    told = problem(ask(with_tokens, token(scope=scope)), 403, "missing-scope")
    assert "needs the scope read; ada has" in told["detail"]


def by_secret(kid: str) -> str:
    return jwt.encode(claims(), SECRET, "HS256", {"kid": kid})


def confused() -> str:
    """Signed by the provider's public key as if it were a secret: taken where the algorithm is the token's choice."""
    public = RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    head, body, _ = token().split(".")
    forged = jwt.utils.base64url_encode(b'{"alg":"HS256","kid":"rsa"}').decode()
    signer: Any = get_default_algorithms()["HS256"]
    signature = signer.sign(f"{forged}.{body}".encode(), public)
    assert head != forged
    return f"{forged}.{body}.{jwt.utils.base64url_encode(signature).decode()}"


def tampered() -> str:
    head, _, signature = token().split(".")
    body = jwt.utils.base64url_encode(json.dumps(claims(exp=4102444800, scope="cartograph:admin")).encode()).decode()
    return f"{head}.{body}.{signature}"


WRONG: dict[str, Callable[[], str]] = {
    "expired": lambda: token(exp=datetime.now(UTC) - timedelta(minutes=5)),
    "without an end": lambda: token(exp=None),
    "not yet valid": lambda: token(nbf=datetime.now(UTC) + timedelta(minutes=5)),
    "of another issuer": lambda: token(iss="https://evil.example/"),
    "without an issuer": lambda: token(iss=None),
    "for others": lambda: token(aud="others"),
    "for anybody": lambda: token(aud=None),
    "of nobody": lambda: token(sub=None),
    "of an empty name": lambda: token(sub=""),
    "signed by another key": lambda: token("ec", kid="rsa"),
    "of an unknown key": lambda: token(kid="unknown"),
    "not signed": lambda: jwt.encode(claims(), None, "none", {"kid": "rsa"}),
    "signed by a secret": lambda: by_secret("secret"),
    "signed by a secret in the name of a key": confused,
    "changed": tampered,
    "no token": lambda: "a.b.c",
    "empty": lambda: "..",
    "of odd text": lambda: "é.é.é".encode().decode("latin-1"),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG.keys())
def test_a_token_that_is_wrong_is_refused(with_tokens: httpx.Client, wrong: Callable[[], str]) -> None:
    sent = wrong()
    refused = with_tokens.get("/v1/release", headers={"Authorization": f"Bearer {sent}".encode("latin-1")})
    problem(refused, 401, "invalid-token")
    assert sent not in refused.text


def test_made_up_key_ids_do_not_reach_the_provider_each_time(tmp_path: Path) -> None:
    with provider() as (address, asked), service(settings_of(tmp_path, address)) as client:
        for n in range(20):
            problem(ask(client, token(kid=f"made up {n}")), 401, "invalid-token")
        assert len(asked) <= 2


def test_without_the_provider_keys_go_on(tmp_path: Path) -> None:
    from tests.api.test_guard import make_key

    with provider() as (address, _):
        gone = settings_of(tmp_path, address)
    publish(gone)
    with service(gone) as client:
        assert client.get("/health").json()["access"] == "keys"
        assert "Use an API key" in problem(ask(client, token()), 503, "access-unknown")["detail"]
        assert client.get("/v1/release", headers=make_key(gone, "web-shop", "read")).status_code == 200


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"oidc_issuer": ISSUER}, "OIDC needs CARTOGRAPH_OIDC_ISSUER, CARTOGRAPH_OIDC_AUDIENCE and"),
        (
            {
                "oidc_issuer": ISSUER,
                "oidc_audience": "a",
                "oidc_jwks_url": "http://id.example.com/",
                "env": "production",
            },
            "CARTOGRAPH_OIDC_JWKS_URL must be https",
        ),
        ({"api_cors_origins": "*"}, "CARTOGRAPH_API_CORS_ORIGINS=.*never \\*"),
        ({"api_rate": "a lot"}, "CARTOGRAPH_API_RATE=a lot"),
    ],
)
def test_settings_that_would_open_a_hole_are_refused(given: dict[str, Any], told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        load_settings(**given)
