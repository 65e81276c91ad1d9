"""A day of calls, as it may be: most services are well, some are not."""

import http.client
import json
import random
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from tests.support.process import MspcProcess
from tests.support.target import Target
from tests.support.waiting import eventually

KEY = "the-key-that-may-do-all"
PORT, CLOSED_PORT = 8080, 8081
SETTINGS = {
    "QUEUE_SCHEME": "sqlite",
    "ADMIN_KEY": KEY,
    "FORWARD_TIMEOUT_SECONDS": "2",
    "REQUEUE_FAILED_AFTER_MILLISECONDS": "40000",
    "REQUEUE_JITTER": "0.5",
    "FILE_LOG_ENABLED": "0",
    "SHUTDOWN_TIMEOUT_SECONDS": "0",
}
DEAD, WAITING = 34, 24


def ask(
    mspc: MspcProcess, path: str, content: object = None, method: str = "POST"
) -> Any:
    """What the operators' door answers."""
    door = http.client.HTTPConnection("127.0.0.1", mspc.admin_port, timeout=30)
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    try:
        door.request(method, path, json.dumps(content), headers)
        answer = door.getresponse()
        told = json.loads(answer.read())
    finally:
        door.close()
    assert answer.status < 300, told
    return told


def ready(mspc: MspcProcess) -> bool:
    """Whether all has happened that is to be seen."""
    seen = ask(mspc, "/v1/stats", method="GET")["states"]
    return bool(seen.get("dead") == DEAD and seen.get("waiting", 0) >= WAITING)


def place(name: str, port: int = PORT) -> str:
    return f"http://{name}.internal:{port}"


def services(target: Target) -> None:
    """What each of them answers, by path."""
    gone = b'{"error": "customer 4711 was deleted", "code": "gone"}'
    full = b'{"error": "no connection to the ledger: too many clients already"}'
    bad = b'{"error": "currency must be one of EUR, CHF, GBP"}'
    target.answer("/customers", status=410, body=gone)
    target.answer("/charges", status=500, body=full)
    target.answer("/refunds", status=422, body=bad)
    target.answer("/invoices", delay=3600)
    target.answer("/slow", delay=1.2)


def calls() -> Iterator[dict[str, object]]:
    """What comes in, in order."""
    json_type = {"Content-Type": "application/json", "Authorization": "Bearer s3cret"}
    for number in range(40):
        body = json.dumps({"order": 1000 + number, "lines": [{"sku": "A-17", "n": 2}]})
        call: dict[str, object] = {"method": "POST", "headers": json_type, "body": body}
        labels = [f"order:{1000 + number}", "shop:eu"]
        yield {**call, "url": f"{place('orders')}/v1/orders", "labels": labels}
        if number < 24:
            url = f"{place('crm')}/customers"
            yield {**call, "url": url, "permanent": [410], "labels": labels[1:]}
        if number < 7:
            yield {**call, "url": f"{place('payments')}/refunds", "requeue": False}
        if number < 3:
            yield {**call, "url": f"{place('billing')}/charges", "max_attempts": 1}
        if number < 12:
            yield {**call, "url": f"{place('billing')}/charges", "labels": labels}
            yield {**call, "url": f"{place('legacy', CLOSED_PORT)}/contacts"}
        if number < 8:
            yield {**call, "url": f"{place('erp')}/invoices", "labels": labels}
        if number < 26:
            yield {**call, "url": f"{place('warehouse')}/picks", "labels": labels}
        if number < 30:
            yield {**call, "url": f"{place('mail')}/slow", "labels": ["newsletter"]}
        if number < 10:
            yield {
                **call,
                "url": f"{place('reports')}/daily",
                "delay": f"{number + 1}h",
            }


def play(mspc: MspcProcess, target: Target) -> None:
    """Returns when the day stands as the pictures are to show it."""
    services(target)
    lane = f"/v1/destinations/{quote(place('warehouse'), safe='')}"
    ask(mspc, f"{lane}/pause", {"reason": "stocktaking until noon"})
    put = f"/v1/destinations/{quote(place('mail'), safe='')}/limits"
    ask(mspc, put, {"rate": 2, "period": "1s", "parallelism": 2}, method="PUT")
    mixed = list(calls())
    random.Random(2).shuffle(mixed)
    for call in mixed:
        assert mspc.post(call).status == 202
    eventually(lambda: ready(mspc), 60)
    ask(
        mspc,
        "/v1/bulk",
        {
            "action": "retry",
            "filter": {"state": ["dead"], "destination": place("crm")},
            "per_second": 0.5,
            "reason": "customers were restored from the backup",
        },
    )
