"""What RabbitMQ cannot do: look up a call that waits there."""

from collections.abc import Iterator, Mapping, Sequence

from mspc.calls.call import Call
from mspc.queues.base import Kept


class Unseen:
    """The part of the queue contract that is for queues which look calls up."""

    looks_up = False

    def hurry(self, ids: Sequence[str]) -> list[str]:
        return []

    def postpone(self, ids: Sequence[str], delay: float) -> list[str]:
        return []

    def payloads(self, ids: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        return iter(())

    def recent(self, since: float) -> Iterator[list[tuple[Call, Kept | None]]]:
        return iter(())

    def kept(self, ids: Sequence[str]) -> Mapping[str, Kept]:
        return {}
