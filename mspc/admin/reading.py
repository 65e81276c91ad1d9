"""Queries and bodies of the operators' door, read into their structs.

Every mistake is named at once, each with its parameter or property.
"""

import difflib
import typing
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar
from urllib.parse import parse_qs

import msgspec
from msgspec.structs import FieldInfo

from mspc.calls.destination import read_lane
from mspc.calls.sentences import shown
from mspc.errors import InvalidProperties, NotAnObject, NotPossible

MOST_PARAMETERS = 100
MAX_PROBLEMS = 10

S = TypeVar("S", bound=msgspec.Struct)


def read_query(kind: type[S], query: str) -> S:
    """The parameters of a URL.

    Args:
        kind: what they are; a list takes a parameter several times.
        query: what follows the question mark.

    Raises:
        InvalidProperties: some of them are wrong, or unknown.
    """
    try:
        given = parse_qs(query, keep_blank_values=True, max_num_fields=MOST_PARAMETERS)
    except ValueError as exc:
        told = f"There are more than {MOST_PARAMETERS} parameters."
        raise InvalidProperties([told]) from exc
    problems = []
    values: dict[str, object] = {}
    lists = {f.name for f in msgspec.structs.fields(kind) if f.default_factory is list}
    for name, several in given.items():
        if len(several) > 1 and name not in lists:
            problems.append(f"{_named(name)} must not be given twice.")
        values[name] = several if name in lists else several[0]
    return _struct(kind, values, problems, strict=False)


def read_object(kind: type[S], payload: bytes) -> S:
    """A JSON object; no body at all is one without properties.

    Raises:
        NotAnObject: it is something else.
        InvalidProperties: some of its properties are wrong, or unknown.
    """
    try:
        given = msgspec.json.decode(payload or b"{}")
    except (ValueError, msgspec.DecodeError) as exc:
        raise NotAnObject(f"The body is not JSON: {exc}.") from exc
    except RecursionError as exc:
        raise NotAnObject("The body is nested too deeply.") from exc
    if not isinstance(given, dict):
        raise NotAnObject("The body must be a JSON object.")
    return _struct(kind, given, [], strict=True)


def lane_named(name: str, said: str) -> str:
    """A lane as it is written down, however somebody has spelled it.

    Args:
        name: of the property.
        said: what it is; empty for none.

    Raises:
        InvalidProperties: it is no lane.
    """
    try:
        return read_lane(said) if said else ""
    except NotPossible as exc:
        raise InvalidProperties([f"{name} must be a service: {exc}"]) from exc


def _struct(
    kind: type[S], given: Mapping[str, Any], problems: list[str], *, strict: bool
) -> S:
    values = dict(_converted(kind, given, problems, strict=strict))
    if problems:
        raise InvalidProperties(_few(problems))
    return kind(**values)


def _converted(
    kind: type[msgspec.Struct],
    given: Mapping[str, Any],
    problems: list[str],
    *,
    strict: bool,
    within: str = "",
) -> Iterator[tuple[str, Any]]:
    """Each value that is right; what is wrong with the others goes to `problems`."""
    fields = {field.name: field for field in msgspec.structs.fields(kind)}
    problems += [
        _unknown(f"{within}{name}", [f"{within}{known}" for known in fields])
        for name in given
        if name not in fields
    ]
    for name, field in fields.items():
        if name not in given:
            if field.required:
                problems.append(f"{within}{name} is missing.")
            continue
        value = given[name]
        inner = _inner(field)
        if inner is not None and isinstance(value, dict):
            path = f"{within}{name}."
            before = len(problems)
            parts = dict(_converted(inner, value, problems, strict=strict, within=path))
            if len(problems) == before:
                yield name, inner(**parts)
            continue
        if within and value == "":  # of a variable that nobody has set: not everything
            told = "is empty: leave it out if it does not matter."
            problems.append(f"{within}{name} {told}")
            continue
        try:
            yield name, msgspec.convert(value, field.type, strict=strict)
        except (msgspec.ValidationError, ValueError, OverflowError):
            problems.append(f"{within}{name} must be {_meaning(field)}{_not(value)}.")


def _inner(field: FieldInfo) -> type[msgspec.Struct] | None:
    """The struct that a field is."""
    bare = typing.get_args(field.type)[0] if _meta(field) else field.type
    kinds = [bare, *typing.get_args(bare)]
    for kind in kinds:
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            return kind
    return None


def _meta(field: FieldInfo) -> msgspec.Meta | None:
    for found in getattr(field.type, "__metadata__", ()):
        if isinstance(found, msgspec.Meta):
            return found
    return None


def _meaning(field: FieldInfo) -> str:
    meta = _meta(field)
    return (meta and meta.description) or "something else"


def _not(value: object) -> str:
    return f", not {shown(value)}" if isinstance(value, str) else ""


def _named(name: str) -> str:
    return name if name.isidentifier() and name.isascii() else shown(name)


def _unknown(name: str, names: list[str]) -> str:
    near = difflib.get_close_matches(name[:60], names, n=1)
    if near:
        hint = f"did you mean {near[0]}?"
    else:
        hint = f"there are {', '.join(names)}." if names else "there are none."
    return f"{shown(name)} is not a parameter here; {hint}"


def _few(problems: list[str]) -> list[str]:
    more = len(problems) - MAX_PROBLEMS
    rest = [f"And {more} more mistakes."] if more > 0 else []
    return problems[:MAX_PROBLEMS] + rest
