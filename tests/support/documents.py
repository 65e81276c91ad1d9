"""The pages of docs/, and the commands in them."""

import re

from tests.support.process import SCRIPT

PROJECT = SCRIPT.parent
CODE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def text_of(page: str) -> str:
    return (PROJECT / page).read_text()


def table(page: str, heading: str) -> list[list[str]]:
    """The cells of the first table below `heading`, without its first two lines."""
    below = f"\n{text_of(page)}".split(f"\n{heading}\n", 1)[1]
    lines = re.findall(r"(?:^\|.*\n)+", below, re.MULTILINE)[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def section(page: str, heading: str) -> str:
    """What stands below a heading, down to the next one that is as high."""
    level = len(heading.partition(" ")[0])
    _, found, below = text_of(page).partition(f"\n{heading}\n")
    assert found, f"{page} has no {heading}"
    code = [match.span() for match in CODE.finditer(below)]
    for match in re.finditer(rf"^#{{1,{level}}} ", below, re.MULTILINE):
        if not any(start < match.start() < stop for start, stop in code):
            return below[: match.start()]
    return below


def blocks(page: str, heading: str, language: str = "sh") -> list[str]:
    below = section(page, heading)
    return [code for name, code in CODE.findall(below) if name == language]


def command(page: str, heading: str, having: str) -> str:
    """The one block, or the one line in backticks, that has `having`."""
    below = section(page, heading)
    spans: list[str] = re.findall(r"(?<!`)`([^`\n]+)`(?!`)", CODE.sub("", below))
    found = [text for text in [*blocks(page, heading), *spans] if having in text]
    assert len(found) == 1, found
    return found[0]


def recipe(heading: str, having: str = "") -> str:
    return command("docs/operations.md", f"### {heading}", having)
