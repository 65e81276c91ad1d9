"""The commands for an mspc that runs: one is run, and its end is an exit code."""

import os
import signal
import sys
import time
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from mspc.client.arguments import parser
from mspc.client.failures import INTERRUPTED, Failure, WrongUse
from mspc.client.session import Session, standard_streams
from mspc.client.table import Output
from mspc.errors import ConfigError

# As a shell has it of a program that SIGPIPE ended.
PIPE_CLOSED = 141
# A file may be called so, and a body may be any bytes.
_ANY_BYTES = frozenset(("config", "file", "data", "data_json"))


def main(root: Path, arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit code (docs/command-line.md has them).

    Args:
        root: the project's folder, where env.yml is looked for.
        arguments: those of the command line unless told otherwise.
    """
    words = sys.argv[1:] if arguments is None else arguments
    options = parser(words).parse_args(words)
    standard_streams()
    session = _session(options, root)
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        _check_text(options)
        code: int = options.run(session)
    except KeyboardInterrupt:
        session.say("Interrupted.")
        return INTERRUPTED
    except ConfigError as exc:
        session.say("\n".join(exc.problems))
        return 2
    except Failure as exc:
        session.say(str(exc))
        return exc.exit_code
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # Python flushes it at its end
        return PIPE_CLOSED
    except OSError as exc:
        session.say(f"The output cannot be written: {exc.strerror or exc}.")
        return 1
    return code


def _check_text(options: Namespace) -> None:
    """Raises WrongUse for an argument that no request could have in it.

    Python has what is not UTF-8 in it as half a character, which nothing can write.
    """
    for name, value in vars(options).items():
        if name in _ANY_BYTES:
            continue
        for word in value if isinstance(value, list) else (value,):
            if isinstance(word, str) and not word.isascii():
                _check_word(word)


def _check_word(word: str) -> None:
    try:
        word.encode()
    except UnicodeEncodeError as exc:
        written = os.fsencode(word).decode(errors="backslashreplace")
        raise WrongUse(
            f"'{written}' of the command line is not UTF-8: only files may be called"
            " so, and bodies be so. Have the script or the terminal write it in UTF-8."
        ) from exc


def _session(options: Namespace, root: Path) -> Session:
    return Session(
        options,
        os.environ,
        root,
        Output(sys.stdout, options.form, sys.stdout.isatty()),
        sys.stdin,
        sys.stderr,
        time.time,
        time.sleep,
    )
