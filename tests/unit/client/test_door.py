"""Which mspc, with which key."""

import http.client
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from mspc.client.connection import Connection
from mspc.client.door import Door, find_door
from mspc.client.failures import NotAllowed, NotReachable, WrongUse
from mspc.settings.certificates import trusting
from mspc.settings.config import AdminConfig


def found(
    environ: Mapping[str, str], admin: AdminConfig | None = None
) -> tuple[str, str]:
    def settings() -> AdminConfig:
        assert admin is not None, "the settings are not needed here"
        return admin

    door = find_door(environ, settings)
    return door.url, door.key


OWN = AdminConfig(key="key-of-the-settings")


def test_the_environment_is_enough() -> None:
    environ = {"MSPC_URL": "https://mspc.example/below/", "MSPC_KEY": "a-key\n"}
    assert found(environ) == ("https://mspc.example/below", "a-key")


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8123/mspc"),
        ("0.0.0.0", "http://127.0.0.1:8123/mspc"),
        ("::", "http://[::1]:8123/mspc"),
        ("10.0.0.5", "http://10.0.0.5:8123/mspc"),
    ],
)
def test_the_settings_say_where_it_is(host: str, url: str) -> None:
    admin = AdminConfig(host=host, port=8123, prefix="/mspc", key="the-key")
    assert found({}, admin) == (url, "the-key")
    assert found({"MSPC_KEY": "mine"}, admin) == (url, "mine")


def test_a_key_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("of-a-file\n")
    environ = {"MSPC_URL": "http://10.0.0.5:8010", "MSPC_KEY_FILE": str(file)}
    assert found(environ)[1] == "of-a-file"
    admin = AdminConfig(key_file=file)
    assert found({}, admin)[1] == "of-a-file"
    assert found({"MSPC_URL": "http://localhost:1"}, admin)[1] == "of-a-file"
    assert found({}, AdminConfig(key_file=file, key="set"))[1] == "set"


def test_the_key_of_this_machine_is_not_sent_to_another() -> None:
    with pytest.raises(NotAllowed, match="MSPC_KEY or MSPC_KEY_FILE has to say"):
        found({"MSPC_URL": "http://10.0.0.5:8010"}, OWN)


def test_a_key_file_that_is_not_there(tmp_path: Path) -> None:
    told = r"no key in .*none: No such file or directory\. MSPC_KEY_FILE names it"
    with pytest.raises(NotAllowed, match=told):
        found({"MSPC_URL": "http://a", "MSPC_KEY_FILE": f"{tmp_path}/none"})
    with pytest.raises(NotAllowed, match="makes it at its first start"):
        found({}, AdminConfig(key_file=tmp_path / "none"))


@pytest.mark.parametrize("key", ["two words", "two\nlines", "ключ", " "])
def test_no_key(key: str, tmp_path: Path) -> None:
    with pytest.raises(WrongUse, match="MSPC_KEY is no key"):
        found({"MSPC_URL": "http://a", "MSPC_KEY": key})
    file = tmp_path / "key"
    file.write_text(key)
    with pytest.raises(WrongUse, match="is no key"):
        found({"MSPC_URL": "http://a", "MSPC_KEY_FILE": str(file)})


@pytest.mark.parametrize(
    "url",
    [
        *("127.0.0.1:8010", "ftp://a", "http://", "http://a:99999", "http://a:0"),
        *("http://user@a", "http://a/?x", "http://a b", "http://[::1", "http://ä"),
        *("http://a..b", f"http://{'a' * 64}"),
    ],
)
def test_no_url(url: str) -> None:
    with pytest.raises(WrongUse, match=r"MSPC_URL must be like http://127\.0\.0\.1"):
        found({"MSPC_URL": url, "MSPC_KEY": "a-key"})


def test_a_door_that_is_shut() -> None:
    with pytest.raises(WrongUse, match="Set ADMIN: 1"):
        found({}, AdminConfig(on=False))


def test_a_key_is_not_shown() -> None:
    assert "secret" not in repr(Door("http://a", "secret", "MSPC_KEY"))


def test_it_trusts_as_mspc_does(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "none" / "keys"))
    contexts: list[ssl.SSLContext] = []

    def refused(connection: Any) -> None:
        contexts.append(connection._context)
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr(http.client.HTTPSConnection, "connect", refused)
    with pytest.raises(NotReachable, match="gives no answer: Connection refused"):
        Connection(Door("https://a", "secret", "MSPC_KEY")).get("/v1/stats")
    (context,) = contexts
    assert context.verify_flags == trusting(None).verify_flags
    assert context.verify_mode is ssl.CERT_REQUIRED
