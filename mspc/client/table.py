"""What a command prints: a table for people, lines and JSON for programs."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, TextIO

Item = Mapping[str, Any]
Column = tuple[str, Callable[[Item], object]]
Form = Literal["text", "json", "jsonl"]


class Output:
    """Standard output, in the form that was asked for.

    Args:
        stream: where it goes.
        form: JSON, JSON lines, or text: a table on a terminal, else tab-separated
            lines without a heading.
        terminal: whether a person looks at it.
    """

    def __init__(self, stream: TextIO, form: Form, terminal: bool) -> None:
        self._stream = stream
        self._form = form
        self.terminal = terminal

    def items(self, items: Iterable[Item], columns: Sequence[Column]) -> None:
        """Several of a kind.

        Args:
            items: as mspc has answered them.
            columns: the heading of each, and what stands below it; for text.
        """
        if self._form == "json":
            self._write(_json(list(items), indent=2))
        elif self._form == "jsonl":
            for item in items:
                self._write(_json(item))
        else:
            rows = ([cell(read(item)) for _, read in columns] for item in items)
            self._rows([heading for heading, _ in columns], rows)

    def item(self, item: Item) -> None:
        """One: a line for each of its members; a member's own are `limits.rate`."""
        if self._form == "text":
            pairs = [[name, cell(value)] for name, value in flat(item)]
            self._rows([], iter(pairs))
        else:
            self._write(_json(item, indent=2 if self._form == "json" else None))

    def text(self, text: str) -> None:
        """Something for a shell: made harmless where a person looks at it only."""
        lines = text.split("\n")
        self._write("\n".join(map(harmless, lines)) if self.terminal else text)

    def clear(self) -> None:
        """Begins at the top of the terminal's screen."""
        self._stream.write("\x1b[H\x1b[2J")

    def lines(self, lines: Iterable[bytes]) -> None:
        """Others' lines as they come, each with its end."""
        for line in lines:
            self._write(line.rstrip(b"\n").decode(errors="replace"))

    def _rows(self, headings: Sequence[str], rows: Iterator[list[str]]) -> None:
        if not self.terminal:
            for row in rows:
                self._write("\t".join(row))
            return
        shown = list(rows)
        if not shown:
            return
        if headings:
            shown.insert(0, [heading.upper() for heading in headings])
        widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
        for row in shown:
            padded = (
                text.ljust(width) for text, width in zip(row, widths, strict=True)
            )
            self._write("  ".join(padded).rstrip())

    def _write(self, text: str) -> None:
        self._stream.write(f"{text}\n")
        self._stream.flush()


def harmless(text: str) -> str:
    r"""Without what would move a cursor or turn text round: an escape is `\x1b`."""
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape").decode()
        for one in text
    )


def cell(value: object) -> str:
    """What stands in one cell; `-` for nothing."""
    if value is None or value in ("", [], {}):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        simple = all(isinstance(one, str | int | float) for one in value)
        return ",".join(map(cell, value)) if simple else _json(value)
    return harmless(_json(value) if isinstance(value, dict) else str(value))


def flat(item: Item, above: str = "") -> Iterator[tuple[str, object]]:
    """The members of an object and of the objects in it, with their names."""
    for name, value in item.items():
        if isinstance(value, dict) and value:
            yield from flat(value, f"{above}{name}.")
        else:
            yield harmless(f"{above}{name}"), value


def member(*path: str) -> Callable[[Item], object]:
    """Reads a member of a member; None where one is missing."""

    def read(item: Item) -> object:
        value: object = item
        for name in path:
            value = value.get(name) if isinstance(value, Mapping) else None
        return value

    return read


def _json(value: object, indent: int | None = None) -> str:
    # ASCII: a terminal shows of it what it means, whatever it says.
    return json.dumps(value, indent=indent).replace("\x7f", "\\u007f")
