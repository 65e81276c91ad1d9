"""The queue on a real RabbitMQ when things go wrong."""

import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import gevent
import pytest
from amqpstorm.connection import Connection
from amqpstorm.exception import AMQPConnectionError
from gevent.event import AsyncResult
from gevent.pool import Pool
from pamqp import body, commands, frame, header

from mspc.calls.call import Call
from mspc.errors import ConfigError, MspcError, QueueUnavailable
from mspc.queues.amqp import link
from mspc.queues.amqp.channel import PipelinedChannel
from mspc.queues.amqp.confirms import Rejected, Unroutable
from mspc.queues.amqp.queue import AmqpQueue
from mspc.settings.config import AmqpConfig
from tests.support.certificates import Certificates
from tests.support.opened import Opened
from tests.support.rabbitmq import Broker, RabbitNode, unique_name
from tests.support.store_watch import Told
from tests.support.waiting import eventually

# An exchange, and a routing key that is no UTF-8: as long as `k` * 20 to none.
ANYWHERE = b"\x0aamq.fanout" + b"\x0a" + b"\xff" * 10
CLOSED_PORT = 1  # tcpmux: nobody listens there


@pytest.fixture
def config(rabbitmq: Broker, queue_name: str) -> AmqpConfig:
    hosts = ((rabbitmq.host, rabbitmq.port),)
    return AmqpConfig(hosts, queue_name, queue_type="classic", prefetch=20)


@pytest.fixture
def open_with(queue_name: str) -> Iterator[Callable[[AmqpConfig], Opened]]:
    opened: list[Opened] = []  # closed before the queues of queue_name are deleted

    def start(config: AmqpConfig) -> Opened:
        opened.append(Opened(AmqpQueue(config)))
        return opened[-1]

    yield start
    for one in opened:
        one.close()


@pytest.fixture
def opened(open_with: Callable[[AmqpConfig], Opened], config: AmqpConfig) -> Opened:
    return open_with(config)


def refusal_of(config: AmqpConfig) -> str:
    """The sentence with which a queue gives up at start."""
    failure: AsyncResult[MspcError] = AsyncResult()
    queue = AmqpQueue(config)
    queue.start(failure.set)
    try:
        error = failure.get(timeout=30)
    finally:
        queue.close()
    assert isinstance(error, ConfigError)
    return str(error)


def channel_on(connection: Connection) -> PipelinedChannel:
    return PipelinedChannel.open_on(connection, lambda _channel, _message: None)


def test_the_first_host_that_answers_is_used(
    open_with: Callable[[AmqpConfig], Opened], config: AmqpConfig
) -> None:
    hosts = (("127.0.0.1", CLOSED_PORT), ("host.invalid", 5672), *config.hosts)
    opened = open_with(replace(config, hosts=hosts))
    opened.queue.put(Call(b"arrived"))
    assert opened.take().call.payload == b"arrived"


def test_a_broker_that_is_away_at_start_is_waited_for(
    rabbitmq_node: RabbitNode, config: AmqpConfig
) -> None:
    rabbitmq_node.stop_app()
    queue = AmqpQueue(config)
    failures: list[MspcError] = []
    queue.start(failures.append)
    try:
        eventually(lambda: "away" in str(queue.problem()))
        with pytest.raises(QueueUnavailable, match=r"RabbitMQ .* is away"):
            queue.put(Call(b"too early"))
        rabbitmq_node.start_app()
        eventually(lambda: queue.problem() is None)
        queue.put(Call(b"now"))
    finally:
        queue.close()
    assert failures == []


def test_a_killed_broker_loses_nothing(
    rabbitmq_node: RabbitNode,
    open_with: Callable[[AmqpConfig], Opened],
    config: AmqpConfig,
) -> None:
    opened = open_with(config)
    in_flight, waiting, stored = Call(b"in flight"), Call(b"waiting"), Call(b"stored")
    opened.queue.put(waiting)
    delivery = opened.take()
    delivery.retry(delivery.call.next_attempt("no"), 0.5)
    opened.queue.put(in_flight)
    lent = opened.take()
    opened.queue.put(stored)
    rabbitmq_node.kill()
    eventually(lambda: opened.queue.problem() is not None)
    with pytest.raises(QueueUnavailable):
        opened.queue.put(Call(b"refused"))
    lent.ack()  # cannot reach the broker any more
    rabbitmq_node.start()
    eventually(lambda: opened.queue.problem() is None)
    ids: set[str] = set()
    while ids != {in_flight.id, waiting.id, stored.id}:
        delivery = opened.take()
        ids.add(delivery.call.id)
        delivery.ack()


