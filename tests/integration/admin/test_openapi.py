"""The operators' door does what its OpenAPI document says, whatever is sent."""

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

from mspc.admin.app import admin_routes
from mspc.api.paths import ALLOWED
from mspc.journal.base import Group, Seen, Tally
from mspc.journal.events import Decided
from mspc.steering.base import Job, Limits, Standing
from tests.support.door import ADMIN, Door
from tests.support.operators import (
    AT,
    ATTEMPTED,
    CALL_ID,
    DESTINATION,
    JOB_ID,
    SEEN,
    FakeSteering,
    FakeView,
)

TOO_LARGE = 413
EXAMPLES = 20  # of each route, for what is right and for what is wrong


def is_known(name: str) -> bool:
    """Every other call and job is."""
    return len(name) % 2 == 0


class FullView(FakeView):
    def call(self, call_id: str) -> Seen | None:
        return SEEN if is_known(call_id) else None


class FullSteering(FakeSteering):
    def is_call(self, call_id: str) -> bool:
        return is_known(call_id)

    def job(self, job_id: str) -> Job | None:
        return self.begun[JOB_ID] if is_known(job_id) else None

    def stop_job(self, job_id: str, who: str) -> Job | None:
        return self.job(job_id)


def busy_door() -> Door:
    """A door behind which something is found of whatever is asked for."""
    door = Door(view=FullView(SEEN), steering=FullSteering())
    door.steering.attempted = {CALL_ID}
    door.steering.begin("retry", (), "admin")
    door.view.decided = [Decided("paused", AT, "admin", (DESTINATION,))]
    door.view.found = [Group("max_age", None, "dns", DESTINATION, 7, AT, AT, CALL_ID)]
    door.view.tallies = {DESTINATION: Tally({"dead": 1}, AT, ATTEMPTED)}
    door.steering.states = {DESTINATION: Standing(DESTINATION, limits=Limits(5))}
    return door


door = busy_door()
# That a cursor is ours, that a date is yet to come, ...: no schema can say it.
INEXPRESSIBLE: list[Any] = [positive_data_acceptance]
KEY = {"Authorization": f"Bearer {ADMIN}"}
schema = schemathesis.openapi.from_wsgi("/v1/openapi.json", door.app, headers=KEY)
OPERATIONS = {
    operation.label: operation
    for found in schema.get_all_operations()
    if isinstance(found, Ok) and (operation := found.ok())
}


@pytest.mark.parametrize("mode", list(GenerationMode))
@pytest.mark.parametrize("label", OPERATIONS)
def test_every_answer_is_as_the_document_says(label: str, mode: GenerationMode) -> None:
    operation = OPERATIONS[label]

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(operation.as_strategy(generation_mode=mode))
    def check(case: Case[Any]) -> None:
        if mode is GenerationMode.POSITIVE and "key" in case.path_parameters:
            case.path_parameters["key"] = quote(DESTINATION, safe="")
        answer = case.call(headers=KEY)
        excluded = list(INEXPRESSIBLE)
        if answer.status_code == TOO_LARGE:  # what is too long is not looked into
            excluded.append(negative_data_rejection)
        case.validate_response(answer, headers=KEY, excluded_checks=excluded)

    check()
    if (
        mode is GenerationMode.POSITIVE
        and "{key}" in label
        and operation.method != "get"
    ):
        assert door.steering.done[-1][1] == DESTINATION


def test_every_route_of_the_calls_port_is_in_its_own() -> None:
    described = door.get("/v1/openapi.json?door=calls")["paths"]
    assert {path: {*methods} for path, methods in described.items()} == {
        path.replace(":path}", "}"): {one.lower() for one in methods} - {"head"}
        for path, methods in ALLOWED.items()
    }


def answers_of(method: str, path: str) -> set[str]:
    """What the document of the calls' port says that may be answered."""
    paths = door.get("/v1/openapi.json?door=calls")["paths"]
    return set(paths[path][method]["responses"])


@pytest.mark.parametrize("path", ["/", "/v1/calls"])
def test_a_call_may_be_stored_unread(path: str) -> None:
    """With FAST_PUBLISH the answer is 200."""
    assert answers_of("post", path) >= {"200", "202", "401"}
    assert "200" not in answers_of("post", "/v1/calls:batch")


def test_where_no_key_is_needed_none_is_missing() -> None:
    assert answers_of("get", "/health/live") == {"200", "400", "414", "431"}
    assert answers_of("get", "/health/ready") == {"200", "400", "414", "431", "503"}


def test_a_header_of_ones_own_is_in_the_document() -> None:
    told = Door(header="X-Own").get("/v1/openapi.json?door=calls")
    assert told["components"]["securitySchemes"]["key"]["name"] == "X-Own"


def test_every_route_is_in_it() -> None:
    routes = admin_routes(*[None] * 4)  # type: ignore[arg-type]
    described = schema.raw_schema["paths"]
    assert {(route.method.lower(), route.path) for route in routes} == {
        (method, path) for path, methods in described.items() for method in methods
    }


@pytest.mark.parametrize("which", ["calls", "admin"])
def test_any_body_may_find_no_room(which: str) -> None:
    """Or be too large, or no object; wherever one is taken."""
    paths = door.get(f"/v1/openapi.json?door={which}")["paths"]
    told = [one for path in paths.values() for one in path.values()]
    taking = [one["responses"] for one in told if "requestBody" in one]
    assert taking
    assert all(one.keys() >= {"413", "422", "503"} for one in taking)
    unavailable = [one["responses"]["503"] for one in told if "503" in one["responses"]]
    assert all("Retry-After" in one["headers"] for one in unavailable)
