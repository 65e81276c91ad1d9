"""How a store does, for whoever counts it: how long it takes to be sure, what fails."""

from typing import Final, Protocol

# What takes its time, each of which many calls share.
COMMIT: Final = "commit"  # of the embedded queue's or the spool's file
CONFIRM: Final = "confirm"  # of RabbitMQ

# What fails, call by call.
PUT: Final = "put"
ACK: Final = "ack"
RETRY: Final = "retry"
BURY: Final = "bury"


class StoreWatch(Protocol):
    """Is told. It never waits and never raises; no call is to notice it."""

    def took(self, operation: str, seconds: float) -> None:
        """A COMMIT or a CONFIRM took so long."""

    def failed(self, operation: str) -> None:
        """A PUT, ACK, RETRY or BURY of one call was not stored."""


class Nobody:
    """Does not listen."""

    def took(self, operation: str, seconds: float) -> None: ...

    def failed(self, operation: str) -> None: ...


NOBODY = Nobody()
