"""Words for what a client sent, in the sentences that refuse it."""

import json


class Number(str):
    """A JSON number, kept as it was written."""

    __slots__ = ()


def kind(value: object) -> str:
    """What a JSON value is, for a sentence."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return "null" if value is None else _KINDS[type(value)]


def shown(text: str) -> str:
    """Quoted, short, and fit for an answer whatever is in it."""
    short = text if len(text) <= 60 else f"{text[:57]}..."
    quoted = json.dumps(short, ensure_ascii=False)
    return quoted.encode(errors="backslashreplace").decode()


_KINDS: dict[type, str] = {
    str: "a string",
    Number: "a number",
    list: "an array",
    dict: "an object",
}
