"""Who may send calls. The queue has no part in it, so the embedded one will do."""

import base64
import hashlib
import time

import pytest

from tests.conftest import StartMspc
from tests.support.process import MspcProcess
from tests.support.target import Target

KEY = "yourauthorizationkey"
# From the original's README, made with that key on the 28th of December 2016.
EXAMPLE = (
    "NTRjMTVhOWVhMzBiNjgwZWUyNjRkMzRjZDk2ODhmN2RjOWQ1ZTkzM2VhMmNiYjRiODFjOGI1ZDNkMTk1ND"
    "UzMzoxNDgyOTM4MDk4"
)


def authorization(timestamp: float, key: str = KEY) -> str:
    stamp = str(int(timestamp))
    digest = hashlib.sha256(f"{stamp}:{key}".encode()).hexdigest()
    return base64.b64encode(f"{digest}:{stamp}".encode()).decode()


def check_refused(mspc: MspcProcess, headers: dict[str, str]) -> None:
    # An unauthorized client does not learn what is wrong with its call either.
    for content in ({"url": "http://127.0.0.1/"}, {}):
        response = mspc.post(content, headers)
        assert response.status == 401
        assert response.headers["content-type"] == "application/json; charset=UTF-8"
        assert response.json == {
            "error": True,
            "message": "Unauthorized",
            "code": "unauthorized",
        }


def test_of_any_age(mspc_process: StartMspc, target: Target) -> None:
    mspc = mspc_process(
        {"AUTHORIZATION_KEY": KEY, "AUTHORIZATION_MAX_AGE_SECONDS": "0"}
    )
    call = {"url": target.url("/authorized")}
    assert mspc.post(call, {"X-Authorization": EXAMPLE}).status == 202
    assert mspc.post(call, {"X-Authorization": authorization(1)}).status == 202
    target.wait_for(2, "/authorized")

    check_refused(mspc, {})
    for wrong in (
        "",
        "nonsense",
        EXAMPLE[:-4],
        f"{EXAMPLE}AAAA",
        f"Basic {EXAMPLE}",
        authorization(1482938098, "anotherkey"),
        base64.b64encode(b"\xff\xfe:1482938098").decode(),
        "A" * 4_000,
    ):
        check_refused(mspc, {"X-Authorization": wrong})
    check_refused(mspc, {"Authorization": EXAMPLE})

    # Whoever watches mspc needs no key.
    assert mspc.get("/health/live").status == 200
    assert mspc.get("/health/ready").status == 200
    assert KEY not in mspc.output
    assert EXAMPLE not in mspc.output


def test_of_a_limited_age(mspc_process: StartMspc, target: Target) -> None:
    mspc = mspc_process(
        {
            "AUTHORIZATION_KEY": KEY,
            "AUTHORIZATION_HEADER": "X-Key",
            "AUTHORIZATION_MAX_AGE_SECONDS": "60",
        }
    )
    now = time.time()
    call = {"url": target.url("/authorized")}
    for fresh in (now, now - 30, now + 30):
        assert mspc.post(call, {"x-key": authorization(fresh)}).status == 202
    target.wait_for(3, "/authorized")
    check_refused(mspc, {"X-Key": EXAMPLE})
    mspc.wait_for_log(r"from 127\.0\.0\.1: X-Key: the timestamp is \d+ s too old$")
    for stale in (now - 100, now + 100):
        check_refused(mspc, {"X-Key": authorization(stale)})
    check_refused(mspc, {"X-Authorization": authorization(now)})


@pytest.mark.parametrize("key", [None, ""])
def test_without_a_key_everybody_may(
    mspc_process: StartMspc, target: Target, key: str | None
) -> None:
    mspc = mspc_process({} if key is None else {"AUTHORIZATION_KEY": key})
    assert mspc.post({"url": target.url("/open")}).status == 202
    target.wait_for(1, "/open")
    mspc.wait_for_log("WARNING AUTHORIZATION_KEY is empty")
