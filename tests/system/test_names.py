"""Names whose servers are silent, and names with dead addresses: the real resolver.

A DNS server and an /etc/hosts of their own, in a mount namespace.
"""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.dns import StubDns
from tests.faults.nodes import NotInjected
from tests.support.backlog import full_backlog
from tests.support.process import MspcProcess
from tests.support.target import Target

SILENT = 150
# Silent for longer than any call here waits.
SILENCE_SECONDS = 40
# Before, a healthy name waited for 25 to 35 s.
PROMPT_SECONDS = 8

Start = Callable[..., MspcProcess]


@pytest.fixture
def start(tmp_path: Path, target: Target) -> Iterator[Start]:
    """Starts an mspc with a prefix; none may print a traceback."""
    started: list[MspcProcess] = []

    def start(prefix: tuple[str, ...], **settings: str) -> MspcProcess:
        process = MspcProcess(
            tmp_path / f"mspc-{len(started)}", settings, prefix=prefix
        )
        started.append(process)
        process.start()
        process.wait_ready()
        return process

    yield start
    for process in started:
        process.kill()
        assert "Traceback" not in process.output


@pytest.fixture
def dns(tmp_path: Path) -> Iterator[tuple[StubDns, tuple[str, ...]]]:
    dns = StubDns()
    try:
        dns.start()
        yield dns, dns.command(tmp_path, SILENCE_SECONDS)
    except NotInjected as exc:
        pytest.skip(str(exc))
    finally:
        dns.stop()


def test_silent_names_hold_up_no_healthy_name(
    start: Start, target: Target, dns: tuple[StubDns, tuple[str, ...]]
) -> None:
    server, prefix = dns
    mspc = start(
        prefix,
        QUEUE_NUMBER_OF_CONSUMERS="500",
        FORWARD_CONNECT_TIMEOUT_SECONDS="3",
        REQUEUE_FAILED_AFTER_MILLISECONDS="2000",
    )

    def healthy(name: str) -> None:
        url = f"http://{name}:{target.port}/{name}"
        call_id = mspc.post({"url": url}).json["id"]
        mspc.wait_for_log(f"{call_id} .* done$", PROMPT_SECONDS)

    healthy("known.good.test")
    for n in range(SILENT):
        mspc.post({"url": f"http://{n}.silent.test:{target.port}/silent"})
    healthy("new.good.test")
    mspc.wait_for_log(
        r"silent.test.*-> the host name cannot be resolved: name servers are silent"
        r".* in [34]\d\d\d ms",
        count=SILENT,
    )
    healthy("known.good.test")
    healthy("another.good.test")
    # Left alone for some seconds: they cost no time at all.
    mspc.wait_for_log(r"silent.test.*asked again in \d+ s in \d ms")
    server.healed = True
    target.wait_for(SILENT, "/silent", timeout=60)


def test_search_domains_and_the_hosts_file(
    start: Start,
    target: Target,
    tmp_path: Path,
    dns: tuple[StubDns, tuple[str, ...]],
) -> None:
    _, prefix = dns
    resolv = tmp_path / "resolv.conf"
    resolv.write_text(resolv.read_text().replace("search .", "search good.test"))
    mspc = start(prefix)
    for name in ("short", "localhost"):
        call_id = mspc.post({"url": f"http://{name}:{target.port}/{name}"}).json["id"]
        mspc.wait_for_log(f"{call_id} .* done$")


def test_a_dead_first_address_costs_neither_time_nor_the_call(
    start: Start, tmp_path: Path
) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text("::1 both.test\n127.0.0.1 both.test localhost\n")
    target = Target()
    target.start()
    with full_backlog("::1", target.port):
        mspc = start(_with_hosts(hosts))
        target.answer(headers={"Connection": "close"})
        for number in range(3):
            url = f"http://both.test:{target.port}/{number}"
            call_id = mspc.post({"url": url, "requeue": False}).json["id"]
            found = mspc.wait_for_log(rf"{call_id} .* -> 200 in (\d+) ms: done$")
            assert int(found[1]) < 4_000, "it took the time of a connection"
        target.stop()
        call_id = mspc.post({"url": url, "requeue": False}).json["id"]
        mspc.wait_for_log(
            rf"{call_id} .* -> no connection: Connection refused \(127.0.0.1\); "
            r"no answer \(::1\)"
        )


def test_a_denied_address_is_denied_by_every_spelling_and_name(
    start: Start, target: Target, tmp_path: Path
) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text("::1 both.test\n0.0.0.0 zero.test\n::ffff:0.0.0.0 mapped.test\n")
    mspc = start(_with_hosts(hosts), FORWARD_DENY_NETWORKS="127.0.0.0/8, ::1")
    for host in ("0.0.0.0", "[::]", "[::ffff:0.0.0.0]", "[::ffff:127.0.0.1]"):
        answer = mspc.post({"url": f"http://{host}:{target.port}/"})
        assert answer.status == 400, host
        assert "FORWARD_DENY_NETWORKS" in answer.json["message"]
    for name in ("zero.test", "mapped.test", "both.test"):
        call_id = mspc.post({"url": f"http://{name}:{target.port}/"}).json["id"]
        mspc.wait_for_log(f"{call_id} .*FORWARD_DENY_NETWORKS.*a dead letter$")
    assert target.connections == 0


def _with_hosts(hosts: Path) -> tuple[str, ...]:
    unshare = shutil.which("unshare")
    if unshare is None:
        pytest.skip("no unshare")
    script = 'mount --bind "$1" /etc/hosts || exit 99; shift; exec "$@"'
    command = ("sh", "-c", script, "sh", str(hosts))
    prefix = (unshare, "--mount", "--propagation", "private", *command)
    probe = [*prefix, "getent", "ahosts", "both.test"]
    found = subprocess.run(probe, capture_output=True, text=True, check=False)
    if "::1" not in found.stdout:
        pytest.skip(f"no other /etc/hosts: {found.stdout}{found.stderr}")
    return prefix
