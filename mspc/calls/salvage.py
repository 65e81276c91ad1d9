"""What can be sent of a call that breaks the rules of accepting.

They did not hold where it came from: FAST_PUBLISH stores unread, another producer
writes to the queue himself, an older version took what this one refuses. It was
promised to be made, so whatever can be sent is sent. Nothing is invented, though: with
a url or a method that nobody can be asked with, it stays refused.
"""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import quote

import msgspec
from msgspec import UNSET, Raw, UnsetType
from voluptuous import Invalid

from mspc.calls import json_text, policy_text
from mspc.calls.body import JSON, BodyRefused, read_base64, read_body
from mspc.calls.call import Request
from mspc.calls.headers import MAX_HEADERS, TOKEN, Headers, completed, end_to_end
from mspc.calls.networks import NetworkRules
from mspc.calls.policy import USUAL, Policy
from mspc.calls.url import Url, read_url
from mspc.calls.validation import denied
from mspc.errors import BadRequest, InvalidProperties, NotAnObject

_SPACE = " \t\r\n"
_NO = frozenset(("false", "0", "no", "off"))
_ABSENT = (None, "")
_HALF_PAIR = re.compile(r"[\ud800-\udfff]")
# The escapes of JSON. The first two are as they should be, the third is half a pair.
_ESCAPE = re.compile(
    rb"(\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\[^u])"
    rb"|\\u[dD][89a-fA-F][0-9a-fA-F]{2}"
)
# What a URL must not have as it is, but may have percent-encoded.
_TO_ENCODE = re.compile(r"[\x00-\x20\x7f-\x9f\\]")
# What ends a header: a recipient may take a space for it, RFC 9110 5.5.
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]+")


class _Members(msgspec.Struct):
    """The properties that matter; whatever else there is is skipped, not built.

    Of one that is given twice the last counts, as JSON readers have it.
    """

    url: Raw | UnsetType = UNSET
    method: Raw | UnsetType = UNSET
    headers: Raw | UnsetType = UNSET
    body: Raw | UnsetType = UNSET
    requeue: Raw | UnsetType = UNSET
    body_base64: Raw | UnsetType = UNSET
    delay: Raw | UnsetType = UNSET
    not_before: Raw | UnsetType = UNSET
    max_attempts: Raw | UnsetType = UNSET
    max_age: Raw | UnsetType = UNSET
    backoff: Raw | UnsetType = UNSET
    timeout: Raw | UnsetType = UNSET
    permanent: Raw | UnsetType = UNSET
    labels: Raw | UnsetType = UNSET
    traceparent: Raw | UnsetType = UNSET
    tracestate: Raw | UnsetType = UNSET


def salvage(payload: bytes, networks: NetworkRules, refused: BadRequest) -> Request:
    """The Request that comes nearest to a payload.

    Args:
        payload: what validation.parse() has refused.
        networks: addresses that a call may not name.
        refused: why it was refused, which is told if nothing can be sent.

    Raises:
        BadRequest: nothing can be sent; says why.
    """
    given = _members(payload, refused)
    try:
        return _request(given, networks)
    except InvalidProperties as exc:
        # With what else is wrong: "Url" is not a property, did you mean url?
        known = refused.problems if isinstance(refused, InvalidProperties) else ()
        more = [told for told in known if told not in exc.problems]
        raise InvalidProperties([*exc.problems, *more]) from exc


def _request(given: _Members, networks: NetworkRules) -> Request:
    with _about("url"):
        url = _url(_value(given.url))
    if wrong := denied(url, networks):
        raise InvalidProperties(wrong)
    with _about("method"):
        method = _method(_value(given.method))
    body, media_type = _bytes(given.body_base64) or _body(given.body)
    if method == "TRACE":  # must have no content: RFC 9110 9.3.8
        body = b""
    policy = _policy(given)
    return Request(
        scheme=url.scheme,
        host=url.host,
        port=url.port,
        target=url.target,
        method=method,
        headers=completed(
            end_to_end(_headers(given.headers)),
            url.authorization,
            media_type if body else None,
        ),
        body=body,
        requeue=_requeue(_value(given.requeue)) and policy.max_attempts != 1,
        policy=policy,
    )


@contextmanager
def _about(name: str) -> Iterator[None]:
    try:
        yield
    except Invalid as exc:
        raise InvalidProperties([f"{name} {exc.msg}"]) from exc


# ---- the payload


def _members(payload: bytes, refused: BadRequest) -> _Members:
    text = _utf8(payload)
    try:
        return _decode(text)
    except (msgspec.DecodeError, RecursionError):
        pass
    whole = _ESCAPE.sub(lambda found: found[1] or b"\\ufffd", text)
    try:
        return _decode(whole)
    except (msgspec.DecodeError, RecursionError):
        return _odd_members(whole, refused)


