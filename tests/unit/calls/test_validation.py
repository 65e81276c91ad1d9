"""Validation: what is sent for a payload, and what is said about every mistake."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mspc.calls.call import Request
from mspc.calls.networks import NetworkRules, parse_network
from mspc.calls.url import MAX_URL_BYTES
from mspc.calls.validation import MAX_PROBLEMS, PROPERTIES, parse
from mspc.errors import InvalidProperties, NotAnObject

NETWORKS = NetworkRules()
URL = "http://service.tld/path"


def request(url: Any = URL, **properties: Any) -> Request:
    return parse(json.dumps({"url": url, **properties}).encode(), NETWORKS)


def problems(**properties: Any) -> tuple[str, ...]:
    with pytest.raises(InvalidProperties) as caught:
        parse(json.dumps(properties).encode(), NETWORKS)
    return caught.value.problems


def problem(**properties: Any) -> str:
    (only,) = problems(**{"url": URL, **properties})
    return only


# The payload


def test_the_original_example() -> None:
    assert request(
        "https://api.myservicedomain.tld/notification",
        method="POST",
        headers={"X-Auth": "MyAuthKey", "Content-Type": "application/json"},
        body='{"receiver": "john.doe@domain.tld"}',
    ) == Request(
        scheme="https",
        host="api.myservicedomain.tld",
        port=443,
        target="/notification",
        method="POST",
        headers=(("X-Auth", "MyAuthKey"), ("Content-Type", "application/json")),
        body=b'{"receiver": "john.doe@domain.tld"}',
        requeue=True,
    )


def test_a_url_is_enough_and_null_is_the_default() -> None:
    plain = Request("http", "service.tld", 80, "/path")

    assert request() == plain
    assert request(method=None, headers=None, body=None, requeue=None) == plain


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b"", "The body is empty; it must be a JSON object."),
        (b" \n", "The body is empty; it must be a JSON object."),
        (b'{"url": }', "Expecting value at line 1, column 9."),
        (b'{"url":\n"a" "b"}', "at line 2, column 5."),
        (b'{"url": "a"} x', "Extra data at line 1, column 14."),
        (b"{'url': 1}", "The body is not JSON: "),
        (b'{"url": "\x01"}', "Invalid control character at"),
        (b'{"url": NaN}', "NaN is not a JSON value."),
        (b'{"url": -Infinity}', "-Infinity is not a JSON value."),
        (b'{"url": "\xff"}', "The body is not UTF-8: see byte 10."),
        ('{"url": ""}'.encode("utf-16"), "The body is not UTF-8: see byte 1."),
        (b"[]", "must be a JSON object, not an array."),
        (b'"x"', "must be a JSON object, not a string."),
        (b"1", "must be a JSON object, not a number."),
        (b"true", "must be a JSON object, not true."),
        (b"null", "must be a JSON object, not null."),
        (b"[" * 100_000, "The body is nested too deeply."),
        (b'{"a":' * 100_000, "The body is nested too deeply."),
        (b'{"url": "a", "url": "b"}', 'The property "url" is given twice.'),
        (b'{"headers": {"A": 1, "A": 1}}', 'The property "A" is given twice.'),
    ],
)
def test_what_is_not_an_object(payload: bytes, expected: str) -> None:
    with pytest.raises(NotAnObject) as caught:
        parse(payload, NETWORKS)

    assert expected in str(caught.value)


def test_a_byte_order_mark_is_ignored() -> None:
    assert parse(b'\xef\xbb\xbf{"url": "http://a"}', NETWORKS).host == "a"


def test_every_mistake_is_reported_at_once() -> None:
    assert problems(
        method="FETCH",
        headers={"A B": "", "C": None, "D": "x\r\ny"},
        body={},
        requeue="false",
        Body="",
        foo=1,
    ) == (
        "method must be one of GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, CONNECT, "
        'TRACE, not "FETCH".',
        'headers["A B"] is not a header name: letters, digits and '
        "!#$%&'*+-.^_`|~ are.",
        'headers["C"] must be a string, a number or a boolean, not null.',
        'headers["D"] must not have control characters or half a surrogate pair.',
        "body must be a string (JSON or XML text), not an object.",
        'requeue must be true or false, not "false" (a string).',
        '"Body" is not a property of a call; did you mean body?',
        f'"foo" is not a property of a call; there are {PROPERTIES}.',
        "url is missing.",
    )


def test_a_denied_address_is_told_with_the_rest() -> None:
    assert problems(url="http://169.254.169.254/", requeue=1) == (
        "url must not name the address 169.254.169.254: FORWARD_DENY_NETWORKS.",
        "requeue must be true or false, not a number.",
    )


def test_not_more_problems_than_anybody_reads() -> None:
    found = problems(url=URL, **{f"unknown{n}": 1 for n in range(100)})

    assert len(found) == MAX_PROBLEMS + 1
    assert found[-1] == "And 90 more mistakes."


def test_a_request_of_many_members_is_refused_at_once() -> None:
    many = {f"X-{n}": 1 for n in range(1001)}

    assert problems(**many) == (f"A call has no properties but {PROPERTIES}.",)
    assert problem(headers=many) == "headers must not be more than 1000."


# url


@pytest.mark.parametrize(
    ("url", "scheme", "host", "port", "target"),
    [
        ("http://a", "http", "a", 80, ""),
        ("HTTPS://A.Example/", "https", "a.example", 443, "/"),
        ("http://a:8080?q=1", "http", "a", 8080, "/?q=1"),
        ("http://a:/x", "http", "a", 80, "/x"),
        ("http://a/x#fragment", "http", "a", 80, "/x"),
        ("http://a#fragment", "http", "a", 80, ""),
        ("http://a/../b/./%2f%zz//", "http", "a", 80, "/../b/./%2f%zz//"),
        ('http://a/"<>^`{|}[]@:', "http", "a", 80, '/"<>^`{|}[]@:'),
        ("http://a/ü?ß=%C3", "http", "a", 80, "/%C3%BC?%C3%9F=%C3"),
        ("http://Bücher.example/", "http", "xn--bcher-kva.example", 80, "/"),
        ("http://a_b.example./", "http", "a_b.example.", 80, "/"),
        ("http://10.0.0.1/", "http", "10.0.0.1", 80, "/"),
        ("http://[2001:DB8:0::1]:81/", "http", "2001:db8::1", 81, "/"),
        ("http://127.0.0.1./", "http", "127.0.0.1", 80, "/"),
        # Fullwidth digits and dots are those of an address.
        ("http://１２７。0.0.1/", "http", "127.0.0.1", 80, "/"),  # noqa: RUF001
    ],
)
def test_urls(url: str, scheme: str, host: str, port: int, target: str) -> None:
    found = request(url)

    assert (found.scheme, found.host, found.port, found.target) == (
        scheme,
        host,
        port,
        target,
    )


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (None, "url must be a string, not null."),
        (1, "url must be a string, not a number."),
        ("", "url must start with http:// or https://."),
        ("service.tld", "url must start with http:// or https://."),
        ("http:/a", "url must start with http:// or https://."),
        ("ftp://a", "url must start with http:// or https://."),
        ("http://", "url must name a host, in at most 253 characters."),
        ("http:///x", "url must name a host, in at most 253 characters."),
        ("http://u:p@/x", "url must name a host, in at most 253 characters."),
        (" http://a", 'url must not have " " (character 1): percent-encode it.'),
        ("http://a/\n", 'url must not have "\\n" (character 10): percent-encode it.'),
        ("http://a\\b", 'url must not have "\\\\" (character 9): percent-encode it.'),
        ("http://a/\ud800", "url has half a surrogate pair at character 10, which"),
        ("http://a:0", "url must have a port from 1 to 65535, not 0."),
        ("http://a:65536", "url must have a port from 1 to 65535, not 65536."),
        ("http://a:x", "url has a wrong host or port"),
        ("http://a:1:2", "url has a wrong host or port"),
        ("http://::1/", "url has a wrong host or port"),
        ("http://[::1]x", "url has a wrong host or port"),
        ("http://[::1", "url has a wrong host or port"),
        ("http://[::g]/", "url has an invalid host"),
        ("http://[fe80::1%25eth0]/", "an address must not have a zone"),
        ("http://[127.0.0.1]/", "url has an invalid host"),
        ("http://0x7f.1/", "url has an invalid host"),
        ("http://0x7f000001/", "url has an invalid host"),
        ("http://2130706433/", "url has an invalid host"),
        ("http://0177.0.0.1/", "url has an invalid host"),
        ("http://127.1/", "url has an invalid host"),
        ("http://1.2.3.256/", "url has an invalid host"),
        ("http://a..b/", "url has an invalid host"),
        ("http://./", "url has an invalid host"),
        ("http://%61/", "url has an invalid host"),
        ("http://a+b/", "url has an invalid host"),
        ("http://a／b/", "url has an invalid host"),  # noqa: RUF001
        (f"http://{'a' * 64}/", "url has an invalid host"),
        (f"http://{'a.' * 127}aa/", "url must name a host, in at most 253 characters."),
        (f"http://{'ü' * 100}/", "url has an invalid host"),
        (f"http://a/{'x' * MAX_URL_BYTES}", "url must not be longer than 8192 bytes."),
        ("http://a%3Ab:c@host/", "url must not have a colon in the user name."),
        ("http://[::ffff:169.254.0.1]/", "url must not name the address"),
    ],
)
def test_wrong_urls(url: Any, expected: str) -> None:
    found = problem(url=url)

    assert found.startswith("url ")
    assert expected in found
    assert len(found) < 300


def test_the_network_rules_are_those_of_the_caller() -> None:
    payload = b'{"url": "http://169.254.0.1/"}'

    assert parse(payload, NetworkRules(deny=())).host == "169.254.0.1"


@pytest.mark.parametrize(
    "host",
    [
        *("0.0.0.0", "0.0.0.0.", "0。0。0。0", "０.0.0.0"),  # noqa: RUF001
        *("[::]", "[::ffff:0.0.0.0]", "[::ffff:0:0]", "[0:0:0:0:0:FFFF:7f00:1]"),
        *("[64:ff9b::127.0.0.1]", "[::127.0.0.1]"),
    ],
)
def test_every_spelling_of_a_denied_address_is_refused(host: str) -> None:
    rules = NetworkRules(deny=tuple(map(parse_network, ("127.0.0.0/8", "::1"))))
    payload = json.dumps({"url": f"http://{host}:8080/"}).encode()
    with pytest.raises(InvalidProperties, match="url must not name the address"):
        parse(payload, rules)


@pytest.mark.parametrize(
    ("user_info", "expected"),
    [
        ("user:pass", "Basic dXNlcjpwYXNz"),
        ("user", "Basic dXNlcjo="),
        ("u%40:p%3A:%C3%BC", "Basic dUA6cDo6w7w="),
        ("ü:@", "Basic w7w6QA=="),
    ],
)
def test_user_info_becomes_basic_authorization(user_info: str, expected: str) -> None:
    found = request(f"http://{user_info}@a/")

    assert found.headers == (("Authorization", expected),)
    assert found.url == "http://a/"


def test_the_callers_own_authorization_wins() -> None:
    headers = {"authorization": "Bearer x"}

    assert request("http://u:p@a", headers=headers).headers == (
        ("authorization", "Bearer x"),
    )
    assert request("http://@a").headers == ()


# method, headers


@pytest.mark.parametrize("method", ["get", "Post", "PATCH", "trace"])
def test_methods_in_any_case(method: str) -> None:
    assert request(method=method).method == method.upper()


@pytest.mark.parametrize("method", ["", "GET ", "PROPFIND", 1, True, [], "po\u017ft"])
def test_wrong_methods(method: Any) -> None:
    assert problem(method=method).startswith("method must be one of GET, ")


def test_header_values_may_be_strings_numbers_and_booleans() -> None:
    payload = (
        b'{"url": "http://a", "headers": {"A": " x\\ty ", "B": 1.50, "C": true,'
        b'"D": "", "E": 123456789012345678901234567890, "F": 1E5, "G": "\xc3\xbc"}}'
    )

    assert parse(payload, NETWORKS).headers == (
        ("A", "x\ty"),
        ("B", "1.50"),
        ("C", "true"),
        ("D", ""),
        ("E", "123456789012345678901234567890"),
        ("F", "1E5"),
        ("G", "ü"),
    )


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([], "headers must be an object, not an array."),
        ("A: b", "headers must be an object, not a string."),
        ({"": "x"}, 'headers[""] is not a header name'),
        ({"A:": "x"}, 'headers["A:"] is not a header name'),
        ({"Ä": "x"}, 'headers["Ä"] is not a header name'),
        ({"A\r\nB": "x"}, 'headers["A\\r\\nB"] is not a header name'),
        ({"A": []}, 'headers["A"] must be a string, a number or a boolean'),
        ({"A": {}}, 'headers["A"] must be a string, a number or a boolean'),
        ({"A": "x\r\n y"}, 'headers["A"] must not have control characters'),
        ({"A": "x\n"}, 'headers["A"] must not have control characters'),
        ({"A": "\x00"}, 'headers["A"] must not have control characters'),
        ({"A": "\ud800"}, 'headers["A"] must not have control characters'),
        ({"A": "1", "a": "2"}, 'headers["a"] is given twice'),
    ],
)
def test_wrong_headers(headers: Any, expected: str) -> None:
    assert problem(headers=headers).startswith(expected)


def test_what_is_meant_for_the_next_hop_is_dropped() -> None:
    headers = {
        "Connection": "close, X-Hop",
        "x-hop": "1",
        "Keep-Alive": "1",
        "Proxy-Authorization": "1",
        "TE": "trailers",
        "Trailer": "X",
        "Transfer-Encoding": "chunked",
        "Upgrade": "h2c",
        "Expect": "100-continue",
        "content-length": "5",
        "Host": "other.tld",
        "X-Kept": "1",
    }

    assert request(headers=headers).headers == (("Host", "other.tld"), ("X-Kept", "1"))


# body, requeue


@pytest.mark.parametrize(
    ("body", "media_type"),
    [
        ("{}", "application/json; charset=UTF-8"),
        ('"text"', "application/json; charset=UTF-8"),
        (" [1e400]\n", "application/json; charset=UTF-8"),
        ("9" * 10_000, "application/json; charset=UTF-8"),
        ("<a>ü</a>", "application/xml; charset=UTF-8"),
        ("\ufeff<a/>", "application/xml; charset=UTF-8"),
        (
            '<?xml version="1.0" encoding="utf-8"?><a/>',
            "application/xml; charset=UTF-8",
        ),
        (
            '<?xml version="1.0" encoding="ascii"?><a/>',
            "application/xml; charset=UTF-8",
        ),
    ],
)
def test_a_body_is_sent_as_it_is(body: str, media_type: str) -> None:
    found = request(method="POST", body=body)

    assert found.body == body.encode()
    assert found.headers == (("Content-Type", media_type),)


def test_the_callers_own_content_type_wins() -> None:
    headers = {"content-type": "application/problem+json"}

    assert request(body="{}", headers=headers).headers == tuple(headers.items())


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (" ", "body must be JSON or XML; as JSON it is wrong"),
        ("hello", "as JSON it is wrong: Expecting value at line 1, column 1."),
        ("NaN", "as JSON it is wrong: NaN is not a JSON value."),
        ("{}{}", "as JSON it is wrong: Extra data at line 1, column 3."),
        ("\x00", "as JSON it is wrong"),
        ("[" * 100_000, "body is JSON that is nested too deeply."),
        ("<a>", "as XML it is wrong: no element found at line 1, column 4."),
        ("<a></b>", "as XML it is wrong: mismatched tag at line 1, column 6."),
        ("<a>\x00</a>", "as XML it is wrong"),
        ("<!DOCTYPE a><a/>", "body is XML with a document type declaration (DTD)"),
        (
            '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>',
            "body is XML with a document type declaration (DTD)",
        ),
        (
            '<?xml version="1.0" encoding="ISO-8859-1"?><a/>',
            "body is XML declared as ISO-8859-1, but it is sent as UTF-8",
        ),
        (
            '<?xml version="1.0" encoding="us-ascii"?><a>ü</a>',
            "body is XML declared as US-ASCII, but not all of it is ASCII.",
        ),
        ('"\ud800"', "body has half a surrogate pair at character 2"),
        ({}, "body must be a string (JSON or XML text), not an object."),
        (1, "body must be a string (JSON or XML text), not a number."),
        (False, "body must be a string (JSON or XML text), not false."),
    ],
)
def test_wrong_bodies(body: Any, expected: str) -> None:
    found = problem(body=body)

    assert found.startswith("body ")
    assert expected in found
    assert len(found) < 300


def test_trace_has_no_body() -> None:
    found = request(method="TRACE", body="{}")

    assert (found.body, found.headers) == (b"", ())
    assert problem(method="TRACE", body="x").startswith("body ")


@pytest.mark.parametrize("requeue", ["false", 0, 1, [], "", {}])
def test_requeue_is_never_guessed(requeue: Any) -> None:
    assert problem(requeue=requeue).startswith("requeue must be true or false, not ")
    assert request(requeue=False).requeue is False


# Anything at all

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
url_texts = st.one_of(
    st.text(),
    st.text().map("http://{}".format),
    st.text().map("https://a.example/{}".format),
    st.lists(st.sampled_from("a1.-_:@/?#[]%\\ ü。０xn--")).map(  # noqa: RUF001
        lambda parts: "http://" + "".join(parts)
    ),
)
calls = st.fixed_dictionaries(
    {"url": url_texts},
    optional={
        "method": st.sampled_from(["GET", "post", "TRACE", "x"]) | json_values,
        "headers": st.dictionaries(st.text(), st.text() | json_values) | json_values,
        "body": st.text() | st.text().map("<a>{}</a>".format) | json_values,
        "requeue": st.booleans() | json_values,
    },
)


def check(payload: bytes) -> None:
    try:
        found = parse(payload, NETWORKS)
    except (NotAnObject, InvalidProperties) as exc:
        str(exc).encode()  # fit for an answer
        return
    assert found.host
    assert found.host.isascii()
    assert found.target.isascii()
    assert found.target == "" or found.target.startswith("/")
    assert 0 < found.port < 65536
    for text in (found.host, found.target, found.method):
        assert not any(char <= " " or char == "\x7f" for char in text)
    for name, value in found.headers:
        assert name.isascii()
        assert not {"\r", "\n", "\x00"} & set(value)
        value.encode()


@given(st.binary())
def test_any_bytes_are_sent_or_refused(payload: bytes) -> None:
    check(payload)


@given(st.dictionaries(st.text(), json_values) | calls)
def test_any_object_is_sent_or_refused(properties: dict[str, Any]) -> None:
    check(json.dumps(properties).encode())


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "127.9.9.9", "0.0.0.0", "[::1]", "[::]", "[::ffff:127.0.0.1]"),
        *(
            "localhost",
            "LOCALHOST",
            "localhost.",
            "mspc.localhost",
            "\uff11\uff12\uff17.0.0.1",
        ),
    ],
)
def test_no_call_is_taken_for_our_own_door(host: str) -> None:
    payload = f'{{"url": "http://me@{host}:8010/v1/stats"}}'.encode()
    with pytest.raises(InvalidProperties, match=r"mspc's own operators' door"):
        parse(payload, NetworkRules(own_port=8010))
    assert parse(payload, NetworkRules(own_port=8011)).port == 8010
    assert parse(payload, NETWORKS).port == 8010


def test_the_same_port_elsewhere_is_no_business_of_ours() -> None:
    for host in ("192.0.2.1", "service.test", "localhost.test"):
        payload = f'{{"url": "http://{host}:8010/"}}'.encode()
        assert parse(payload, NetworkRules(own_port=8010)).host == host
