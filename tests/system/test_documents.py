"""The commands of README.md and the pages, taken from their text and run.

What stands for something else on the reader's machine is put in: ports, ids, the
addresses of services. `docker` is a stand-in, which runs the commands for `app` in the
project's folder and writes down those for `queue`.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import StartMspc
from tests.support.children import die_with_parent, end, free_port
from tests.support.documents import blocks, command, recipe, section
from tests.support.process import SCRIPT, MspcProcess
from tests.support.rabbitmq import Broker, RabbitNode
from tests.support.small_disk import small_disk
from tests.support.target import Target
from tests.support.waiting import eventually
from tests.system.conftest import QueueUnderTest, StartOnQueue

PROJECT = SCRIPT.parent
LONG = {"REQUEUE_FAILED_AFTER_MILLISECONDS": "3600000"}  # goes to services.retry.11


_DOCKER = """\
#!{python}
import json, os, sys
verb, words, entrypoint = sys.argv[2], sys.argv[3:], []
while words and words[0].startswith("-"):
    if words[0] == "--entrypoint":
        entrypoint = [words[1]]
    del words[: 2 if words[0] in ("--entrypoint", "-s") else 1]
if verb in ("run", "exec") and words[0] == "app":
    command = [*entrypoint, *words[1:]]
    os.execvp(command[0], command)
with open("{record}", "a") as record:
    record.write(json.dumps([verb, *words]) + "\\n")
"""

# `python -m sqlite3` is there from 3.12 on, and takes one statement.
_PYTHON = """\
#!{python}
import os, sqlite3, sys
if sys.argv[1:3] != ["-m", "sqlite3"] or sys.version_info >= (3, 12):
    os.execv("{python}", ["{python}", *sys.argv[1:]])
for row in sqlite3.connect(sys.argv[3], isolation_level=None).execute(sys.argv[4]):
    print(row)
"""

# As a package has it.
_MSPC = """\
#!/bin/sh
exec "{python}" "{script}" "$@"
"""

# For where it is missing.
_SQLITE3 = """\
#!{python}
import sqlite3, sys
db = sqlite3.connect(sys.argv[-2], isolation_level=None)
for statement in sys.argv[-1].split(";"):
    for row in db.execute(statement):
        print(*row)
