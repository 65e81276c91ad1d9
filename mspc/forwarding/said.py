"""What a failed attempt was answered, for people: the beginning of it, as text.

A service gives its reason there. Nothing here reads or waits.
"""

import codecs
import re
from collections.abc import Mapping

from mspc.calls.call import LONGEST_ANSWER_BYTES

_TEXT = re.compile(
    rb"text/.*|.*[/+-](json|xml|javascript|ecmascript|yaml|form-urlencoded|form-data)"
)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class Said:
    """Collects the beginning of a body.

    Attributes:
        full: no more of it is wanted.
    """

    full = False
    _typed = False

    def __init__(self) -> None:
        self._bytes = b""

    def begin(self, headers: Mapping[bytes, bytes]) -> None:
        """The head has come: is it text?

        Args:
            headers: names in lower case.
        """
        media = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
        coding = headers.get(b"content-encoding", b"identity").strip().lower()
        self._typed = bool(media)
        # Compressed although we asked for identity: that is no text.
        self.full = coding != b"identity" or bool(media and not _TEXT.fullmatch(media))

    def add(self, body: bytes) -> None:
        """More of the body, without what frames it."""
        if not self.full:
            self._bytes += body[: LONGEST_ANSWER_BYTES - len(self._bytes)]
            self.full = len(self._bytes) >= LONGEST_ANSWER_BYTES

    def no_text(self) -> None:
        """Nobody knows where its body is, or how it is coded."""
        self._bytes, self.full = b"", True

    def text(self) -> str:
        """UTF-8, control characters replaced; empty when it is no text."""
        errors = "replace" if self._typed else "strict"
        decoder = codecs.getincrementaldecoder("utf-8")(errors)
        try:
            text = decoder.decode(self._bytes)  # without half a character at the end
        except UnicodeDecodeError:
            return ""
        text = text.replace("\r\n", "\n")
        if not self._typed and _CONTROL.search(text):
            return ""
        return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)
