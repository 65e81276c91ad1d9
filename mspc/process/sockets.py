"""Writing to sockets."""

from typing import Any


def send_all(sock: Any, data: bytes) -> None:
    """Sends all of `data`; nearly always the kernel takes it at once.

    gevent's sendall() asks for the size of the socket's buffer first, which takes a
    system call of its own.
    """
    sent = sock.send(data)
    if sent < len(data):
        sock.sendall(memoryview(data)[sent:])
