"""Reading on after an answer, so that the client gets to read it.

Somebody who is still sending, 20 MB through nginx to be answered 413, reads only when
he is done or is told to stop. A connection that is closed meanwhile is reset, and what
he had to be told is lost: RFC 9112 9.6.
"""

import socket
from typing import Any

from mspc.process.greenlets import give_way

DRAINING_SECONDS = 1.0  # when mspc stops; otherwise the connection's limits say
MOST_CONNECTIONS = 64  # at once; others are closed as soon as they are answered
MOST_BYTES = 268_435_456  # of all that linger at a time
PIECE_BYTES = 65_536
TURN_BYTES = 1_048_576  # after as many, others get a turn


class Lingering:
    """What lingers at the moment, over all connections."""

    def __init__(self) -> None:
        self._connections = 0
        self._left = MOST_BYTES

    def read_on(self, sock: Any) -> None:
        """Says that no more will be sent, and reads what comes until the client closes.

        Raises:
            OSError: the connection broke, or its time is over.
        """
        if self._connections >= MOST_CONNECTIONS:
            return
        if not self._connections:
            self._left = MOST_BYTES
        self._connections += 1
        try:
            sock.shutdown(socket.SHUT_WR)
            self._read(sock)
        finally:
            self._connections -= 1

    def _read(self, sock: Any) -> None:
        piece = bytearray(PIECE_BYTES)
        turn = 0
        while self._left > 0 and (read := sock.recv_into(piece)):
            self._left -= read
            turn += read
            if turn >= TURN_BYTES:
                turn = 0
                give_way()  # what has arrived is read without waiting
