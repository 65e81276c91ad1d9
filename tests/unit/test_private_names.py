"""What we use of other libraries behind their backs: an upgrade says what it broke.

A private name may go with any release. Each that mspc uses stands in PRIVATE, with a
check that it is still what we take it for; each method of a library's class that ours
replaces is still called by that name. A new one: a line in PRIVATE, or better none.
"""

import _socket
import ast
import importlib
import inspect
import logging
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import falcon
import gevent.socket
import pytest
from amqpstorm.channel import Channel
from amqpstorm.connection import Connection
from gevent.pywsgi import WSGIHandler, WSGIServer
from urllib3.connection import HTTPConnection, HTTPSConnection

from tests.unit.test_architecture import SOURCES, tree_of

PUBLIC = {("os", "_exit")}  # documented, in spite of its name
Use = tuple[str, str]  # module of mspc, name


def parameters(function: Callable[..., Any]) -> list[str]:
    return list(inspect.signature(function).parameters)


def assigns(cls: type, name: str) -> bool:
    """Whether `cls`, or a class of the same library that it is of, sets self.name."""
    return any(name in own_names(base) for base in foreign_bases(cls))


def has_kernel_socket() -> bool:
    with gevent.socket.socket() as sock:
        return isinstance(cast("Any", sock)._sock, _socket.socket)


def amqpstorm() -> Any:
    return Connection("host.invalid", "user", "password", lazy=True)


PRIVATE: dict[Use, Callable[[], object]] = {
    # The socket of the kernel below gevent's: it never waits.
    ("serving.connection", "_sock"): has_kernel_socket,
    ("forwarding.exchange", "_sock"): has_kernel_socket,
    # Falcon: the methods that it refuses whatever the path is.
    ("api.paths", "_META_METHODS"): lambda: (
        "WEBSOCKET" in cast("Any", falcon.App)._META_METHODS
    ),
    # pywsgi: what it writes, and in which pieces.
    ("serving.connection", "_write"): lambda: (
        parameters(cast("Any", WSGIHandler)._write)[:2] == ["self", "data"]
    ),
    ("serving.connection", "_write_with_headers"): lambda: (
        parameters(cast("Any", WSGIHandler)._write_with_headers) == ["self", "data"]
    ),
    ("serving.connection", "_sendall"): lambda: (
        parameters(cast("Any", WSGIHandler)._sendall) == ["self", "data"]
    ),
    # The server's own pause after an accept() that failed.
    ("serving.server", "_timer"): lambda: assigns(WSGIServer, "_timer"),
    ("serving.server", "_start_accepting_if_started"): lambda: (
        parameters(cast("Any", WSGIServer)._start_accepting_if_started)[:1] == ["self"]
    ),
    # urllib3: opens our socket and wraps it in TLS; the name as it was given.
    ("forwarding.connections", "_new_conn"): lambda: all(
        parameters(cls._new_conn) == ["self"]
        for cls in (HTTPConnection, HTTPSConnection)
    ),
    ("forwarding.dialer", "_dns_host"): lambda: (
        cast("Any", HTTPConnection("host.invalid."))._dns_host == "host.invalid."
    ),
    # amqpstorm: a channel of our own class on its connection, and why that one broke.
    ("queues.amqp.channel", "_get_next_available_channel_id"): lambda: (
        amqpstorm()._get_next_available_channel_id() == 1
    ),
    ("queues.amqp.channel", "_connection"): lambda: (
        Channel(1, connection := amqpstorm(), 1)._connection is connection
    ),
    ("queues.amqp.channel", "_io"): lambda: amqpstorm()._io is not None,
    # What comes first is looked at before the connection sees it.
    ("queues.amqp.connecting", "_on_read_impl"): lambda: callable(
        amqpstorm()._io._on_read_impl
    ),
    ("queues.amqp.connecting", "_read_buffer"): lambda: (
        parameters(cast("Any", Connection)._read_buffer) == ["self", "data_in"]
    ),
    ("queues.amqp.frames", "_handle_amqp_frame"): lambda: (
        amqpstorm()._handle_amqp_frame(b"\x01") == (b"\x01", None, None)
    ),
    ("queues.amqp.connecting", "_io"): lambda: amqpstorm()._io is not None,
    ("queues.amqp.connecting", "_exceptions"): lambda: (
        amqpstorm()._io._exceptions == []
    ),
    # logging's documentation names it, under "Optimization".
    ("process.logs", "_srcfile"): lambda: os.path.exists(cast("Any", logging)._srcfile),
}


# ---- what is used


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def classes_in(tree: ast.Module) -> set[str]:
    return {node.name for node in tree.body if isinstance(node, ast.ClassDef)}


