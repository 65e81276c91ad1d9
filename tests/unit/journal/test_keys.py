"""The place of a call among all is the same wherever it is worked out."""

import pytest

from mspc.calls.call import new_call_id
from mspc.journal.keys import first_key, key_of, own_key, time_of
from tests.support.happened import NOW, call_id


def test_an_id_of_ours_tells_when_it_was_made() -> None:
    ours = new_call_id()
    assert own_key(ours) == key_of(ours, at=0.0) > 0
    assert time_of(key_of(call_id(1), at=0.0)) == NOW


@pytest.mark.parametrize("other", ["order-17", "f" * 32, "", "7" * 32, "\ud800"])
def test_of_another_id_it_counts_when_it_was_accepted(other: str) -> None:
    assert own_key(other) is None
    assert time_of(key_of(other, NOW + 0.25)) == NOW + 0.25


@pytest.mark.parametrize("at", [-1.0, 1e30])
def test_a_time_that_is_none_gives_a_key_that_sqlite_can_store(at: float) -> None:
    assert 0 <= key_of("order-17", at) < 1 << 63


def test_later_calls_come_later() -> None:
    keys = [key_of(call_id(number, NOW + number), NOW) for number in range(9)]
    assert keys == sorted(keys)
    assert first_key(NOW + 3) <= keys[3] < first_key(NOW + 3.001)
