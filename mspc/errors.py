"""Every error mspc raises itself, grouped by what the caller can do about it."""

from collections.abc import Sequence


class MspcError(Exception):
    """The root: catch this to catch whatever mspc raises on purpose."""


class ConfigError(MspcError):
    """Stop: a setting, or what it points at, is wrong. Only a person can mend it.

    Attributes:
        problems: one sentence for each mistake, naming the setting.
    """

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems = (problems,) if isinstance(problems, str) else tuple(problems)
        super().__init__("\n".join(self.problems))


class BadRequest(MspcError):
    """Reject: the request can never become a call."""


class NotAnObject(BadRequest):
    """The body is not a JSON object (HTTP 422)."""


class InvalidProperties(BadRequest):
    """A JSON object, but some of its properties break a rule (HTTP 400).

    Attributes:
        problems: one sentence for each invalid property.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__(" ".join(self.problems))


class Crowded(MspcError):
    """Answer 503: others use up what there is for requests. Nothing was done."""


class NoConnection(MspcError):
    """Retry later: a target cannot be connected to; the text says why.

    Attributes:
        word: why, one of calls/words.py.
    """

    def __init__(self, text: str, word: str) -> None:
        self.word = word
        super().__init__(text)


class QueueError(MspcError):
    """The queue could not do what it was asked."""


class QueueUnavailable(QueueError):
    """Retry later: nothing was stored, or nothing is known to be stored."""


class QueueFailed(QueueError):
    """Stop: the store cannot be trusted any more (corruption, a failed fsync)."""


class JournalUnavailable(MspcError):
    """Answer 501 or 503: nothing can be looked up in the journal now.

    Attributes:
        off: whether that is a setting (JOURNAL 0).
    """

    def __init__(self, text: str, *, off: bool = False) -> None:
        self.off = off
        super().__init__(text)


class NoSuchCall(MspcError):
    """Answer 404: nobody knows it, or not any more."""


class NotPossible(MspcError):
    """Answer 409: not with a call, a job or a destination as it is now.

    Attributes:
        code: one stable word, `in_flight` for example.
    """

    def __init__(self, code: str, text: str) -> None:
        self.code = code
        super().__init__(text)
