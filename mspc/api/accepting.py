"""POST / and POST /v1/calls: a call is read, stored, and only then answered."""

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import falcon
from msgspec.structs import replace

from mspc.api.answers import accepted_body, answer, fill
from mspc.api.hints import hint
from mspc.api.reading import read_body
from mspc.calls import validation
from mspc.calls.accepted import Accepted
from mspc.calls.call import Call, Request
from mspc.calls.headers import value_of
from mspc.calls.masks import masked_url
from mspc.calls.networks import NetworkRules
from mspc.calls.policy import USUAL, Policy
from mspc.calls.requests import UNREADABLE
from mspc.calls.trace import Trace, kept_in, read_trace
from mspc.errors import BadRequest, NotAnObject, QueueError
from mspc.journal.base import Recorder
from mspc.journal.events import accepted
from mspc.process import crash
from mspc.process.lines import Named
from mspc.queues.base import Queue
from mspc.settings.config import HttpConfig

log = logging.getLogger(__name__)

_ACCEPTED = Named("accepted", "%s accepted %s %s%s", "id", "method", "url", "labels")
_ACCEPTED_UNREAD = Named("accepted", "%s accepted unread, %d bytes", "id", "bytes")


class Acceptance:
    """Reads and stores calls, whichever door they come through."""

    def __init__(
        self,
        queue: Queue,
        networks: NetworkRules,
        accepted: Accepted,
        look: Callable[[Call], Request | None],
        journal: Recorder,
    ) -> None:
        self._queue = queue
        self._networks = networks
        self._accepted = accepted
        self._look = look
        self._journal = journal

    def take(self, payload: bytes, trace: Trace | None = None) -> str:
        """Stores a call; its id.

        Args:
            payload: what the client sent.
            trace: which one it came with; a call may say another one itself.

        Raises:
            BadRequest: it is no call.
            QueueUnavailable: it is not stored, or nobody knows.
        """
        request = validation.parse(payload, self._networks)
        if trace is not None:
            payload, request = self._traced(payload, request, trace)
        call = Call(payload, lane=request.lane)
        delay = 0.0
        if request.policy is not USUAL:
            delay = max(0.0, request.policy.first_due(call.accepted_at) - time.time())
        if not delay:
            self._accepted.remember(call, request)  # before somebody takes it
        try:
            self._put(call, delay)
        except QueueError:
            self._accepted.forget(call)
            raise
        self._record(call, request)
        log.info(
            _ACCEPTED,
            call.id,
            request.method,
            masked_url(request.url),
            request.policy.shown_labels,
        )
        return call.id

    def take_unread(self, payload: bytes, trace: Trace | None = None) -> str:
        """Stores whatever it is; its id.

        Args:
            payload: what the client sent.
            trace: as for take(); what breaks a rule has none.

        Raises:
            QueueUnavailable: it is not stored, or nobody knows.
        """
        if trace is not None:
            with suppress(BadRequest):
                request = validation.parse(payload, self._networks)
                payload, _ = self._traced(payload, request, trace)
        call = Call(payload)
        # Answered whatever it is; but a service that is down must not hold up others.
        known = self._look(call)
        call = replace(call, lane=UNREADABLE if known is None else known.lane)
        self._put(call)
        if known is not None:  # of what is no call, its only attempt tells
            self._record(call, known)
        log.info(_ACCEPTED_UNREAD, call.id, len(payload))
        return call.id

    def _traced(
        self, payload: bytes, request: Request, trace: Trace
    ) -> tuple[bytes, Request]:
        """What is stored of a call that came with a trace, and what that asks for.

        In the payload a trace is wherever that is: in every queue, in a spool, among
        dead letters, in an export. The call's headers are what the caller wants of it.
        """
        own = request.policy
        said = value_of(request.headers, "traceparent") is not None
        if said or own.traceparent:
            return payload, request
        kept = kept_in(payload, trace)
        if own is USUAL:
            policy = Policy(traceparent=trace.parent, tracestate=trace.state)
            return kept, replace(request, policy=policy)
        try:
            return kept, validation.parse(kept, self._networks)
        except BadRequest:  # it says null itself: none
            return payload, request

    def _record(self, call: Call, request: Request) -> None:
        if self._journal.on:
            self._journal.record(accepted(call, request, self._journal.body_bytes))

    def _put(self, call: Call, delay: float = 0.0) -> None:
        crash.at("before_put")
        self._queue.put(call, delay)
        crash.at("after_put")


class CallsResource:
    """POST / and POST /v1/calls: stores a call, then answers."""

    protected = True

    def __init__(self, acceptance: Acceptance, http: HttpConfig) -> None:
        self._acceptance = acceptance
        self._max_bytes = http.max_request_bytes
        self._fast = http.fast_publish

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        payload = read_body(req, self._max_bytes)
        if not self._fast:
            call_id = take(with_trace(self._acceptance.take, req), req, payload)
            fill(resp, falcon.HTTP_202, accepted_body(call_id))
        elif payload:
            call_id = with_trace(self._acceptance.take_unread, req)(payload)
            answer(resp, falcon.HTTP_200, "OK", id=call_id)
        else:  # ignored, as the original did
            answer(resp, falcon.HTTP_200, "OK")

    def on_options(self, req: falcon.Request, resp: falcon.Response) -> None:
        raise falcon.HTTPMethodNotAllowed(["POST"])  # else Falcon answers by itself


def with_trace(store: Callable[..., str], req: falcon.Request) -> Callable[..., str]:
    """`store`, told of the trace of a request, if it has one."""
    parent = req.env.get("HTTP_TRACEPARENT")
    if parent is None:
        return store
    trace = read_trace(parent, req.env.get("HTTP_TRACESTATE", ""))
    return store if trace is None else partial(store, trace=trace)


def take(store: Callable[[bytes], str], req: falcon.Request, payload: bytes) -> str:
    """What `store` returns for a payload; what it refuses, the headers may explain."""
    try:
        return store(payload)
    except NotAnObject as exc:
        raise NotAnObject(f"{exc}{hint(req, payload)}") from exc
