"""Who may send calls."""

import base64
import hashlib
import logging
from collections.abc import Callable

import falcon
import pytest
from falcon.testing import create_environ
from hypothesis import given
from hypothesis import strategies as st

from mspc.api.auth import Authorization, why_refused
from mspc.settings.config import AuthConfig

KEY = "yourauthorizationkey"
NOW = 1_482_938_098.0
# The header of the curl example in docs/api.md: this key, this moment.
EXAMPLE = (
    "NTRjMTVhOWVhMzBiNjgwZWUyNjRkMzRjZDk2ODhmN2RjOWQ1ZTkzM2VhMmNiYjRiODFjOGI1ZDNkMTk1"
    "NDUzMzoxNDgyOTM4MDk4"
)
EVER = AuthConfig(key=KEY)
FIVE_MINUTES = AuthConfig(key=KEY, max_age_seconds=300)


def encode_bytes(content: bytes) -> str:
    return base64.b64encode(content).decode()


def encode(text: str) -> str:
    return encode_bytes(text.encode())


def header(timestamp: str, key: str = KEY) -> str:
    """What a client with `key` sends."""
    digest = hashlib.sha256(f"{timestamp}:{key}".encode()).hexdigest()
    return encode(f"{digest}:{timestamp}")


def is_authorized(value: str | None, config: AuthConfig, now: float) -> bool:
    return why_refused(value, config, now) is None


def test_the_example_of_the_documentation() -> None:
    assert header("1482938098") == EXAMPLE
    assert is_authorized(EXAMPLE, EVER, NOW)


def test_a_timestamp_is_good_for_ever_without_a_maximum_age() -> None:
    assert is_authorized(EXAMPLE, EVER, NOW + 1e9)


def test_any_text_will_do_as_timestamp_without_a_maximum_age() -> None:
    assert is_authorized(header("today"), EVER, NOW)


def test_a_key_need_not_be_ascii() -> None:
    assert is_authorized(header("1", "klíč"), AuthConfig(key="klíč"), NOW)


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        header("1482938098", "another key"),
        EXAMPLE[:-4],
        EXAMPLE + "AAAA",
        EXAMPLE[:-1],
        EXAMPLE + "=",
        EXAMPLE + "====",
        f" {EXAMPLE}",
        "not base64!",
        "Bearer something",
        "é" * 104,
        "\udcff" * 104,
        encode("é:1482938098"),
        encode("no colon"),
        encode(hashlib.sha256(f":{KEY}".encode()).hexdigest()),
        encode(":"),
        encode(":1482938098"),
        encode(EXAMPLE),
        header("1" * 1_000),
        "A" * 1_000_000,
    ],
    ids=[
        "missing",
        "empty",
        "wrong key",
        "a shorter timestamp",
        "more at the end",
        "wrong padding",
        "padding where none belongs",
        "a quad of padding",
        "leading space",
        "not base64",
        "another scheme",
        "not ASCII",
        "undecodable bytes",
        "not ASCII inside",
        "no colon",
        "a digest without a colon",
        "a colon alone",
        "no digest",
        "encoded twice",
        "too long a timestamp",
        "a megabyte",
    ],
)
def test_everything_else_is_refused(value: str | None) -> None:
    assert not is_authorized(value, EVER, NOW)


@pytest.mark.parametrize("age", [-300, -1, 0, 1, 300])
def test_a_timestamp_within_the_maximum_age(age: int) -> None:
    assert is_authorized(header(str(int(NOW) - age)), FIVE_MINUTES, NOW)


@pytest.mark.parametrize("age", [-1_000_000_000, -301, 301, 1_000_000_000])
def test_a_timestamp_too_old_or_too_far_ahead(age: int) -> None:
    assert not is_authorized(header(str(int(NOW) - age)), FIVE_MINUTES, NOW)


@pytest.mark.parametrize(
    "timestamp",
    ["", "today", "-1", f"{NOW:.0f}.5", f" {NOW:.0f}", f"+{NOW:.0f}", "9" * 300, "²"],
)
def test_a_maximum_age_needs_a_number_of_seconds(timestamp: str) -> None:
    assert not is_authorized(header(timestamp), FIVE_MINUTES, NOW)


@given(st.text() | st.text().map(encode) | st.binary().map(encode_bytes))
def test_no_text_is_authorized_by_chance(value: str) -> None:
    assert not is_authorized(value, EVER, NOW)


