"""A file system of its own for a test: what a disk that is full looks like."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def small_disk(directory: Path, mebibytes: int) -> Iterator[bool]:
    """Lies there, of so many MiB, until the end; whether it does: only root may.

    It takes memory only where something is written.
    """
    size = f"size={mebibytes}m"
    mount = ["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(directory)]
    if shutil.which("mount") is None or subprocess.run(mount).returncode:
        yield False
        return
    try:
        yield True
    finally:
        # Lazily: a test that failed may have left its file open.
        subprocess.run(["umount", "--lazy", str(directory)], check=True)
