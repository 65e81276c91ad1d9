"""What docs/operations.md says of a damaged queue.db, done word for word."""

import os
import subprocess
from pathlib import Path

from tests.conftest import StartMspc
from tests.support.documents import recipe
from tests.support.target import Target

PAGE = 4096
CALLS = 2000
BATCH = 500
BODY = '"' + 300 * "x" + '"'


def damage(path: Path) -> None:
    """As a disk that has lost a page in the middle does."""
    page = path.stat().st_size // PAGE // 2
    with path.open("r+b") as file:
        file.seek(page * PAGE)
        file.write(os.urandom(PAGE))


def test_most_calls_are_saved(mspc_process: StartMspc, target: Target) -> None:
    mspc = mspc_process()
    for first in range(0, CALLS, BATCH):
        calls = [
            {"url": target.url(f"/{n}"), "delay": "1h", "body": BODY}
            for n in range(first, first + BATCH)
        ]
        assert mspc.post({"calls": calls}, path="/v1/calls:batch").status == 202
    mspc.terminate()
    assert mspc.wait() == 0
    damage(mspc.data_dir / "queue.db")

    mspc.start()
    assert mspc.wait() == 2
    assert '"Save what is in a damaged file" in docs/operations.md' in mspc.output

    saving = recipe("Save what is in a damaged file", ".dump")
    subprocess.run(
        ["bash", "-e", "-c", saving], cwd=mspc.data_dir, check=True, timeout=60
    )
    assert (mspc.data_dir / "queue.db").stat().st_mode & 0o077 == 0
    mspc.restart()
    told = mspc.wait_for_log(r"is open: 0 calls to make, (\d+) waiting")
    assert CALLS * 0.98 < int(told[1]) < CALLS
    # The journal does not know that they are gone.
    assert mspc.admin("GET", "/v1/stats").json["states"]["waiting"] == CALLS
    assert mspc.post({"url": target.url("/new")}).status == 202
    target.wait_for(1, "/new")
