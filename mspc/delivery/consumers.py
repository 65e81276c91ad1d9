"""The consumers: take a delivery, make the call, decide, settle."""

import logging
from collections.abc import Callable
from functools import partial

import gevent
from gevent.event import Event

from mspc.calls.call import Outcome, Request
from mspc.calls.masks import masked_url
from mspc.calls.requests import Requests
from mspc.calls.words import reason_in
from mspc.delivery.in_flight import Attempt, InFlight
from mspc.delivery.pacing import Pacing
from mspc.delivery.recording import Recording
from mspc.delivery.retry import Ack, DeadLetter, Requeue, RetryPolicy
from mspc.errors import BadRequest, QueueError
from mspc.lanes.lanes import Lanes
from mspc.process import crash
from mspc.process.greenlets import Watched
from mspc.process.lines import Named
from mspc.process.workers import Workers
from mspc.queues.base import Delivery, Queue
from mspc.queues.dispatch import dispatch

log = logging.getLogger(__name__)

_ATTEMPTED = Named(
    "attempted",
    "%s %s %s -> %s in %d ms: %s%s",
    "id",
    "method",
    "url",
    "outcome",
    "milliseconds",
    "next",
    "labels",
)
_NOT_DUE = Named(
    "not_due",
    "%s %s %s -> its first attempt is due in %g s%s",
    "id",
    "method",
    "url",
    "seconds",
    "labels",
)
_DIED = Named(
    "dead",
    "%s %s %s -> a dead letter: %s%s",
    "id",
    "method",
    "url",
    "reason",
    "labels",
)
_NOT_MADE = Named("dead", "%s is %s, now a dead letter: %s", "id", "what", "reason")
_IN_HAND = Named("repeated", "%s was delivered again and is taken care of", "id")
_NOT_SETTLED = Named(
    "not_settled", "%s comes again, it was not settled: %s", "id", "reason"
)


