"""Who is let in at the operators' door: by its name, from where, with which key.

A web page in somebody's browser can send requests to this machine too. What it cannot
do is choose the Host header, or hide where it comes from.
"""

import ipaddress
import re
from typing import Any
from urllib.parse import urlsplit

import falcon

from mspc.admin.keys import Keys, Right
from mspc.api import codes
from mspc.api.errors import Denied
from mspc.api.refusals import Refusals
from mspc.calls.masks import masked_url
from mspc.journal.base import Filter

SAFE = frozenset(("GET", "HEAD", "OPTIONS"))
_HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^:\[\]]+))(?::[0-9]*)?")


class OwnHosts:
    """Falcon middleware: answers under names that are ours, to no page of another site.

    An address is let in whatever it is: to have a browser take a foreign page for ours
    (DNS rebinding), its host must be a name, which is looked up twice.
    """

    def __init__(self, *names: str) -> None:
        """`names` are ours besides `localhost`: that which is listened on, and such."""
        self._names = {"localhost", *(name.lower() for name in names)}

    def process_request(self, req: falcon.Request, resp: falcon.Response) -> None:
        resp.set_header("Cache-Control", "no-store")
        resp.set_header("X-Content-Type-Options", "nosniff")
        host = req.get_header("Host") or ""
        if not self._is_own(host):
            raise Denied(
                codes.FOREIGN_HOST,
                "The Host header must be an IP address, localhost, this machine's name,"
                " ADMIN_HOST or one of ADMIN_NAMES: add the name there, or have the"
                " proxy in front send one of these.",
            )
        if req.method not in SAFE and not _is_same_site(req, host):
            raise Denied(
                codes.CROSS_SITE,
                "A page of another site has sent this: nothing was done.",
            )

    def _is_own(self, host: str) -> bool:
        found = _HOST.fullmatch(host)
        if found is None:
            return False
        name = (found[1] or found[2]).lower().removesuffix(".")
        if name in self._names or name.endswith(".localhost"):
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True


def _is_same_site(req: falcon.Request, host: str) -> bool:
    """Whether no page of another site has sent it: a page cannot choose these headers.

    A proxy may have changed Host, and says in X-Forwarded-Host what it was. A page that
    sends that one needs our leave first (CORS), which nobody gets.
    """
    site = req.get_header("Sec-Fetch-Site")
    if site is not None:
        return site.lower() == "same-origin"
    origin = req.get_header("Origin")
    if origin is None:
        return True
    forwarded = req.get_header("X-Forwarded-Host")
    return _place(origin) in {host.lower(), (forwarded or host).lower()}


def _place(origin: str) -> str:
    """Host and port of an origin; of `null` and such, what no Host header is."""
    try:
        return urlsplit(origin).netloc.lower() or "null"
    except ValueError:
        return "null"


class Guarded:
    """A resource that needs a key."""

    def needed(self, method: str) -> Right:
        """Which right."""
        return "read" if method in SAFE else "admin"


class Guard:
    """Falcon middleware: asks for the key of a Guarded resource, for every method.

    It runs before the body is read. What the key is called stands in
    `req.context.who` then.
    """

    def __init__(self, keys: Keys, refusals: Refusals) -> None:
        self._keys = keys
        self._refusals = refusals

    def process_resource(
        self,
        req: falcon.Request,
        resp: falcon.Response,
        resource: object,
        params: Any,
    ) -> None:
        if not isinstance(resource, Guarded):
            return
        value = req.get_header("Authorization")
        right = self._keys.right(value)
        if right is None:
            reason = "the header is missing" if value is None else "no key of this door"
            self._refusals.tell(req.remote_addr, "Authorization", reason)
            raise falcon.HTTPUnauthorized(headers={"WWW-Authenticate": "Bearer"})
        if resource.needed(req.method) == "admin" and right != "admin":
            raise Denied(
                codes.READ_ONLY, "READ_KEY may look only: this needs ADMIN_KEY."
            )
        req.context.who = right


def refuse_guessing(who: str, wanted: Filter) -> None:
    """Whoever may not see the secrets of a URL may not look for them either: each
    answer would tell a little more of one.

    Raises:
        Denied: `who` is not ADMIN_KEY, and a secret is looked for.
    """
    prefix = wanted.url_prefix
    if who != "admin" and masked_url(prefix) != prefix:
        raise Denied(
            codes.READ_ONLY,
            "url_prefix has a secret of a URL, which READ_KEY may not look for.",
        )
