"""The properties that say when, how often and how long a call is made."""

import base64
import json
import time
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mspc.calls.accepted import Accepted
from mspc.calls.call import Call, Request
from mspc.calls.networks import NetworkRules
from mspc.calls.policy import USUAL, YEAR_SECONDS, Backoff, Policy
from mspc.calls.policy_text import READERS
from mspc.calls.requests import Requests
from mspc.calls.validation import parse
from mspc.errors import BadRequest, InvalidProperties

URL = "http://service.test/"
NETWORKS = NetworkRules()
HOUR, DAY = 3600.0, 86_400.0


def payload(**properties: object) -> bytes:
    return json.dumps({"url": URL, **properties}).encode()


def read(**properties: object) -> Request:
    return parse(payload(**properties), NETWORKS)


def policy(**properties: object) -> Policy:
    return read(**properties).policy


def problems(**properties: object) -> tuple[str, ...]:
    with pytest.raises(InvalidProperties) as caught:
        read(**properties)
    return caught.value.problems


def sentence(**properties: object) -> str:
    (one,) = problems(**properties)
    return one


def test_a_call_that_says_nothing_has_the_usual_one() -> None:
    assert policy() is USUAL
    assert policy(**dict.fromkeys(READERS)) == USUAL


class TestDurations:
    @pytest.mark.parametrize(
        ("value", "seconds"),
        [
            *((0, 0.0), (1.5, 1.5), ("500ms", 0.5), ("10s", 10.0), ("5m", 300.0)),
            *(
                ("2h", 2 * HOUR),
                ("7d", 7 * DAY),
                ("1.5h", 1.5 * HOUR),
                ("365d", YEAR_SECONDS),
            ),
            *((YEAR_SECONDS, YEAR_SECONDS), (1e3, 1000.0)),
        ],
    )
    def test_are_seconds_or_have_a_unit(self, value: object, seconds: float) -> None:
        assert policy(delay=value).delay == seconds

    @pytest.mark.parametrize(
        "value",
        [
            *(
                "10",
                "",
                " 10s",
                "10 s",
                "10S",
                "1e3s",
                "-1s",
                "+1s",
                "h",
                "1h30m",
                "1y",
            ),
            *("\u0661s", "10s\n", "1.s", ".5s", True, [], {}, [10]),
        ],
    )
    def test_are_nothing_else(self, value: object) -> None:
        told = sentence(delay=value)
        assert told.startswith("delay must be ")
        assert ", not " in told

    @pytest.mark.parametrize(
        "value", [-1, "366d", 1e300, YEAR_SECONDS + 1, "9" * 12 + "d"]
    )
    def test_have_a_range(self, value: object) -> None:
        assert sentence(delay=value).startswith("delay must be ")

    def test_of_a_million_digits_are_refused_at_once(self) -> None:
        start = time.process_time()
        raw = b'{"url": "http://service.test/", "delay": ' + b"9" * 10**6 + b"}"
        with pytest.raises(InvalidProperties) as caught:
            parse(raw, NETWORKS)
        assert len(str(caught.value)) < 200
        assert time.process_time() - start < 1

    @pytest.mark.parametrize(
        ("name", "low", "high"),
        [("max_age", 1, YEAR_SECONDS), ("timeout", 0.1, 600)],
    )
    def test_of_others_have_others(self, name: str, low: float, high: float) -> None:
        for value in (low, high):
            assert getattr(policy(**{name: value}), name) == value
        for value in (low * 0.99, high * 1.01, 0, -1):
            assert sentence(**{name: value}).startswith(f"{name} must be ")


class TestDates:
    @pytest.mark.parametrize(
        ("text", "seconds"),
        [
            *(("1970-01-02T00:00:00Z", DAY), ("1970-01-02t00:00:00z", DAY)),
            *(("1970-01-02 01:30:00+01:30", DAY), ("1970-01-01T23:00:00-01:00", DAY)),
            *(
                ("1970-01-02T00:00:00.25Z", DAY + 0.25),
                (DAY, DAY),
                (86400.5, DAY + 0.5),
            ),
            ("1970-01-01T23:59:60Z", DAY - 1),
            ("1970-01-02T00:00:00.123456789Z", DAY + 0.123456),
        ],
    )
    def test_are_of_rfc_3339_or_unix_seconds(
        self, text: object, seconds: float
    ) -> None:
        assert policy(not_before=text).not_before == pytest.approx(seconds, abs=1e-6)

    @pytest.mark.parametrize(
        "value",
        [
            *("tomorrow", "", "2030-01-01", "2030-01-01T08:00:00", "20300101T080000Z"),
            *("2030-02-30T08:00:00Z", "2030-01-01T25:00:00Z", "2030-W01-1T08:00:00Z"),
            *("2030-01-01T08:00:00+0100", "2030-01-01T08:00Z", "0000-01-01T00:00:00Z"),
            *("2030-01-01T08:00:00+99:00", True, [], {}, -1),
        ],
    )
    def test_are_nothing_else(self, value: object) -> None:
        told = sentence(not_before=value)
        assert told.startswith("not_before must be ")

    def test_reach_a_year_from_now(self) -> None:
        near = datetime.now(UTC) + timedelta(days=364)
        assert policy(not_before=near.isoformat()).not_before == near.timestamp()
        far = near + timedelta(days=2)
        assert sentence(not_before=far.isoformat()) == (
            "not_before must be within a year from now."
        )

    def test_in_milliseconds_are_told_from_seconds(self) -> None:
        told = sentence(not_before=round(time.time() * 1000))
        assert told.endswith("Unix seconds are meant, not milliseconds.")

    def test_that_are_over_are_allowed(self) -> None:
        assert policy(not_before=0).first_due(5.0) == 0.0


