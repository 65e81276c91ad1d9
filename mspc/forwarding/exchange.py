"""One open connection: a request goes out, the status of its answer comes in.

The status may come while the body is still being sent, and may be followed by whatever:
nobody waits for the rest of an answer. It is looked at again when there is a use for
the connection (connections.py).
"""

import socket
import ssl
from collections.abc import Callable
from typing import Any

import gevent

from mspc.forwarding.answer import AnswerReader, NoAnswer
from mspc.forwarding.rest import REST_BYTES, RestOfAnswer, State
from mspc.process import crash

# A larger body is sent after the head instead of being copied behind it.
SENT_AT_ONCE_BYTES = 65_536
# The kernel takes so much of an idle connection at once, and so does TLS: a record.
_SURELY_AT_ONCE = 16_384
_RECEIVED_AT_ONCE = 16_384
_READ, _WRITE = 1, 2  # libev's
# What a socket raises that would have to wait; over TLS it has names of its own.
_WOULD_WAIT = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
REQUEST_TIMEOUT = 408
# For the rest of a head that says how long to wait; servers write it in one piece.
_HEAD_SECONDS = 1.0
# For what a service gives as its reason, which comes with the head or right behind it.
_REASON_SECONDS = 0.2


class Stale(Exception):
    """A connection that was used before has ended: the call is as good as unsent."""


