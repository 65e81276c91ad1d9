"""Rows of the file that are not in memory, eight bytes each."""

from array import array
from collections.abc import Set

# The rows that are gone are cleared out when they are one in so many.
GONE_SHARE = 4


class Keys:
    """The rows of one lane that are not in memory, in the order of their turns."""

    def __init__(self) -> None:
        self._first: list[int] = []  # what was given back, in reverse
        self._rest = array("q")
        self._taken = 0  # of the rest
        # Some of both, or were never here. Looking for each at once would take
        # milliseconds where a million calls wait.
        self._gone: set[int] = set()

    def __len__(self) -> int:
        return max(0, self._size() - len(self._gone))

    def add(self, keys: list[int]) -> None:
        """New ones, or those of rows that were gone because they were put off."""
        if self._gone and not self._gone.isdisjoint(keys):
            self._clear_out()
        self._rest.extend(keys)

    def take(self, most: int) -> list[int]:
        if not self._gone:
            return self._take(most)
        taken: list[int] = []
        while len(taken) < most and self._size():
            for key in self._take(most - len(taken)):
                if key in self._gone:
                    self._gone.remove(key)
                else:
                    taken.append(key)
        self._clear_out_some()
        return taken

    def give_back(self, keys: list[int]) -> None:
        """They were taken, and come first again."""
        self._first.extend(reversed(keys))

    def remove(self, keys: Set[int]) -> None:
        """Their rows are gone; a key that is not here does not matter for long."""
        self._gone |= keys
        self._clear_out_some()

    def _size(self) -> int:
        return len(self._first) + len(self._rest) - self._taken

    def _take(self, most: int) -> list[int]:
        taken = [self._first.pop() for _ in range(min(most, len(self._first)))]
        end = self._taken + most - len(taken)
        taken += self._rest[self._taken : end]
        self._taken = min(end, len(self._rest))
        if self._taken * 2 > len(self._rest):
            del self._rest[: self._taken]
            self._taken = 0
        return taken

    def _clear_out_some(self) -> None:
        if len(self._gone) * GONE_SHARE >= self._size():
            self._clear_out()

    def _clear_out(self) -> None:
        gone = self._gone
        self._first = [key for key in self._first if key not in gone]
        rest = self._rest[self._taken :]
        self._rest = array("q", [key for key in rest if key not in gone])
        self._taken = 0
        self._gone = set()
