"""For how long a service wants to be left alone, as services write it."""

import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mspc.forwarding.retry_after import seconds_from_now


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0), ("120", 120), (" 7 ", 7), ("0010", 10), ("9" * 40, 10**15 - 1)],
)
def test_seconds(text: str, seconds: float) -> None:
    assert seconds_from_now(text) == seconds


@pytest.mark.parametrize("zone", ["GMT", "+0000", "-0000", "EST"])
def test_a_date(zone: str) -> None:
    due = datetime.now(UTC) + timedelta(hours=6)
    text = format_datetime(due.replace(microsecond=0), usegmt=True)
    hours = 11 if zone == "EST" else 6
    found = seconds_from_now(text.replace("GMT", zone))
    assert found == pytest.approx(hours * 3600, abs=2)


def test_the_other_forms_of_a_date() -> None:
    """RFC 9110 5.6.7 has a recipient take them, too."""
    due = time.gmtime(time.time() + 100)
    for form in ("%A, %d-%b-%y %H:%M:%S GMT", "%a %b %d %H:%M:%S %Y"):
        assert seconds_from_now(time.strftime(form, due)) == pytest.approx(100, abs=2)


@pytest.mark.parametrize(
    "text",
    [
        *("", "soon", "-5", "1.5", "1e3", "٣", "5 s", "Mon, 99 Foo 2030 00:00:00 GMT"),
        "Wed, 21 Oct 2015 07:28:00 GMT",  # over
        "Wed, 21 Oct 99999 07:28:00 GMT",
    ],
)
def test_what_nobody_understands_is_nothing(text: str) -> None:
    assert seconds_from_now(text) == 0.0


@given(st.text(max_size=60))
def test_whatever_comes_is_a_number(text: str) -> None:
    assert seconds_from_now(text) >= 0.0
