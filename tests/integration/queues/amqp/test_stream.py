"""The journal's stream on a real RabbitMQ."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import pytest
from gevent.queue import Queue as Mailbox

from mspc.queues.amqp.stream import JournalStream
from mspc.settings.config import AmqpConfig
from tests.support.broker_users import add_user, delete_user, set_rights
from tests.support.rabbitmq import Broker, RabbitNode
from tests.support.waiting import eventually

SECONDS = 30.0
SOON = 0.3


@dataclass
class Instance:
    """A stream of one instance, and what has arrived on it."""

    stream: JournalStream
    arrived: "Mailbox[tuple[bytes, int]]" = field(default_factory=Mailbox)
    position: int | None = None

    def start(self, after: int | None = None) -> None:
        self.stream.start(lambda *what: self.arrived.put(what), after)
        eventually(lambda: self.stream.shared, SECONDS)

    def take(self) -> bytes:
        batch, self.position = self.arrived.get(timeout=SECONDS)
        return batch

    def exchange(self, *batches: bytes) -> None:
        """Publishes each, and waits until it has come back."""
        for batch in batches:
            self.stream.publish(batch)
        for batch in batches:
            assert self.take() == batch


Make = Callable[..., Instance]


@pytest.fixture
def config(rabbitmq: Broker, queue_name: str) -> AmqpConfig:
    return AmqpConfig(((rabbitmq.host, rabbitmq.port),), queue_name)


@pytest.fixture
def make(config: AmqpConfig) -> Iterator[Make]:
    made: list[Instance] = []

    def one(config: AmqpConfig = config) -> Instance:
        made.append(Instance(JournalStream(config, days=7, try_again=SOON)))
        return made[-1]

    yield one
    for instance in made:
        instance.stream.stop()


@pytest.fixture
def instance(make: Make) -> Instance:
    started = make()
    started.start()
    return started


def delete(rabbitmq: Broker, name: str) -> None:
    with rabbitmq.connect() as connection, connection.channel() as channel:
        channel.queue.delete(name)


def test_each_instance_gets_the_batches_of_all(instance: Instance, make: Make) -> None:
    other = make()
    other.start()
    instance.stream.publish(b"[1]")
    assert (instance.take(), other.take()) == (b"[1]", b"[1]")
    other.stream.publish(b"[2]")
    assert (instance.take(), other.take()) == (b"[2]", b"[2]")


def test_a_new_instance_reads_from_the_first(instance: Instance, make: Make) -> None:
    batches = [b"[%d]" % number for number in range(100)]
    instance.exchange(*batches)
    other = make()
    other.start()
    assert [other.take() for _ in batches] == batches


def test_it_goes_on_after_what_is_known(instance: Instance, make: Make) -> None:
    instance.exchange(b"[1]", b"[2]")
    known = instance.position
    instance.exchange(b"[3]")
    other = make()
    other.start(known)
    assert other.take() == b"[3]"


def test_a_large_batch_arrives_whole(instance: Instance) -> None:
    instance.exchange(b"[%s]" % (b"1" * 2**20))


def test_what_is_published_before_the_end_is_published(make: Make) -> None:
    instance, other = make(), make()
    instance.start()
    other.start()
    instance.stream.publish(b"[last]")
    instance.stream.stop()
    assert other.take() == b"[last]"
    assert not instance.stream.shared


def test_a_broker_that_restarts(
    rabbitmq_node: RabbitNode, instance: Instance, make: Make
) -> None:
    instance.exchange(b"[1]")
    rabbitmq_node.stop_app()
    eventually(lambda: not instance.stream.shared)
    instance.stream.publish(b"[2]")
    rabbitmq_node.start_app()
    assert instance.take() == b"[2]"
    eventually(lambda: instance.stream.shared)
    other = make()
    other.start()
    assert (other.take(), other.take()) == (b"[1]", b"[2]")


def test_a_stream_that_is_deleted_is_made_again(
    rabbitmq: Broker, instance: Instance
) -> None:
    instance.exchange(b"[1]", b"[2]", b"[3]")
    delete(rabbitmq, instance.stream.name)
    eventually(lambda: not instance.stream.shared)
    instance.exchange(b"[4]")
    assert instance.stream.shared


@pytest.mark.parametrize("longer", [False, True])
def test_a_stream_that_was_made_anew_is_read_from_the_first(
    rabbitmq: Broker, make: Make, longer: bool
) -> None:
    """Longer or not than the old one was: its offsets are others."""
    old = make()
    old.start()
    old.exchange(*(b"[old %d]" % number for number in range(10)))
    old.stream.stop()
    delete(rabbitmq, old.stream.name)
    new, late = make(), make()
    new.start()
    batches = [b"[new %d]" % number for number in range(30 if longer else 3)]
    new.exchange(*batches)
    late.start(old.position)
    assert [late.take() for _ in batches] == batches


def test_what_retention_has_deleted_is_passed_over(
    rabbitmq: Broker, make: Make
) -> None:
    """Also: a stream with other arguments than ours is used as it is."""
    instance, late = make(), make()
    arguments = {
        "x-queue-type": "stream",
        "x-max-length-bytes": 2**20,
        "x-stream-max-segment-size-bytes": 2**19,
    }
    with rabbitmq.connect() as connection, connection.channel() as channel:
        channel.queue.declare(instance.stream.name, durable=True, arguments=arguments)
    instance.start()
    instance.exchange(b"[first]")
    first = instance.position
    batches = [b"[%d %s]" % (number, b"0" * 2**17) for number in range(40)]
    for batch in batches:
        instance.exchange(batch)
    late.start(first)
    batch = late.take()
    assert batch in batches[1:]
    for wanted in batches[batches.index(batch) + 1 :]:
        assert late.take() == wanted


def test_no_stream_is_said_once_and_tried_again(
    rabbitmq: Broker, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    """What a RabbitMQ without streams answers is what it answers to a wrong queue."""
    instance = make()
    with rabbitmq.connect() as connection, connection.channel() as channel:
        channel.queue.declare(instance.stream.name, durable=True)
    with caplog.at_level(logging.DEBUG, "mspc"):
        instance.stream.start(lambda *what: instance.arrived.put(what), None)
        eventually(lambda: caplog.text.count("refused again") >= 2, SECONDS)
    assert not instance.stream.shared
    assert caplog.text.count("keeps no stream") == 1
    assert caplog.text.count("is away") == 0
    delete(rabbitmq, instance.stream.name)
    eventually(lambda: instance.stream.shared)
    instance.exchange(b"[1]")


@pytest.mark.parametrize("missing", ["configure", "write", "read"])
def test_a_user_without_rights_on_it(
    rabbitmq_node: RabbitNode,
    instance: Instance,
    make: Make,
    config: AmqpConfig,
    caplog: pytest.LogCaptureFixture,
    missing: str,
) -> None:
    """Also: nothing is the matter with other users."""
    rights = {"configure": ".*", "write": ".*", "read": ".*", missing: "^$"}
    user = f"user of {config.name}"
    add_user(rabbitmq_node, user, "secret")
    set_rights(rabbitmq_node, user, *rights.values())
    refused = make(replace(config, user=user, password="secret"))
    refused.stream.start(lambda *what: refused.arrived.put(what), None)
    try:
        eventually(lambda: "ACCESS_REFUSED" in caplog.text)
        assert caplog.text.count("keeps no stream") == 1
        assert not refused.stream.shared
        set_rights(rabbitmq_node, user, ".*", ".*", ".*")
        eventually(lambda: refused.stream.shared, SECONDS)
    finally:
        refused.stream.stop()
        delete_user(rabbitmq_node, user)
    instance.exchange(b"[1]")
