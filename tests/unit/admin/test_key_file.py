"""The key that mspc makes itself."""

import secrets
import stat
from pathlib import Path

import pytest

from mspc.admin.keys import admin_key
from mspc.errors import ConfigError
from mspc.settings.config import AdminConfig


def at(file: Path, key: str = "") -> AdminConfig:
    return AdminConfig(key=key, key_file=file)


def test_it_is_made_once_for_its_owner_only(tmp_path: Path) -> None:
    file = tmp_path / "data" / "admin.key"
    key = admin_key(at(file))
    assert len(key) == 64
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert admin_key(at(file)) == key
    assert [one.name for one in file.parent.iterdir()] == ["admin.key"]


def test_the_one_of_the_settings_comes_first(tmp_path: Path) -> None:
    file = tmp_path / "admin.key"
    assert admin_key(at(file, "a-key-of-the-settings")) == "a-key-of-the-settings"
    assert not file.exists()


def test_what_another_instance_made_meanwhile_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "admin.key"

    def token(size: int) -> str:
        file.write_text("the-key-of-the-other-one\n")
        return "f" * 2 * size

    monkeypatch.setattr(secrets, "token_hex", token)
    assert admin_key(at(file)) == "the-key-of-the-other-one"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "has no key of at least 16"),
        (b"short\n", "has no key of at least 16"),
        (b"two keys of a good length\n", "has no key of at least 16"),
        (b"x" * 5000, "has no key of at least 16"),
        ("ž".encode() * 20, "cannot be read (it is not ASCII)"),
    ],
)
def test_one_that_cannot_be_used(tmp_path: Path, content: bytes, told: str) -> None:
    file = tmp_path / "admin.key"
    file.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        admin_key(at(file))
    assert str(caught.value).startswith(f"{file} {told}")
    assert "remove it" in str(caught.value)
    assert file.read_bytes() == content


def test_one_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot be read \(Is a directory\)"):
        admin_key(at(tmp_path))


@pytest.mark.parametrize("target", ["nowhere/at all", "file"])
def test_one_that_cannot_be_made(tmp_path: Path, target: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "data").symlink_to(tmp_path / target)
    with pytest.raises(
        ConfigError, match=r"^DATA_DIR: .* cannot be written .* set ADMIN_KEY"
    ) as caught:
        admin_key(at(tmp_path / "data" / "admin.key"))
    assert "ADMIN: 0" in str(caught.value)
