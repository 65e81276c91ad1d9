"""How much is free, of a disk that may hang."""

import os
from pathlib import Path

import gevent
import pytest
from gevent.monkey import get_original

from mspc.process import disk
from mspc.process.disk import Volume


def test_what_is_free(tmp_path: Path) -> None:
    found = os.statvfs(tmp_path)
    assert Volume(tmp_path).free() <= found.f_blocks * found.f_frsize


def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Volume(tmp_path / "none").free()


def test_a_disk_that_hangs_takes_one_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often somebody asks; names are looked up in the hub's threads."""
    monkeypatch.setattr(disk, "LOOK_SECONDS", 0.02)
    door, looks = get_original("_thread", "allocate_lock")(), []

    def look(folder: Path) -> os.statvfs_result:
        looks.append(folder)
        with door:
            return os.statvfs(folder)

    volume = Volume(tmp_path, look)
    before = gevent.get_hub().threadpool.size
    door.acquire()
    for _ in range(20):
        with pytest.raises(TimeoutError, match="could not be looked at in time"):
            volume.free()
    assert looks == [tmp_path]
    assert gevent.get_hub().threadpool.size == before
    door.release()
    monkeypatch.setattr(disk, "LOOK_SECONDS", 10)
    assert volume.free() > 0
