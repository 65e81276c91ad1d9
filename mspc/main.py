"""The command: arguments, settings, logs, signals, exit code."""

import argparse
import logging
import os
import resource
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import gevent

from mspc import __version__
from mspc.errors import ConfigError
from mspc.process import healthcheck, logs
from mspc.service import EXIT_CONFIG, Service
from mspc.settings.config import Config
from mspc.settings.describe import describe
from mspc.settings.load import load_config

log = logging.getLogger(__name__)


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
        for problem in exc.problems:
            sys.stderr.write(f"{problem}\n")
        return EXIT_CONFIG
    if options.check:
        return healthcheck.check(config.http)
    logs.set_up(config.log)
    return _serve(config)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mspc",
        description="A durable HTTP call proxy: a call answered with 202 is made until"
        " it is answered 2xx.",
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
    log.info("mspc %s: %s", __version__, describe(config))
    for remark in config.remarks:
        log.warning("%s", remark)
    service = Service(config)

    def stop() -> None:
        service.shutdown()
        # Whoever asks twice does not want to wait: what is in flight comes again.
        for number in (signal.SIGTERM, signal.SIGINT):
            gevent.signal_handler(number, os._exit, 1)

    for number in (signal.SIGTERM, signal.SIGINT):
        gevent.signal_handler(number, stop)
    gevent.signal_handler(signal.SIGHUP, service.reload)
    return service.run()


def _allow_many_sockets() -> None:
    # The usual soft limit of 1024 is less than clients and targets may take together.
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = hard if hard != resource.RLIM_INFINITY else max(soft, 65_536)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
