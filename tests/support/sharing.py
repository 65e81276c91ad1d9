"""Runs of pytest side by side share the files of tests: each takes one after another.

`-p tests.support.sharing` with MSPC_TEST_SHARED=directory:number. The directory is the
same for all runs and empty at first; every run has another number, from 0.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, groupby, pairwise
from pathlib import Path

import pytest

# Those that take longest, first: else one would still run when the others have ended.
LONGEST = (
    "tests/system/test_pages.py",
    "tests/contract/test_queue_contract.py",
    "tests/contract/test_lanes_contract.py",
    "tests/contract/test_steering_contract.py",
    "tests/system/test_memory_rabbitmq.py",
    "tests/system/test_unread_log.py",
    "tests/system/test_broker_links.py",
    "tests/integration/queues/amqp/test_queue.py",
    "tests/integration/queues/amqp/test_aside.py",
    "tests/system/test_retrying.py",
    "tests/integration/queues/sqlite/test_space.py",
    "tests/system/test_documents.py",
    "tests/system/test_several_instances.py",
    "tests/system/test_bulk.py",
    "tests/system/test_openapi.py",
    "tests/system/test_steering.py",
    "tests/faults/test_selection.py",
    "tests/system/test_memory_embedded.py",
    "tests/system/test_package.py",
    "tests/integration/queues/amqp/test_held.py",
    "tests/integration/queues/amqp/test_dead.py",
    "tests/system/test_names.py",
    "tests/system/test_deploy_proxies.py",
    "tests/system/test_crashing.py",
    "tests/unit/forwarding/test_answer_oracle.py",
    "tests/integration/queues/test_spooled.py",
    "tests/integration/forwarding/test_forwarder.py",
    "tests/integration/queues/sqlite/test_opening.py",
    "tests/system/test_signals.py",
)
# Whoever asks for one of these fixtures may get a RabbitMQ.
BROKER = {"rabbitmq", "queue_kind", "backend", "nodes"}


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


def in_order(
    files: Sequence[str], needing_broker: set[str], broker_first: bool
) -> list[str]:
    """The files in the order in which a run asks for them.

    Half of the runs begin with those that need a broker, so that the others need none
    of their own, or late: a RabbitMQ that starts takes 6 s of a processor.
    """
    ranks = {file: rank for rank, file in enumerate(LONGEST)}

    def rank(file: str) -> tuple[bool, int]:
        return (file in needing_broker) is not broker_first, ranks.get(file, len(ranks))

    return sorted(files, key=rank)


def taken(
    items: Sequence[pytest.Item], take: Callable[[str], bool], broker_first: bool
) -> Iterator[pytest.Item]:
    """The items of every file that this run gets, file by file."""
    files = {file: list(group) for file, group in groupby(items, _file_of)}
    needing = {
        file
        for file, group in files.items()
        if any(BROKER.intersection(getattr(item, "fixturenames", ())) for item in group)
    }
    for file in in_order(list(files), needing, broker_first):
        if take(file):
            yield from files[file]


def _file_of(item: pytest.Item) -> str:
    return item.nodeid.partition("::")[0]


def pytest_runtestloop(session: pytest.Session) -> bool | None:
    """pytest's own loop, over the items that this run takes."""
    directory, _, number = os.environ.get("MSPC_TEST_SHARED", "").rpartition(":")
    if not directory or session.testsfailed or session.config.option.collectonly:
        return None  # pytest's own says what is wrong
    items = taken(session.items, Claims(Path(directory)).take, int(number) % 2 == 0)
    # An item is torn down down to what the next one needs.
    for item, following in pairwise(chain(items, [None])):
        assert item is not None
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        if session.shouldfail:
            raise session.Failed(session.shouldfail)
        if session.shouldstop:
            raise session.Interrupted(session.shouldstop)
    return True
