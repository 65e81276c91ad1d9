"""What a target gets."""

import base64
import json
import socket
from collections.abc import Mapping
from contextlib import closing

import pytest

from tests.support.certificates import Certificates
from tests.support.process import MspcProcess
from tests.support.target import Hit, Target
from tests.system.conftest import StartOnQueue


def deliver(mspc: MspcProcess, target: Target, call: Mapping[str, object]) -> Hit:
    """Sends `call`; the one request that comes of it."""
    response = mspc.post(call)
    assert response.status == 202, response.body
    mspc.wait_for_log(f"{response.json['id']} .* done$")
    (hit,) = target.wait_for(1)
    return hit


@pytest.mark.parametrize(
    "method",
    ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"],
)
def test_every_method(mspc: MspcProcess, target: Target, method: str) -> None:
    # Any case will do.
    hit = deliver(mspc, target, {"url": target.url("/m?a=b"), "method": method.lower()})
    assert (hit.method, hit.path, hit.body) == (method, "/m?a=b", b"")


def test_get_is_the_default(mspc: MspcProcess, target: Target) -> None:
    hit = deliver(mspc, target, {"url": target.url()})
    assert (hit.method, hit.path, hit.body) == ("GET", "/", b"")
    assert "content-type" not in hit.headers


def test_null_means_the_default(mspc: MspcProcess, target: Target) -> None:
    names = ("method", "headers", "body", "requeue")
    hit = deliver(mspc, target, {"url": target.url("/"), **dict.fromkeys(names)})
    assert (hit.method, hit.body) == ("GET", b"")


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "GET"])
@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        ('{"receiver": "john.doe@domain.tld"}', "application/json; charset=UTF-8"),
        (
            ' {"b" : 1e400,\r\n\t"a": 1.10, "a": [] } ',
            "application/json; charset=UTF-8",
        ),
        ('["žluťoučký 🐎", "\\u00e9\\ud83d\\ude00", "\u2028"]', "application/json"),
        ("0", "application/json"),
        ("<a>\n  <b c='d'/>&amp;<![CDATA[<]]></a>\n", "application/xml; charset=UTF-8"),
        ('<?xml version="1.0" encoding="UTF-8"?>\n<k>🐎ž</k>', "application/xml"),
    ],
    ids=["json", "odd json", "utf-8 json", "scalar", "xml", "utf-8 xml"],
)
def test_a_body_arrives_byte_for_byte(
    mspc: MspcProcess, target: Target, method: str, body: str, content_type: str
) -> None:
    call = {"url": target.url("/b"), "method": method, "body": body}
    hit = deliver(mspc, target, call)
    assert hit.method == method
    assert hit.body == body.encode()
    assert hit.headers["content-length"] == str(len(body.encode()))
    assert hit.headers["content-type"].startswith(content_type)


def test_a_large_body(mspc: MspcProcess, target: Target) -> None:
    """Several frames to RabbitMQ, several pages in SQLite."""
    body = json.dumps(["🐎" * 100_000], ensure_ascii=False)
    call = {"url": target.url("/l"), "method": "POST", "body": body}
    content = json.dumps(call, ensure_ascii=False).encode()
    assert mspc.post(content).status == 202
    (hit,) = target.wait_for(1)
    assert hit.body == body.encode()


def test_headers_arrive(mspc: MspcProcess, target: Target) -> None:
    given = {
        "X-Auth": "MyAuthKey",
        "Content-Type": "application/vnd.mine+json; charset=UTF-8",
        "x-Mixed-CASE": " stripped\t",
        "X-Empty": "",
        "X-Number": 10,
        "X-Decimal": 1.50,
        "X-Yes": True,
        "X-Text": "žluťoučký",
        "User-Agent": "the client's own",
        "Cookie": "a=b; c=d",
    }
    call = {"url": target.url("/"), "method": "POST", "headers": given, "body": "{}"}
    hit = deliver(mspc, target, call)
    lines = dict(hit.header_lines)
    assert lines["X-Auth"] == "MyAuthKey"
    assert lines["Content-Type"] == "application/vnd.mine+json; charset=UTF-8"
    assert lines["x-Mixed-CASE"] == "stripped"
    assert lines["X-Empty"] == ""
    assert lines["X-Number"] == "10"
    assert lines["X-Decimal"] == "1.5"
    assert lines["X-Yes"] == "true"
    assert lines["X-Text"].encode("latin-1").decode() == "žluťoučký"
    assert lines["User-Agent"] == "the client's own"
    assert lines["Cookie"] == "a=b; c=d"
    assert len(hit.header_lines) == len(hit.headers)  # none of them twice


