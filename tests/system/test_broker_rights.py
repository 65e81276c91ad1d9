"""The rights that docs/operations.md gives mspc's user in RabbitMQ are enough."""

import re

from tests.conftest import StartMspc
from tests.support.broker_users import add_user, delete_user, set_rights
from tests.support.documents import recipe
from tests.support.rabbitmq import RabbitNode
from tests.support.target import Target
from tests.support.waiting import eventually

_RIGHTS = re.compile(r"set_permissions mspc \\\n\s+'(.*)' '(.*)' \\\n\s+'(.*)'\n")


def documented(queue_name: str) -> list[str]:
    """To configure, to write and to read, for this QUEUE_NAME; for Erlang's strings."""
    found = _RIGHTS.search(recipe("Make a user for mspc", "add_user"))
    assert found is not None
    name = "^" + queue_name.replace("\\", "")
    return [
        one.replace("^services", name).replace("\\", "\\\\") for one in found.groups()
    ]


def test_a_user_with_these_rights_can_do_all_that_mspc_does(
    rabbitmq_node: RabbitNode,
    queue_name: str,
    mspc_process: StartMspc,
    target: Target,
) -> None:
    user = f"user of {queue_name}"
    add_user(rabbitmq_node, user, "secret")
    set_rights(rabbitmq_node, user, *documented(queue_name))
    try:
        settings = rabbitmq_node.settings(queue_name)
        settings |= {"RABBITMQ_DEFAULT_USER": user, "RABBITMQ_DEFAULT_PASS": "secret"}
        mspc = mspc_process({**settings, "REQUEUE_FAILED_AFTER_MILLISECONDS": "100"})
        target.answer("/fails", status=500, times=2)
        assert mspc.post({"url": target.url("/fails")}).status == 202
        target.wait_for(3, "/fails")
        target.answer("/dies", status=500, times=1)
        mspc.post({"url": target.url("/dies"), "requeue": False})

        def dead() -> bool:
            return bool(mspc.admin("GET", "/v1/stats").json["states"]["dead"])

        eventually(dead)
        (letter,) = mspc.admin("GET", "/v1/calls?state=dead").json["calls"]
        assert mspc.admin("POST", f"/v1/calls/{letter['id']}/retry").status == 200
        target.wait_for(2, "/dies")
        assert "ACCESS_REFUSED" not in mspc.output
        mspc.terminate()
        assert mspc.wait() == 0
    finally:
        delete_user(rabbitmq_node, user)