"""


class Shell:
    """A shell in a project's folder.

    Attributes:
        recorded: what the stand-in for docker was asked to do for `queue`, and the
            commands for `app` that are about its container.
    """

    def __init__(self, folder: Path, programs: Path) -> None:
        self._folder = folder
        self._programs = programs
        self._record = programs / "recorded"
        programs.mkdir()
        self._add("docker", _DOCKER)
        self._add("python", _PYTHON)
        self._add("mspc", _MSPC)
        if shutil.which("sqlite3") is None:
            self._add("sqlite3", _SQLITE3)

    @property
    def recorded(self) -> list[list[str]]:
        if not self._record.exists():
            return []
        return [json.loads(line) for line in self._record.read_text().splitlines()]

    def run(
        self,
        script: str,
        environment: Mapping[str, str] | None = None,
        *,
        fails: bool = False,
    ) -> str:
        """Runs a script that must succeed, or fail; what it prints."""
        path = f"{self._programs}:{os.environ.get('PATH', os.defpath)}"
        done = subprocess.run(
            ["bash", "-euc", script],
            cwd=self._folder,
            env={"PATH": path, "HOME": str(self._folder), **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode != 0) is fails, f"{script}\n{done.stdout}"
        return done.stdout

    def _add(self, name: str, text: str) -> None:
        program = self._programs / name
        names = {"python": sys.executable, "record": self._record, "script": SCRIPT}
        program.write_text(text.format_map(names))
        program.chmod(0o755)


@pytest.fixture(name="shell_in")
def _shell_in(tmp_path: Path) -> Callable[[MspcProcess], Shell]:
    return lambda mspc: Shell(mspc.directory, tmp_path / "programs")


def stopped(mspc: MspcProcess) -> None:
    mspc.terminate()
    assert mspc.wait() == 0


def contents(mspc: MspcProcess) -> tuple[int, int, int]:
    """What the log says of the embedded queue: new, waiting, dead."""
    found = mspc.wait_for_log(
        r"is open: (\d+) calls to make, (\d+) waiting .*, (\d+) dead letters"
    )
    new, waiting, dead = map(int, found.groups())
    return new, waiting, dead


def call_id(answer: str) -> str:
    return str(json.loads(answer)["id"])


# README.md


def test_the_first_minute(
    mspc_process: StartMspc, shell_in: Callable[[MspcProcess], Shell], tmp_path: Path
) -> None:
    mspc = mspc_process({"REQUEUE_FAILED_AFTER_MILLISECONDS": "500"})
    heading, port = "## Run it in 60 seconds", free_port()
    curl = command("README.md", heading, "curl")
    send = curl.replace("8008", str(mspc.http_port)).replace("9000", str(port))

    answer = shell_in(mspc).run(f"{send.strip()} -sS")
    (shown,) = blocks("README.md", heading, "json")
    assert json.loads(answer).keys() == json.loads(shown).keys()
    assert json.loads(answer)["message"] == json.loads(shown)["message"]

    mspc.wait_for_log("attempt 2 failed")
    with service(command("README.md", heading, "http.server"), port, tmp_path):
        mspc.wait_for_log(": done")

    (story,) = blocks("README.md", heading, "text")
    told = [
        re.sub(r"\bin \d+ ms\b", "in 0 ms", line.split(" ", 1)[1])
        .replace(call_id(answer), call_id(shown)[-8:])
        .replace(str(port), "9000")
        .replace("in 0.5 s", "in 5 s")
        for line in mspc.output.splitlines()
        if call_id(answer) in line
    ]
    lines = re.sub(r"\bin \d+ ms\b", "in 0 ms", story).splitlines()
    assert told[:3] == lines[:3]
    assert told[-1] == lines[-1]


def test_the_first_minute_with_a_kill(
    mspc_process: StartMspc, shell_in: Callable[[MspcProcess], Shell], tmp_path: Path
) -> None:
    mspc = mspc_process({"REQUEUE_FAILED_AFTER_MILLISECONDS": "500"})
    heading, port = "## Run it in 60 seconds", free_port()
    curl = command("README.md", heading, "curl")
    send = curl.replace("8008", str(mspc.http_port)).replace("9000", str(port))

    made = call_id(shell_in(mspc).run(f"{send.strip()} -sS"))
    mspc.wait_for_log("attempt 1 failed")
    mspc.kill()
    with service(command("README.md", heading, "http.server"), port, tmp_path):
        mspc.restart()
        mspc.wait_for_log(f"{made} .*: done")


@contextmanager
def service(line: str, port: int, folder: Path) -> Iterator[None]:
    """The service of the README, from when it listens."""
    words = line.replace("9000", str(port)).split()
    assert words[0] == "python3"
    started = subprocess.Popen(
        [sys.executable, "-u", *words[1:], "--bind", "127.0.0.1"],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        preexec_fn=die_with_parent,
    )
    assert started.stdout is not None
    try:
        assert b"Serving HTTP" in started.stdout.readline()
        yield
    finally:
        end(started, 10)
        started.stdout.close()


# docs/api.md


@pytest.mark.parametrize(
    ("page", "heading", "key"),
    [
        ("README.md", "## A request", ""),
        ("docs/api.md", "### Without a key", ""),
        ("docs/api.md", "### With a key", "yourauthorizationkey"),
    ],
)
def test_the_request(
    mspc_process: StartMspc,
    shell_in: Callable[[MspcProcess], Shell],
    target: Target,
    page: str,
    heading: str,
    key: str,
) -> None:
    mspc = mspc_process({"AUTHORIZATION_KEY": key})
    curl = command(page, heading, "curl")
    send = curl.replace("8008", str(mspc.http_port)).replace(
        "https://api.myservicedomain.tld/", target.url("/")
    )

    call_id(shell_in(mspc).run(f"{send.strip()} -sS"))
    (hit,) = target.wait_for(1)
    assert (hit.method, hit.path) == ("POST", "/notification")
    assert hit.headers["x-auth"] == "MyAuthKey"
    assert json.loads(hit.body)["text"] == "Welcome to the machine!"


@pytest.mark.parametrize("program", ["openssl", "python3"])
def test_an_authorization_of_now(
    mspc_process: StartMspc,
    shell_in: Callable[[MspcProcess], Shell],
    target: Target,
    program: str,
) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    settings = {"AUTHORIZATION_MAX_AGE_SECONDS": "300"}
    mspc = mspc_process({"AUTHORIZATION_KEY": "yourauthorizationkey", **settings})
    (line,) = [
        block
        for block in blocks("docs/api.md", "### With a key")
        if program in block and "date" in block
    ]

    made = shell_in(mspc).run(line).strip()
    answer = mspc.post({"url": target.url()}, {"X-Authorization": made})
    assert answer.status == 202


def test_the_answer_about_its_health(
    mspc_process: StartMspc, shell_in: Callable[[MspcProcess], Shell]
) -> None:
    mspc = mspc_process()
    (curl,) = blocks("docs/api.md", "## Health")
    (answer,) = blocks("docs/api.md", "## Health", "json")

    asked = curl.replace("8008", str(mspc.http_port)).strip()
    assert json.loads(shell_in(mspc).run(f"{asked} -sS")) == json.loads(answer)


# docs/settings.md


def test_a_call_over_ipv6(
    mspc_process: StartMspc, shell_in: Callable[[MspcProcess], Shell]
) -> None:
    (yaml,) = blocks("docs/settings.md", "## IPv6", "yaml")
    (host,) = re.findall(r"^HTTP_HOST: (\S+)", yaml, re.MULTILINE)
    if not Path("/proc/net/if_inet6").exists():
        pytest.skip("this machine has no IPv6")
    mspc = mspc_process({"HTTP_HOST": host.strip('"')})
    (curl,) = blocks("docs/settings.md", "## IPv6")

    call_id(
        shell_in(mspc).run(curl.replace("8008", str(mspc.http_port)).strip() + " -sS")
    )


# docs/operations.md: the embedded queue


def test_the_recipes_of_the_embedded_queue(
    mspc_process: StartMspc, shell_in: Callable[[MspcProcess], Shell], target: Target
) -> None:
    mspc = mspc_process(LONG)
    shell = shell_in(mspc)
    target.answer("/dead", status=500, times=1)
    target.answer("/waits", status=503, times=1)
    target.answer("/old/waits", status=503)
    target.answer("/hangs", delay=3_600, times=1)
    ids = {
        path: mspc.post({"url": target.url(path), "requeue": path != "/dead"}).json[
            "id"
        ]
        for path in ("/dead", "/waits", "/old/waits", "/hangs")
    }
    target.wait_for(4)
    mspc.wait_for_states(dead=1, waiting=2)

    counting = recipe("How many calls wait, and where?", "sqlite3")
    assert "database is locked" in shell.run(counting, fails=True)
    mspc.kill()

    # Looking changes nothing.
    counts, destinations = (
        shell.run(counting).split("waiting", 1)[1],
        "".join(shell.run(counting).splitlines(keepends=True)[3:]),
    )
    assert re.findall(r"\d+", counts)[:3] == ["1", "2", "1"]
    assert target.url("/waits") in destinations
    assert "503" in destinations
    lane = re.escape(target.url("/").rstrip("/"))
    assert re.search(rf"{lane}\W+3\W+2\b", destinations), destinations
    # A backup of what a crash has left, to be restored at the end.
    backup, restore = blocks(
        "docs/operations.md", "### Back up and restore the embedded queue"
    )[:2]
    shell.run(backup)
    archive = mspc.directory / "mspc-backup.tar"
    assert archive.stat().st_mode & 0o077 == 0

    shell.run(recipe("Delete all calls", "rm "))
    mspc.restart()
    assert contents(mspc) == (0, 0, 0)
    stopped(mspc)

    shell.run(restore)
    mspc.restart()
    assert contents(mspc) == (1, 2, 1)
    hit = target.wait_for(5)[-1]
    assert (hit.path, hit.headers["idempotency-key"]) == ("/hangs", ids["/hangs"])
    mspc.wait_for_log(": done", count=1)
    stopped(mspc)

    shell.run(recipe("Make dead letters go again", "sqlite3"))
    mspc.restart()
    assert contents(mspc) == (1, 2, 0)
    hit = target.wait_for(2, "/dead")[-1]
    assert hit.headers["idempotency-key"] == ids["/dead"]
    mspc.wait_for_state(ids["/dead"], "succeeded")


def test_the_recipes_of_the_container(
    mspc_process: StartMspc, shell_in: Callable[[MspcProcess], Shell], target: Target
) -> None:
    mspc = mspc_process(LONG)
    shell = shell_in(mspc)
    target.answer("/", status=500, times=2)
    mspc.post({"url": target.url(), "requeue": False})
    mspc.post({"url": target.url()})
    mspc.wait_for_log("a dead letter")
    mspc.wait_for_log("attempt 1 failed")
    stopped(mspc)

    heading = "### Back up and restore the embedded queue"
    backup, restore = blocks("docs/operations.md", heading)[2:]
    shell.run(backup)
    with tarfile.open(mspc.directory / "mspc-backup.tar") as archive:
        assert "data/queue.db" in archive.getnames()

    one = command("docs/operations.md", "## Where things are", "-m sqlite3")
    counting = recipe("How many calls wait, and where?", "sqlite3").partition('"')[2]
    counted = shell.run(one.replace("...", counting.partition('"')[0]))
    assert re.findall(r"\d+", counted) == ["0", "1", "1"]
    mspc.restart()
    stopped(mspc)

    shell.run(restore)
    mspc.restart()
    assert contents(mspc) == (0, 1, 1)
    assert shell.recorded == [["stop", "app"], ["up", "app"]] * 2


# docs/operations.md: an operator's day, by command


class Operator:
    """Runs the commands of the pages, for the services that a test has.

    What is put in: ids, and the addresses of services.
    """

    def __init__(self, mspc: MspcProcess, shell: Shell, target: Target) -> None:
        self._shell = shell
        self._place = target.url("").rstrip("/")
        self._environment = {
            "MSPC_URL": f"http://127.0.0.1:{mspc.admin_port}",
            "MSPC_KEY_FILE": str(mspc.data_dir / "admin.key"),
        }

    def does(
        self,
        heading: str,
        having: str,
        call_id: str = "",
        more: str = "",
        *,
        fails: bool = False,
    ) -> str:
        """Runs the one line of a recipe that begins so; what it prints.

        Args:
            heading: of the recipe.
            having: the beginning of the line.
            call_id: stands for the one of the page.
            more: is put behind the command: `--yes`, since nobody can be asked.
            fails: whether it must.
        """
        lines = "\n".join(blocks("docs/operations.md", f"### {heading}")).splitlines()
        found = [line for line in lines if f"{line} ".startswith(f"{having} ")]
        assert found, f"{heading} has no {having}"
        line = re.sub(" +#.*", "", found[0])
        for page, here in (
            ("https://api.myservicedomain.tld", self._place),
            ("https://old.example", self._place),
            ("019c13ec9e0071f0a84cb3d09e15f26b", call_id),
        ):
            line = line.replace(page, here)
        return self._shell.run(f"{line} {more}", self._environment, fails=fails)


@pytest.fixture(name="operator_of")
def _operator_of(
    shell_in: Callable[[MspcProcess], Shell], target: Target
) -> Callable[[MspcProcess], Operator]:
    return lambda mspc: Operator(mspc, shell_in(mspc), target)


def test_looking_at_calls(
    start: StartOnQueue,
    operator_of: Callable[[MspcProcess], Operator],
    target: Target,
) -> None:
    mspc = start(**LONG)
    operator = operator_of(mspc)
    target.answer("/dead", status=422, body=b"no receiver", times=1)
    target.answer("/waits", status=503, times=1)
    dead = mspc.post({"url": target.url("/dead"), "requeue": False}).json["id"]
    waits = mspc.post({"url": target.url("/waits")}).json["id"]
    mspc.wait_for_states(dead=1, waiting=1)

    stats = operator.does("How many calls wait, and where?", "mspc stats")
    assert re.search(r"^states\.waiting\t1$", stats, re.MULTILINE)
    assert re.search(r"^states\.dead\t1$", stats, re.MULTILINE)
    assert re.search(r"^oldest_due_at\t20", stats, re.MULTILINE)
    seen = operator.does("See a call", "mspc calls show", waits)
    assert "state\twaiting" in seen
    assert "\t503\tbad_status\t" in seen
    assert target.url("/waits") in operator.does("See a call", "mspc calls curl", waits)
    stuck = operator.does("What is stuck, and why?", "mspc destinations list")
    assert stuck.startswith(f"{target.url('').rstrip('/')}\tok\t")
    groups = operator.does("Which calls did a service refuse?", "mspc dead groups")
    assert "no_requeue\t422\tbad_status" in groups
    assert dead in groups
    assert "no receiver" in groups
    held = operator.does("Is anything held, and why?", "mspc calls list")
    assert held.startswith(f"{waits}\twaiting\t")
    lost = operator.does("Where does the time go?", "mspc destinations show")
    assert "last_attempt.duration_ms\t" in lost


def test_steering_calls(
    start: StartOnQueue,
    queue: QueueUnderTest,
    operator_of: Callable[[MspcProcess], Operator],
    target: Target,
) -> None:
    mspc = start(**LONG)
    operator = operator_of(mspc)
    target.answer("/dead", status=500, times=2)
    target.answer("/waits", status=503, times=1)
    target.answer("/wrong", status=503)
    dead = mspc.post({"url": target.url("/dead"), "requeue": False}).json["id"]
    waits = mspc.post({"url": target.url("/waits")}).json["id"]
    mspc.wait_for_states(dead=1, waiting=1)

    heading, left = "Make waiting calls go now", 0
    if queue.broker is None:
        operator.does(heading, "mspc calls retry", more="--yes")
        mspc.wait_for_state(waits, "succeeded")
    else:
        told = operator.does(heading, "mspc calls retry", more="--yes", fails=True)
        assert "wait in RabbitMQ cannot be looked up" in told
        left = 1
    operator.does("Make dead letters go again", "mspc dead retry", more="--yes")
    target.wait_for(2, "/dead")
    keys = [hit.headers["idempotency-key"] for hit in target.hits_of("/dead")]
    assert keys == [dead, dead]
    mspc.wait_for_states(dead=1)
    operator.does("Delete dead letters", "mspc dead delete", more="--yes")

    mspc.post({"url": target.url("/wrong")})
    mspc.wait_for_states(waiting=left + 1)
    heading, cancel = "Delete the calls to one service", "mspc calls cancel"
    assert f"matched\t{left + 1}\n" in operator.does(heading, cancel)  # the dry run
    wrong = "--reason 'sent by mistake'"
    operator.does(
        heading, f"{cancel} --destination https://old.example {wrong}", more="--yes"
    )
    who = operator.does("Who changed what?", "mspc decisions")
    assert "sent by mistake" in who
    states = mspc.admin("GET", "/v1/stats").json["states"]
    assert (states["queued"], states["waiting"], states["dead"]) == (0, 0, 0)
    assert queue.dead_letters(mspc) == 0
    if queue.broker is None:
        assert contents(mspc) == (0, 0, 0)


def test_steering_a_service(
    start: StartOnQueue,
    operator_of: Callable[[MspcProcess], Operator],
    target: Target,
) -> None:
    mspc = start()
    operator = operator_of(mspc)
    heading = "Pause a service and keep its calls"
    operator.does(heading, "mspc destinations pause")
    made = mspc.post({"url": target.url("/kept")}).json["id"]
    held = operator.does("Is anything held, and why?", "mspc destinations show")
    assert "state\tpaused" in held
    assert target.hits == []
    operator.does(heading, "mspc destinations resume")
    mspc.wait_for_log(f"{made} .*: done")
    until = "mspc destinations pause https://api.myservicedomain.tld --until"
    assert "Paused until " in operator.does(heading, until)
    held = operator.does("Is anything held, and why?", "mspc destinations show")
    assert re.search(r"^paused_until\t20\d\d-", held, re.MULTILINE)
    operator.does(heading, "mspc destinations resume")

    heading = "Limit a service to five requests a second"
    operator.does(heading, "mspc destinations limit")
    held = operator.does("Is anything held, and why?", "mspc destinations show")
    assert "limits.rate\t5\n" in held
    operator.does(heading, "mspc destinations unlimit")
    decided = operator.does("Who changed what?", "mspc decisions").splitlines()
    kinds = [line.split("\t")[2] for line in decided]
    assert kinds == ["unlimited", "limited", *["resumed", "paused"] * 2]


@pytest.mark.parametrize(
    ("heading", "state", "shown"),
    [
        ("Send a call tomorrow at 08:00", "waiting", "T08:00:00.000Z"),
        ("Do not try for longer than a day", "succeeded", "max_attempts\t100"),
        ("A service asks for fewer attempts", "succeeded", "attempts\t1"),
    ],
)
def test_saying_when_and_how_often(
    mspc_process: StartMspc,
    shell_in: Callable[[MspcProcess], Shell],
    target: Target,
    heading: str,
    state: str,
    shown: str,
) -> None:
    mspc = mspc_process()
    shell = shell_in(mspc)
    send = recipe(heading, "curl").replace("8008", str(mspc.http_port))
    send = send.replace("https://api.myservicedomain.tld/", target.url("/"))
    one = call_id(shell.run(f"export TZ=UTC\n{send.strip()} -sS"))
    mspc.wait_for_states(**{state: 1})
    told = Operator(mspc, shell, target).does("See a call", "mspc calls show", one)
    assert shown in told


def test_a_backup_while_it_runs(
    start: StartOnQueue,
    queue: QueueUnderTest,
    operator_of: Callable[[MspcProcess], Operator],
    target: Target,
) -> None:
    mspc = start(**LONG)
    operator = operator_of(mspc)
    target.answer("/waits", status=503, times=1)
    mspc.post({"url": target.url("/waits"), "labels": ["kept"]})
    mspc.wait_for_states(waiting=1)
    heading = "Back up while it runs"
    operator.does(heading, "(umask 077; mspc export > mspc-calls.jsonl)")
    export = mspc.directory / "mspc-calls.jsonl"
    assert export.stat().st_mode & 0o077 == 0
    assert json.loads(export.read_text())["call"]["state"] == "waiting"
    if queue.broker is not None:
        told = operator.does(heading, "mspc import mspc-calls.jsonl", fails=True)
        assert "accepted\t0\nfailed\t1\n" in told
        return
    taken = operator.does(heading, "mspc import mspc-calls.jsonl")
    assert taken.startswith("accepted\t1\nfailed\t0\n")
    mspc.wait_for_log(": done")


def test_deleting_dead_letters_that_the_journal_has_forgotten(
    mspc_process: StartMspc, shell_in: Callable[[MspcProcess], Shell]
) -> None:
    mspc = mspc_process({"JOURNAL": "0"})
    dead = {"url": "http://127.0.0.1:9/", "requeue": False}
    large = {**dead, "method": "POST", "body": json.dumps("x" * 20_000)}
    for call in (dead, large):
        assert mspc.post(call).status == 202
    mspc.wait_for_log("a dead letter", count=2)
    stopped(mspc)
    shell = shell_in(mspc)
    (newer,) = re.findall(
        r"`(DELETE .*?)`", section("docs/operations.md", "### Delete dead letters")
    )
    shell.run(f'sqlite3 data/queue.db "{newer}"')
    mspc.restart()
    assert contents(mspc) == (0, 0, 2)
    stopped(mspc)
    shell.run(recipe("Delete dead letters", "sqlite3 "))
    mspc.restart()
    assert contents(mspc) == (0, 0, 0)


def test_making_room_on_a_full_disk(
    mspc_process: StartMspc,
    shell_in: Callable[[MspcProcess], Shell],
    target: Target,
) -> None:
    settings = {"LOG_LEVEL": "warning", "BREAKER_FAILURES": "0"}
    mspc = mspc_process(settings, wait=False)
    mspc.kill()
    shutil.rmtree(mspc.data_dir, ignore_errors=True)
    mspc.data_dir.mkdir()
    with small_disk(mspc.data_dir, 32) as mounted:
        if not mounted:
            pytest.skip("only root may mount a small disk")
        mspc.restart()
        body = json.dumps("x" * 200_000)
        url = "http://127.0.0.1:9/"
        dead = {"method": "POST", "url": url, "body": body, "requeue": False}

        def full() -> bool:
            while mspc.post(dead).status == 202:
                pass
            ready = mspc.request("GET", "/health/ready")
            return "is nearly full" in ready.json["message"]

        eventually(full)
        shell = shell_in(mspc)
        assert "queue.db" in shell.run(recipe("The disk is full", "du -ah"))
        heading = "Delete dead letters"
        operator = Operator(mspc, shell, target)
        mspc.wait_for_log("is nearly full: .* the journal is written from")
        told = operator.does(
            heading, "mspc dead delete --all", more="--yes", fails=True
        )
        assert "which is not carried out. The journal cannot be written: The" in told
        stopped(mspc)
        operator.does(heading, "sqlite3 data/queue.db")
        mspc.restart()
        eventually(lambda: mspc.post({"url": target.url()}).status == 202)
        stopped(mspc)


def test_rotating_the_admin_key(
    mspc_process: StartMspc, shell_in: Callable[[MspcProcess], Shell]
) -> None:
    mspc = mspc_process()
    file = mspc.data_dir / "admin.key"
    old = file.read_text().strip()
    (line,) = re.findall(
        r"rm data/admin.key", section("docs/operations.md", "### Rotate keys")
    )
    shell_in(mspc).run(line)
    assert mspc.admin("GET", "/v1/stats", key=old).status == 200
    stopped(mspc)
    mspc.restart()
    assert mspc.admin("GET", "/v1/stats", key=old).status == 401
    new = file.read_text().strip()
    assert mspc.admin("GET", "/v1/stats", key=new).status == 200


def test_emptying_an_instance(
    start: StartOnQueue, operator_of: Callable[[MspcProcess], Operator], target: Target
) -> None:
    mspc = start()
    target.answer("/again", status=503, times=2)
    for _ in range(3):
        mspc.post({"url": target.url("/again")})
    operator_of(mspc).does("Empty an instance", "until mspc stats")
    assert len(target.hits_of("/again")) == 5
    mspc.wait_for_states(queued=0, in_flight=0, waiting=0, succeeded=3)


# docs/operations.md: while it runs


def test_whether_it_is_healthy(
    mspc_process: StartMspc, shell_in: Callable[[MspcProcess], Shell]
) -> None:
    mspc = mspc_process()
    asking = recipe("Is it healthy?", "health/ready")
    asking = asking.replace("8008", str(mspc.http_port)).replace("mspc.py", str(SCRIPT))
    address = {"HTTP_HOST": "127.0.0.1", "HTTP_PORT": str(mspc.http_port)}

    printed = shell_in(mspc).run(asking, address)
    assert '"Ready"' in printed
    assert "alive" in printed


def test_rotating_the_log(
    mspc_process: StartMspc, shell_in: Callable[[MspcProcess], Shell], target: Target
) -> None:
    mspc = mspc_process()
    shell_in(mspc).run(recipe("Rotate the log", "mv "))

    def begins_anew() -> bool:
        mspc.post({"url": target.url()})
        return mspc.log_file.exists() and "accepted" in mspc.log_file.read_text()

    eventually(begins_anew)
    assert "Listening" in mspc.log_file.with_suffix(".log.1").read_text()


def test_renewing_the_certificate(
    mspc_process: StartMspc, shell_in: Callable[[MspcProcess], Shell]
) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    mspc = mspc_process(wait=False)
    mspc.kill()
    shell = shell_in(mspc)
    making = command("docs/operations.md", "## TLS", "openssl")
    shell.run(making)
    mspc.settings["TLS"] = "1"
    mspc.restart()

    shell.run(making)
    shell.run(recipe("Renew the certificate", "docker compose kill"))
    assert shell.recorded == [["kill", "app"]]
    mspc.signal(1)
    mspc.wait_for_log("was reloaded")


# docs/operations.md: RabbitMQ


def test_the_recipes_of_rabbitmq(
    rabbitmq: Broker,
    target: Target,
    mspc_process: StartMspc,
    shell_in: Callable[[MspcProcess], Shell],
) -> None:
    if not isinstance(rabbitmq, RabbitNode):
        pytest.skip("the RabbitMQ of MSPC_TEST_AMQP is not ours to configure")
    kinds = ("retry", "aside")
    numbered = [f"services.{kind}.{k}" for kind in kinds for k in range(16)]
    names = ["services", "services.dead", *numbered]
    target.answer("/dead", status=500, times=1)
    target.answer("/waits", status=503)
    settings = {"RABBITMQ_DEFAULT_USER": "mspc", "RABBITMQ_DEFAULT_PASS": "a password"}
    mspc = mspc_process(
        {**rabbitmq.settings("services"), **LONG, **settings}, wait=False
    )
    mspc.kill()
    asked = Asked(shell_in(mspc), rabbitmq)
    try:
        # A user with exactly these rights is enough for every way a call can take.
        asked.run(recipe("Make a user for mspc", "add_user"))
        mspc.restart()
        dead = mspc.post({"url": target.url("/dead"), "requeue": False}).json["id"]
        mspc.post({"url": target.url("/waits")})
        mspc.wait_for_log("a dead letter")
        mspc.wait_for_log("attempt 1 failed")
        eventually(lambda: messages(rabbitmq, "services.dead") == 1)

        counting = recipe("How many calls wait, and where?", "rabbitmqctl")
        assert set(names) <= set(asked.run(counting).split())

        asked.run(recipe("Make dead letters go again", "shovel"))
        target.wait_for(2, "/dead", timeout=30)
        keys = [hit.headers["idempotency-key"] for hit in target.hits_of("/dead")]
        assert keys == [dead, dead]
        mspc.wait_for_log(f"{dead} .*: done")

        changing = recipe("Change RabbitMQ's password", "change_password")
        asked.run(changing.replace("usernameforrabbitmq", "mspc"))
        assert mspc.post({"url": target.url("/open")}).status == 202
        target.wait_for(1, "/open")
        stopped(mspc)
        mspc.settings["RABBITMQ_DEFAULT_PASS"] = "the new password"
        mspc.restart()
        target.answer("/last", status=500)
        mspc.post({"url": target.url("/last"), "requeue": False})
        mspc.wait_for_log("a dead letter")
        stopped(mspc)

        eventually(lambda: messages(rabbitmq, "services.dead") == 1)
        asked.run(recipe("Delete dead letters", "purge_queue"))
        assert messages(rabbitmq, "services.dead") == 0
        assert messages(rabbitmq, "services.retry.11") == 1
        # Each takes half a second; those that are empty say nothing.
        asked.run(
            recipe("Delete all calls", "for q in"),
            but=lambda words: words[-1] != "services.retry.11",
        )
        assert [words[-1] for words in asked.last] == names
        assert messages(rabbitmq, "services.retry.11") == 0
    finally:
        mspc.kill()
        rabbitmq.delete_queues("services")
        rabbitmq.ctl("delete_user", "mspc")


class Asked:
    """Runs on the tests' node what the pages have `docker compose exec queue` run."""

    def __init__(self, shell: Shell, node: RabbitNode) -> None:
        self._shell = shell
        self._node = node
        self.last: list[list[str]] = []

    def run(
        self, script: str, but: Callable[[list[str]], bool] = lambda words: False
    ) -> str:
        """What the commands print, without those that `but` leaves out."""
        known = len(self._shell.recorded)
        self._shell.run(script)
        self.last = self._shell.recorded[known:]
        return "".join(self._run(words) for words in self.last if not but(words))

    def _run(self, words: list[str]) -> str:
        verb, service, program, *arguments = words
        assert (verb, service) == ("exec", "queue")
        if program == "rabbitmqctl":
            return self._node.ctl(*arguments)
        assert program == "rabbitmq-plugins"
        done = subprocess.run(
            [self._node._script(program), "-n", self._node.name, *arguments],
            env=self._node._environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        return done.stdout


def messages(broker: Broker, queue: str) -> int:
    with broker.connect() as connection, connection.channel() as channel:
        return int(channel.queue.declare(queue, passive=True)["message_count"])
