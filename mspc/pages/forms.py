"""What a browser sends: the fields of a form, the query of a list."""

from dataclasses import fields
from typing import Any
from urllib.parse import parse_qs, urlencode

import falcon

from mspc.admin.queries import LONGEST_ID, LONGEST_REASON
from mspc.admin.spans import LONGEST_DELAY_SECONDS
from mspc.api.reading import read_body
from mspc.api.shown import rfc3339
from mspc.journal.base import Filter

MOST_FORM_BYTES = 1_500_000
MOST_FIELDS = 2_000
MINUTE = 60
LONGEST_NUMBER = 20  # digits; Python reads no more than some thousand

Form = dict[str, list[str]]


def read_form(req: falcon.Request) -> Form:
    """The fields of a form, each with its values.

    Raises:
        HTTPBadRequest, HTTPContentTooLarge: it is none, or too large.
    """
    try:
        body = read_body(req, MOST_FORM_BYTES)
    except falcon.HTTPContentTooLarge:
        told = f"The form is larger than {MOST_FORM_BYTES} bytes."
        raise falcon.HTTPContentTooLarge(description=told) from None
    try:
        return parse_qs(
            body.decode(), keep_blank_values=True, max_num_fields=MOST_FIELDS
        )
    except ValueError as exc:
        raise falcon.HTTPBadRequest(description="This is no form of ours.") from exc


def first(form: Form, name: str) -> str:
    """The value of a field; empty when it is missing."""
    return form.get(name, [""])[0].strip()


def reason(form: Form) -> str:
    """Why somebody does it; kept as long as it is, and shown to all who look.

    Raises:
        HTTPBadRequest: it is longer than the API takes.
    """
    text = first(form, "reason")
    if len(text) > LONGEST_REASON:
        told = f"reason must be a text of at most {LONGEST_REASON} characters."
        raise falcon.HTTPBadRequest(description=told)
    return text


def selected(form: Form) -> list[str]:
    """The ids of the calls that were selected.

    Raises:
        HTTPBadRequest: one is no id.
    """
    ids = form.get("id", [])
    if any(len(one) > LONGEST_ID for one in ids):
        told = f"An id has at most {LONGEST_ID} characters."
        raise falcon.HTTPBadRequest(description=told)
    return ids


def whole(form: Form, name: str) -> int | None:
    """A whole number of 1 or more; None when the field is empty.

    Raises:
        HTTPBadRequest: it is something else.
    """
    text = first(form, name)
    if not text:
        return None
    digits = text.isascii() and text.isdecimal() and len(text) <= LONGEST_NUMBER
    if not (digits and 0 < int(text) <= 1_000_000):
        told = f"{name} must be a whole number from 1 to 1000000."
        raise falcon.HTTPBadRequest(description=told)
    return int(text)


def span(form: Form) -> int | None:
    """What the field `minutes` says, in seconds; None when it is empty.

    Raises:
        HTTPBadRequest: it is no whole number of 1 or more.
    """
    minutes = whole(form, "minutes")
    return None if minutes is None else minutes * MINUTE


def delay(form: Form) -> int:
    """The same; 0 when it is empty, and a year at most.

    Raises:
        HTTPBadRequest: as for span().
    """
    return min(span(form) or 0, LONGEST_DELAY_SECONDS)


def query_of(wanted: Filter, **more: object) -> str:
    """The query that asks for these calls again."""
    pairs: list[tuple[str, Any]] = [("state", one) for one in sorted(wanted.states)]
    for field in fields(wanted):
        value = getattr(wanted, field.name)
        if field.name not in ("states", "flying") and value not in ("", None, 0):
            is_date = field.name.startswith("created_")
            pairs.append((field.name, rfc3339(value) if is_date else value))
    pairs += [(name, value) for name, value in more.items() if value]
    return urlencode(pairs, errors="replace")
