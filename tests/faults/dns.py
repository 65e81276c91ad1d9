"""A DNS server whose answers go wrong in the way that the asked name tells.

`<anything>.<kind>.test` is an address, a denied one, two of them, an error, or nothing
at all.
"""

import math
import random
import shutil
import socket
import struct
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Literal, get_args

from gevent.server import DatagramServer

from tests.faults.nodes import NotInjected

Kind = Literal[
    "good", "nxdomain", "servfail", "silent", "denied", "rebinding", "twofold"
]
HERE, DENIED = "127.0.0.1", "169.254.169.254"

_PORT = 53
_TRIES = 10
_HEAD = struct.Struct(">HHHHHH")  # RFC 1035, 4.1.1
_QUESTION = struct.Struct(">HH")
_RECORD = struct.Struct(">HHHIH")
_NAME_OF_THE_QUESTION = 0xC00C
_A, _AAAA, _IN = 1, 28, 1
_ANSWER = 0x8180  # a response, recursion desired and available
_NOERROR, _SERVFAIL, _NXDOMAIN = 0, 2, 3
_RCODES = {"nxdomain": _NXDOMAIN, "servfail": _SERVFAIL}

# Becomes the command after $2; nobody else sees these two files.
_IN_A_NAMESPACE = """\
mount --bind "$1" /etc/resolv.conf && mount --bind "$2" /etc/nsswitch.conf || exit 99
shift 2
exec "$@"
"""
_PROBE = "import socket; print(socket.getaddrinfo('a.good.test', 1)[0][4][0])"


class StubDns:
    """The server, at a loopback address of its own.

    Attributes:
        healed: every name but the denied ones is an address of ours.
        asked: how many queries for an A record each name has had.
    """

    def __init__(self, otherwise: Kind = "nxdomain") -> None:
        """`otherwise`: the kind of names that tell none."""
        self.healed = False
        self.asked: Counter[str] = Counter()
        self._otherwise = otherwise
        self._server: DatagramServer | None = None

    @property
    def address(self) -> str:
        assert self._server is not None, "the DNS server was not started"
        host: str = self._server.socket.getsockname()[0]
        return host

    def start(self) -> None:
        """Takes port 53 of a loopback address that nobody else has.

        Raises:
            NotInjected: there is none, or only root may.
        """
        # gevent's annotation is that of a server of streams.
        self._server = DatagramServer(_bound(), self._serve)  # type: ignore[arg-type]
        self._server.start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.stop(timeout=0)
            self._server = None

    def command(self, directory: Path, silence: float) -> tuple[str, ...]:
        """A command that becomes another one, which asks this server for names.

        Args:
            directory: for files that must stay as long as the other command runs.
            silence: seconds after which a resolver gives up.

        Raises:
            NotInjected: the system's resolver cannot be led here.
        """
        resolv, switch = directory / "resolv.conf", directory / "nsswitch.conf"
        # A name that fails is asked for once more in the domains of the search list,
        # which is the root alone; so there are two silences.
        options = f"options timeout:{math.ceil(silence / 2)} attempts:1"
        resolv.write_text(f"nameserver {self.address}\nsearch .\n{options}\n")
        switch.write_text("hosts: files dns\n")
        unshare = shutil.which("unshare")
        if unshare is None:
            raise NotInjected("no unshare")
        script = ("sh", "-c", _IN_A_NAMESPACE, "sh", str(resolv), str(switch))
        command = (unshare, "--mount", "--propagation", "private", *script)
        probe = subprocess.run(
            [*command, sys.executable, "-c", _PROBE],
            capture_output=True,
            text=True,
            check=False,
        )
        if probe.stdout.strip() != HERE:
            said = (probe.stdout + probe.stderr).strip()[-200:]
            raise NotInjected(f"names cannot be resolved otherwise: {said}")
        return command

    def _serve(self, query: bytes, client: tuple[str, int]) -> None:
        reply = self.reply(query)
        if reply is not None and self._server is not None:
            self._server.sendto(reply, client)

    def reply(self, query: bytes) -> bytes | None:
        """What a query is answered with; None for silence, and for what is none."""
        try:
            name, end = _name(query)
            number, _, questions, *_ = _HEAD.unpack_from(query)
            record, klass = _QUESTION.unpack_from(query, end)
        except (struct.error, IndexError, UnicodeDecodeError):
            return None
        if questions != 1 or klass != _IN:
            return None
        kind = self._kind(name)
        self.asked[name] += record == _A
        if kind == "silent":
            return None
        address = self._address(name, kind, record)
        code = _ANSWER | _RCODES.get(kind, _NOERROR)
        head = _HEAD.pack(number, code, 1, address is not None, 0, 0)
        return head + query[_HEAD.size : end + _QUESTION.size] + (address or b"")

    def _kind(self, name: str) -> str:
        labels = name.lower().split(".")
        told = labels[-2] if len(labels) > 1 and labels[-1] == "test" else ""
        kind = told if told in get_args(Kind) else self._otherwise
        return "good" if self.healed and kind != "denied" else kind

    def _address(self, name: str, kind: str, record: int) -> bytes | None:
        """The record that was asked for, for kinds that have one."""
        if record == _AAAA and kind == "twofold":
            value = socket.inet_pton(socket.AF_INET6, "::1")
        elif record == _A and kind not in _RCODES:
            rebound = kind == "rebinding" and self.asked[name] > 1
            value = socket.inet_aton(DENIED if kind == "denied" or rebound else HERE)
        else:
            return None
        head = _RECORD.pack(_NAME_OF_THE_QUESTION, record, _IN, 0, len(value))
        return head + value


def _name(query: bytes) -> tuple[str, int]:
    """The name of the question, and where it ends."""
    labels = []
    at = _HEAD.size
    while length := query[at]:
        labels.append(query[at + 1 : at + 1 + length].decode("ascii"))
        at += 1 + length
    return ".".join(labels), at + 1


def _bound() -> socket.socket:
    for _ in range(_TRIES):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        parts = [str(random.randrange(1, 255)) for _ in range(3)]
        try:
            sock.bind((f"127.{'.'.join(parts)}", _PORT))
            return sock
        except OSError as exc:
            sock.close()
            problem = exc
    raise NotInjected(f"no port {_PORT} for a DNS server: {problem.strerror}")