def test_what_is_meant_for_one_hop_stays_here(
    mspc: MspcProcess, target: Target
) -> None:
    given = {
        "Connection": "close, X-Hop",
        "X-Hop": "1",
        "Keep-Alive": "timeout=5",
        "Proxy-Authorization": "Basic c2VjcmV0",
        "Proxy-Connection": "close",
        "TE": "trailers",
        "Trailer": "Expires",
        "Transfer-Encoding": "chunked",
        "Upgrade": "websocket",
        "Content-Length": "999",
        "Expect": "100-continue",
        "X-Kept": "yes",
    }
    call = {"url": target.url("/"), "method": "POST", "headers": given, "body": "[1]"}
    hit = deliver(mspc, target, call)
    assert hit.body == b"[1]"
    assert hit.headers.pop("content-length") == "3"
    assert hit.headers.pop("x-kept") == "yes"
    assert hit.headers.keys() & {name.lower() for name in given} == set()


def test_the_host_header(mspc: MspcProcess, target: Target) -> None:
    hit = deliver(mspc, target, {"url": target.url("/")})
    assert hit.headers["host"] == f"127.0.0.1:{target.port}"


def test_the_path_is_left_as_it_is(mspc: MspcProcess, target: Target) -> None:
    path = "/a//b/../c/%2e%2E/%zz;p=1?q=%20+%C3%A9&q=[1]{}|\"'"
    hit = deliver(mspc, target, {"url": f"{target.url(path)}#not-sent"})
    assert hit.path == path


def test_the_id_is_the_idempotency_key(mspc: MspcProcess, target: Target) -> None:
    target.answer("/i", status=500, times=1)
    response = mspc.post({"url": target.url("/i")})
    hits = target.wait_for(2, "/i")
    keys = [hit.headers["idempotency-key"] for hit in hits]
    assert keys == [response.json["id"]] * 2


def test_a_clients_own_idempotency_key_is_kept(
    mspc: MspcProcess, target: Target
) -> None:
    call = {"url": target.url("/"), "headers": {"idempotency-KEY": "its own"}}
    hit = deliver(mspc, target, call)
    assert hit.headers["idempotency-key"] == "its own"


def test_user_info_becomes_basic_authorization(
    mspc: MspcProcess, target: Target
) -> None:
    # An error as well, because it is logged in another way.
    target.answer("/u", status=500, times=1)
    url = target.url("/u").replace("://", "://j%C3%B6hn:s3cr%2Fet@")
    response = mspc.post({"url": url})
    mspc.wait_for_log(f"{response.json['id']} .* done$")
    basic = base64.b64encode("jöhn:s3cr/et".encode()).decode()
    for hit in target.wait_for(2, "/u"):
        assert hit.headers["authorization"] == f"Basic {basic}"
        assert hit.headers["host"] == f"127.0.0.1:{target.port}"
    for secret in ("s3cr", "%C3%B6hn", "jöhn", basic):
        assert secret not in mspc.output


def test_an_authorization_header_wins_over_user_info(
    mspc: MspcProcess, target: Target
) -> None:
    url = target.url("/").replace("://", "://user:password@")
    headers = {"authorization": "Bearer token"}
    hit = deliver(mspc, target, {"url": url, "headers": headers})
    assert hit.headers["authorization"] == "Bearer token"


def test_connections_to_a_target_are_kept(mspc: MspcProcess, target: Target) -> None:
    for number in range(1, 6):
        call_id = mspc.post({"url": target.url("/k")}).json["id"]
        target.wait_for(number, "/k")
        mspc.wait_for_log(f"{call_id} .* done$")
    assert target.connections == 1


def test_a_target_over_tls(start: StartOnQueue, certificates: Certificates) -> None:
    trusted = Target(certificates.server.server_context())
    stranger = Target(certificates.make("stranger").server_context())
    trusted.start()
    stranger.start()
    try:
        mspc = start(FORWARD_CA_FILE=str(certificates.server.crt))
        refused = mspc.post({"url": stranger.url("/s"), "requeue": False})
        deliver(mspc, trusted, {"url": trusted.url("/t"), "body": '"secret"'})
        mspc.wait_for_log(f"ERROR {refused.json['id']} .*TLS.*a dead letter$")
        assert stranger.hits == []
    finally:
        trusted.stop()
        stranger.stop()


def test_many_new_services_that_hang_are_nobody_elses_problem(
    start: StartOnQueue, target: Target
) -> None:
    """Each has one call, and none has answered yet, nor has the one that does."""
    consumers, hanging = 20, 15  # all that may have calls whom nobody has called yet
    mspc = start(QUEUE_NUMBER_OF_CONSUMERS=str(consumers), SHUTDOWN_TIMEOUT_SECONDS="1")
    with closing(socket.create_server(("0.0.0.0", 0))) as silent:
        port = silent.getsockname()[1]
        for number in range(hanging):
            mspc.post({"url": f"http://127.0.1.{number + 1}:{port}/"})
        taken = [silent.accept()[0] for _ in range(hanging)]
        mspc.post({"url": target.url("/healthy")})
        target.wait_for(1, "/healthy")
        for connection in taken:
            connection.close()