class TestMaxAttempts:
    def test_is_a_whole_number(self) -> None:
        assert policy(max_attempts=1000).max_attempts == 1000
        for value in (0, 1001, -1, 1.5, "3", True, [3], 1e9):
            assert sentence(max_attempts=value).startswith("max_attempts must be a")

    def test_of_one_is_a_single_attempt(self) -> None:
        assert not read(max_attempts=1).requeue
        assert read(max_attempts=2).requeue

    def test_contradicts_requeue(self) -> None:
        told = "requeue is false, which means max_attempts 1: give one of them."
        assert problems(requeue=False, max_attempts=2) == (told,)
        assert not read(requeue=False, max_attempts=1).requeue
        assert not read(requeue=False, max_attempts=1.0).requeue


class TestBackoff:
    @pytest.mark.parametrize(
        ("value", "backoff"),
        [
            ({}, Backoff()),
            ({"initial": "10s"}, Backoff(initial=10.0)),
            (
                {"initial": 1, "factor": 2, "max": "1h", "jitter": 0.1},
                Backoff(1.0, 2.0, HOUR, 0.1),
            ),
            ({"factor": None, "jitter": 0}, Backoff(jitter=0.0)),
            (["10s", 60, "1h"], Backoff(steps=(10.0, 60.0, HOUR))),
            ([1] * 20, Backoff(steps=(1.0,) * 20)),
        ],
    )
    def test_is_an_object_or_a_list(self, value: object, backoff: Backoff) -> None:
        assert policy(backoff=value).backoff == backoff

    @pytest.mark.parametrize(
        ("value", "told"),
        [
            ("10s", "backoff must be an object"),
            (10, "backoff must be an object"),
            ([], "backoff must be 1 to 20 delays, not 0."),
            ([1] * 21, "backoff must be 1 to 20 delays, not 21."),
            ([1, "x"], "backoff[1] must be a number of seconds"),
            ([0], "backoff[0] must be seconds from 0.001"),
            ({"initial": 0}, 'backoff["initial"] must be seconds from 0.001'),
            ({"factor": 0.5}, 'backoff["factor"] must be a number from 1 to 100'),
            ({"factor": "2"}, 'backoff["factor"] must be a number from 1 to 100'),
            ({"jitter": 1.1}, 'backoff["jitter"] must be a number from 0 to 1'),
            ({"0": 1}, 'backoff["0"] is unknown; there are initial, factor,'),
            ({"Max": 1}, 'backoff["Max"] is unknown; there are initial, factor,'),
            ({"initial": 10, "max": 5}, "backoff must not have an initial delay"),
            (
                {f"n{n}": n for n in range(9000)},
                "backoff must be an object with initial, factor, max and jitter, not"
                " one with 9000 members.",
            ),
        ],
    )
    def test_is_nothing_else(self, value: object, told: str) -> None:
        assert sentence(backoff=value).startswith(told)

    def test_has_all_its_mistakes_told(self) -> None:
        assert len(problems(backoff={"initial": "x", "factor": 0, "jitter": 2})) == 3


class TestPermanent:
    def test_is_a_list_of_statuses_and_classes(self) -> None:
        found = policy(permanent=[400, "410", "5xx", "3XX"]).permanent
        assert found == frozenset(("400", "410", "5xx", "3xx"))
        assert policy(permanent=[]).permanent == frozenset()

    @pytest.mark.parametrize(
        "value",
        [[200], ["2xx"], [99], [600], ["4x"], [True], [None], [[]], "4xx", 400, {}],
    )
    def test_is_nothing_else(self, value: object) -> None:
        assert sentence(permanent=value).startswith("permanent must ")

    def test_are_not_too_many(self) -> None:
        assert policy(permanent=[400] * 100).permanent == frozenset(("400",))
        told = 'permanent must be a list of at most 100 statuses, such as [410, "4xx"]'
        assert sentence(permanent=[400] * 101) == f"{told}, not 101."
        assert sentence(permanent="4xx") == f'{told}, not "4xx".'


