"""A request as a line for a shell, to be made by hand."""

import base64
import shlex
from collections.abc import Iterator

from mspc.calls.masks import masked_headers, masked_url
from mspc.journal.base import Seen


def curl_line(seen: Seen, body: bytes, *, reveal: bool) -> str:
    """A command that sends what the call sends, safe to be pasted into a shell.

    Args:
        seen: the call, with its headers.
        body: of it, or what is kept of it. A comment before the line says what curl
            does not send.
        reveal: whether secrets are shown.
    """
    headers = seen.headers if reveal else masked_headers(seen.headers)
    url = seen.url if reveal else masked_url(seen.url)
    arguments = ["curl", "--globoff", "--path-as-is", *_method(seen.method)]
    sends = bool(body) and seen.method != "HEAD"
    for line in _header_lines(seen, headers, sends):
        arguments += ["-H", line]
    before = ""
    if sends:
        text = _text(body)
        if text is None:
            encoded = base64.b64encode(body).decode()
            before = f"printf %s {encoded} | base64 -d | "
            arguments += ["--data-binary", "@-"]
        else:
            arguments += ["--data-raw", text]
    line = f"{before}{shlex.join([*arguments, url])}\n"
    if body and not sends:
        return f"# curl sends no body with a HEAD: {seen.body_bytes} bytes.\n{line}"
    if len(body) < seen.body_bytes:
        kept = f"{len(body)} of the {seen.body_bytes} bytes"
        return f"# Only the first {kept} of its body are kept.\n{line}"
    return line


def _method(method: str) -> list[str]:
    # With -X, curl would wait for a body that no answer to a HEAD has; --head goes with
    # no body of the request.
    return ["--head"] if method == "HEAD" else ["-X", method]


def _header_lines(
    seen: Seen, headers: tuple[tuple[str, str], ...], has_body: bool
) -> Iterator[str]:
    given = set()
    for name, value in headers:
        given.add(name.lower())
        # curl takes `Name:` for one that is not sent, `Name;` for one without a value.
        yield f"{name}: {value}" if value else f"{name};"
    if "idempotency-key" not in given:
        yield f"Idempotency-Key: {seen.id}"
    if has_body and "content-type" not in given:
        yield "Content-Type:"  # else curl says that it is a form
    if "accept" not in given:
        yield "Accept:"


def _text(body: bytes) -> str | None:
    """The body as an argument; None when it is none."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text