def _odd_members(text: bytes, refused: BadRequest) -> _Members:
    """Of what is JSON to Python alone: NaN, Infinity."""
    if not json_text.is_cheap(text):
        raise refused
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise refused from None
    if not isinstance(found, dict):
        raise refused
    names = found.keys() & set(_Members.__struct_fields__)
    if "headers" in names:  # they are read again, and their values are texts anyway
        as_written = json.loads(text, parse_constant=str, parse_float=str)
        found["headers"] = as_written["headers"]
    return _Members(**{n: Raw(json.dumps(found[n]).encode()) for n in names})


def _utf8(payload: bytes) -> bytes:
    """UTF-16 and UTF-32 were allowed once (RFC 4627 3); anything else is UTF-8."""
    encoding = json.detect_encoding(payload)
    if encoding in ("utf-8", "utf-8-sig"):
        text = payload.decode("utf-8-sig", "replace")
    else:
        text = payload.decode(encoding, "replace")
    return text.encode(errors="replace")


def _value(raw: Raw | UnsetType) -> object:
    """A scalar; an empty array or object for any other."""
    if raw is UNSET:
        return None
    content = bytes(raw)
    if content.startswith((b"{", b"[")):
        return {} if content.startswith(b"{") else []
    return json_text.scalar(content)


# ---- its properties


def _whole(text: str) -> str:
    """Without half a surrogate pair, which no UTF-8 text can hold."""
    return _HALF_PAIR.sub("\ufffd", text)


def _url(value: object) -> Url:
    if value is None:
        raise Invalid("is missing.")
    if type(value) is not str:
        return read_url(value)  # its sentence
    encoded = _TO_ENCODE.sub(lambda found: quote(found[0]), _whole(value).strip(_SPACE))
    return read_url(encoded, longest=None)


def _method(value: object) -> str:
    if value in _ABSENT:
        return "GET"
    name = value.strip(_SPACE) if type(value) is str else ""
    if not TOKEN.fullmatch(name):
        raise Invalid("is none that a request can have.")
    return name.upper()


def _headers(raw: Raw | UnsetType) -> Headers:
    """Those that can be written; of one that is given twice the last counts."""
    content = b"" if raw is UNSET else bytes(raw)
    if not content.startswith(b"{"):
        return []
    members = _decode_headers(content)
    if len(members) > MAX_HEADERS:
        raise InvalidProperties([f"headers must not be more than {MAX_HEADERS}."])
    written = {
        name.lower(): (name, text)
        for name, raw in members.items()
        if TOKEN.fullmatch(name) and (text := _header(bytes(raw))) is not None
    }
    return list(written.values())


def _header(raw: bytes) -> str | None:
    if raw.startswith((b"{", b"[")):
        try:
            # As if it had come in several lines: RFC 9110 5.3.
            text = ", ".join(_decode_texts(raw))
        except msgspec.DecodeError:
            text = raw.decode()
    elif raw == b"null":
        return None
    else:
        value = json_text.scalar(raw)
        text = value if isinstance(value, str) else raw.decode()
    return _CONTROL.sub(" ", _whole(text)).strip(" \t")


def _body(raw: Raw | UnsetType) -> tuple[bytes, str | None]:
    content = b"null" if raw is UNSET else bytes(raw)
    if content in (b"null", b'""'):
        return b"", None
    if not content.startswith(b'"'):  # JSON itself instead of a text with JSON
        return content, JSON
    text = _whole(str(json_text.scalar(content)))
    try:
        return read_body(text)
    except BodyRefused:  # neither JSON nor XML: of which kind is not for us to say
        return text.encode(), None


def _bytes(raw: Raw | UnsetType) -> tuple[bytes, None] | None:
    value = _value(raw)
    if not value or type(value) is not str:
        return None
    try:
        return read_base64(value)
    except BodyRefused as exc:  # nobody knows what was meant
        raise InvalidProperties([f"body_base64 {exc}"]) from exc


def _policy(given: _Members) -> Policy:
    """Of what can be understood; the rest is as the settings say."""
    read = {}
    for name, reader in policy_text.READERS.items():
        raw = getattr(given, name)
        if raw is UNSET:
            continue
        with suppress(Invalid, NotAnObject):
            value = json_text.built(bytes(raw))
            read[name] = None if value is None else reader(value)
    return policy_text.policy(read) if read else USUAL


def _requeue(value: object) -> bool:
    if isinstance(value, str):
        return value.strip(_SPACE).lower() not in _NO
    return value is not False


_decode = msgspec.json.Decoder(_Members).decode
_decode_texts = msgspec.json.Decoder(list[str]).decode
_decode_headers = msgspec.json.Decoder(dict[str, Raw]).decode
