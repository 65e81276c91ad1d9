"""What the journal is told, told to others too."""

from mspc.journal.base import Recorder
from mspc.journal.events import Event


class Several:
    """Recorders that hear of everything together."""

    def __init__(self, *recorders: Recorder) -> None:
        listening = [one for one in recorders if one.on]
        self._records = [one.record for one in listening]
        self.on = bool(listening)
        self.body_bytes = max((one.body_bytes for one in listening), default=0)

    def record(self, event: Event) -> None:
        for record in self._records:
            record(event)
