"""Which calls that were cancelled are let go when they come."""

from typing import Any, cast

import pytest

from mspc.calls.call import Call
from mspc.queues.amqp.withdrawn import Withdrawn

BEFORE, THEN, AFTER = 100.0, 200.0, 300.0


class Lent:
    def __init__(self, call: Call) -> None:
        self.call = call
        self.acked = False

    def ack(self) -> None:
        self.acked = True


@pytest.mark.parametrize(
    ("call", "gone"),
    [
        (Call(b"", "x", BEFORE), True),
        (Call(b"", "x", BEFORE, waited=True), True),
        # Of another producer: it was accepted when it was read.
        (Call(b"", "x", AFTER), True),
        (Call(b"", "x", AFTER + 60, waited=True, revived_at=AFTER), False),
        (Call(b"", "x", THEN + 60, waited=True, revived_at=BEFORE), True),
        # Older versions do not say when they revived one.
        (Call(b"", "x", AFTER, waited=True), False),
        (Call(b"", "y", BEFORE), False),
    ],
)
def test_one_that_was_not_revived_since(call: Call, gone: bool) -> None:
    withdrawn = Withdrawn()
    withdrawn.add({"x": THEN})
    withdrawn.add({"x": BEFORE})  # told again, late
    lent = Lent(call)
    assert withdrawn.let_go(cast(Any, lent)) is gone
    assert lent.acked is gone


def test_the_oldest_are_forgotten() -> None:
    withdrawn = Withdrawn(2)
    withdrawn.add({"1": THEN, "2": THEN, "3": THEN})
    withdrawn.add({"2": AFTER, "4": AFTER})
    calls = [Lent(Call(b"", one, BEFORE)) for one in "1234"]
    assert [withdrawn.let_go(cast(Any, one)) for one in calls] == [
        *(False, True, False, True)
    ]