def test_a_new_quorum_queue_keeps_its_first_call_though_the_broker_is_killed(
    rabbitmq_node: RabbitNode,
    open_with: Callable[[AmqpConfig], Opened],
    config: AmqpConfig,
) -> None:
    """RabbitMQ writes down half a second late that a quorum queue exists."""
    config = replace(config, queue_type="quorum")
    opened = open_with(config)
    opened.queue.cancel()
    with rabbitmq_node.connect() as connection, connection.channel() as channel:
        channel.queue.delete(config.name)
    eventually(lambda: opened.queue.problem() is None)
    opened.queue.put(Call(b"the first one"))  # declares the queue again
    rabbitmq_node.signal(signal.SIGKILL)
    eventually(lambda: not rabbitmq_node.running)
    rabbitmq_node.start()
    assert open_with(config).take().call.payload == b"the first one"


def test_publishes_in_flight_fail_at_once_when_the_broker_dies(
    rabbitmq_node: RabbitNode, opened: Opened
) -> None:
    results: list[str] = []

    def put_until_it_fails(_: int) -> None:
        try:
            while True:
                opened.queue.put(Call(b"x"))
        except QueueUnavailable as exc:
            results.append(str(exc))

    pool = Pool(20)
    jobs = pool.map_async(put_until_it_fails, range(20))
    opened.take()
    rabbitmq_node.kill()
    # The confirm timeout is 10 s: they must not wait for it.
    jobs.get(timeout=5)
    assert len(results) == 20
    rabbitmq_node.start()


