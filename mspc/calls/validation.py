"""From a payload, the bytes a client sent, to a Request that can be made.

Runs when a call is accepted and again before each attempt, so the rules are built once.
A value is taken as it is or refused with a sentence; nothing is mended silently.
"""

import difflib
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from voluptuous import Extra, Invalid, MultipleInvalid, Optional, Required, Schema

from mspc.calls import policy_text
from mspc.calls.body import BodyRefused, read_base64, read_body, read_text
from mspc.calls.call import Request
from mspc.calls.headers import completed, has_content_type, read_headers
from mspc.calls.json_text import MAX_MEMBERS, read_object
from mspc.calls.networks import NetworkRules
from mspc.calls.own_addresses import is_own_address, is_own_name
from mspc.calls.policy import USUAL
from mspc.calls.sentences import kind, shown
from mspc.calls.url import Url, read_url
from mspc.errors import InvalidProperties

METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, CONNECT, TRACE"
_USUAL = ("url", "method", "headers", "body", "requeue")
_USUAL_NAMES = frozenset(_USUAL)
_OTHERS = ("body_base64", *policy_text.READERS)
PROPERTIES = ", ".join((*_USUAL, *_OTHERS))
# Beyond these nobody is helped, and looking at each would hold up other calls.
MAX_PROBLEMS = 10

_METHODS = frozenset(METHODS.split(", "))

Check = Callable[[object], Any]


class _UnknownProperty(Invalid):
    """A property that no call has."""


def parse(payload: bytes, networks: NetworkRules) -> Request:
    """Reads a payload.

    Raises:
        NotAnObject: it is not a JSON object.
        InvalidProperties: it is one, but breaks a rule; has every broken rule.
    """
    properties = read_object(payload)
    if len(properties) > MAX_MEMBERS:
        raise InvalidProperties([f"A call has no properties but {PROPERTIES}."])
    # Who names a type knows it; what nobody names must be told from the text.
    typed = has_content_type(properties.get("headers"))
    usual = properties.keys() <= _USUAL_NAMES
    rules = (_TYPED if typed else _UNTYPED)[usual]
    try:
        checked = rules.apply(properties)
    except MultipleInvalid as exc:
        problems: list[str] = []
        with suppress(Invalid):  # a url that is wrong has its sentence
            problems += denied(read_url(properties.get("url")), networks)
        problems += _contradictions(properties)
        raise InvalidProperties(problems + _sentences(exc.errors)) from exc
    url: Url = checked["url"]
    wrong = denied(url, networks)
    if len(checked) > len(_USUAL):
        wrong += _contradictions(properties)
    if wrong:
        raise InvalidProperties(wrong)
    body, media_type = checked.get("body_base64") or checked["body"]
    if checked["method"] == "TRACE":  # must have no content: RFC 9110 9.3.8
        body = b""
    policy = USUAL if len(checked) == len(_USUAL) else policy_text.policy(checked)
    return Request(
        scheme=url.scheme,
        host=url.host,
        port=url.port,
        target=url.target,
        method=checked["method"],
        headers=completed(
            checked["headers"], url.authorization, media_type if body else None
        ),
        body=body,
        requeue=checked["requeue"] and policy.max_attempts != 1,
        policy=policy,
    )


