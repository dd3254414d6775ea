"""AWS's Signature Version 4 of a request, from its public description.

https://docs.aws.amazon.com/IAM/latest/UserGuide/create-signed-request.html
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote, urlsplit

_ALGORITHM = "AWS4-HMAC-SHA256"


@dataclass(frozen=True, slots=True)
class AwsKeys:
    """Who signs.

    Attributes:
        access_key: The id of the key.
        secret: The key itself.
        session_token: What belongs to temporary keys.
    """

    access_key: str
    secret: str
    session_token: str | None = None


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs requests to one service in one region."""

    keys: AwsKeys
    region: str
    service: str

    def headers(
        self, method: str, url: str, body: bytes, now: datetime, signed: Mapping[str, str] | None = None
    ) -> dict[str, str]:
        """The headers that a signed request has, with the signature over them.

        Args:
            method: `POST`, …
            url: As it is sent, percent-encoded.
            body: As it is sent.
            now: The time, in UTC.
            signed: More headers to sign, which the request has.
        """
        parts = urlsplit(url)
        stamp = now.strftime("%Y%m%dT%H%M%SZ")
        own = {"host": parts.netloc, "x-amz-date": stamp}
        if self.keys.session_token is not None:
            own["x-amz-security-token"] = self.keys.session_token
        covered = {**{name.lower(): value.strip() for name, value in (signed or {}).items()}, **own}
        names = ";".join(sorted(covered))
        canonical = "\n".join(
            (
                method,
                # Once more encoded than it is sent, for every service but S3.
                quote(parts.path or "/", safe="/-_.~"),
                "&".join(sorted(parts.query.split("&"))) if parts.query else "",
                *(f"{name}:{covered[name]}" for name in sorted(covered)),
                "",
                names,
                hashlib.sha256(body).hexdigest(),
            )
        )
        scope = f"{stamp[:8]}/{self.region}/{self.service}/aws4_request"
        text = "\n".join((_ALGORITHM, stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()))
        key = f"AWS4{self.keys.secret}".encode()
        for part in scope.split("/"):
            key = hmac.digest(key, part.encode(), "sha256")
        signature = hmac.digest(key, text.encode(), "sha256").hex()
        credential = f"Credential={self.keys.access_key}/{scope}"
        own["Authorization"] = f"{_ALGORITHM} {credential}, SignedHeaders={names}, Signature={signature}"
        del own["host"]  # the connection sends it
        return own
