"""What RabbitMQ tells of a bucket is taken for that bucket only."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
from amqpstorm.exception import AMQPChannelError

from mspc.lanes.breaker import Breaker
from mspc.lanes.lane import Lane
from mspc.lanes.lanes import Lanes
from mspc.queues.amqp.consuming import Consuming
from mspc.queues.amqp.delivery import AmqpDelivery
from mspc.queues.amqp.stock import Stock

NAMES = ["aside.0", "aside.1"]


class Queue:
    """A consumed one."""

    consumers = ("tag",)
    full = paused = False


class Broker:
    """As much of a session as a stock asks: how much is in a queue.

    Attributes:
        answer: to the next question; raised if it is an exception.
    """

    def __init__(self) -> None:
        self.answer: Any = None
        self.channel = SimpleNamespace(queue=self)

    def source(self, name: str) -> Any:
        return Queue()

    def declare(self, name: str, *, passive: bool) -> Any:
        assert passive
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def broker() -> Broker:
    return Broker()


@pytest.fixture
def stock(broker: Broker) -> Stock:
    lanes = SimpleNamespace(forget=lambda survives: None)
    made = Stock(lambda *_: None, cast(Lanes, lanes), NAMES, lambda one: False)
    made.use(cast(Consuming, broker))
    return made


@pytest.mark.parametrize(
    "answer",
    [
        {"queue": "aside.1", "message_count": 7},  # it came too late for its question
        AMQPChannelError("rpc requests took too long"),
        None,
    ],
)
def test_what_is_no_answer_is_asked_for_again(
    broker: Broker, stock: Stock, answer: Any
) -> None:
    bucket, _ = stock.buckets
    broker.answer = answer
    stock.count(bucket)
    assert (bucket.unseen, bucket in stock.to_count) == (0, True)
    broker.answer = {"queue": "aside.0", "message_count": 3}
    stock.count(bucket)
    assert (bucket.unseen, bucket in stock.to_count) == (3, False)


def test_what_is_given_back_is_in_its_bucket_again(stock: Stock) -> None:
    bucket, _ = stock.buckets
    lane = Lane("http://one:80", Breaker(5, 5.0, lambda: 0.5))
    source = stock.source(bucket)
    stock.given_back(cast(AmqpDelivery, SimpleNamespace(lane=lane, source=source)))
    assert stock.buckets.having(lane) == [bucket]
    other = SimpleNamespace(lane=lane, source=Queue())  # of the main queue
    stock.given_back(cast(AmqpDelivery, other))
    assert bucket.counts == {lane: 1}
