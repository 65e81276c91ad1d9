"""Runs of pytest side by side share the files of tests: each takes one after another.

`-p tests.support.sharing` with MSPC_TEST_SHARED=directory:number. The directory is the
same for all runs and empty at first; every run has another number, from 0. A run
imports the files that it takes, and no others.
"""

import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from itertools import chain, pairwise
from pathlib import Path

import pytest

# Those that take longest, first: else one would still run when the others have ended.
# Each run says at its end how long its files took.
LONGEST = (
    "tests/contract/test_steering_contract.py",
    "tests/contract/test_queue_contract.py",
    "tests/contract/test_lanes_contract.py",
    "tests/system/test_policy.py",
    "tests/system/test_pages.py",
    "tests/integration/queues/sqlite/test_space.py",
    "tests/integration/queues/amqp/test_queue.py",
    "tests/system/test_unread_log.py",
    "tests/system/test_documents.py",
    "tests/integration/queues/amqp/test_aside.py",
    "tests/system/test_crashing.py",
    "tests/system/test_broker_links.py",
    "tests/system/test_tracing.py",
    "tests/system/test_package.py",
    "tests/system/test_retrying.py",
    "tests/system/test_memory_embedded.py",
    "tests/system/test_memory_rabbitmq.py",
    "tests/faults/test_selection.py",
    "tests/system/test_monitoring.py",
    "tests/integration/queues/amqp/test_dead.py",
    "tests/integration/queues/amqp/test_held.py",
    "tests/system/test_names.py",
    "tests/system/test_deploy_proxies.py",
    "tests/integration/client/test_commands.py",
    "tests/system/test_steering.py",
    "tests/system/test_stopping.py",
    "tests/system/test_health.py",
    "tests/system/test_bulk.py",
    "tests/integration/queues/amqp/test_ports.py",
    "tests/integration/queues/amqp/test_stream.py",
    "tests/system/test_several_instances.py",
    "tests/system/test_openapi.py",
    "tests/integration/queues/sqlite/test_opening.py",
    "tests/system/test_logs.py",
    "tests/system/test_signals.py",
    "tests/system/test_settings.py",
    "tests/unit/forwarding/test_answer_oracle.py",
    "tests/integration/queues/test_spooled.py",
    "tests/integration/forwarding/test_forwarder.py",
)
# What a file has whose tests may ask for a RabbitMQ, by the fixtures that give one.
BROKER = re.compile(r"rabbitmq|StartOnQueue|queue_kind|: Nodes|\b(backend|nodes)\b")
# The `mspc` of tests/system runs on one, unless a file has an `mspc` of its own.
MSPC = re.compile(r"def test_\w+\([^)]*\bmspc: MspcProcess")
OWN_MSPC = 'name="mspc"'
NONE = "tests/unit/"
TOLD_SECONDS = 10.0


class Claims:
    """Which files are taken, in a directory that all runs see."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def take(self, file: str) -> bool:
        """Whether it was free; it is the caller's then."""
        try:
            (self._directory / file.replace("/", "-")).touch(exist_ok=False)
        except FileExistsError:
            return False
        return True


def needs_broker(text: str) -> bool:
    """Whether tests of a file with this text may ask for a RabbitMQ."""
    on_queue = MSPC.search(text) and OWN_MSPC not in text
    return bool(on_queue or BROKER.search(text))


def in_order(texts: Mapping[str, str], broker_first: bool) -> list[str]:
    """The files in the order in which a run asks for them.

    Half of the runs begin with those that need a broker, so that the others need none
    of their own, or late: a RabbitMQ that starts takes 4 s of a processor.

    Args:
        texts: what stands in each file.
        broker_first: whether this run is of that half.
    """
    ranks = {file: rank for rank, file in enumerate(LONGEST)}
    needing = {
        file
        for file, text in texts.items()
        if not file.startswith(NONE) and needs_broker(text)
    }

    def rank(file: str) -> tuple[bool, int]:
        return (file in needing) is not broker_first, ranks.get(file, len(ranks))

    return sorted(texts, key=rank)


def taken(
    texts: Mapping[str, str], take: Callable[[str], bool], broker_first: bool
) -> Iterator[str]:
    """Every file that this run gets, one after another; see in_order()."""
    return filter(take, in_order(texts, broker_first))


class Sharing:
    """The plugin of one run."""

    def __init__(self, claims: Claims, broker_first: bool) -> None:
        self._claims = claims
        self._broker_first = broker_first
        self._files: dict[str, pytest.File] = {}
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._processor: dict[str, float] = {}
        self._found = False

    @pytest.hookimpl(tryfirst=True)
    def pytest_make_collect_report(
        self, collector: pytest.Collector
    ) -> pytest.CollectReport | None:
        """While pytest collects, files are found, and none is imported."""
        if self._found or not isinstance(collector, pytest.File):
            return None
        self._files[collector.nodeid] = collector
        return pytest.CollectReport(collector.nodeid, "passed", None, [])

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """pytest's own loop, over the items of the files that this run takes."""
        if session.testsfailed:
            raise session.Interrupted("the files could not be found")
        self._found = True
        # An item is torn down down to what the next one needs.
        for item, following in pairwise(chain(self._items(session), [None])):
            assert item is not None
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if session.shouldfail:
                raise session.Failed(session.shouldfail)
            if session.shouldstop:
                raise session.Interrupted(session.shouldstop)
        return True

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        file = report.nodeid.partition("::")[0]
        self._seconds[file] += report.duration

    def pytest_terminal_summary(
        self, terminalreporter: pytest.TerminalReporter
    ) -> None:
        terminalreporter.section("files that took long")
        took = ((seconds, file) for file, seconds in self._seconds.items())
        for seconds, file in sorted(took, reverse=True):
            if seconds >= TOLD_SECONDS:
                busy = self._processor.get(file, 0.0)
                told = f"{seconds:4.0f} s, {busy:3.0f} s of a processor  {file}"
                terminalreporter.write_line(told)

    def _items(self, session: pytest.Session) -> Iterator[pytest.Item]:
        """File by file: collected as pytest does it for all at once."""
        texts = {name: file.path.read_text() for name, file in self._files.items()}
        config = session.config
        for name in taken(texts, self._claims.take, self._broker_first):
            items = list(session.genitems(self._files[name]))
            config.hook.pytest_collection_modifyitems(
                session=session, config=config, items=items
            )
            session.testscollected += len(items)
            before = _processor_seconds()
            yield from items
            self._processor[name] = _processor_seconds() - before


def _processor_seconds() -> float:
    """Of this process and of those that it has started and that have ended."""
    return sum(os.times()[:4])


def pytest_configure(config: pytest.Config) -> None:
    directory, _, number = os.environ.get("MSPC_TEST_SHARED", "").rpartition(":")
    if directory:
        plugin = Sharing(Claims(Path(directory)), int(number) % 2 == 0)
        config.pluginmanager.register(plugin)
