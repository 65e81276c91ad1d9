"""The commands for an mspc that runs: one is run, and its end is an exit code."""

import os
import signal
import sys
import time
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from mspc.client.arguments import parser
from mspc.client.failures import INTERRUPTED, Failure
from mspc.client.session import Session, standard_streams
from mspc.client.table import Output
from mspc.errors import ConfigError

# As a shell has it of a program that SIGPIPE ended.
PIPE_CLOSED = 141


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
