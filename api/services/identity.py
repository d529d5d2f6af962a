"""OIDC bearer tokens: whose they are and what they allow, by the public keys of an identity provider.

Signatures by a secret that both sides know (HS256) and unsigned tokens are refused: the service holds public keys only.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Self

import jwt

from cartograph.keys import SCOPES, Scope
from cartograph.settings import Settings

ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
"""Those with a public key."""
PREFIX = "cartograph:"
"""What a token may do is named with it, since another service of the same issuer may have a scope `read` too."""
_CLAIMS = ["exp", "iss", "aud", "sub"]
_LEEWAY_SECONDS = 30
_FETCH_SECONDS = 5.0


class IdentityProviderDown(Exception):  # noqa: N818 - named for what happened
    """The provider's public keys cannot be had."""


class Identity(NamedTuple):
    """Whose a token is, and what it allows here."""

    subject: str
    scopes: frozenset[Scope]


class Tokens:
    """Verifies tokens of one issuer for one audience. Its keys are fetched once in 5 minutes, and for a new key id."""

    def __init__(self, issuer: str, audience: str, jwks_url: str, scope_claim: str) -> None:
        self._issuer = issuer
        self._audience = audience
        self._scope_claim = scope_claim
        self._keys = jwt.PyJWKClient(jwks_url, timeout=_FETCH_SECONDS)

    @classmethod
    def of(cls, settings: Settings) -> Self | None:
        """As the settings say; None where they name no issuer."""
        if settings.oidc_issuer and settings.oidc_audience and settings.oidc_jwks_url:
            return cls(settings.oidc_issuer, settings.oidc_audience, settings.oidc_jwks_url, settings.oidc_scope_claim)
        return None

    def verified(self, token: str) -> Identity | None:
        """Whose `token` is; None where it is not valid. It may wait for the network.

        Raises:
            IdentityProviderDown: the public keys cannot be fetched.
        """
        try:
            claims = jwt.decode(
                token,
                self._keys.get_signing_key_from_jwt(token),
                algorithms=ALGORITHMS,
                issuer=self._issuer,
                audience=self._audience,
                leeway=_LEEWAY_SECONDS,
                options={"require": _CLAIMS},
            )
        except jwt.PyJWKClientConnectionError:
            raise IdentityProviderDown(
                "The identity provider's keys cannot be fetched. Use an API key, or try later."
            ) from None
        except (jwt.PyJWTError, ValueError):
            return None
        if not claims["sub"]:
            return None
        return Identity(claims["sub"], _scopes(claims.get(self._scope_claim)))


def _scopes(claim: Any) -> frozenset[Scope]:
    names = claim.split() if isinstance(claim, str) else claim if isinstance(claim, list) else []
    return frozenset(scope for scope in SCOPES if f"{PREFIX}{scope}" in names)
