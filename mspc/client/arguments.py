"""The command line: every noun, and what stands in front of it."""

from argparse import ArgumentParser
from collections.abc import Sequence
from importlib import import_module

from mspc import __version__
from mspc.client.grammar import Help, Words, add_common

# In the order in which --help has them, and the module of each.
_NOUNS = {
    "send": "send",
    "calls": "calls",
    "dead": "dead",
    "destinations": "destinations",
    "bulk": "bulk",
    "stats": "stats",
    "decisions": "decisions",
    "pages": "pages",
    "export": "transfer",
    "import": "transfer",
    "config": "settings",
    "authorize": "settings",
}
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


def parser(arguments: Sequence[str]) -> ArgumentParser:
    """Reads a command; `run` of what it has read does it, `form` says how to print.

    Args:
        arguments: what it will read: nouns that are not among them are left out, since
            all of them together would take as long as the rest of a start.
    """
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
    nouns = [word for word in arguments if word in _NOUNS]
    if not nouns:
        words.elsewhere("serve", "take calls and make them: as without any command")
        words.elsewhere("check", "the same as --check")
    for name in dict.fromkeys(_NOUNS[noun] for noun in nouns or _NOUNS):
        import_module(f"mspc.client.{name}").add(words)
    return top