def used_outside(name: str) -> Iterator[Use]:
    """Private names of whatever is not self, cls or a class of the same file."""
    tree = tree_of(name)
    own = {"self", "cls"} | classes_in(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and is_private(node.attr):
            owner = ast.unparse(node.value)
            if owner not in own and (owner, node.attr) not in PUBLIC:
                yield name, node.attr
        elif isinstance(node, ast.ImportFrom) and not str(node.module).startswith(
            "mspc"
        ):
            yield from ((name, a.name) for a in node.names if is_private(a.name))
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in (
            "getattr",
            "setattr",
            "hasattr",
        ):
            told = node.args[1]
            if isinstance(told, ast.Constant) and is_private(str(told.value)):
                yield name, str(told.value)


def foreign_bases(cls: type) -> list[type]:
    """Those of other libraries; the standard library's too."""
    return [
        base
        for base in cls.__mro__
        if not base.__module__.startswith("mspc")
        and base.__module__ not in ("builtins", "typing", "abc")
    ]


def own_names(cls: type) -> set[str]:
    """What `cls` defines, or sets on its instances."""
    try:
        source = inspect.getsource(cls)
    except (OSError, TypeError):  # written in C
        source = ""
    return set(vars(cls)) | set(re.findall(r"\bself\.(\w+)(?:, self\.\w+)* = ", source))


def derived_classes(name: str) -> Iterator[tuple[ast.ClassDef, type]]:
    """The classes of a file that have a base of another library."""
    for node in tree_of(name).body:
        if isinstance(node, ast.ClassDef) and node.bases:
            cls = getattr(importlib.import_module(f"mspc.{name}"), node.name)
            if foreign_bases(cls):
                yield node, cls


def used_inside(name: str) -> Iterator[Use]:
    """Private names that a class shares with a base of another library."""
    for node, cls in derived_classes(name):
        theirs = set().union(*map(own_names, foreign_bases(cls)))
        mine = {f.name for f in node.body if isinstance(f, ast.FunctionDef)}
        mine |= {
            ast.unparse(set_.target)
            for set_ in node.body
            if isinstance(set_, ast.AnnAssign)
        }
        mine |= {
            inner.attr
            for inner in ast.walk(node)
            if isinstance(inner, ast.Attribute)
            and ast.unparse(inner.value) in ("self", "cast('Any', self)")
        }
        yield from ((name, each) for each in mine & theirs if is_private(each))


def used() -> set[Use]:
    return {
        use for name in SOURCES for use in (*used_outside(name), *used_inside(name))
    }


USED = used()


@pytest.mark.parametrize("use", sorted(USED), ids=".".join)
def test_every_private_name_is_listed(use: Use) -> None:
    module, name = use
    assert use in PRIVATE, (
        f"mspc.{module} uses {name} of another library: an upgrade may take it away"
        " without a word. Do without it, or give it a line in PRIVATE that checks it."
    )


@pytest.mark.parametrize("use", PRIVATE, ids=".".join)
def test_it_is_what_we_take_it_for(use: Use) -> None:
    module, name = use
    assert use in USED, f"mspc.{module} does not use {name} any more: remove its line"
    assert PRIVATE[use](), f"{name}, which mspc.{module} uses, is not what it was"


# ---- what is replaced

OVERRIDES: dict[str, dict[str, type]] = {
    "serving.connection.ClientConnection": {
        "__init__": WSGIHandler,
        "handle": WSGIHandler,
        "handle_one_request": WSGIHandler,
        "handle_one_response": WSGIHandler,
        "finalize_headers": WSGIHandler,
        "_write_with_headers": WSGIHandler,
        "_sendall": WSGIHandler,
    },
    "serving.server.Listener": {
        "__init__": WSGIServer,
        "handle": WSGIServer,
        "do_read": WSGIServer,
    },
    "queues.amqp.channel.PipelinedChannel": {"on_frame": Channel},
    "forwarding.connections._Plain": {"_new_conn": HTTPConnection},
    "forwarding.connections._OverTls": {"_new_conn": HTTPSConnection},
    "process.logs.OneLine": {
        "format": logging.Formatter,
        "formatMessage": logging.Formatter,
        "usesTime": logging.Formatter,
    },
    "process.logs.Record": {"__init__": logging.LogRecord},
    "process.logs.Log": {"emit": logging.Handler, "close": logging.Handler},
}


@pytest.mark.parametrize("name", OVERRIDES)
def test_what_we_replace_is_still_called_so(name: str) -> None:
    module, _, cls_name = name.rpartition(".")
    cls = getattr(importlib.import_module(f"mspc.{module}"), cls_name)
    for method, base in OVERRIDES[name].items():
        assert method in vars(cls), f"{name} does not replace {method} any more"
        assert hasattr(base, method), (
            f"{base.__name__} has no {method} any more: nobody calls {name}.{method}"
        )
        theirs, ours = (parameters(getattr(each, method)) for each in (base, cls))
        if method != "__init__":
            assert len(theirs) == len(ours) or "args" in theirs, (
                f"{base.__name__}.{method} takes {theirs}, {name}.{method} {ours}"
            )


# ---- the control


def test_a_name_that_is_gone_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(WSGIHandler, "_sendall")
    monkeypatch.delattr(HTTPConnection, "_new_conn")
    for use in (
        ("serving.connection", "_sendall"),
        ("forwarding.connections", "_new_conn"),
    ):
        with pytest.raises(AttributeError):
            PRIVATE[use]()
    with pytest.raises(AssertionError, match="has no _sendall any more"):
        test_what_we_replace_is_still_called_so("serving.connection.ClientConnection")


def test_a_new_name_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    source = """
from gevent.hub import _private
class Ours:
    def method(self, other, sock):
        self._mine = Ours._mine = other.public
        sock.socket._fileno, getattr(other, "_hidden"), other.__doc__
"""
    path = tmp_path / "planted.py"
    path.write_text(source)
    monkeypatch.setitem(SOURCES, "planted", path)
    assert {name for _, name in used_outside("planted")} == {
        "_private",
        "_fileno",
        "_hidden",
    }