class TestLabels:
    def test_are_words(self) -> None:
        labels = ["order-4711", "shop/eu", "a.b:c_d", "x" * 64]
        assert policy(labels=labels).labels == tuple(labels)
        assert policy(labels=["a", "b"]).shown_labels == " [a, b]"

    @pytest.mark.parametrize(
        "value", [["x" * 65], [""], ["a b"], ["ä"], ["a\n"], [1], "a", {}, ["a"] * 11]
    )
    def test_are_nothing_else(self, value: object) -> None:
        assert sentence(labels=value).startswith("labels must be ")

    def test_are_not_too_many(self) -> None:
        told = "labels must be a list of at most 10"
        assert sentence(labels=["a"] * 11) == f"{told}, not 11."
        assert sentence(labels={}) == f"{told}, not an object."


class TestContradictions:
    def test_are_told_together_with_everything_else(self) -> None:
        told = problems(
            delay=1, not_before=5, body="{}", body_base64="e30=", timeout="x", labels=1
        )
        assert [one.split(" ", 1)[0] for one in told] == [
            *("delay", "body", "timeout", "labels"),
        ]

    def test_null_contradicts_nothing(self) -> None:
        assert policy(delay=1, not_before=None).delay == 1.0
        assert read(body=None, body_base64="e30=").body == b"{}"


class TestBodies:
    @pytest.mark.parametrize(
        ("media_type", "text"),
        [
            ("application/x-www-form-urlencoded", "name=J%C3%B6rg&a=1"),
            ("text/plain; charset=utf-8", "grün, not JSON"),
            ("application/json", "{broken"),
            ("application/xml", '<!DOCTYPE a SYSTEM "x"><a/>'),
            ("", "anything"),
        ],
    )
    @pytest.mark.parametrize("name", ["Content-Type", "content-type", "CONTENT-TYPE"])
    def test_of_a_type_that_is_named_are_sent_as_they_are(
        self, name: str, media_type: str, text: str
    ) -> None:
        found = read(headers={name: media_type}, body=text)
        assert found.body == text.encode()
        assert found.headers == ((name, media_type),)

    def test_of_no_type_are_json_or_xml(self) -> None:
        assert sentence(body="name=1").startswith("body must be JSON or XML")
        assert read(body="{}").headers == (
            ("Content-Type", "application/json; charset=UTF-8"),
        )

    def test_that_cannot_be_written_are_refused_of_any_type(self) -> None:
        told = sentence(headers={"Content-Type": "text/plain"}, body="\ud800")
        assert told.startswith("body has half a surrogate pair")

    @given(st.binary(max_size=200))
    def test_in_base64_are_sent_byte_for_byte(self, content: bytes) -> None:
        found = read(body_base64=base64.b64encode(content).decode())
        assert (found.body, found.headers) == (content, ())

    @pytest.mark.parametrize(
        "text",
        ["a", "ab=", "ab==c", "a-_=", "YQ==\n", " YQ==", "YQ", "ä===", "====", "Y=Q="],
    )
    def test_in_what_is_no_base64_are_refused(self, text: str) -> None:
        assert sentence(body_base64=text).startswith("body_base64 must be base64")

    @pytest.mark.parametrize("value", [1, True, [], {}])
    def test_in_base64_are_a_string(self, value: object) -> None:
        told = sentence(body_base64=value)
        assert told.startswith("body_base64 must be a string (base64), not")


class TestOfOtherProducers:
    """What breaks a rule is as the settings say; the call is made in any case."""

    def take(self, **properties: object) -> Request:
        requests = Requests(NETWORKS, Accepted())
        return requests.take(Call(payload(**properties)))

    def test_is_what_can_be_understood(self) -> None:
        found = self.take(delay="10s", max_attempts="many", unknown=1, permanent=[410])
        assert found.policy == Policy(delay=10.0, permanent=frozenset(("410",)))

    def test_may_be_a_date_that_is_far_away(self) -> None:
        assert self.take(not_before=9e9).policy == Policy(not_before=9e9)

    def test_is_nothing_when_nothing_can_be_understood(self) -> None:
        found = self.take(delay="soon", backoff=[], labels=[{}], timeout=None)
        assert found.policy == USUAL

    def test_has_bytes_in_base64(self) -> None:
        found = self.take(body_base64="AAE=", unknown=1)
        assert found.body == b"\x00\x01"

    def test_is_refused_when_nobody_knows_its_bytes(self) -> None:
        with pytest.raises(BadRequest, match="body_base64 must be base64"):
            self.take(body_base64="?")


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from([*READERS, "body_base64", "body"]), JSON))
def test_whatever_is_given_is_taken_or_refused_with_sentences(
    properties: dict[str, object],
) -> None:
    raw = payload(**properties)
    told = "."
    try:
        parse(raw, NETWORKS)
    except BadRequest as exc:
        told = str(exc)
    assert told.endswith((".", "?"))
    Requests(NETWORKS, Accepted()).lane_of(Call(raw))  # does not raise
