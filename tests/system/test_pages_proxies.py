"""The pages behind the proxies of docs/pages.md, asked as browsers do that tell little.

Whoever asks over plain HTTP, and older browsers, send no Sec-Fetch-Site.
"""

import http.client
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest

from tests.support.process import MspcProcess
from tests.support.proxies import HaproxyPages, PagesProxy

KEY = "a-key-that-may-do-everything"
HOST = "ops.example.com:8443"


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MspcProcess]:
    settings = {"ADMIN_KEY": KEY, "ADMIN_PREFIX": "/mspc", "QUEUE_SCHEME": "sqlite"}
    process = MspcProcess(tmp_path_factory.mktemp("pages") / "mspc", settings)
    try:
        process.start()
        process.wait_ready()
        yield process
    finally:
        process.kill()


@pytest.fixture(params=[PagesProxy, HaproxyPages])
def port(
    request: pytest.FixtureRequest, behind: MspcProcess, tmp_path: Path
) -> Iterator[int]:
    """Where the proxy is asked."""
    proxy = request.param(tmp_path / "proxy", behind.admin_port)
    proxy.start()
    yield proxy.port
    proxy.stop()


def log_in(port: int, **headers: str) -> http.client.HTTPResponse:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        form = urlencode({"key": KEY})
        client.request("POST", "/mspc/login", form, {"Host": HOST, **named})
        return client.getresponse()
    finally:
        client.close()


def test_a_form_of_our_own_page_is_taken(port: int) -> None:
    answer = log_in(port, Origin=f"http://{HOST}")
    assert answer.status == http.client.SEE_OTHER
    cookie = answer.getheader("Set-Cookie", "")
    assert cookie
    assert "secure" not in cookie.lower()  # it came over plain HTTP


def test_what_a_client_says_of_proxies_does_not_count(port: int) -> None:
    said = {"X_Forwarded_Proto": "https", "X_Forwarded_Host": "evil.test"}
    answer = log_in(port, Origin="http://evil.test", **said)
    assert answer.status == http.client.FORBIDDEN
    answer = log_in(port, Origin=f"http://{HOST}", **said)
    assert answer.status == http.client.SEE_OTHER
    assert "secure" not in answer.getheader("Set-Cookie", "").lower()
