"""What the journal says of what it lacks, and is told when it has it."""

from typing import Protocol

from gevent.event import Event as Flag

from mspc.journal.base import Recorder


class LossyRecorder(Recorder, Protocol):
    """A Recorder that may lack something: after a crash, a full disk, damage."""

    @property
    def to_make_up(self) -> Flag:
        """Set when events were dropped, or all that was in a damaged file, and there is
        room for them again.
        """

    def last_at(self) -> float:
        """When the last event happened before the file was cut off, Unix seconds.

        0 for none. What came later may be missing, if the process was killed. Waits
        until all is written that was recorded.

        Raises:
            JournalUnavailable: the file is away.
        """

    def cut_off(self) -> bool:
        """Whether something may be missing: whoever had the file before the start did
        not close it, or there was no room for all, then or since.

        Raises:
            JournalUnavailable: the file is away.
        """

    def completed(self) -> None:
        """It was told of what was missing. Until then cut_off() is so after a restart,
        too, and last_at() what it is.
        """

    def knows_nothing(self) -> None:
        """It has nothing of before the start; cut_off() is so until completed().

        Raises:
            JournalUnavailable: the file is away.
        """
