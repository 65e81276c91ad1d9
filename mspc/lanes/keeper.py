"""The queue, as far as the lanes need it."""

from typing import Protocol

from mspc.lanes.lane import Lane


class Keeper(Protocol):
    """The queue, as far as lanes ask it for something."""

    def hungry(self, lane: Lane) -> None:
        """`lane` has calls aside and may have more of them ready; see wants()."""

    def shut(self, lane: Lane) -> None:
        """What is ready in `lane` will not be taken for a while."""


class Nobody:
    """A queue that has everything in memory."""

    def hungry(self, lane: Lane) -> None:
        """Has nothing aside."""

    def shut(self, lane: Lane) -> None:
        """Keeps it."""
