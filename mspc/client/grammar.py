"""How a command line is built: words below words, and the options that many share."""

from argparse import SUPPRESS, ArgumentParser, ArgumentTypeError, HelpFormatter
from collections.abc import Callable, Sequence

from mspc.calls.words import ERRORS, IN_FLIGHT, REASONS, STATES
from mspc.client.session import Session

Run = Callable[[Session], int]

# Of a job: it leaves alone what is in flight, and mspc refuses to look for it.
JOB_STATES = tuple(state for state in STATES if state != IN_FLIGHT)

# As mspc has them for a job (admin/queries.py); what it refuses would be told after
# somebody was asked, and said yes.
MOST = 1_000_000
LEAST_PER_SECOND, MOST_PER_SECOND = 0.01, 10_000
LONGEST_REASON = 500


class Help(HelpFormatter):
    """80 columns: argparse would import shutil, with all that it packs and unpacks."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=80)


class Words:
    """What may follow a word: nouns, or the verbs of one."""

    def __init__(self, parser: ArgumentParser) -> None:
        self._below = parser.add_subparsers(metavar="COMMAND", required=True)

    def noun(self, name: str, told: str) -> "Words":
        return Words(self._parser(name, told))

    def verb(self, name: str, run: Run, told: str) -> ArgumentParser:
        """A command; its parser takes the options that are its own."""
        parser = self._parser(name, told)
        add_common(parser, SUPPRESS)
        parser.set_defaults(run=run)
        return parser

    def elsewhere(self, name: str, told: str) -> None:
        """A command of the program that serves (see dispatch.py); listed only."""
        self._parser(name, told)

    def _parser(self, name: str, told: str) -> ArgumentParser:
        return self._below.add_parser(
            name, help=told, description=told, formatter_class=Help
        )


def add_common(parser: ArgumentParser, default: object = None) -> None:
    """The options of every command, which may stand in front of its noun as well.

    Args:
        parser: gets them.
        default: SUPPRESS behind the noun, else it would undo what stands before it.
    """
    parser.add_argument(
        "--config",
        metavar="PATH",
        default=default,
        help="the settings; default: MSPC_CONFIG, or env.yml in the working folder"
        " (for `python mspc.py`: in its own)",
    )
    forms = parser.add_mutually_exclusive_group()
    for form, told in (("json", "one JSON text"), ("jsonl", "a JSON object a line")):
        forms.add_argument(
            f"--{form}",
            dest="form",
            action="store_const",
            const=form,
            default=default or "text",
            help=f"print {told}",
        )


def add_filter(parser: ArgumentParser, states: Sequence[str] = STATES) -> None:
    """Which calls: all that match every one of these.

    Args:
        parser: gets them.
        states: those that may be asked for; none: the state is no question.
    """
    group = parser.add_argument_group("which calls")
    if states:
        group.add_argument(
            "--state",
            action="append",
            default=[],
            choices=states,
            help="may be given several times",
        )
    group.add_argument("--destination", help="scheme://host:port")
    group.add_argument("--url-prefix", metavar="URL", help="what the URL begins with")
    group.add_argument("--method", type=str.upper)
    group.add_argument("--label", help="one of the call's labels")
    group.add_argument("--death", choices=REASONS, help="why it is a dead letter")
    group.add_argument("--error", choices=ERRORS, help="of its last attempt")
    group.add_argument("--status", help="of its last answer: 404, 4xx, or none")
    when = "accepted since: 24h ago, 2026-01-31, or a date with its time"
    group.add_argument("--after", metavar="TIME", help=when)
    group.add_argument("--before", metavar="TIME", help="accepted before: the same")
    attempts = whole_number(0, MOST)
    group.add_argument("--attempts-min", metavar="N", type=attempts)


def add_reason(parser: ArgumentParser) -> None:
    told = "why, in your words: kept with the decision"
    parser.add_argument("--reason", metavar="TEXT", type=_reason, default="", help=told)


def add_job(parser: ArgumentParser, fast: bool = False) -> None:
    """How a job that many calls are in is done.

    Args:
        parser: gets them.
        fast: whether so many in a second is a question.
    """
    group = parser.add_argument_group("how")
    group.add_argument("--all", action="store_true", help="without any filter")
    group.add_argument("--dry-run", action="store_true", help="change nothing")
    group.add_argument("--yes", action="store_true", help="do not ask; for scripts")
    add_reason(parser)
    told = "of calls; default: 1000, or all named"
    calls = whole_number(1, MOST)
    group.add_argument("--limit", metavar="N", type=calls, help=told)
    if fast:
        told = "calls in a second; default: 50"
        group.add_argument("--per-second", metavar="N", type=_per_second, help=told)


def add_later(parser: ArgumentParser) -> None:
    told = "not now but in 10m, for example"
    parser.add_argument("--in", dest="later", metavar="TIME", help=told)


def whole_number(least: int, most: int) -> Callable[[str], int]:
    """The type of an option; a value that is out of its range is wrong use."""

    def read(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = least - 1
        if not least <= number <= most:
            raise ArgumentTypeError(
                f"must be a whole number from {least} to {most}, not {text!r}"
            )
        return number

    return read


def _per_second(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not LEAST_PER_SECOND <= number <= MOST_PER_SECOND:  # nor is "nan"
        raise ArgumentTypeError(
            f"must be a number from {LEAST_PER_SECOND} to {MOST_PER_SECOND},"
            f" not {text!r}"
        )
    return number


def _reason(text: str) -> str:
    if len(text) > LONGEST_REASON:
        raise ArgumentTypeError(
            f"must be a text of at most {LONGEST_REASON} characters, not {len(text)}"
        )
    return text
