"""The proxies of deploy/: Debian's programs, the configurations that are shipped."""

import http.client
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path

from tests.support.children import die_with_parent, end, free_port
from tests.support.documents import blocks
from tests.support.programs import needed
from tests.support.waiting import eventually

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"


def shipped(name: str, changes: Mapping[str, str]) -> str:
    """A file of deploy/ in which each key of `changes` has become its value."""
    text = (DEPLOY / name).read_text()
    for old, new in changes.items():
        assert old in text, f"deploy/{name} has no {old!r} to replace"
        text = text.replace(old, new)
    return text


class Proxy(ABC):
    """One proxy on loopback, in front of two mspc.

    Attributes:
        port: where it listens.
    """

    def __init__(self, directory: Path, instances: tuple[int, int]) -> None:
        """`instances`: the ports of the mspc that requests go to."""
        directory.mkdir()
        self.port = free_port()
        self._directory = directory
        self._printed = directory / "output"
        self._process: subprocess.Popen[bytes] | None = None
        self._command = self._configured(
            {
                f"10.0.0.1{number}:8008": f"127.0.0.1:{port}"
                for number, port in enumerate(instances, start=1)
            }
        )

    def check(self) -> str:
        """What the program says of the configuration; fails when it refuses it."""
        done = subprocess.run(
            [*self._command, self._check_option],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        said = done.stdout + done.stderr
        assert done.returncode == 0, said
        return said

    def start(self) -> None:
        """Returns when requests come through to an mspc."""
        with self._printed.open("ab") as output:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                preexec_fn=die_with_parent,
            )
        eventually(self._serves)

    def stop(self) -> None:
        if self._process is not None:
            end(self._process, 10)

    @property
    def output(self) -> str:
        """What it has printed: each request and, of haproxy, what became of servers."""
        return self._printed.read_text(errors="replace")

    @property
    @abstractmethod
    def _check_option(self) -> str: ...

    @abstractmethod
    def _configured(self, instances: Mapping[str, str]) -> list[str]:
        """Writes the configuration for these addresses; the command that takes it."""

    def _serves(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"it ended:\n{self.output}"
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            client.request("GET", "/health/ready")
            return client.getresponse().status == http.client.OK
        except OSError:
            return False
        finally:
            client.close()


class Haproxy(Proxy):
    _check_option = "-c"

    def _configured(self, instances: Mapping[str, str]) -> list[str]:
        program = needed("haproxy")
        file = self._directory / "haproxy.cfg"
        changes = {
            "bind :8008": f"bind 127.0.0.1:{self.port}",
            # They ask for root, which the tests need not be.
            "    chroot /var/lib/haproxy\n    user haproxy\n    group haproxy\n": "",
            **instances,
        }
        file.write_text(shipped("haproxy.cfg", changes))
        return [program, "-f", str(file)]


# A file of conf.d/ belongs into the block `http`. A single process ends with the tests.
_AROUND_CONF_D = """\
daemon off;
master_process off;
pid {here}/pid;
error_log stderr info;
events {{ worker_connections 1024; }}
http {{
    client_body_temp_path {here}/body;
    proxy_temp_path {here}/proxy;
    fastcgi_temp_path {here}/fastcgi;
    uwsgi_temp_path {here}/uwsgi;
    scgi_temp_path {here}/scgi;
    include {here}/mspc.conf;
}}
"""


class Nginx(Proxy):
    _check_option = "-t"

    def _configured(self, instances: Mapping[str, str]) -> list[str]:
        changes = {
            "listen 8008;": f"listen 127.0.0.1:{self.port};",
            "/var/log/nginx/mspc.log": "/dev/stderr",
            **instances,
        }
        return self._written(shipped("nginx.conf", changes))

    def _written(self, configuration: str) -> list[str]:
        """The command of an nginx that has this file in conf.d/."""
        program = needed("nginx")
        (self._directory / "mspc.conf").write_text(configuration)
        file = self._directory / "nginx.conf"
        file.write_text(_AROUND_CONF_D.format(here=self._directory))
        return [program, "-p", str(self._directory), "-e", "stderr", "-c", str(file)]


def _of_pages(language: str, admin_port: int) -> str:
    """The configuration of docs/pages.md in that language, for that port."""
    (block,) = blocks("docs/pages.md", "## From elsewhere", language)
    assert "127.0.0.1:8010" in block
    return block.replace("127.0.0.1:8010", f"127.0.0.1:{admin_port}")


class PagesProxy(Nginx):
    """nginx in front of the pages of one mspc, as docs/pages.md has it."""

    def __init__(self, directory: Path, admin_port: int) -> None:
        self._admin_port = admin_port
        super().__init__(directory, (0, 0))

    def _configured(self, instances: Mapping[str, str]) -> list[str]:
        block = _of_pages("nginx", self._admin_port)
        health = f"proxy_pass http://127.0.0.1:{self._admin_port};"
        return self._written(
            f"server {{\nlisten 127.0.0.1:{self.port};\n{block}"
            f"location /health/ {{ {health} }}\n}}\n"
        )


_AROUND_BACKEND = """\
defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s
frontend pages
    bind 127.0.0.1:{port}
    use_backend health if {{ path_beg /health/ }}
    use_backend mspc-pages if {{ path_beg /mspc/ }}
backend health
    server mspc 127.0.0.1:{admin_port}
"""


class HaproxyPages(Haproxy):
    """The same with HAProxy."""

    def __init__(self, directory: Path, admin_port: int) -> None:
        self._admin_port = admin_port
        super().__init__(directory, (0, 0))

    def _configured(self, instances: Mapping[str, str]) -> list[str]:
        program = needed("haproxy")
        file = self._directory / "haproxy.cfg"
        around = _AROUND_BACKEND.format(port=self.port, admin_port=self._admin_port)
        file.write_text(around + _of_pages("haproxy", self._admin_port))
        return [program, "-f", str(file)]
