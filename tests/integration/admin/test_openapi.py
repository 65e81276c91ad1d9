"""The operators' door does what its OpenAPI document says, whatever is sent."""

from urllib.parse import quote

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import Case, GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from mspc.journal.base import Group, Tally
from mspc.journal.events import Decided
from mspc.steering.base import Limits, Standing
from tests.support.operators import AT, ATTEMPTED, CALL_ID, DESTINATION, SEEN
from tests.unit.admin.conftest import ADMIN, Door

EXAMPLES = 20  # of each route, for what is right and for what is wrong


class Every(set[str]):
    """Has every other id."""

    def __contains__(self, call_id: object) -> bool:
        return isinstance(call_id, str) and len(call_id) % 2 == 0


def busy_door() -> Door:
    """A door behind which something is found of whatever is asked for."""
    door = Door()
    door.steering.ids = Every()
    door.steering.flying = {CALL_ID}
    job = door.steering.begin("retry", (), "admin")
    door.view.decided = [Decided("paused", AT, "admin", (DESTINATION,))]
    door.view.found = [Group("max_age", None, "dns", DESTINATION, 7, AT, AT, CALL_ID)]
    door.view.tallies = {DESTINATION: Tally({"dead": 1}, AT, ATTEMPTED)}
    door.steering.states = {DESTINATION: Standing(DESTINATION, limits=Limits(5))}
    door.view.call = lambda call_id: SEEN if call_id in Every() else None
    for name in ("job", "stop_job"):
        found = lambda job_id, *_: job if job_id in Every() else None  # noqa: E731
        setattr(door.steering, name, found)
    return door


door = busy_door()
# That a cursor is ours, that a date is yet to come, ...: no schema can say it.
INEXPRESSIBLE = [positive_data_acceptance]
KEY = {"Authorization": f"Bearer {ADMIN}"}
schema = schemathesis.openapi.from_wsgi("/v1/openapi.json", door.app, headers=KEY)
OPERATIONS = {
    operation.label: operation
    for operation in (found.ok() for found in schema.get_all_operations())
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
    def check(case: Case) -> None:
        if mode is GenerationMode.POSITIVE and "key" in case.path_parameters:
            case.path_parameters["key"] = quote(DESTINATION, safe="")
        case.call_and_validate(headers=KEY, excluded_checks=INEXPRESSIBLE)

    check()
    if (
        mode is GenerationMode.POSITIVE
        and "{key}" in label
        and operation.method != "get"
    ):
        assert door.steering.done[-1][1] == DESTINATION
