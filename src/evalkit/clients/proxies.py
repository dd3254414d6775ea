"""Which proxy requests to a server go through: what the environment says, as curl and Python read it."""

from __future__ import annotations

import re
from urllib.parse import unquote, urlsplit

from evalkit.errors import UsageError
from evalkit.redaction import remember, shown_name

_LOOPBACK = re.compile(r"localhost|.*\.localhost|127(?:\.\d{1,3}){3}|::1", re.IGNORECASE)


def proxy_for(url: str) -> str | None:
    """The proxy that `http_proxy` or `https_proxy` names for this URL; its password is kept out of messages.

    A server on this machine is asked directly, as Go does it: an engine that evalkit has started is one, and
    no proxy elsewhere could reach it. So is one that `no_proxy` names.

    Raises:
        UsageError: The proxy is of a kind that evalkit can't use, such as SOCKS.
    """
    from urllib.request import getproxies, proxy_bypass

    parts = urlsplit(url)
    if _LOOPBACK.fullmatch(parts.hostname or "") or proxy_bypass(parts.netloc):
        return None
    proxy = getproxies().get(parts.scheme)
    if not proxy:
        return None
    # By hand: a proxy that is not an address (a slash in the password) is shown in its error.
    user, has_user, _ = re.sub(r"^\w+://", "", proxy).rpartition("@")
    if has_user:
        password = user.partition(":")[2] or user
        remember(password)
        remember(unquote(password))
    kind, has_kind, _ = proxy.partition("://")
    if not has_kind:
        return f"http://{proxy}"
    if kind.lower() not in ("http", "https"):
        raise UsageError(
            f"the environment variable {parts.scheme}_proxy names a proxy of the kind '{shown_name(kind)}'; "
            "evalkit takes http:// and https:// proxies"
        )
    return proxy
