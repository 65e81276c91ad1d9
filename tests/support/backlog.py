"""A port that takes no more connections."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

# One is taken although the backlog is 0; the others stay unanswered.
_WAITING = 3


@contextmanager
def full_backlog(host: str, port: int = 0) -> Iterator[int]:
    """Connecting to `host` at this port takes for ever; one is chosen for 0."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as listener:
        listener.bind((host, port))
        listener.listen(0)
        address = listener.getsockname()
        waiting = [socket.socket(family) for _ in range(_WAITING)]
        try:
            for one in waiting:
                one.setblocking(False)
                one.connect_ex(address)
            yield address[1]
        finally:
            for one in waiting:
                one.close()