class TargetConnection:
    """An open connection.

    Args:
        opened: when, by the clock of whoever keeps it, seconds.

    Attributes:
        state: what is to be expected of it after an exchange.
        until: how long it may take to end an answer, by the same clock.
    """

    def __init__(self, sock: socket.socket, opened: float) -> None:
        self._sock = sock
        self._used = False
        self._unsent: list[memoryview] = []
        self._to_hear = 0  # bytes, while what is left of a request is sent
        self._rest: RestOfAnswer  # there is one after an exchange
        self.opened = opened
        self.state = State.USELESS
        self.until = 0.0

    def exchange(self, method: str, head: bytes, body: bytes) -> int:
        """Sends a request; the status of its final answer, as soon as it has come.

        Raises:
            Stale: there is no answer, and the reason is the age of the connection.
            NoAnswer: what came is none.
            OSError: the connection broke.
        """
        reader = AnswerReader(method)
        self.state = State.USELESS
        try:
            intact = self._send(head, body, reader)
            crash.at("request_sent")
            while not reader.status:
                reader.feed(self._sock.recv(_RECEIVED_AT_ONCE))
        except (OSError, NoAnswer) as exc:
            if self._used and not reader.begun:
                raise Stale from exc
            raise
        self._rest = reader.rest()
        if not self._unsent:
            self.state = self._rest.state
        elif self._rest.closing or not (intact and 200 <= reader.status < 300):
            self._unsent = []  # nobody wants the rest
        status = reader.status
        # Sent unasked before an idle connection is closed: RFC 9110 15.5.9.
        if status == REQUEST_TIMEOUT and self._used and not self.lasting:
            raise Stale
        self._used = True
        return status

    def retry_after(self) -> str:
        """What the answer says in its Retry-After; waits a moment for its head."""
        rest = self._rest
        self._read_on(
            lambda: not rest.headed and self.state in (State.COMING, State.LEAVING),
            _HEAD_SECONDS,
        )
        return rest.retry_after.decode("latin-1")

    def reason(self) -> str:
        """What a failed answer begins with, if that is text; waits a moment for it."""
        rest = self._rest
        if rest.said is None:
            return ""
        self._read_on(lambda: rest.telling, _REASON_SECONDS)
        return rest.said.text()

    def _read_on(self, wanted: Callable[[], bool], patience: float) -> None:
        """Reads more of the answer while it is wanted, for so many seconds at most."""
        try:
            with gevent.Timeout(patience, False):  # type: ignore[arg-type]
                while wanted():
                    received = self._sock.recv(_RECEIVED_AT_ONCE)
                    state = self._rest.feed(received) if received else State.USELESS
                    if self.state is not State.USELESS:  # for whatever else it is
                        self.state = state
                    if not received:
                        return
        except OSError:
            self.state = State.USELESS

    @property
    def half_sent(self) -> bool:
        """The answer came before all of the request, which is still wanted."""
        return bool(self._unsent)

    @property
    def lasting(self) -> bool:
        """The next call can use it, now or when its answer has ended."""
        return self.state in (State.ENDED, State.COMING)

    @property
    def usable(self) -> bool:
        """Nothing has come since the last answer, not even the end."""
        raw: Any = self._sock  # gevent's: the one below it does not wait
        try:
            raw._sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            pass
        return False

    def look(self) -> State:
        """Reads what has come of the rest of the answer, without waiting for more."""
        self._sock.settimeout(0.0)
        try:
            # Until there is no more: behind an answer nothing must follow.
            while self.state is not State.USELESS:
                received = self._sock.recv(_RECEIVED_AT_ONCE)
                self.state = self._rest.feed(received) if received else State.USELESS
        except _WOULD_WAIT:
            pass
        except OSError:
            self.state = State.USELESS
        finally:
            self._sock.settimeout(None)
        return self.state

    def close(self) -> None:
        self._sock.close()

    def send_rest(self, patience: float) -> None:
        """Sends what is left of a request that was answered before it had all come.

        A target that has not said that it closes the connection may still want it.

        Args:
            patience: seconds to wait for a target that takes nothing.
        """
        self._sock.settimeout(0.0)
        try:
            while self._unsent:
                left = self._send_watching(self._unsent.pop(0), self._enough, patience)
                if left:
                    return
            # With something unread, closing would take back what is on its way.
            while self._rest.state is not State.ENDED:
                if self._meanwhile(self._enough, _READ, patience):
                    return
        except (OSError, gevent.Timeout):
            pass  # it has gone, or takes nothing more
        finally:
            self._unsent = []
            self._sock.settimeout(None)

    def _enough(self, received: bytes) -> bool:
        """Takes what comes meanwhile; whether the target wants no more."""
        if self._rest.state in (State.COMING, State.LEAVING):
            self._rest.feed(received)
        self._to_hear -= len(received)
        return not received or self._rest.closing or self._to_hear < 0

    def _send(self, head: bytes, body: bytes, reader: AnswerReader) -> bool:
        """Sends the request until there is an answer; False when that broke off."""
        if len(body) <= SENT_AT_ONCE_BYTES:
            head, body = head + body, b""
        try:
            if len(head) <= _SURELY_AT_ONCE and not body:
                sent = self._sock.send(head)
                if sent == len(head):  # and nobody needs to watch
                    return True
                head = head[sent:]
            self._unsent = [memoryview(head), memoryview(body)]
            # As much as a service says that sends back what it gets.
            self._to_hear = REST_BYTES + len(head) + len(body)
            self._sock.settimeout(0.0)
            try:
                while self._unsent and not reader.status:
                    left = self._send_watching(self._unsent[0], reader.feed)
                    self._unsent[:1] = [left] if left else []
            finally:
                self._sock.settimeout(None)
            return True
        except OSError:
            if not self._read_what_came(reader):
                raise
            self._unsent = self._unsent or [memoryview(head)]
            return False

    def _send_watching(
        self,
        left: memoryview,
        enough: Callable[[bytes], bool],
        patience: float | None = None,
    ) -> memoryview:
        """Sends, and reads meanwhile; what is left when that was enough."""
        while left:
            try:
                sent = self._sock.send(left)
            except _WOULD_WAIT:
                sent = 0
            left = left[sent:]
            if not sent and self._meanwhile(enough, _READ | _WRITE, patience):
                break
        return left

    def _meanwhile(
        self, enough: Callable[[bytes], bool], events: int, patience: float | None
    ) -> bool:
        """Waits until it can go on, and takes what has come; whether that is enough."""
        hub = gevent.get_hub()
        watcher = hub.loop.io(self._sock.fileno(), events)
        try:
            with gevent.Timeout(patience):
                hub.wait(watcher)
        finally:
            watcher.close()
        try:
            return enough(self._sock.recv(_RECEIVED_AT_ONCE))
        except _WOULD_WAIT:
            return False

    def _read_what_came(self, reader: AnswerReader) -> bool:
        """Whether there is an answer: a target that has answered and closes breaks the
        sending, not that.
        """
        try:
            while not reader.status:
                reader.feed(self._sock.recv(_RECEIVED_AT_ONCE))
        except (OSError, NoAnswer):
            return False
        return True
