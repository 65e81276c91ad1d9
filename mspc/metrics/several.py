"""What the journal is told, told to others too."""

from mspc.journal.base import Recorder
from mspc.journal.events import Event


class Several:
    """Recorders that hear of everything together."""

    def __init__(self, *recorders: Recorder) -> None:
        self._recorders = [one for one in recorders if one.on]
        self.on = bool(self._recorders)
        self.body_bytes = max((one.body_bytes for one in self._recorders), default=0)

    def record(self, event: Event) -> None:
        for one in self._recorders:
            one.record(event)
