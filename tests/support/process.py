"""The real service: `python mspc.py` in a process of its own."""

import http.client
import json
import os
import re
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from tests.support.children import die_with_parent, free_port
from tests.support.waiting import eventually

SCRIPT = Path(__file__).resolve().parents[2] / "mspc.py"
START_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Response:
    """What mspc answered.

    Attributes:
        headers: by lower-cased name.
    """

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class MspcProcess:
    """One mspc with its own directory and ports; several runs of it with `restart()`.

    Nothing reaches it from outside but `settings` and `yaml`: a developer's env.yml,
    environment and certificates are not seen.

    Attributes:
        directory: holds data, log file, certificates and env.yml, and is the working
            directory.
        ssl_dir: where server.crt and server.key are looked for.
        tracebacks_allowed: set it in the rare test whose mspc may print one.
    """

    def __init__(
        self,
        directory: Path,
        settings: Mapping[str, str] | None = None,
        *,
        yaml: str = "",
        arguments: tuple[str, ...] = (),
        prefix: tuple[str, ...] = (),
        stdout: int = subprocess.PIPE,
        stderr: int = subprocess.STDOUT,
    ) -> None:
        """
        Args:
            directory: see above; it is made.
            settings: as environment variables.
            yaml: the content of env.yml.
            arguments: of the command.
            prefix: a command that becomes (exec) the one in its arguments.
            stdout: a descriptor instead of `output`, which stays empty then.
            stderr: a descriptor instead of `output`.
        """
        self.directory = directory
        self.http_port = free_port()
        self.https_port = free_port()
        self.admin_port = free_port()
        self.data_dir = directory / "data"
        self.log_file = directory / "logs" / "mspc.log"
        self.ssl_dir = directory / "ssl"
        self.config_file = directory / "env.yml"
        self.tracebacks_allowed = False
        self.settings = dict(settings or {})
        self._arguments = arguments
        self._prefix = prefix
        self._stdout, self._stderr = stdout, stderr
        self._process: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None
        self._lines: list[str] = []
        self._first_line_of_run = 0
        self._printed = threading.Condition()
        self.ssl_dir.mkdir(parents=True)
        self.config_file.write_text(yaml)

    # The process

    @property
    def pid(self) -> int:
        return self._started.pid

    @property
    def peak_memory(self) -> int:
        """The most resident memory that it has had, in bytes."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        (line,) = (one for one in status.splitlines() if one.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Starts it and returns at once; see `wait_ready()`."""
        assert not self.running, "mspc is running already"
        self._first_line_of_run = len(self._lines)
        self._process = subprocess.Popen(
            [*self._prefix, sys.executable, str(SCRIPT), *self._arguments],
            env=self._environment(),
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            stdout=self._stdout,
            stderr=self._stderr,
            preexec_fn=die_with_parent,
        )
        if self._process.stdout is None:
            return
        self._reader = threading.Thread(
            target=self._read, args=(self._process.stdout,), daemon=True
        )
        self._reader.start()

    def restart(self) -> None:
        """Starts it again after its end: same directory, same ports, until ready."""
        self.start()
        self.wait_ready()

    def signal(self, number: int) -> None:
        """SIGHUP, SIGSTOP or SIGCONT, for example."""
        os.kill(self.pid, number)

    def terminate(self) -> None:
        """Asks it to end in order; see `wait()`."""
        self.signal(signal.SIGTERM)

    def kill(self) -> None:
        """Ends it as a crash does; returns when it is gone."""
        if self.running:
            self.signal(signal.SIGKILL)
        if self._process is not None:
            self.wait()

    def wait(self, timeout: float = 40) -> int:
        """Waits for its end: the exit code, or the negative number of a signal."""
        try:
            code = self._started.wait(timeout)
        except subprocess.TimeoutExpired:
            raise self._failure(f"mspc still runs after {timeout} s") from None
        if self._reader is not None:
            self._reader.join(5)  # the output is complete then
        return code

    # What it prints

    @property
    def output(self) -> str:
        """What all its runs have printed so far."""
        return "".join(self._lines)

    def wait_for_log(
        self, pattern: str, timeout: float = 15, *, count: int = 1
    ) -> re.Match[str]:
        """Waits until `count` lines of the current run match; the last one's match."""
        expression = re.compile(pattern)
        matches: list[re.Match[str]] = []
        place = self._first_line_of_run

        def enough() -> bool:
            nonlocal place  # each line is looked at once: there may be thousands
            new = self._lines[place:]
            place += len(new)
            matches.extend(match for line in new if (match := expression.search(line)))
            return len(matches) >= count

        with self._printed:
            found = self._printed.wait_for(enough, timeout)
        if not found:
            seen = f"{len(matches)} of {count} lines like {pattern!r}"
            raise self._failure(f"mspc printed {seen} within {timeout} s")
        return matches[count - 1]

    # What it answers

    def wait_ready(self, timeout: float = START_SECONDS) -> None:
        """Returns when it lives and is ready."""
        deadline = time.monotonic() + timeout
        for path in ("/health/live", "/health/ready"):
            while not self._answers_200(path):
                if not self.running:
                    raise self._failure(f"mspc ended with exit code {self.wait()}")
                if time.monotonic() > deadline:
                    raise self._failure(f"no 200 from {path} within {timeout} s")
                time.sleep(0.05)

    def post(
        self,
        content: object,
        headers: Mapping[str, str] | None = None,
        *,
        path: str = "/",
    ) -> Response:
        """Sends a call: bytes as they are, anything else as JSON."""
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        json_type = {"Content-Type": "application/json"}
        return self.request("POST", path, body, json_type | dict(headers or {}))

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> Response:
        return self.request("GET", path, headers=headers)

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        tls: bool | None = None,
        timeout: float = 30,
    ) -> Response:
        """One request on a connection of its own.

        Args:
            method: the method.
            path: path and query.
            body: the content, None for none.
            headers: besides Host and Content-Length.
            tls: to the HTTPS port, whatever its certificate; None to follow the
                setting TLS.
            timeout: seconds of silence until TimeoutError.
        """
        connection = self.connect(tls=tls, timeout=timeout)
        try:
            connection.request(method, path, body, dict(headers or {}))
            response = connection.getresponse()
            fields = {name.lower(): value for name, value in response.getheaders()}
            return Response(response.status, fields, response.read())
        finally:
            connection.close()

    def admin(
        self,
        method: str,
        path: str,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        key: str | None = None,
    ) -> Response:
        """An answer of the operators' door, on a connection of its own.

        Args:
            method: the method.
            path: path and query.
            body: is sent as JSON; None for none.
            headers: more of them.
            key: that which mspc has made unless told otherwise; empty for none.
        """
        if key is None:
            key = (self.data_dir / "admin.key").read_text().strip()
        sent = {"Authorization": f"Bearer {key}"} if key else {}
        content = None if body is None else json.dumps(body)
        connection = http.client.HTTPConnection(
            "127.0.0.1", self.admin_port, timeout=30
        )
        try:
            connection.request(method, path, content, sent | dict(headers or {}))
            answer = connection.getresponse()
            fields = {name.lower(): value for name, value in answer.getheaders()}
            return Response(answer.status, fields, answer.read())
        finally:
            connection.close()

    def wait_for_state(self, call_id: str, state: str) -> Any:
        """What the operators' door tells of a call, from when it is in that state.

        The log says what becomes of a call before that is stored, and the journal and
        the queue know it after: whoever reads them waits for them.
        """
        told: dict[str, Any] = {}

        def reached() -> bool:
            told.update(self.admin("GET", f"/v1/calls/{call_id}").json)
            return bool(told["state"] == state)

        eventually(reached)
        return told

    def wait_for_states(self, **counts: int) -> None:
        """Until so many calls are in each of these states; see `wait_for_state()`."""

        def reached() -> bool:
            states = self.admin("GET", "/v1/stats").json["states"]
            return counts == {state: states[state] for state in counts}

        eventually(reached)

    def connect(
        self, *, tls: bool | None = None, timeout: float = 30
    ) -> http.client.HTTPConnection:
        """A client for several requests; the caller closes it."""
        if tls is None:
            tls = self.settings.get("TLS") == "1"
        if not tls:
            return http.client.HTTPConnection(
                "127.0.0.1", self.http_port, timeout=timeout
            )
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return http.client.HTTPSConnection(
            "127.0.0.1", self.https_port, timeout=timeout, context=context
        )

    @property
    def _started(self) -> "subprocess.Popen[bytes]":
        assert self._process is not None, "mspc has not been started"
        return self._process

    def _environment(self) -> dict[str, str]:
        kept = ("PATH", "HOME", "LANG", "TMPDIR")
        return {
            **{name: os.environ[name] for name in kept if name in os.environ},
            "PYTHONUNBUFFERED": "1",
            "MSPC_CONFIG": str(self.config_file),
            "HTTP_HOST": "127.0.0.1",
            "HTTP_PORT": str(self.http_port),
            "HTTPS_PORT": str(self.https_port),
            "ADMIN_PORT": str(self.admin_port),
            "DATA_DIR": str(self.data_dir),
            "LOG_FILE": str(self.log_file),
            "SSL_DIR": str(self.ssl_dir),
            **self.settings,
        }

    def _read(self, stream: IO[bytes]) -> None:
        with stream:
            for line in stream:
                with self._printed:
                    self._lines.append(line.decode(errors="replace"))
                    self._printed.notify_all()

    def _answers_200(self, path: str) -> bool:
        try:
            return self.request("GET", path, timeout=5).status == 200
        except (OSError, http.client.HTTPException):
            return False

    def _failure(self, reason: str) -> AssertionError:
        return AssertionError(f"{reason}; its output:\n{self.output or '(none)'}")


@contextmanager
def serving(
    directory: Path, settings: Mapping[str, str] | None = None
) -> Iterator[MspcProcess]:
    """One mspc that several tests use; see `MspcProcess`.

    It has to run on, and may have printed no traceback.
    """
    process = MspcProcess(directory, settings)
    process.start()
    try:
        process.wait_ready()
        pid = process.pid
        yield process
        assert process.running
        assert process.pid == pid
        assert "Traceback" not in process.output, process.output
    finally:
        process.kill()
