"""A call as a line for a shell: what the shell and curl make of it is what was sent."""

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from mspc.admin.curl import curl_line
from mspc.calls.masks import is_secret, masked_headers, masked_url
from tests.support.door import ONE, READ, Door
from tests.support.operators import CALL_ID, SEEN


def words(line: str) -> list[str]:
    return shlex.split(line)


@pytest.mark.parametrize(
    "name",
    [
        *("Authorization", "Proxy-Authorization", "Cookie", "Set-Cookie", "X-Api-Key"),
        *("X-Auth", "api_key", "x-token", "client_secret", "PASSWORD", "X-Signature"),
        *("passwd", "AccessToken", "X-Amz-Credential", "apikey", "sig", "db_pwd"),
    ],
)
def test_secrets(name: str) -> None:
    assert is_secret(name)
    assert masked_headers([(name, "s3cr3t")]) == ((name, "***"),)
    assert masked_url(f"http://a/?{name}=s3cr3t&b=1") == f"http://a/?{name}=***&b=1"


@pytest.mark.parametrize("name", ["Content-Type", "Idempotency-Key", "Accept", "Sign"])
def test_no_secrets(name: str) -> None:
    assert not is_secret(name)


@pytest.mark.parametrize(
    ("url", "masked"),
    [
        ("http://a/token=1", "http://a/token=1"),
        ("http://a/?x=1;token=2&to%6ben=3", "http://a/?x=1;token=***&to%6ben=***"),
        ("http://a/?token=", "http://a/?token=***"),
        ("http://a/?token", "http://a/?token"),
        ("http://a/?a=b?token=c&token==d", "http://a/?a=b?token=***&token=***"),
        ("http://a/?token=b;c?d=e&f=g#h", "http://a/?token=***&f=g#h"),
        ("http://a/?next=https://b/c?token=d", "http://a/?next=https://b/c?token=***"),
        ("http://a/?a=b#token=c", "http://a/?a=b#token=c"),
    ],
)
def test_a_url(url: str, masked: str) -> None:
    assert masked_url(url) == masked


def test_a_long_url_is_masked_in_one_pass() -> None:
    """Another producer's may be as long as a payload; all others wait meanwhile."""
    url = "http://a/?" + "key=1&" * 400_000
    assert masked_url(url).count("***") == 400_000


def test_the_line() -> None:
    assert words(curl_line(SEEN, SEEN.body, reveal=False)) == [
        *("curl", "--globoff", "--path-as-is", "-X", "POST"),
        *("-H", "X-Auth: ***", "-H", "Cookie: ***"),
        *("-H", "Content-Type: application/json"),
        *("-H", f"Idempotency-Key: {CALL_ID}", "-H", "Accept:"),
        *("--data-raw", '{"a": 1}\n'),
        "https://service.test/orders?token=***&x=1",
    ]


def test_the_line_with_its_secrets() -> None:
    line = curl_line(SEEN, SEEN.body, reveal=True)
    assert "***" not in line
    assert all(secret in line for secret in ("s3cr3t-a", "s3cr3t-b", "s3cr3t-c"))


def test_what_curl_would_take_for_something_else() -> None:
    headers = (("X-Empty", ""), ("Idempotency-Key", "mine"), ("Accept", "*/*"))
    seen = replace(SEEN, headers=headers, body_bytes=12)
    assert words(curl_line(seen, b"@/etc/passwd", reveal=True)) == [
        *("curl", "--globoff", "--path-as-is", "-X", "POST"),
        *("-H", "X-Empty;", "-H", "Idempotency-Key: mine", "-H", "Accept: */*"),
        *("-H", "Content-Type:", "--data-raw", "@/etc/passwd", SEEN.url),
    ]


def test_the_body_of_a_head_is_left_out() -> None:
    """curl refuses a line that has both."""
    seen = replace(SEEN, method="HEAD", headers=(), body_bytes=9)
    comment, line = curl_line(seen, b"some body", reveal=True).split("\n", 1)
    assert comment == "# curl sends no body with a HEAD: 9 bytes."
    assert words(line) == [
        *("curl", "--globoff", "--path-as-is", "--head"),
        *("-H", f"Idempotency-Key: {CALL_ID}", "-H", "Accept:", SEEN.url),
    ]


@pytest.mark.parametrize("body", [b"\xff\xfe", b"a\0b"])
def test_bytes_that_no_argument_can_have(body: bytes) -> None:
    seen = replace(SEEN, body_bytes=len(body))
    line = words(curl_line(seen, body, reveal=False))
    assert line[:2] == ["printf", "%s"]
    assert line[3:7] == ["|", "base64", "-d", "|"]
    assert line[-3:-1] == ["--data-binary", "@-"]


def test_a_body_of_which_only_a_part_is_kept() -> None:
    seen = replace(SEEN, body_bytes=5000)
    comment, line = curl_line(seen, b"part", reveal=False).split("\n", 1)
    assert comment == "# Only the first 4 of the 5000 bytes of its body are kept."
    assert line.startswith("curl ")


@given(
    st.text(st.characters(codec="utf-8", exclude_characters="\0")),
    st.text(st.characters(codec="latin-1", exclude_categories=["Cc"]), min_size=1),
)
def test_the_shell_runs_nothing_of_it(body: str, value: str) -> None:
    seen = replace(SEEN, headers=(("X-Any", value),), body_bytes=len(body.encode()))
    line = curl_line(seen, body.encode(), reveal=True)
    found = words(line)
    assert found[0] == "curl"
    assert f"X-Any: {value}" in found
    assert found[-1] == SEEN.url
    assert not body or found[found.index("--data-raw") + 1] == body


class TestRoute:
    def test_masked(self, door: Door) -> None:
        answer = door.ask("GET", f"{ONE}/curl", key=READ)
        assert answer.headers["content-type"] == "text/plain; charset=UTF-8"
        assert answer.body.startswith(b"curl ")
        assert b"s3cr3t" not in answer.body
        assert door.steering.done == []

    def test_revealed(self, door: Door) -> None:
        answer = door.ask("GET", f"{ONE}/curl?reveal=1")
        assert answer.body.count(b"s3cr3t") == 3
        assert door.steering.done == [("revealed", CALL_ID, "admin")]

    def test_revealed_to_nobody_with_the_key_to_read(self, door: Door) -> None:
        answer = door.ask("GET", f"{ONE}/curl?reveal=1", key=READ)
        assert (answer.status, answer.json["code"]) == (403, "read_only")
        assert door.steering.done == []
