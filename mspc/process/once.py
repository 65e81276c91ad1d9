"""What is tried again and again fails alike: the log has one line for it."""


class Once:
    """Tells what is new from what was said last."""

    def __init__(self) -> None:
        self._last = ""

    def is_new(self, what: object) -> bool:
        """Whether it reads otherwise than what was asked about before."""
        text = str(what)
        new, self._last = text != self._last, text
        return new

    def forget(self) -> None:
        """It has passed: the next one is new, whatever it is."""
        self._last = ""