def _sentence(error: Invalid) -> str:
    name, *inner = error.path
    name = str(name)
    if isinstance(error, _UnknownProperty):
        near = difflib.get_close_matches(name.lower()[:60], PROPERTIES.split(", "), n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {PROPERTIES}."
        return f"{shown(name)} is not a property of a call; {hint}"
    # A number is a place in a list; names are texts.
    place = "".join(f"[{k}]" if type(k) is int else f"[{shown(str(k))}]" for k in inner)
    return f"{name}{place} {error.msg}"


def _sentences(errors: list[Invalid]) -> list[str]:
    more = len(errors) - MAX_PROBLEMS
    rest = [f"And {more} more mistakes."] if more > 0 else []
    return [_sentence(error) for error in errors[:MAX_PROBLEMS]] + rest


def denied(url: Url, networks: NetworkRules) -> list[str]:
    """What to say of an address that must not be called; nothing of others.

    The early answer; the address that is dialled is looked at again then.
    """
    if url.literal and networks.denies(url.host):
        return [f"url must not name the address {url.host}: FORWARD_DENY_NETWORKS."]
    if url.port == networks.own_port and _is_own(url):
        return [
            f"url must not name port {url.port} of {url.host}: that is mspc's own"
            " operators' door (ADMIN_PORT), to which it makes no calls."
        ]
    return []


def _is_own(url: Url) -> bool:
    return is_own_address(url.host) if url.literal else is_own_name(url.host)


def _check_method(value: object) -> str:
    # ASCII only, because the upper case of a long s is S too.
    method = value.upper() if isinstance(value, str) and value.isascii() else ""
    if method not in _METHODS:
        found = shown(value) if type(value) is str else kind(value)
        raise Invalid(f"must be one of {METHODS}, not {found}.")
    return method


def _body_reader(
    what: str, read: Callable[[str], tuple[bytes, str | None]]
) -> Callable[[object], tuple[bytes, str | None]]:
    def check(value: object) -> tuple[bytes, str | None]:
        if type(value) is not str:
            raise Invalid(f"must be a string ({what}), not {kind(value)}.")
        if not value:
            return b"", None
        try:
            return read(value)
        except BodyRefused as exc:
            raise Invalid(str(exc)) from exc

    return check


def _check_requeue(value: object) -> bool:
    if isinstance(value, bool):
        return value
    found = f"{shown(value)} (a string)" if type(value) is str else kind(value)
    raise Invalid(f"must be true or false, not {found}.")


def _refuse_unknown(value: object) -> None:
    raise _UnknownProperty("is unknown.")


def _or_default(check: Check, default: Any) -> Check:
    return lambda value: default if value is None else check(value)


class _Rules:
    """What the properties of a call may be, each None when it is not there."""

    def __init__(self, others: Mapping[str, Check]) -> None:
        """`others`: for each property but the url, which there must be."""
        self._checks = {"url": read_url, **others}
        # A silent typo in `requeue` would lose calls.
        rules: dict[object, object] = {Extra: _refuse_unknown}
        rules[Required("url", msg="is missing.")] = read_url
        rules |= {Optional(name, default=None): others[name] for name in others}
        self._schema = Schema(rules)

    def apply(self, properties: Mapping[str, object]) -> dict[str, Any]:
        """Each property as it is used.

        Raises:
            MultipleInvalid: with every broken rule.
        """
        # Without a mistake there is nothing to gather, and voluptuous takes four times
        # as long as the checks themselves.
        if properties.keys() <= self._checks.keys():
            with suppress(Invalid):
                return {
                    name: check(properties.get(name))
                    for name, check in self._checks.items()
                }
        return dict(self._schema(properties))


def _rules(check_body: Check) -> tuple[_Rules, _Rules]:
    """For any call, and for one with nothing but what most calls have."""
    usual: dict[str, Check] = {
        "method": _or_default(_check_method, "GET"),
        "headers": _or_default(read_headers, []),
        "body": _or_default(check_body, (b"", None)),
        "requeue": _or_default(_check_requeue, True),
    }
    others = {"body_base64": _body_reader("base64", read_base64), **policy_text.READERS}
    more = {name: _or_default(check, None) for name, check in others.items()}
    return _Rules(usual | more), _Rules(usual)


def _contradictions(properties: Mapping[str, object]) -> list[str]:
    return policy_text.contradictions(properties, time.time())


_UNTYPED = _rules(_body_reader("JSON or XML text", read_body))
_TYPED = _rules(_body_reader("the text of the body", read_text))
