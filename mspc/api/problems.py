"""What an error says to a client: a status, a code, a sentence, what it is about."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from mspc.api import codes
from mspc.errors import (
    Crowded,
    InvalidProperties,
    JournalUnavailable,
    MspcError,
    NoSuchCall,
    NotAnObject,
    NotPossible,
    QueueError,
)

# How a sentence about a property begins: its name, or a name that there is not, quoted.
_SUBJECT = re.compile(r'([a-z][a-z0-9_.]*)[\[ ]|("(?:[^"\\]|\\.)*") is not a')


@dataclass(frozen=True, slots=True)
class Problem:
    """An error, as it is answered.

    Attributes:
        status: of HTTP.
        code: one of codes.CODES.
        message: for people.
        sentences: one for each property that is wrong.
    """

    status: int
    code: str
    message: str
    sentences: Sequence[str] = ()

    @property
    def more(self) -> dict[str, object]:
        """What an answer has besides `error` and `message`."""
        if not self.sentences:
            return {"code": self.code}
        errors = [
            {"property": subject(sentence), "message": sentence}
            for sentence in self.sentences
        ]
        return {"code": self.code, "errors": errors}


def subject(sentence: str) -> str | None:
    """The property that `sentence` is about; None when it is about all of them."""
    found = _SUBJECT.match(sentence)
    if found is None:
        return None
    if found[1]:
        return found[1]
    name: str = json.loads(found[2])
    return name


def problem_of(exc: MspcError, storing: bool = True) -> Problem:
    """What to answer for `exc`, which the doors know.

    Args:
        exc: what was raised.
        storing: whether a call was to be stored; else something was to be done to one.
    """
    match exc:
        case NotAnObject():
            return Problem(422, codes.NOT_AN_OBJECT, str(exc))
        case InvalidProperties():
            return Problem(400, codes.INVALID_PROPERTIES, str(exc), exc.problems)
        case NoSuchCall():
            return Problem(404, codes.NO_SUCH_CALL, str(exc))
        case NotPossible():
            return Problem(409, exc.code, str(exc))
        case Crowded():
            return Problem(503, codes.CROWDED, str(exc))
        case JournalUnavailable(off=True):
            return Problem(501, codes.JOURNAL_OFF, str(exc))
        case JournalUnavailable():
            return Problem(503, codes.JOURNAL_UNAVAILABLE, str(exc))
        case QueueError() if storing:
            told = f"Not stored, send it again: {exc}"
            return Problem(503, codes.NOT_STORED, told)
        case QueueError():
            told = f"Nobody knows whether it was done, try again: {exc}"
            return Problem(503, codes.QUEUE_UNAVAILABLE, told)
    raise exc
