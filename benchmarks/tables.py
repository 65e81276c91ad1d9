"""How figures stand in the tables of the page."""

from collections.abc import Iterable, Sequence

from benchmarks.store import Spread

Row = Sequence[str]


def table(titles: Row, rows: Iterable[Row]) -> str:
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def spread(value: Spread | None) -> str:
    if value is None:
        return "-"
    text = number(value.median)
    if value.least == value.greatest:
        return text
    return f"{text} ({number(value.least)} to {number(value.greatest)})"


def number(value: float | None) -> str:
    if value is None:
        return "-"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
