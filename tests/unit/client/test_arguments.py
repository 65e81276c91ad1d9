"""The command line as a whole."""

import pytest

from mspc.client.arguments import parser

NOUNS = (
    *("serve", "check", "send", "calls", "dead", "destinations", "bulk", "stats"),
    *("decisions", "export", "import", "config", "authorize"),
)


@pytest.mark.parametrize("line", [[], ["--help"], ["no-such-noun"]])
def test_without_a_noun_there_are_all(line: list[str]) -> None:
    told = parser(line).format_help()
    for noun in NOUNS:
        assert f"\n    {noun}" in told


def test_a_value_may_be_called_as_a_noun_is() -> None:
    line = ["--config", "calls", "stats", "--json"]
    options = parser(line).parse_args(line)
    assert (options.config, options.form, options.watch) == ("calls", "json", False)


@pytest.mark.parametrize("line", ["--json --config a stats", "stats --config a --json"])
def test_what_all_take_may_stand_on_either_side(line: str) -> None:
    options = parser(line.split()).parse_args(line.split())
    assert (options.config, options.form) == ("a", "json")


def test_what_was_not_said() -> None:
    options = parser(["stats"]).parse_args(["stats"])
    assert (options.config, options.form) == (None, "text")