@given(st.text(max_size=300))
def test_no_timestamp_breaks_the_maximum_age(timestamp: str) -> None:
    near = timestamp.isdecimal() and abs(int(timestamp) - NOW) <= 300
    assert near or not is_authorized(header(timestamp), FIVE_MINUTES, NOW)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "the header is missing"),
        ("", "the header is empty"),
        (header("1", "another key"), "made with another key, or for another timestamp"),
        (EXAMPLE[:-4], "made with another key, or for another timestamp"),
        (f"{EXAMPLE},{EXAMPLE}", "malformed: given twice"),
        ("Bearer something", "malformed: not base64(hex(sha256("),
        (f"{EXAMPLE}=", "malformed: not base64(hex(sha256("),
        (
            encode_bytes(hashlib.sha256(b"1:key").digest() + b":1"),
            "malformed: not base",
        ),
        ("A" * 600, "malformed: longer than 512 characters"),
        (encode("no colon"), "malformed: no 64 hex digits in lower case and a colon"),
        (
            encode(hashlib.sha256(f"1:{KEY}".encode()).hexdigest().upper() + ":1"),
            "malformed: no 64 hex digits in lower case and a colon",
        ),
        (header("today"), "the timestamp is no number of Unix seconds"),
        (header(str(int(NOW) - 307)), "the timestamp is 7 s too old"),
        (header(str(int(NOW) + 302)), "the timestamp is 2 s too far ahead"),
        (header(f"{NOW * 1000:.0f}"), "s too far ahead, as if in milliseconds"),
        # Who does not have the key learns nothing of our clock.
        (header("1", "another key"), "made with another key"),
    ],
)
def test_the_reason_is_for_the_log(value: str | None, reason: str) -> None:
    found = why_refused(value, FIVE_MINUTES, NOW)
    assert found is not None
    assert reason in found
    assert not value or value not in found
    assert KEY not in found


class Protected:
    protected = True


class Open:
    """A resource that says nothing about protection."""


Ask = Callable[..., None]


class TestMiddleware:
    """Authorization as Falcon calls it."""

    now = NOW

    @pytest.fixture
    def ask(self) -> Ask:
        middleware = Authorization(EVER, clock=lambda: self.now)
        return lambda *arguments: ask(middleware, *arguments)

    def test_lets_an_authorized_call_pass(self, ask: Ask) -> None:
        ask({"X-Authorization": EXAMPLE})

    def test_refuses_every_other_call(self, ask: Ask) -> None:
        with pytest.raises(falcon.HTTPUnauthorized):
            ask({})

    def test_leaves_other_resources_open(self, ask: Ask) -> None:
        ask({}, Open())

    def test_is_off_without_a_key(self) -> None:
        ask(Authorization(AuthConfig(key="")), {})

    def test_reads_the_header_that_is_configured(self) -> None:
        middleware = Authorization(AuthConfig("X-Key", KEY), clock=lambda: NOW)
        ask(middleware, {"X-Key": EXAMPLE})
        with pytest.raises(falcon.HTTPUnauthorized):
            ask(middleware, {"X-Authorization": EXAMPLE})

    def test_logs_at_most_once_a_second(
        self, ask: Ask, caplog: pytest.LogCaptureFixture
    ) -> None:
        for self.now in (NOW, NOW + 0.1, NOW + 0.9, NOW + 1.0, NOW + 1.1):
            with pytest.raises(falcon.HTTPUnauthorized):
                ask({"X-Authorization": "wrong"})
        assert [(one.levelno, one.getMessage()) for one in caplog.records] == [
            (
                logging.WARNING,
                f"{count} calls refused as unauthorized, the last from 127.0.0.1: "
                "X-Authorization: malformed: not "
                "base64(hex(sha256(timestamp:key)):timestamp)",
            )
            for count in (1, 3)
        ]

    def test_a_clock_set_back_does_not_silence_the_log(
        self, ask: Ask, caplog: pytest.LogCaptureFixture
    ) -> None:
        for self.now in (NOW, NOW - 3_600):
            with pytest.raises(falcon.HTTPUnauthorized):
                ask({})
        assert len(caplog.records) == 2


def ask(
    middleware: Authorization,
    headers: dict[str, str],
    resource: object = Protected(),
) -> None:
    request = falcon.Request(create_environ(method="POST", headers=headers))
    middleware.process_resource(request, falcon.Response(), resource, {})
