"""What tests of the queues share."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 MiB: calls are refused below 3.2 MiB."""
    directory = tmp_path / "disk"
    directory.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(directory)]
    if shutil.which("mount") is None or subprocess.run(mount).returncode:
        pytest.skip("only root may mount a small disk")
    yield directory
    # Lazily: a test that failed may have left its file open.
    subprocess.run(["umount", "--lazy", str(directory)], check=True)
