"""The command line: every noun, and what stands in front of it."""

from argparse import ArgumentParser

from mspc import __version__
from mspc.client import (
    bulk,
    calls,
    dead,
    decisions,
    destinations,
    send,
    settings,
    stats,
    transfer,
)
from mspc.client.grammar import Help, Words, add_common

_NOUNS = (send, calls, dead, destinations, bulk, stats, decisions, transfer, settings)
_ABOUT = (
    "A durable HTTP call proxy: a call answered with 202 is made until it is answered"
    " 2xx. Without a command mspc serves. The commands ask an mspc that runs, at"
    " MSPC_URL with the key in MSPC_KEY or MSPC_KEY_FILE; without these the one on"
    " this machine that has the same settings."
)
_CODES = (
    "Exit codes: 0 done, 1 mspc said no, 2 wrong use or settings, 3 not found,"
    " 4 no key or not the right one, 5 not reachable, 130 interrupted."
)


def parser() -> ArgumentParser:
    """Reads a command; `run` of what it has read does it, `form` says how to print."""
    top = ArgumentParser(
        prog="mspc", description=_ABOUT, epilog=_CODES, formatter_class=Help
    )
    add_common(top)
    top.add_argument(
        "--check",
        action="store_true",
        help="ask the service on this machine for /health/live; exit 0 when it answers",
    )
    top.add_argument("--version", action="version", version=__version__)
    words = Words(top)
    words.elsewhere("serve", "take calls and make them: the same as no command at all")
    words.elsewhere("check", "the same as --check")
    for noun in _NOUNS:
        noun.add(words)
    return top
