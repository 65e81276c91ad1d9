"""Requests as bytes, for what no HTTP client would send."""

import http.client
import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.support.process import MspcProcess


@contextmanager
def connected(mspc: MspcProcess) -> Iterator[socket.socket]:
    address = ("127.0.0.1", mspc.http_port)
    with socket.create_connection(address, timeout=20) as client:
        yield client


def answer(client: socket.socket) -> tuple[int, dict[str, str], Any]:
    """Reads one answer: its status, its headers and its JSON."""
    response = http.client.HTTPResponse(client)
    try:
        response.begin()
        headers = {name.lower(): value for name, value in response.getheaders()}
        return response.status, headers, json.loads(response.read())
    finally:
        response.close()
