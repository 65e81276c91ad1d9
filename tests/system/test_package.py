"""The package as people install it: built, put into an empty environment, started.

With every Python that the classifiers name and that is at hand.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tomllib
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.children import die_with_parent, end, free_port
from tests.support.target import Target
from tests.support.waiting import eventually

PROJECT = Path(__file__).parents[2]
METADATA = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
PYTHONS = re.findall(r":: (3\.[0-9]+)$", "\n".join(METADATA["classifiers"]), re.M)
COPIED = (
    *("mspc", "pyproject.toml", "requirements.txt", "requirements-tracing.txt"),
    *("README.md", "LICENSE"),
)
SHARED = (
    "env.dist.yml",
    "deploy/haproxy.cfg",
    "deploy/nginx.conf",
    "deploy/mspc.service",
    "deploy/prometheus/rules.yml",
    "deploy/grafana/mspc.json",
)


def run(*command: str | Path, cwd: Path | None = None) -> str:
    """Standard output of a command that must succeed."""
    done = subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def clean_environment() -> dict[str, str]:
    """As a newcomer has it: no settings, nothing of the environment of the tests."""
    kept = ("PATH", "HOME", "LANG", "TMPDIR", "PIP_", "http", "HTTP_PROXY", "SSL_CERT")
    return {name: value for name, value in os.environ.items() if name.startswith(kept)}


def interpreter(version: str) -> Path | None:
    """A Python of `version` on this machine; None when there is none.

    pyenv's are looked for where it keeps them: its shims fail for those that are not
    the current one.
    """
    if sys.version_info[:2] == tuple(map(int, version.split("."))):
        return Path(sys.executable)
    found = [Path(path) for path in [shutil.which(f"python{version}")] if path]
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    found += sorted(pyenv.glob(f"versions/{version}.*/bin/python{version}"))
    for path in found:
        command = [str(path), "-c", "import venv, ensurepip"]
        if subprocess.run(command, capture_output=True, check=False).returncode == 0:
            return path
    return None


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from the source distribution, which is built from the checkout."""
    directory = tmp_path_factory.mktemp("package")
    source = directory / "source"
    source.mkdir()
    for name in (*COPIED, "env.dist.yml", "deploy"):
        path = PROJECT / name
        if path.is_dir():
            shutil.copytree(path, source / name)
        else:
            shutil.copy(path, source)
    run(sys.executable, "-m", "build", "--outdir", directory / "dist", source)
    (built,) = (directory / "dist").glob("*.whl")
    return built


@pytest.fixture(scope="module", params=PYTHONS)
def environment(
    request: pytest.FixtureRequest,
    wheel: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Path]:
    """An environment of one Python that has the wheel, and what it asks for."""
    python = interpreter(request.param)
    if python is None:
        pytest.skip(f"there is no Python {request.param} on this machine")
    directory: Path = tmp_path_factory.mktemp("environment") / "venv"
    # Another pip than the environment's own, and nothing compiled that is not imported:
    # what is installed is the same, in half of the processor time.
    run(python, "-m", "venv", "--without-pip", directory)
    pip = (sys.executable, "-m", "pip", "--python", directory / "bin/python")
    run(*pip, "install", "--disable-pip-version-check", "--no-compile", wheel)
    yield directory
    shutil.rmtree(directory)


def test_the_package_has_what_an_operator_copies(environment: Path) -> None:
    for name in SHARED:
        installed = environment / "share/mspc" / name.removeprefix("deploy/")
        assert installed.read_bytes() == (PROJECT / name).read_bytes()


def test_what_makes_spans_is_an_extra(wheel: Path, environment: Path) -> None:
    with zipfile.ZipFile(wheel) as files:
        (name,) = (one for one in files.namelist() if one.endswith("/METADATA"))
        told = files.read(name).decode().splitlines()
    pinned = (PROJECT / "requirements-tracing.txt").read_text().split()
    asked = {f'Requires-Dist: {one}; extra == "tracing"' for one in pinned}
    assert "Provides-Extra: tracing" in told
    assert asked == {line for line in told if "extra ==" in line}
    program = "from importlib.util import find_spec; print(find_spec('opentelemetry'))"
    assert run(environment / "bin/python", "-c", program) == "None\n"


def test_three_commands_are_one_program(environment: Path, tmp_path: Path) -> None:
    script = run(sys.executable, PROJECT / "mspc.py", "--version", cwd=tmp_path)
    installed = run(environment / "bin/mspc", "--version", cwd=tmp_path)
    module = run(*(environment / "bin/python", "-m", "mspc", "--version"), cwd=tmp_path)

    assert script == installed == module
    assert re.fullmatch(r"[0-9]+\.[0-9]+\.[0-9]+\n", script)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", [("mspc",), ("python", "-m", "mspc")])
def test_an_empty_folder_is_enough(
    environment: Path, command: tuple[str, ...], target: Target, tmp_path: Path
) -> None:
    """It serves on the embedded queue, with its data below the working folder."""
    port, admin_port = free_port(), free_port()
    process = subprocess.Popen(
        [environment / "bin" / command[0], *command[1:]],
        cwd=tmp_path,
        env=clean_environment()
        | {"HTTP_PORT": str(port), "ADMIN_PORT": str(admin_port)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        preexec_fn=die_with_parent,
    )
    try:
        assert process.stdout is not None
        printed = b""
        while b"Listening on" not in printed:
            line = process.stdout.readline()
            assert line, printed
            printed += line
        call = json.dumps({"url": target.url("/installed")}).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{port}/", call)
        with urllib.request.urlopen(request, timeout=20) as response:
            assert response.status == 202
        eventually(lambda: len(target.hits) == 1)
        for page in ("login", "static/mspc.css", "static/mspc.js", "static/icon.svg"):
            address = f"http://127.0.0.1:{admin_port}/{page}"
            with urllib.request.urlopen(address, timeout=20) as response:
                assert response.status == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(40) == 0
    finally:
        end(process, 1)
        assert process.stdout is not None
        process.stdout.close()

    made = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")}
    names = ("admin.key", "instance.id", "journal.db", "queue.db")
    data = {f"data/{name}" for name in names}
    assert made == {"data", *data, "logs", "logs/mspc.log"}
    assert target.hits[0].headers["user-agent"].startswith("mspc/")
