"""What the journal's file lacks: of before the start, and what was dropped since."""

from collections.abc import Callable

from gevent.event import Event as Flag

# Stands for the beginning of all times, where 0 says that there is no time.
EVER = 0.001


class Losses:
    """
    Attributes:
        dropped: how many events were, since the start.
        cut_off: whether something is missing in the file, and the file says so.
        last_at: when the last event happened that the file had before that, or at the
            start, Unix seconds; 0 for none.
        to_make_up: set when something is missing, and there is room for it again.
    """

    def __init__(self, in_stream: Callable[[], bool]) -> None:
        """`in_stream`: whether what is published is in one, where the next start finds
        it again.
        """
        self.dropped = 0
        self.cut_off = False
        self.last_at = 0.0
        self.to_make_up = Flag()
        self._in_stream = in_stream
        # Of what is missing, and the file does not say so: when the last event happened
        # that was written before it.
        self._since: float | None = None
        self._latest = 0.0
        self._noted = False  # in the file, and nobody was told
        self._was_open = False

    def __bool__(self) -> bool:
        """Whether there are some that nobody makes up for yet."""
        return self._since is not None or self._noted or self.to_make_up.is_set()

    def opened(self, last_at: float, *, cut_off: bool, replaced: bool) -> None:
        """The file was opened, the first time or once more.

        Args:
            last_at: when the last event happened that it has, or had before it was cut
                off, Unix seconds; 0 for none.
            cut_off: whether it says that something is missing.
            replaced: whether it is a new one in place of one that was damaged.
        """
        first, self._was_open = not self._was_open, True
        in_stream = self._in_stream()
        if first:
            self.last_at, self.cut_off = last_at, cut_off
        elif in_stream:  # but for what was decided long ago
            self._noted |= replaced
        if not in_stream and (not first or self._since is not None):
            self._since = last_at
        self._latest = last_at

    def add(self, count: int = 1, *, published: bool = False) -> None:
        """So many events were dropped."""
        self.dropped += count
        if count and self._since is None and not (published and self._in_stream()):
            self._since = self._latest

    def cut(self) -> float | None:
        """What the file is to say: since when something is missing; None for nothing.

        It is to say so before anything else is written.
        """
        if self._since is None:
            return None
        since = min(self.last_at, self._since) if self.cut_off else self._since
        return max(since, EVER)

    def wrote(self, last_at: float, cut: float | None = None) -> None:
        """Events were written, and what cut() gave before."""
        self._latest = max(self._latest, last_at)
        if cut is not None:
            self.last_at, self.cut_off = cut, True
            self._since, self._noted = None, True

    def tell(self) -> None:
        """There is room for what is missing."""
        if self._noted:
            self._noted = False
            self.to_make_up.set()
