"""Prometheus itself, with the rules of deploy/ in a time that passes faster."""

import http.client
import json
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import yaml

from tests.support.children import die_with_parent, end, free_port
from tests.support.programs import needed
from tests.support.waiting import eventually

RULES = Path(__file__).resolve().parents[2] / "deploy" / "prometheus" / "rules.yml"

# So many seconds of the rules are one here.
FASTER = 120
# What has to last before an alert fires is bounded besides. Below, since one scrape
# that fails must be no alert, as it is none within the product's minute; above, since
# an hour and a day would be half a minute and twelve.
SHORTEST_SECONDS, LONGEST_SECONDS = 2.5, 5.0

# mspc looks for lag each half second, and Prometheus keeps what it was told last: asked
# twice as often, mspc would know of none every other time.
SCRAPE_SECONDS = 1.0
EVALUATION_SECONDS = 0.25
START_SECONDS = 30.0

_UNITS = {"s": 1, "m": 60, "h": 3_600}
_DURATION = re.compile(r"(\d+)([smh])")
_WINDOW = re.compile(r"\[([^]]+)\]")
# An age grows with time. Lag does not: half a second is half a second.
_AGE = re.compile(r"(_age_seconds > )(\d+)")


def faster(rules: str) -> str:
    """The rules with nothing changed but what is a time: `for`, windows, ages."""
    read = yaml.safe_load(rules)
    for group in read["groups"]:
        for rule in group["rules"]:
            if "for" in rule:
                lasting = max(_seconds(rule["for"]) / FASTER, SHORTEST_SECONDS)
                rule["for"] = _written(min(lasting, LONGEST_SECONDS))
            rule["expr"] = _shorter(rule["expr"])
    return yaml.safe_dump(read)


def _shorter(expression: str) -> str:
    windows = _WINDOW.sub(
        lambda found: f"[{_written(_window(_seconds(found[1])))}]", expression
    )
    return _AGE.sub(lambda found: f"{found[1]}{int(found[2]) / FASTER}", windows)


def _window(seconds: int) -> float:
    # A shorter one would have no scrape in it now and then.
    return max(seconds / FASTER, SHORTEST_SECONDS)


def _seconds(duration: str) -> int:
    found = _DURATION.fullmatch(duration)
    assert found is not None, f"{duration!r} is no duration of one unit"
    return int(found[1]) * _UNITS[found[2]]


def _written(seconds: float) -> str:
    return f"{round(seconds * 1_000)}ms"


class Prometheus:
    """One on loopback that asks the operators' doors of some mspc.

    Attributes:
        port: where it listens.
    """

    def __init__(self, directory: Path, admin_ports: Sequence[int]) -> None:
        self._program = needed("prometheus")
        directory.mkdir()
        self.port = free_port()
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None
        config = {
            "global": {
                "scrape_interval": _written(SCRAPE_SECONDS),
                "evaluation_interval": _written(EVALUATION_SECONDS),
            },
            "rule_files": ["rules.yml"],
            "scrape_configs": [
                {
                    "job_name": "mspc",
                    "static_configs": [
                        {"targets": [f"127.0.0.1:{port}" for port in admin_ports]}
                    ],
                }
            ],
        }
        (directory / "rules.yml").write_text(faster(RULES.read_text()))
        (directory / "prometheus.yml").write_text(yaml.safe_dump(config))

    def start(self) -> None:
        """Returns when it answers questions."""
        with (self._directory / "output").open("ab") as output:
            self._process = subprocess.Popen(
                [
                    self._program,
                    f"--config.file={self._directory / 'prometheus.yml'}",
                    f"--storage.tsdb.path={self._directory / 'data'}",
                    f"--web.listen-address=127.0.0.1:{self.port}",
                ],
                cwd=self._directory,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                preexec_fn=die_with_parent,
            )
        eventually(self._answers, START_SECONDS)

    def stop(self) -> None:
        if self._process is not None:
            end(self._process, 10)

    def alerts(self) -> list[Any]:
        """Those that fire: `labels`, and `annotations` as somebody reads them."""
        known = self._ask("/api/v1/alerts")["alerts"]
        return [alert for alert in known if alert["state"] == "firing"]

    def query(self, expression: str) -> list[Any]:
        """The series of an expression now."""
        told = self._ask("/api/v1/query", {"query": expression})
        result = told["result"]
        assert isinstance(result, list)
        return result

    def _answers(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            said = (self._directory / "output").read_text(errors="replace")
            raise AssertionError(f"Prometheus has ended:\n{said}")
        try:
            return self._get("/-/ready")[0] == http.client.OK
        except OSError:
            return False

    def _ask(self, path: str, parameters: Mapping[str, str] | None = None) -> Any:
        status, body = self._get(f"{path}?{urlencode(parameters or {})}")
        assert status == http.client.OK, body.decode(errors="replace")
        return json.loads(body)["data"]

    def _get(self, target: str) -> tuple[int, bytes]:
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            client.request("GET", target)
            answer = client.getresponse()
            return answer.status, answer.read()
        finally:
            client.close()
