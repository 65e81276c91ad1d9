"""What rows of the journal take for a false statement."""

import pytest

from tests.faults.checker import Sent
from tests.faults.rows.journal import CUT_OFF, lie

# Accepted at 10.1.
SENT = Sent("a", "ok", 202, 10.0, 0.1)


@pytest.mark.parametrize(
    ("state", "delivered", "kills"),
    [
        ("succeeded", 11.0, []),
        ("queued", None, [12.0]),
        (CUT_OFF, 11.5, [12.0]),  # the kill came before it was written down
        (CUT_OFF, None, [12.0]),
        ("in_flight", 19.5, []),  # it is written down now
        (None, None, [10.5]),
    ],
)
def test_what_may_be_said(
    state: str | None, delivered: float | None, kills: list[float]
) -> None:
    assert lie(state, SENT, delivered, kills, asked=20.0) is None


@pytest.mark.parametrize(
    ("state", "delivered", "kills"),
    [
        ("succeeded", None, [12.0]),
        ("dead", None, [12.0]),
        ("no answer but 503", None, []),
        ("waiting", 10.5, [12.0]),
        ("waiting", 11.5, [12.0]),  # the queue knows, and was asked after the kill
        (CUT_OFF, 10.5, [12.0]),
        ("queued", 13.0, [12.0]),
        (None, None, [12.0]),
        (None, 11.0, []),
    ],
)
def test_what_is_false(
    state: str | None, delivered: float | None, kills: list[float]
) -> None:
    assert lie(state, SENT, delivered, kills, asked=20.0) is not None