class Consumers:
    """Workers, one attempt at a time each.

    Attributes:
        cut_short: whether stop() has ended one between its answer and its record.
    """

    def __init__(
        self,
        size: int,
        queue: Queue,
        lanes: Lanes,
        attempt: Callable[[Request, str, int], Outcome],
        policy: RetryPolicy,
        requests: Requests,
        recording: Recording,
    ) -> None:
        """
        Args:
            size: attempts in flight at once, as `lanes` has it.
            queue: where deliveries come from, as far as its lanes admit them.
            lanes: told what each attempt says of its service, or that none is needed,
                and when it is over.
            attempt: makes a call, given its id and which attempt it is, and says what
                came of it.
            policy: what to do before and then.
            requests: what a call asks for.
            recording: told what became of it.
        """
        self._queue = queue
        self._attempt = attempt
        self._policy = policy
        self._lanes = lanes
        self._requests = requests
        self._recording = recording
        self._workers = Workers(size, self._run)
        self._pacing = Pacing()
        self._in_flight = InFlight()
        self._stopping = Event()
        self.cut_short = False
        self._dispatcher = Watched(
            "delivery of calls to the consumers",
            partial(dispatch, queue, self._workers, self._stopping),
        )

    def start(self) -> None:
        self._dispatcher.start()

    def stop(self, timeout: float) -> None:
        """Takes no more deliveries; attempts in flight get `timeout` seconds.

        What is cut short is not settled, so the queue delivers it again.
        """
        self._stopping.set()
        self._queue.cancel()
        if running := len(self._workers):
            told = "%d attempts are in flight: they have %.0f s to end"
            log.info(told, running, timeout)
        self._workers.join(timeout=timeout)
        if left := len(self._workers):
            log.warning("%d attempts were cut short; they will be made again", left)
        self._workers.kill()
        self._dispatcher.stop()

    def problem(self) -> str | None:
        return self._dispatcher.problem()

    def in_flight(self, call_id: str) -> bool:
        """Whether an attempt of the call runs now."""
        return self._in_flight.running(call_id)

    def ids_in_flight(self) -> list[str]:
        """Of the calls of which an attempt runs now."""
        return self._in_flight.ids()

    def count_in_flight(self) -> int:
        """How many attempts run now."""
        return len(self._in_flight)

    def _run(self, delivery: Delivery) -> None:
        try:
            self._handle(delivery)
        finally:
            self._lanes.ended(delivery)

    def _handle(self, delivery: Delivery) -> None:
        if delivery.damage:  # nobody knows which call it is
            self._lanes.not_made(delivery)
            self._settle_damaged(delivery)
            return
        attempt = self._in_flight.begin(delivery)
        if attempt is None:
            log.info(_IN_HAND, delivery.call.id)
            self._lanes.not_made(delivery)
            return
        settled = False
        try:
            self._make(attempt)
            settled = True
        except QueueError as exc:
            _comes_again(delivery, exc)
        except gevent.GreenletExit:
            self.cut_short = self.cut_short or attempt.settling
            raise
        except Exception:
            log.exception("%s was not handled", delivery.call.id)
            self._retry_after_a_bug(attempt.settle())
        finally:
            self._in_flight.end(attempt)
        for copy in attempt.copies(settled):
            self._handle(copy)

    def _make(self, attempt: Attempt) -> None:
        crash.at("delivery_taken")
        call = attempt.delivery.call
        try:
            request = self._requests.take(call)
        except BadRequest as exc:
            self._lanes.not_made(attempt.delivery)
            self._put_away(attempt.settle(), "no call", f"is no call: {exc}")
            return
        instead = self._policy.before(
            call, request.policy, self._paused_seconds(attempt, request)
        )
        if instead is not None:
            self._lanes.not_made(attempt.delivery)
            self._not_now(attempt.settle(), request, instead)
            return
        outcome = self._attempt(request, call.id, call.attempts + 1)
        # Where it waits, if it has to, depends on it.
        self._lanes.judge(
            attempt.delivery.lane,
            outcome.reachable,
            outcome.seconds,
            self._policy.asked(outcome),
        )
        if outcome.status is None:  # many others may have reached their deadlines, too
            self._pacing.wait()
        delivery = attempt.settle()
        decision = self._policy.decide(
            call, request, outcome, self._paused_seconds(attempt, request)
        )
        match decision:
            case Ack():
                self._log(logging.INFO, delivery, request, outcome, "done")
                self._in_flight.succeeded(attempt)
                crash.at("before_ack")
                delivery.ack()
                crash.at("after_ack")
            case Requeue(delay):
                then = f"attempt {call.attempts + 1} failed, the next in {delay:g} s"
                self._log(logging.WARNING, delivery, request, outcome, then)
                crash.at("before_retry")
                delivery.retry(call.next_attempt(str(outcome)), delay)
                self._in_flight.stored(attempt)
                crash.at("after_retry")
            case DeadLetter(reason):
                self._log(logging.ERROR, delivery, request, outcome, "a dead letter")
                delivery.bury(call.next_attempt(str(outcome)), reason)
                self._in_flight.stored(attempt)
        self._recording.settled(call, request, outcome, decision)

    def _settle_damaged(self, delivery: Delivery) -> None:
        try:
            self._put_away(delivery, "damaged", delivery.damage)
        except QueueError as exc:
            _comes_again(delivery, exc)

    def _put_away(self, delivery: Delivery, what: str, reason: str) -> None:
        """What nobody can make."""
        call = delivery.call
        _, _, why = reason.partition(": ")
        log.error(_NOT_MADE, call.id, what, why)
        delivery.bury(call, reason)
        self._recording.unreadable(call, why, reason_in(reason))

    def _paused_seconds(self, attempt: Attempt, request: Request) -> float:
        """For how long the call was kept from ageing."""
        lane = attempt.delivery.lane
        if lane.pauses is None:
            return 0.0
        since = request.policy.ages_from(attempt.delivery.call.accepted_at)
        return lane.paused_seconds(since, self._policy.now())

    def _not_now(
        self, delivery: Delivery, request: Request, instead: Requeue | DeadLetter
    ) -> None:
        call = delivery.call
        url, labels = masked_url(request.url), request.policy.shown_labels
        match instead:
            case Requeue(delay):
                log.info(_NOT_DUE, call.id, request.method, url, delay, labels)
                delivery.retry(call, delay)
            case DeadLetter(reason):
                log.error(_DIED, call.id, request.method, url, reason, labels)
                delivery.bury(call, reason)
        self._recording.not_attempted(call, request, instead)

    def _retry_after_a_bug(self, delivery: Delivery) -> None:
        try:
            again = delivery.call.next_attempt("mspc failed")
            delivery.retry(again, self._policy.delay_of(delivery.call))
        except Exception:
            log.exception("%s comes again after a restart", delivery.call.id)

    def _log(
        self,
        level: int,
        delivery: Delivery,
        request: Request,
        outcome: Outcome,
        then: str,
    ) -> None:
        log.log(
            level,
            _ATTEMPTED,
            delivery.call.id,
            request.method,
            masked_url(request.url),
            outcome,
            outcome.seconds * 1000,
            then,
            request.policy.shown_labels,
        )


def _comes_again(delivery: Delivery, exc: QueueError) -> None:
    log.warning(_NOT_SETTLED, delivery.call.id, exc)
