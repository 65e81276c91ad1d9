"""Both doors of the real service do what their OpenAPI documents say, on each queue."""

from functools import partial
from typing import Any
from urllib.parse import quote

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import Case, GenerationMode
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    negative_data_rejection,
    positive_data_acceptance,
)

from tests.support.authorizing import authorization
from tests.support.process import MspcProcess
from tests.support.target import Target
from tests.support.waiting import eventually

# Of each route, for what is right and for what is wrong. What is answered hardly
# depends on the queue.
EXAMPLES = {"sqlite": 6, "rabbitmq": 2}
# That a cursor is ours, that a date is yet to come, ...: no schema can say it.
INEXPRESSIBLE: list[Any] = [positive_data_acceptance]
KEY = "a-key-that-may-do-everything"
CALLER = {"X-Authorization": authorization(KEY)}
SHARED_SETTINGS = {
    "REQUEUE_FAILED_AFTER_MILLISECONDS": "3600000",
    "ADMIN_KEY": KEY,
    "AUTHORIZATION_KEY": KEY,
}
HEADERS = {"admin": {"Authorization": f"Bearer {KEY}"}, "calls": CALLER}
TOO_LONG = (414, 431)  # before anybody looks at what it says


# In this order: what operators are let do may concern every call.
@pytest.mark.parametrize("door", ["calls", "admin"])
def test_every_answer_is_as_the_document_says(
    mspc: MspcProcess, queue_kind: str, target: Target, door: str
) -> None:
    known = busy(mspc, target)
    document = mspc.admin("GET", f"/v1/openapi.json?door={door}", key=KEY).json
    port = mspc.admin_port if door == "admin" else mspc.http_port
    asking = Asking(
        f"http://127.0.0.1:{port}", HEADERS[door], known, EXAMPLES[queue_kind]
    )
    schema = schemathesis.openapi.from_dict(document)
    for found in schema.get_all_operations():
        assert isinstance(found, Ok)
        for mode in GenerationMode:
            # With nothing that could be wrong with it.
            if mode is GenerationMode.POSITIVE or "/health/" not in found.ok().path:
                asking.ask(found.ok(), mode)
    assert asking.statuses >= {200, 202, 400, 404}
    assert mspc.get("/health/live").status == 200


def is_in(mspc: MspcProcess, call_id: str, state: str) -> bool:
    answer = mspc.admin("GET", f"/v1/calls/{call_id}", key=KEY)
    return answer.status == 200 and answer.json["state"] == state


def busy(mspc: MspcProcess, target: Target) -> dict[str, str]:
    """Has something happen; names that are known since then."""
    target.answer("/dead", status=500, body=b"why")
    target.answer("/waits", status=503, times=1)
    call = {"url": target.url("/dead"), "requeue": False}
    dead = mspc.post(call, CALLER).json["id"]
    waits = {"url": target.url("/waits"), "labels": ["x"]}
    waiting = mspc.post(waits, CALLER).json["id"]
    eventually(partial(is_in, mspc, dead, "dead"))
    eventually(partial(is_in, mspc, waiting, "waiting"))
    eventually(lambda: mspc.admin("GET", "/v1/dead/groups", key=KEY).json["groups"])
    wanted = {"action": "delete", "ids": ["x"]}
    job = mspc.admin("POST", "/v1/bulk", wanted, key=KEY)
    place = quote(f"http://127.0.0.1:{target.port}", safe="")
    return {"call_id": dead, "job_id": job.json["id"], "key": place}


class Asking:
    """Asks one door.

    Attributes:
        statuses: of what it answered.
    """

    def __init__(
        self, url: str, headers: dict[str, str], known: dict[str, str], examples: int
    ) -> None:
        self.statuses: set[int] = set()
        self._url = url
        self._headers = headers
        self._known = known
        self._examples = examples
        self._asked = 0

    def ask(self, operation: Any, mode: GenerationMode) -> None:
        @settings(
            max_examples=self._examples,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(operation.as_strategy(generation_mode=mode))
        def check(case: Case[Any]) -> None:
            self._one(case, mode)

        check()

    def _one(self, case: Case[Any], mode: GenerationMode) -> None:
        self._asked += 1
        if mode is GenerationMode.POSITIVE and self._asked % 2:
            for name in case.path_parameters or {}:
                case.path_parameters[name] = self._known[name]
        response = case.call(base_url=self._url, headers=self._headers)
        self.statuses.add(response.status_code)
        excluded = list(INEXPRESSIBLE)
        if response.status_code in TOO_LONG:
            excluded.append(negative_data_rejection)
        case.validate_response(
            response, headers=self._headers, excluded_checks=excluded
        )
