"""`mspc send`: one call is handed over, and perhaps waited for."""

import base64
import json
import re
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from mspc.calls.words import FINISHED, SUCCEEDED
from mspc.client.choosing import in_path
from mspc.client.failures import INTERRUPTED, WrongUse
from mspc.client.grammar import Words
from mspc.client.session import Session

FIRST_LOOK_SECONDS = 0.1
LONGEST_LOOK_SECONDS = 2.0
# Properties of a call that are a number or a text, just as they are written.
_AS_WRITTEN = ("delay", "not_before", "max_attempts", "max_age", "timeout")
_NUMBER = re.compile(r"(?:0|[1-9][0-9]{0,14})(?:\.[0-9]{1,9})?")


def add(words: Words) -> None:
    send = words.verb("send", _send, "hand over a call; prints its id")
    send.add_argument("url")
    told = "default: POST with a body, else GET"
    send.add_argument("--method", "-X", metavar="METHOD", help=told)
    told = "may be given several times"
    send.add_argument(
        "--header",
        "-H",
        metavar="'NAME: VALUE'",
        action="append",
        default=[],
        help=told,
    )
    body = send.add_mutually_exclusive_group()
    told = "what to send: a text, @FILE, or @- for standard input"
    body.add_argument("--data", "-d", metavar="BODY", help=told)
    told = "the same, as application/json"
    body.add_argument("--data-json", metavar="BODY", help=told)
    send.add_argument("--label", action="append", default=[], help="may be repeated")
    send.add_argument("--delay", metavar="TIME", help="before the first attempt: 10m")
    send.add_argument("--not-before", metavar="DATE", help="2026-01-31T12:00:00Z")
    send.add_argument("--max-attempts", metavar="N", type=int)
    send.add_argument("--max-age", metavar="TIME", help="give it up after: 1d")
    send.add_argument("--timeout", metavar="TIME", help="of an attempt: 10s")
    send.add_argument("--permanent", metavar="STATUS", action="append", default=[])
    send.add_argument(
        "--once", action="store_true", help="one attempt, then it is dead"
    )
    told = "until it has succeeded or died; exit code 0 or 1"
    send.add_argument("--wait", action="store_true", help=told)


def _send(session: Session) -> int:
    accepted = session.mspc.ask(
        "POST", "/v1/calls", body=call(session.options, session.stdin.buffer)
    )
    call_id = str(accepted["id"])
    if session.options.form == "text":
        session.output.text(call_id)
    else:
        session.output.item(accepted)
    return _wait(session, call_id) if session.options.wait else 0


def call(options: Namespace, stdin: BinaryIO) -> dict[str, object]:
    """The call that the options describe; only what they say is in it.

    Args:
        options: of the command line.
        stdin: the body, where it is `@-`.

    Raises:
        WrongUse: something cannot be read.
    """
    said: dict[str, object] = {"url": options.url}
    headers = _headers(options.header)
    content = _content(options, stdin)
    if options.data_json is not None and "content-type" not in map(str.lower, headers):
        headers["Content-Type"] = "application/json"
    if content is not None:
        said |= _body(content)
    method = options.method or (None if content is None else "POST")
    more = {name: _number_or_text(getattr(options, name)) for name in _AS_WRITTEN}
    said |= {
        "method": method,
        "headers": headers,
        "labels": options.label,
        "permanent": options.permanent,
        **more,
    }
    if options.once:
        said["requeue"] = False
    return {name: value for name, value in said.items() if value not in (None, {}, [])}


def _number_or_text(written: str | int | None) -> object:
    if isinstance(written, str) and _NUMBER.fullmatch(written):
        return json.loads(written)
    return written


def _headers(texts: Sequence[str]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name, value in map(_header, texts):
        if name in headers:  # an object, which a call has them in, cannot
            raise WrongUse(
                f"--header {name!r} is given twice: put both values into one, with a"
                " comma between."
            )
        headers[name] = value
    return headers


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon:
        raise WrongUse(f"--header must be like 'Name: value', not {text!r}.")
    return name.strip(), value.strip()


def _content(options: Namespace, stdin: BinaryIO) -> bytes | None:
    """The bytes to send; None for none."""
    text = options.data if options.data_json is None else options.data_json
    if text is None:
        return None
    if not text.startswith("@"):
        return str(text).encode(errors="surrogateescape")
    try:
        if text == "@-":
            return stdin.read()
        return Path(text[1:]).read_bytes()
    except OSError as exc:
        raise WrongUse(f"{text[1:]} cannot be read: {exc.strerror}.") from exc


def _body(content: bytes) -> dict[str, object]:
    try:
        return {"body": content.decode()}
    except UnicodeDecodeError:
        return {"body_base64": base64.b64encode(content).decode()}


def _wait(session: Session, call_id: str) -> int:
    """Looks, seldom when it takes long, until the call is finished."""
    pause, path = FIRST_LOOK_SECONDS, f"/v1/calls/{in_path(call_id)}"
    try:
        while (seen := session.mspc.get(path))["state"] not in FINISHED:
            session.progress(f"{seen['state']}, {seen['attempts']} attempts")
            session.sleep(pause)
            pause = min(2 * pause, LONGEST_LOOK_SECONDS)
    except KeyboardInterrupt:
        session.progress("")
        session.say(f"The call goes on: `mspc calls show {call_id}` looks at it.")
        return INTERRUPTED
    session.progress("")
    if seen["state"] == SUCCEEDED:
        return 0
    last = seen.get("last_attempt") or {}
    # Who cancels a call need not say why, and it may not have been attempted.
    why = (seen.get("reason"), last.get("text") or last.get("status"))
    told = " ".join(str(one) for one in why if one)
    session.say(f"The call is {seen['state']}{f': {told}' if told else '.'}")
    return 1