def test_nobody_waits_for_an_answer_on_a_channel_that_is_lost(
    rabbitmq: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever has asked when the connection broke; else for 10 s."""
    with rabbitmq.connect() as connection:
        channel = channel_on(connection)
        monkeypatch.setattr(channel, "on_frame", lambda _: None)  # no answer comes
        asking = gevent.spawn(channel.queue.declare, "amq.nobody", passive=True)
        gevent.sleep(0)  # it has asked
        channel.lose("on purpose")
        with pytest.raises(AMQPConnectionError, match="on purpose"):
            asking.get(timeout=5)


@pytest.mark.parametrize("suffix", ["", ".retry.0", ".dead"])
def test_a_deleted_queue_is_declared_again(
    rabbitmq: Broker, opened: Opened, config: AmqpConfig, suffix: str
) -> None:
    with rabbitmq.connect() as connection, connection.channel() as channel:
        channel.queue.delete(config.name + suffix)
        for payload in (b"ack", b"retry", b"bury"):
            opened.queue.put(Call(payload))
        for _ in range(3):
            delivery = opened.take()
            match delivery.call.payload:
                case b"ack":
                    delivery.ack()
                case b"retry":
                    delivery.retry(delivery.call.next_attempt("no"), 0.2)
                case b"bury":
                    delivery.bury(delivery.call, "no")
        again = opened.take()
        assert again.call.payload == b"retry"
        again.ack()
        dead = channel.queue.declare(f"{config.name}.dead", passive=True)
    assert dead["message_count"] == 1


def test_a_closed_connection_comes_back(
    rabbitmq_node: RabbitNode, opened: Opened
) -> None:
    opened.queue.put(Call(b"in flight"))
    opened.take()
    rabbitmq_node.close_connections("maintenance")
    again = opened.take()  # redelivered, since the first one was not settled
    assert again.call.payload == b"in flight"
    again.ack()
    eventually(lambda: opened.queue.problem() is None)
    opened.queue.put(Call(b"after"))
    assert opened.take().call.payload == b"after"
    assert opened.failures == []


def set_memory_limit(node: RabbitNode, part: float) -> None:
    """As `rabbitmqctl set_vm_memory_high_watermark`."""
    node.eval(f"vm_memory_monitor:set_vm_memory_high_watermark({part:.7f}).")


def test_an_alarm_refuses_calls_at_once_and_passes(
    rabbitmq_node: RabbitNode, opened: Opened
) -> None:
    opened.queue.put(Call(b"before"))
    delivery = opened.take()
    set_memory_limit(rabbitmq_node, 0.0000001)
    try:
        # RabbitMQ tells a connection that it is blocked when it next publishes.
        def refused() -> bool:
            try:
                opened.queue.put(Call(b"during"))
            except QueueUnavailable as exc:
                return "alarm" in str(exc)
            return False

        eventually(refused)
        failed_at = time.monotonic()
        with pytest.raises(QueueUnavailable, match="alarm"):
            delivery.retry(delivery.call.next_attempt("no"), 1.0)
        # Kept, and lent out again when the delay is over.
        while (again := opened.take()).call.id != delivery.call.id:
            again.ack()
        assert time.monotonic() - failed_at >= 1.0
        again.ack()  # acks pass during an alarm
    finally:
        set_memory_limit(rabbitmq_node, 0.4)
    eventually(lambda: opened.queue.problem() is None)
    opened.queue.put(Call(b"after"))
    while (after := opened.take()).call.payload != b"after":
        after.ack()


@pytest.mark.parametrize("queue_type", ["classic", "quorum"])
def test_a_full_queue_is_nobody_else_s_problem(
    rabbitmq_node: RabbitNode,
    open_with: Callable[[AmqpConfig], Opened],
    config: AmqpConfig,
    queue_type: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It gets a new channel less and less often: that helps one without a leader."""
    monkeypatch.setattr(link, "REFUSED_SECONDS", 0.2)
    opened = open_with(replace(config, queue_type=queue_type))
    publishing = opened.queue._publishing  # type: ignore[attr-defined]
    publishing._refused_seconds = 0.2
    bound = '{"max-length": 1, "overflow": "reject-publish"}'
    full = f"^{config.name}\\.retry\\.5$"
    rabbitmq_node.ctl("set_policy", config.name, full, bound, "--apply-to", "queues")
    told: list[str] = []

    def put() -> None:
        try:
            opened.queue.put(Call(b"waits"), 40.0)
        except Rejected as exc:
            told.append(str(exc))
        except QueueUnavailable:
            pass  # the channel was given up meanwhile

    def refused() -> bool:
        put()
        opened.queue.put(Call(b"other"))
        delivery = opened.take()
        assert delivery.call.payload == b"other"
        delivery.ack()
        return bool(told and publishing._refused_seconds >= 0.8)

    def taken() -> bool:
        put()
        return bool(publishing._refused_seconds == 0.2)

    try:
        eventually(refused)
    finally:
        rabbitmq_node.ctl("clear_policy", config.name)
    assert f"stores nothing in the queue {config.name}.retry.5 now: it is" in told[0]
    eventually(taken)


def test_a_queue_of_another_type_is_a_configuration_error(config: AmqpConfig) -> None:
    first = Opened(AmqpQueue(config))
    first.close()
    sentence = refusal_of(replace(config, queue_type="quorum"))
    assert "QUEUE_TYPE" in sentence
    assert f"the queue {config.name} exists" in sentence


def test_calls_are_refused_while_another_queue_has_our_name(
    rabbitmq: Broker, opened: Opened, config: AmqpConfig
) -> None:
    """Stored there, they would not be consumed, and go with it when it is deleted."""

    def refused() -> bool:
        try:
            opened.queue.put(Call(b"nowhere"))
        except QueueUnavailable as exc:
            return "PRECONDITION_FAILED" in str(exc)
        return False

    with rabbitmq.connect() as connection, connection.channel() as channel:
        channel.queue.delete(config.name)
        channel.queue.declare(config.name, durable=True, arguments={"x-max-length": 9})
        eventually(refused)
        channel.queue.delete(config.name)
    eventually(lambda: opened.queue.problem() is None)
    opened.queue.put(Call(b"here"))
    while opened.take().call.payload != b"here":
        pass
    assert opened.failures == []


def test_a_queue_made_without_arguments_is_a_classic_one(
    rabbitmq: Broker, open_with: Callable[[AmqpConfig], Opened], config: AmqpConfig
) -> None:
    with rabbitmq.connect() as connection, connection.channel() as channel:
        channel.queue.declare(config.name, durable=True)
    opened = open_with(config)
    opened.queue.put(Call(b"arrived"))
    assert opened.take().call.payload == b"arrived"


def test_a_wrong_password_is_a_configuration_error(config: AmqpConfig) -> None:
    sentence = refusal_of(replace(config, password="wrong"))
    assert "RABBITMQ_DEFAULT_USER, RABBITMQ_DEFAULT_PASS" in sentence
    assert "wrong" not in sentence


def test_an_unknown_vhost_is_a_configuration_error(config: AmqpConfig) -> None:
    sentence = refusal_of(replace(config, vhost="nowhere"))
    assert "RABBITMQ_DEFAULT_VHOST" in sentence
    assert "nowhere" in sentence


def test_amqps_with_a_private_certificate(
    rabbitmq: Broker,
    certificates: Certificates,
    open_with: Callable[[AmqpConfig], Opened],
    config: AmqpConfig,
) -> None:
    if rabbitmq.tls_port is None:
        pytest.skip("the RabbitMQ of MSPC_TEST_AMQP is not known to speak TLS")
    tls = replace(config, tls=True, hosts=(("localhost", rabbitmq.tls_port),))
    queue = AmqpQueue(tls)
    queue.start(lambda _: None)
    eventually(lambda: "certificate verify failed" in str(queue.problem()))
    queue.close()
    opened = open_with(replace(tls, ca_file=certificates.server.crt))
    opened.queue.put(Call(b"x" * 200_000))
    assert opened.take().call.payload == b"x" * 200_000


def test_a_file_of_certificates_that_went_wrong_is_a_reason_and_no_crash(
    certificates: Certificates, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "ca.pem"
    file.write_text("no certificate\n")
    hosts = (("localhost", CLOSED_PORT),)
    queue = AmqpQueue(AmqpConfig(hosts, tls=True, ca_file=file))
    failures: list[MspcError] = []
    queue.start(failures.append)
    eventually(lambda: "QUEUE_CA_FILE must name a file" in str(queue.problem()))
    file.write_bytes(certificates.server.crt.read_bytes())
    eventually(lambda: "QUEUE_CA_FILE" not in str(queue.problem()))
    queue.close()
    assert not failures
    assert not any(record.exc_info for record in caplog.records)


def odd(name: str) -> bytes:
    """A message to a queue, as no library writes it: frames for channel 1."""
    when = datetime(2026, 1, 1, tzinfo=UTC)
    properties = commands.Basic.Properties(correlation_id="c" * 16, timestamp=when)
    frames: list[frame.FrameTypes] = [
        commands.Basic.Publish(exchange="", routing_key=name),
        header.ContentHeader(body_size=4, properties=properties),
        body.ContentBody(b"call"),
    ]
    told = b"".join(frame.marshal(one, 1) for one in frames)
    seconds = round(when.timestamp())
    micro = (seconds * 1_000_000).to_bytes(8)
    return told.replace(b"c" * 16, b"\xff" * 16).replace(seconds.to_bytes(8), micro)


def test_properties_that_cannot_be_read_are_in_nobodys_way(
    config: AmqpConfig, opened: Opened, rabbitmq: Broker
) -> None:
    """amqpstorm waits for the rest of what it cannot read, for ever."""
    with rabbitmq.connect() as connection, connection.channel() as channel:
        assert channel.channel_id == 1
        connection._io.write_to_socket(odd(config.name))
        channel.basic.publish(b"next", config.name)
    payloads = set()
    for _ in range(2):
        delivery = opened.take()
        payloads.add(delivery.call.payload)
        delivery.retry(delivery.call.next_attempt("no"), 0.1)
    assert payloads == {b"call", b"next"}
    again = [opened.take() for _ in range(2)]
    assert {one.call.attempts for one in again} == {1}
    for one in again:
        one.ack()


def test_a_routing_key_that_cannot_be_read_is_in_nobodys_way(
    config: AmqpConfig, opened: Opened, rabbitmq: Broker
) -> None:
    with rabbitmq.connect() as connection, connection.channel() as channel:
        channel.queue.bind(config.name, "amq.fanout")
        told = odd("k" * 20).replace(b"\x00" + b"\x14" + b"k" * 20, ANYWHERE)
        connection._io.write_to_socket(told)
        channel.basic.publish(b"next", config.name)
        channel.queue.unbind(config.name, "amq.fanout")
    payloads = {opened.take().call.payload for _ in range(2)}
    assert payloads == {b"call", b"next"}


def test_headers_in_headers_in_headers_are_in_nobodys_way(
    config: AmqpConfig, opened: Opened, rabbitmq: Broker
) -> None:
    """Deeper than Python calls functions."""
    properties = commands.Basic.Properties(headers={"n": "n" * 9999})
    told = header.ContentHeader(body_size=4, properties=properties)
    nested = b""
    while len(nested) < 9_000:
        nested = b"\x01nF" + len(nested).to_bytes(4) + nested
    payload = told.marshal()
    flat = payload[payload.index(b"\x01nS") - 4 :]
    payload = payload.replace(flat, len(nested).to_bytes(4) + nested)
    frames: list[frame.FrameTypes] = [
        commands.Basic.Publish(exchange="", routing_key=config.name),
        body.ContentBody(b"call"),
    ]
    publish, content = (frame.marshal(one, 1) for one in frames)
    head = b"\x02\x00\x01" + len(payload).to_bytes(4) + payload + b"\xce"
    with rabbitmq.connect() as connection, connection.channel() as channel:
        connection._io.write_to_socket(publish + head + content)
        channel.basic.publish(b"next", config.name)
    payloads = set()
    for _ in range(2):
        delivery = opened.take()
        payloads.add(delivery.call.payload)
        delivery.ack()
    assert payloads == {b"call", b"next"}


def test_other_producers_may_publish_anything(
    rabbitmq: Broker, opened: Opened, config: AmqpConfig
) -> None:
    hostile = {
        "message_id": "two\r\nlines",
        "headers": {
            "x-mspc-attempts": "many",
            "x-mspc-due-ms": -5,
            "x-mspc-accepted-ms": {"not": "a number"},
            "x-mspc-error": 7,
            "x-death": [{"count": 3}],
        },
    }
    with rabbitmq.connect() as connection, connection.channel() as channel:
        channel.basic.publish(b"\xff plain", config.name)
        channel.basic.publish(b"", config.name)
        channel.basic.publish(b"hostile", config.name, properties=hostile)
    calls = {}
    for _ in range(3):
        delivery = opened.take()
        calls[delivery.call.payload] = delivery.call
        delivery.ack()
    assert set(calls) == {b"\xff plain", b"", b"hostile"}
    assert calls[b"hostile"].attempts == 0
    assert calls[b"hostile"].id.isalnum()


@pytest.mark.parametrize("name", ["attempts", "accepted-ms", "revived-ms", "due-ms"])
def test_a_number_that_could_not_be_written_down_again_is_none(
    rabbitmq: Broker, opened: Opened, config: AmqpConfig, name: str
) -> None:
    """One more is beyond the largest integer of AMQP: it would fail for ever."""
    with rabbitmq.connect() as connection, connection.channel() as channel:
        headers = {f"x-mspc-{name}": (1 << 63) - 1}
        channel.basic.publish(b"x", config.name, properties={"headers": headers})
    delivery = opened.take()
    delivery.retry(delivery.call.next_attempt("no"), 0)
    delivery = opened.take()
    assert delivery.call.attempts == 1
    delivery.bury(delivery.call.next_attempt("no"), "no")
    message = rabbitmq.take(f"{config.name}.dead")
    assert message is not None
    assert message.body == "x"


def test_a_late_head_of_a_retry_queue_is_given_back(
    rabbitmq: Broker, opened: Opened, config: AmqpConfig
) -> None:
    """Held unacknowledged for hours, it would make RabbitMQ close the channel."""
    opened.queue.put(Call(b"much later"))
    delivery = opened.take()
    delivery.retry(delivery.call.next_attempt("no"), 3600)
    with rabbitmq.connect() as connection, connection.channel() as channel:

        def ready() -> int:
            queue = channel.queue.declare(f"{config.name}.retry.11", passive=True)
            return int(queue["message_count"])  # those not lent out

        eventually(lambda: ready() == 1)
    opened.expect_nothing()


class TestPipelinedChannel:
    """What of amqpstorm we rely on, and what we replace."""

    @pytest.fixture
    def connection(self, rabbitmq: Broker) -> Iterator[Connection]:
        with rabbitmq.connect() as connection:
            yield connection

    @pytest.fixture
    def channel(self, connection: Connection) -> Iterator[PipelinedChannel]:
        channel = channel_on(connection)
        channel.select_confirms()
        yield channel
        channel.lose("the test is over")

    @pytest.fixture
    def queue(self, connection: Connection) -> Iterator[str]:
        name = unique_name()
        with connection.channel() as channel:
            channel.queue.declare(name)
            yield name
            channel.queue.delete(name)

    def test_a_return_fails_the_message_it_belongs_to_only(
        self, channel: PipelinedChannel, queue: str
    ) -> None:
        def publish(number: int) -> str:
            nowhere = number % 3 == 0
            properties = commands.Basic.Properties(message_id=str(number))
            try:
                channel.publish("nowhere" if nowhere else queue, properties, b"x" * 200)
            except Unroutable:
                return "returned" if nowhere else "wrong"
            return "wrong" if nowhere else "stored"

        outcomes = Pool(60).map(publish, range(300))
        assert outcomes.count("returned") == 100
        assert outcomes.count("stored") == 200

    def test_a_publish_that_gave_up_does_not_spoil_the_next(
        self, channel: PipelinedChannel, queue: str
    ) -> None:
        """amqpstorm's own way would credit the late confirm to the next message."""
        lost = gevent.spawn(channel.publish, queue, _named("first"), b"x")
        gevent.sleep(0)  # it has sent and waits
        assert channel.confirms.oldest() > 0
        channel.confirms.give_up("gave up")
        with pytest.raises(QueueUnavailable, match="gave up"):
            lost.get(timeout=5)
        with pytest.raises(Unroutable):
            channel.publish("nowhere", _named("second"), b"x")

    def test_what_waits_fails_when_the_channel_is_closed(
        self, channel: PipelinedChannel, queue: str
    ) -> None:
        channel.consume(queue, queue)
        channel.consume("nowhere", "nowhere")
        assert channel.lost.wait(timeout=5)
        assert "NOT_FOUND" in channel.reason
        with pytest.raises(QueueUnavailable, match="NOT_FOUND"):
            channel.publish(queue, _named("late"), b"x")

    def test_a_writer_that_fails_loses_the_channel(
        self, channel: PipelinedChannel, queue: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(data: bytes) -> None:
            raise RuntimeError("a bug")

        monkeypatch.setattr(channel.connection._io, "write_to_socket", fail)
        with pytest.raises(QueueUnavailable, match="a bug"):
            channel.publish(queue, _named("unwritten"), b"x")
        monkeypatch.undo()  # the connection itself is closed in good order
        assert channel.lost.is_set()

    def test_what_cannot_be_encoded_fails_its_sender_only(
        self, channel: PipelinedChannel, queue: str
    ) -> None:
        with pytest.raises(TypeError, match="255"):
            channel.publish(queue, _named("x" * 300), b"x")
        channel.publish(queue, _named("fine"), b"x")


def _named(message_id: str) -> commands.Basic.Properties:
    return commands.Basic.Properties(message_id=message_id)


def test_it_tells_how_long_confirms_take(config: AmqpConfig) -> None:
    told = Told()
    opened = Opened(AmqpQueue(config, watch=told))
    opened.queue.put(Call(b"one"))
    assert len(told.times["confirm"]) == 1
    delivery = opened.take()
    delivery.retry(delivery.call, 0.1)
    delivery = opened.take()
    delivery.bury(delivery.call, "reason")
    opened.close()
    assert len(told.times["confirm"]) >= 3
    assert all(0 < seconds < 30 for seconds in told.times["confirm"])
    assert not told.failures


def test_it_tells_what_was_not_stored(config: AmqpConfig) -> None:
    told = Told()
    opened = Opened(AmqpQueue(config, watch=told))
    opened.close()
    with pytest.raises(QueueUnavailable):
        opened.queue.put(Call(b"one"))
    with pytest.raises(QueueUnavailable):
        opened.queue.put(Call(b"one"), delay=5.0)
    assert told.failures == {"put": 1, "retry": 1}
