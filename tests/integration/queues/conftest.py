"""What tests of the queues share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.small_disk import small_disk


@pytest.fixture(name="small_disk")
def _small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 MiB: calls are refused below 3.2 MiB."""
    directory = tmp_path / "disk"
    directory.mkdir()
    with small_disk(directory, 64) as mounted:
        if not mounted:
            pytest.skip("only root may mount a small disk")
        yield directory
