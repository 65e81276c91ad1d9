"""A PostgreSQL for the subjects that keep their calls in one."""

import os
import pwd
import re
import shutil
from pathlib import Path
from urllib.parse import quote

from benchmarks.processes import Child, Failed, find, wait_until

START_SECONDS = 30.0
_DEBIAN = Path("/usr/lib/postgresql")
_SUPERUSER = "postgres"
# Whose processes they are when we are root, which PostgreSQL refuses to be.
_USERS = ("postgres", "nobody")


class Postgres:
    """As `initdb` sets it up, reached by a Unix socket alone that only its user opens.

    Args:
        home: for its files; its owner becomes PostgreSQL's user. Its path has to be
            short, for the socket in it.
        logs: where what it prints is kept.
    """

    def __init__(self, home: Path, logs: Path) -> None:
        self._home = home
        self._data = home / "data"
        self._logs = logs
        self._user = _unprivileged()
        self._server: Child | None = None

    @staticmethod
    def programs() -> Path | None:
        """The folder of the newest one's programs, None when there is none."""

        def version(folder: Path) -> int:
            return int(re.sub(r"\D.*", "", folder.parent.name) or 0)

        for folder in sorted(_DEBIAN.glob("*/bin"), key=version, reverse=True):
            if (folder / "postgres").exists() and (folder / "initdb").exists():
                return folder
        found = find("postgres")
        return Path(found).resolve().parent if found else None

    @property
    def pid(self) -> int:
        assert self._server is not None, "PostgreSQL has not been started"
        return self._server.pid

    def start(self) -> None:
        """Returns when it takes connections."""
        if self._user is not None:
            shutil.chown(self._home, self._user)
        access = ["--auth-local", "trust", "--auth-host", "reject"]
        self._finish("initdb", *access, "-U", _SUPERUSER, "-D", str(self._data))
        command = [self.program("postgres"), "-D", str(self._data)]
        command += ["-k", str(self._home), "-h", ""]
        log = self._logs / "postgres.log"
        self._server = Child(command, log, user=self._user)
        wait_until(self._ready, START_SECONDS, "PostgreSQL is ready", 0.1)

    def stop(self) -> None:
        if self._server is not None:
            self._server.stop()

    def url(self, database: str) -> str:
        return f"postgres://{_SUPERUSER}@/{database}?host={quote(str(self._home))}"

    def create(self, database: str) -> None:
        self._finish("createdb", *self._client, database)

    def drop(self, database: str) -> None:
        self._finish("dropdb", "--force", *self._client, database)

    def program(self, name: str) -> str:
        folder = self.programs()
        assert folder is not None, "PostgreSQL is not installed"
        return str(folder / name)

    @property
    def _client(self) -> list[str]:
        return ["-h", str(self._home), "-U", _SUPERUSER]

    def _ready(self) -> bool:
        assert self._server is not None
        self._server.check()
        try:
            self._finish("pg_isready", "-q", *self._client)
        except Failed:
            return False
        return True

    def _finish(self, name: str, *arguments: str) -> None:
        log = self._logs / f"{name}.log"
        child = Child([self.program(name), *arguments], log, user=self._user)
        child.finish(START_SECONDS)


def _unprivileged() -> str | None:
    """Somebody who is not root; None for ourselves."""
    if os.getuid() != 0:
        return None
    known = {user.pw_name for user in pwd.getpwall()}
    return next(name for name in _USERS if name in known)
