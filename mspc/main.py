"""The command: arguments, settings, logs, signals, exit code."""

import argparse
import gc
import logging
import os
import resource
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mspc import __version__
from mspc.errors import ConfigError
from mspc.process import healthcheck, logs, signals
from mspc.process.exits import EXIT_CONFIG, EXIT_FAILED, EXIT_OK
from mspc.settings.config import Config
from mspc.settings.describe import describe
from mspc.settings.load import load_config

if TYPE_CHECKING:
    from mspc.service import Service

log = logging.getLogger(__name__)

# So many are made before garbage is looked for among them. A call makes some hundreds,
# and hundreds of calls are in flight: after Python's 700 most of them are still in use.
YOUNG_OBJECTS = 5_000
# What is left of three such rounds is looked at once more, all at once: of eleven, as
# Python has it, everybody would wait four times as long. The rest, as rarely as there.
YOUNG_TIMES, OLD_TIMES = 2, 40


def main(root: Path, arguments: Sequence[str] | None = None) -> int:
    """Runs mspc; returns its exit code: 0 stopped, 1 failed, 2 wrong settings.

    Args:
        root: the project's folder, where relative paths start.
        arguments: those of the command line unless told otherwise.
    """
    options = _parser().parse_args(arguments)
    name = options.config or os.environ.get("MSPC_CONFIG")
    try:
        config = load_config(Path(name) if name else None, os.environ, root)
    except ConfigError as exc:
        logs.say("\n".join(exc.problems))
        return EXIT_CONFIG
    if options.check or options.verb == "check":
        problem = healthcheck.check(config.http)
        if problem:
            logs.say(problem)
        return EXIT_FAILED if problem else EXIT_OK
    logs.set_up(config.log)
    sys.stderr = logs.StandardError()
    try:
        return _serve(config)
    finally:
        logs.close()
        sys.stderr = sys.__stderr__


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mspc",
        description="A durable HTTP call proxy: a call answered with 202 is made until"
        " it is answered 2xx.",
    )
    parser.add_argument(
        "verb",
        nargs="?",
        choices=("serve", "check"),
        default="serve",
        help="check is --check; `mspc --help` has the commands for an mspc that runs",
    )
    parser.add_argument(
        "--config",
        metavar="PATH",
        help="the settings; default: MSPC_CONFIG, or env.yml in the working folder"
        " (for `python mspc.py`: in its own)",
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="ask the running service for /health/live; exit 0 when it answers 200",
    )
    parser.add_argument("--version", action="version", version=__version__)
    return parser


def _serve(config: Config) -> int:
    _allow_many_sockets()
    service = _built(config)
    signals.heed(service.shutdown, service.reload, config.shutdown_timeout)
    log.info("mspc %s: %s", __version__, describe(config))
    for remark in config.remarks:
        log.warning("%s", remark)
    code = service.run()
    signals.heed_no_more()
    return code


def _built(config: Config) -> "Service":
    # Here: whoever only asks for the health, or has wrong settings, imports no more.
    from mspc.service import Service

    gc.freeze()  # see starting.py
    gc.set_threshold(YOUNG_OBJECTS, YOUNG_TIMES, OLD_TIMES)
    gc.enable()
    return Service(config)


def _allow_many_sockets() -> None:
    # The usual soft limit of 1024 is less than clients and targets may take together.
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = hard if hard != resource.RLIM_INFINITY else max(soft, 65_536)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
