"""The OpenAPI 3.1 document, made of the routes."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import msgspec
from msgspec import Struct

from mspc import __version__
from mspc.admin.calls_port import calls_routes
from mspc.admin.keys import Right
from mspc.admin.queries import DocumentQuery
from mspc.admin.routes import ALWAYS, OF_A_BODY, Asked, Reply, Route
from mspc.admin.shapes import Refusal
from mspc.api.answers import MEDIA_TYPE

PATH = "/v1/openapi.json"

Schema = dict[str, Any]
_REFERENCE = "#/components/schemas/{name}"
_PARAMETER = re.compile(r"{(\w+)}")


@dataclass(frozen=True, slots=True)
class Door:
    """What the documents of two doors differ in.

    Attributes:
        title: of the document.
        keys: which key a right stands for.
        open: rights that anybody has.
        scheme: how a key is sent.
        always: what any route may answer, besides those of its own.
    """

    title: str
    keys: Mapping[Right, str]
    open: frozenset[Right]
    scheme: Schema
    always: tuple[int, ...]


ADMIN = Door(
    "mspc, the operators' door",
    {"read": "READ_KEY or ADMIN_KEY", "admin": "ADMIN_KEY"},
    frozenset(),
    {"type": "http", "scheme": "bearer"},
    ALWAYS,
)


def calls_port(header: str) -> Door:
    """The door of the callers; `header` is AUTHORIZATION_HEADER."""
    return Door(
        "mspc, the calls' port",
        {"read": "no key", "admin": "what AUTHORIZATION_KEY asks for"},
        frozenset({"read"}),
        {"type": "apiKey", "in": "header", "name": header},
        (400, 401, 414, 431),
    )


class OpenApiRoute:
    """Handles /v1/openapi.json: of the routes that it is given, and its own; and of the
    calls' port.
    """

    def __init__(self, routes: Iterable[Route], prefix: str, header: str) -> None:
        self._routes = [*routes, *self.routes()]
        self._prefix = prefix
        self._calls_port = calls_port(header)

    def routes(self) -> Iterator[Route]:
        summary = "This document, or that of the calls' port."
        yield Route("GET", PATH, summary, MEDIA_TYPE, self.get, "read", DocumentQuery)

    def get(self, asked: Asked) -> Reply:
        query: DocumentQuery = asked.query
        if query.door == "calls":
            made = document(calls_routes(), self._calls_port)
        else:
            made = document(self._routes, ADMIN, self._prefix)
        return Reply(msgspec.json.encode(made).decode())


def document(routes: Iterable[Route], door: Door = ADMIN, prefix: str = "") -> Schema:
    """The document.

    Args:
        routes: what there is.
        door: where.
        prefix: the path below which a proxy has it all; or empty.
    """
    routes = tuple(routes)
    schemas, components = _schemas(routes)
    paths: dict[str, Schema] = {}
    for route in routes:
        operation = _operation(route, door, schemas, components)
        paths.setdefault(route.path, {})[route.method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {"title": door.title, "version": __version__},
        "servers": [{"url": prefix or "/"}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"key": door.scheme},
        },
        "security": [{"key": []}],
    }


def _schemas(
    routes: Iterable[Route],
) -> tuple[Mapping[type[Struct], Schema], dict[str, Schema]]:
    kinds: list[type[Struct]] = [Refusal]
    for route in routes:
        kinds.append(route.query)
        kinds += [one for one in (route.answer, route.body) if isinstance(one, type)]
    kinds = list(dict.fromkeys(kinds))
    made, components = msgspec.json.schema_components(kinds, ref_template=_REFERENCE)
    return dict(zip(kinds, made, strict=True)), components


def _operation(
    route: Route,
    door: Door,
    schemas: Mapping[type[Struct], Schema],
    components: Schema,
) -> Schema:
    operation: Schema = {
        "summary": route.summary,
        "description": f"Needs {door.keys[route.right]}.",
        "operationId": _operation_id(route),
        "responses": dict(_responses(route, door, schemas)),
    }
    if route.right in door.open:
        operation["security"] = []
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": _PARTS[name]}
        for name in _PARAMETER.findall(route.path)
    ]
    parameters += _query(components[route.query.__name__])
    if parameters:
        operation["parameters"] = parameters
    schema = route.payload or (schemas[route.body] if route.body else None)
    if schema:
        operation["requestBody"] = {
            "required": bool(route.payload),
            "content": {"application/json": {"schema": schema}},
        }
    return operation


def _operation_id(route: Route) -> str:
    words = re.findall(r"[a-z_]+", route.path.removeprefix("/v1/"))
    return "_".join([route.method.lower(), *words])


def _query(schema: Schema) -> Iterator[Schema]:
    for name, kind in schema.get("properties", {}).items():
        shape = dict(kind)
        yield {
            "name": name,
            "in": "query",
            "required": False,
            "description": shape.pop("description", ""),
            "schema": shape,
        }


def _responses(
    route: Route, door: Door, schemas: Mapping[type[Struct], Schema]
) -> Iterator[tuple[str, Schema]]:
    if isinstance(route.answer, str):
        kind, schema = route.answer.partition(";")[0], _TEXTS.get(route.answer, {})
    else:
        kind, schema = "application/json", schemas[route.answer]
    for status in (route.status, *route.also):
        yield _response(status, kind, schema)
    always = set(door.always)
    if route.body or route.payload:
        always.update(OF_A_BODY)
    if route.right in door.open:
        always.discard(401)
    for status in sorted(always.union(route.errors)):
        yield _response(status, "application/json", schemas[Refusal])


def _response(status: int, kind: str, schema: Schema) -> tuple[str, Schema]:
    phrase = HTTPStatus(status).phrase
    told: Schema = {"description": phrase, "content": {kind: {"schema": schema}}}
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        told["headers"] = _RETRY_AFTER
    return str(status), told


_RETRY_AFTER: Schema = {
    "Retry-After": {
        "description": "When to send it again, in seconds; not of health checks.",
        "schema": {"type": "integer"},
    }
}


_ID = {"type": "string", "minLength": 1}
_PARTS = {
    "call_id": _ID,
    "job_id": _ID,
    "key": {**_ID, "description": "scheme://host:port, percent-encoded"},
}
_TEXTS: dict[str, Schema] = {
    "text/plain": {"type": "string"},
    "application/x-ndjson": {"type": "string"},
    MEDIA_TYPE: {"type": "object"},
}
