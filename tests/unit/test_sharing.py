"""Runs that share the tests: together they run each of them, once."""

from itertools import zip_longest
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.sharing import LONGEST, Claims, in_order, taken

PROJECT = Path(__file__).parents[2]


def items(*names: str) -> Any:
    return [
        SimpleNamespace(
            nodeid=name, fixturenames=["rabbitmq"] if "broker" in name else []
        )
        for name in names
    ]


@pytest.mark.parametrize("longest", LONGEST)
def test_a_file_that_takes_long_is_there(longest: str) -> None:
    assert (PROJECT / longest).exists()


def test_each_test_runs_once_and_a_file_s_together(tmp_path: Path) -> None:
    names = [f"{kind}{n}.py::t{m}" for kind in "ab" for n in range(5) for m in range(3)]
    runs = [
        taken(items(*names), Claims(tmp_path).take, number % 2 == 0)
        for number in range(3)
    ]
    seen: list[list[str]] = [[] for _ in runs]
    # In turn, one test each, as runs that are equally fast.
    for turn in zip_longest(*runs):
        for own, item in zip(seen, turn, strict=True):
            if item is not None:
                own.append(item.nodeid)
    assert sorted(name for own in seen for name in own) == sorted(names)
    for own in seen:
        assert own
        files = [name.partition("::")[0] for name in own]
        assert files == sorted(files, key=files.index)


def test_half_of_the_runs_begin_with_the_files_that_need_a_broker(
    tmp_path: Path,
) -> None:
    given = items("a.py::x", "broker.py::x", "c.py::x", "broker2.py::x")
    first = [item.nodeid for item in taken(given, lambda _: True, True)]
    last = [item.nodeid for item in taken(given, lambda _: True, False)]
    assert first == ["broker.py::x", "broker2.py::x", "a.py::x", "c.py::x"]
    assert last == ["a.py::x", "c.py::x", "broker.py::x", "broker2.py::x"]


def test_the_longest_come_first() -> None:
    assert in_order(["a.py", *LONGEST[::-1]], set(), False) == [*LONGEST, "a.py"]
