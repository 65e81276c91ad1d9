"""The stable words of errors."""

import ast
from collections.abc import Iterator

import pytest

from mspc.api import codes
from mspc.api.codes import CODES
from tests.unit.test_architecture import SOURCES, tree_of


def not_possible() -> Iterator[str]:
    """The code of every NotPossible that is written down in mspc."""
    for name in SOURCES:
        for node in ast.walk(tree_of(name)):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
                continue
            if node.func.id == "NotPossible" and isinstance(node.args[0], ast.Constant):
                yield str(node.args[0].value)


def test_what_is_not_possible_has_a_code_that_is_documented() -> None:
    # A door says of a path that it is wrong, with 400.
    found = set(not_possible()) - {"not_a_destination"}
    assert {code: CODES.get(code) for code in found} == dict.fromkeys(found, 409)


@pytest.mark.parametrize(
    ("status", "code"),
    [
        ("400 Bad Request", "bad_request"),
        ("431 Request Header Fields Too Large", "headers_too_large"),
        (404, "not_found"),
        ("418 I'm a Teapot", "bad_request"),
        ("505 HTTP Version Not Supported", "internal"),
    ],
)
def test_of_a_status(status: str | int, code: str) -> None:
    assert codes.of(status) == code
