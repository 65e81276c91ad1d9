"""Runs that share the tests: together they run each of them, once."""

import os
import re
import subprocess
import sys
from itertools import zip_longest
from pathlib import Path

import pytest

from tests.support.sharing import LONGEST, Claims, in_order, needs_broker, taken

PROJECT = Path(__file__).parents[2]


@pytest.mark.parametrize("longest", LONGEST)
def test_a_file_that_takes_long_is_there(longest: str) -> None:
    assert (PROJECT / longest).exists()


def test_each_file_is_run_once(tmp_path: Path) -> None:
    texts = {f"{n}.py": "" for n in range(10)}
    runs = [taken(texts, Claims(tmp_path).take, number % 2 == 0) for number in range(3)]
    seen: list[list[str]] = [[] for _ in runs]
    # In turn, one file each, as runs that are equally fast.
    for turn in zip_longest(*runs):
        for own, file in zip(seen, turn, strict=True):
            if file is not None:
                own.append(file)
    assert sorted(file for own in seen for file in own) == sorted(texts)
    assert all(seen)


def test_half_of_the_runs_begin_with_the_files_that_need_a_broker() -> None:
    needing = "def test(rabbitmq: Broker)"
    texts = {"a.py": "", "b.py": needing, "c.py": "", "d.py": needing}
    first = [*taken(texts, lambda _: True, True)]
    last = [*taken(texts, lambda _: True, False)]
    assert first == ["b.py", "d.py", "a.py", "c.py"]
    assert last == ["a.py", "c.py", "b.py", "d.py"]


@pytest.mark.parametrize(
    ("text", "needs"),
    [
        ("def test_it(start: StartOnQueue) -> None:", True),
        ("def test_it(mspc: MspcProcess) -> None:", True),
        ("def test_it(\n    self, target: Target, mspc: MspcProcess\n)", True),
        ('@pytest.fixture(name="mspc")\ndef test_it(mspc: MspcProcess)', False),
        ("def test_it(mspc_process: StartMspc, tmp_path: Path)", False),
    ],
)
def test_who_needs_a_broker(text: str, needs: bool) -> None:
    assert needs_broker(text) == needs


def test_the_longest_come_first() -> None:
    texts = dict.fromkeys(["a.py", *LONGEST[::-1]], "")
    assert in_order(texts, False) == [*LONGEST, "a.py"]


SHARED = {
    "conftest.py": """
import pytest

@pytest.fixture(scope="session")
def whole():
    yield 1
    print("WHOLE ENDS")
""",
    "test_one.py": """
import pytest

@pytest.mark.parametrize("n", [1, 2], scope="module")
class TestThem:
    def test_a(self, n, whole): print(f"A{n}")
    def test_b(self, n, whole): print(f"B{n}")
""",
    "test_two.py": "def test_two(whole): print('TWO')",
    "test_wrong.py": "import nothing_of_that_name",
    "test_taken.py": "raise SystemExit('of another run')",
}


def test_a_run_imports_what_it_takes_and_says_what_is_wrong(tmp_path: Path) -> None:
    """In a process of its own: fixtures, their order, and a file without an end."""
    folder, taken_ = tmp_path / "tests", tmp_path / "taken"
    folder.mkdir()
    taken_.mkdir()
    for name, text in SHARED.items():
        (folder / name).write_text(text)
    Claims(taken_).take("tests/test_taken.py")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-s", "-q", "--rootdir", tmp_path),
            *("-p", "no:cacheprovider", "-p", "tests.support.sharing", "tests"),
        ],
        cwd=tmp_path,
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(PROJECT),
            "MSPC_TEST_SHARED": f"{taken_}:0",
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    printed = re.findall(r"[AB]\d|TWO|WHOLE ENDS", done.stdout)
    assert printed == ["A1", "B1", "A2", "B2", "TWO", "WHOLE ENDS"], done.stdout
    assert "No module named 'nothing_of_that_name'" in done.stdout
    assert "5 passed, 1 error" in done.stdout
    assert done.returncode == 1
