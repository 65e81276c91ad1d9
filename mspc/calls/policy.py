"""What a call may ask for besides the request: when, how often, for which trace."""

from dataclasses import dataclass, fields, replace

from msgspec import Struct

YEAR_SECONDS = 365 * 86_400.0


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long a call waits after each failed attempt; None: as the settings say.

    Attributes:
        initial: seconds after the first one.
        factor: what the delay is multiplied by after each further one.
        longest: seconds at most.
        jitter: the share of a delay, 0 to 1, that chance may take off, so that calls
            that failed together do not come again together.
        steps: the delays one by one, the last for all that follow; empty: as above.
    """

    initial: float | None = None
    factor: float | None = None
    longest: float | None = None
    jitter: float | None = None
    steps: tuple[float, ...] = ()


class Policy(Struct, frozen=True, gc=False):
    """What a call says itself; None: as the settings say.

    Attributes:
        delay: seconds from its acceptance to its first attempt.
        not_before: when that may be made, Unix seconds; instead of a delay.
        max_attempts: how many there are at most, with the first.
        max_age: seconds from its acceptance, or from when it was first due, after which
            it is not attempted.
        backoff: how long it waits between attempts.
        timeout: seconds that an attempt may take.
        permanent: answers that end it at once: "410", or "4xx" for all of a class.
        labels: words of the caller's, for the log.
        traceparent: which trace its attempts belong to, as W3C writes it; else empty.
        tracestate: what belongs to that.
    """

    delay: float | None = None
    not_before: float | None = None
    max_attempts: int | None = None
    max_age: float | None = None
    backoff: Backoff | None = None
    timeout: float | None = None
    permanent: frozenset[str] | None = None
    labels: tuple[str, ...] = ()
    traceparent: str = ""
    tracestate: str = ""

    @property
    def shown_labels(self) -> str:
        """As they stand at the end of a line of the log."""
        return f" [{', '.join(self.labels)}]" if self.labels else ""

    def first_due(self, accepted_at: float) -> float:
        """When the first attempt may be made, Unix seconds.

        Args:
            accepted_at: when the call was accepted, the same.
        """
        if self.not_before is not None:
            return self.not_before
        return accepted_at + (self.delay or 0.0)

    def ages_from(self, accepted_at: float) -> float:
        """Since when it gets older, Unix seconds: a not_before that is over means at
        once, and a dead letter that is made again is as old as a new call.

        Args:
            accepted_at: as for first_due().
        """
        return max(self.first_due(accepted_at), accepted_at)


# Nearly every call's: whoever asks whether there is more to do compares with it.
USUAL = Policy()


@dataclass(frozen=True, slots=True)
class Delays:
    """A backoff of which everything is known; the delays of Backoff."""

    initial: float
    factor: float = 1.0
    longest: float = 3600.0
    jitter: float = 0.0
    steps: tuple[float, ...] = ()

    def with_own(self, own: Backoff) -> "Delays":
        """These, but for what a call says itself."""
        given = {field.name: getattr(own, field.name) for field in fields(own)}
        return replace(self, **{n: v for n, v in given.items() if v is not None})

    def after(self, failures: int, chance: float) -> float:
        """Seconds until the next attempt.

        Args:
            failures: how many attempts have failed, 1 or more.
            chance: uniform in [0, 1).
        """
        if self.steps:
            delay = self.steps[min(failures, len(self.steps)) - 1]
        else:
            delay = self._grown(failures)
        return delay * (1 - self.jitter * chance)

    def _grown(self, failures: int) -> float:
        # What is longer at first than the longest is as long as it was told to be.
        longest = max(self.initial, self.longest)
        try:
            return min(self.initial * self.factor ** (failures - 1), longest)
        except OverflowError:
            return longest


def names(status: int, statuses: frozenset[str]) -> bool:
    """Whether `status` is among these, or its class is."""
    return str(status) in statuses or f"{status // 100}xx" in statuses
