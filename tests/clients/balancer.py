"""HAProxy with the configuration of deploy/, in front of proxies of ours."""

import csv
import io
import os
import re
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness import DEADLINE, REPOSITORY, Proxy, program

SHIPPED = REPOSITORY / "deploy/haproxy/haproxy.cfg"
BACKEND = "sami-proxy"
OFTEN, NEVER = "100ms", "1h"
"""How often the replicas are looked at."""


def configuration(listener: str, control: str, servers: Mapping[str, int], interval: str) -> str:
    """The shipped file with the addresses and intervals of a test; everything else is as shipped."""
    text = _replaced(r"(?<=^    bind )\S+", listener, SHIPPED.read_text())
    text = _replaced(r"(?<=^    stats socket )\S+", control, text)
    text = _replaced(
        r"inter \S+ fastinter \S+ downinter \S+", f"inter {interval} fastinter {interval} downinter {interval}", text
    )
    for name, port in servers.items():
        text = _replaced(rf"(?<=^    server {name} )\S+", f"127.0.0.1:{port}", text)
    assert "10.88." not in text, "an address was left as shipped"
    return text


def _replaced(pattern: str, by: str, text: str) -> str:
    """What must stand there exactly once, replaced."""
    text, count = re.subn(pattern, by, text, flags=re.MULTILINE)
    assert count == 1, f"{count} times {pattern!r} in {SHIPPED}"
    return text


@dataclass(frozen=True)
class Balancer:
    """A running HAProxy."""

    address: tuple[str, int]
    control: Path

    @property
    def authority(self) -> str:
        """Where clients connect."""
        return f"{self.address[0]}:{self.address[1]}"

    def say(self, command: str) -> str:
        """The answer to a command of the Runtime API."""
        with socket.socket(socket.AF_UNIX) as control:
            control.settimeout(DEADLINE)
            control.connect(str(self.control))
            control.sendall(command.encode() + b"\n")
            return b"".join(iter(lambda: control.recv(65536), b"")).decode()

    def servers(self) -> dict[str, dict[str, str]]:
        """What HAProxy knows of each replica."""
        table = self.say(f"show stat {BACKEND} 4 -1").lstrip("# ")
        return {row["svname"]: row for row in csv.DictReader(io.StringIO(table))}

    def wait_until(self, server: str, holds: Callable[[dict[str, str]], bool]) -> None:
        """Waits for a bounded time until this holds of a replica."""
        end = time.monotonic() + DEADLINE
        while not holds(now := self.servers()[server]):
            assert time.monotonic() < end, {key: now[key] for key in ("status", "check_status", "last_chk", "scur")}
            time.sleep(0.01)

    def wait_until_checked(self, server: str) -> None:
        """Until a health check of the replica has passed, and it is in use."""
        self.wait_until(server, lambda now: (now["status"], now["check_status"]) == ("UP", "L7OK"))

    def wait_until_down(self, server: str) -> None:
        """Until the replica has failed its health checks."""
        self.wait_until(server, lambda now: now["status"] == "DOWN")

    def server_of(self, client: tuple[str, int]) -> str:
        """The replica that serves the client with this address."""
        host, port = client
        found = re.search(rf"src={re.escape(host)}:{port} .* srv=(\S+)", self.say("show sess"))
        assert found, f"no session of {host}:{port}"
        return found[1]


@contextmanager
def running_balancer(replicas: Mapping[str, Proxy], folder: Path, interval: str = OFTEN) -> Iterator[Balancer]:
    """HAProxy in front of these replicas; the listening socket is ours, so no port has to be guessed."""
    control, config, log = folder / "control", folder / "haproxy.cfg", folder / "haproxy.log"
    with socket.create_server(("127.0.0.1", 0)) as listener, log.open("w") as output:
        address = listener.getsockname()
        servers = {name: replica.port for name, replica in replicas.items()}
        config.write_text(configuration(f"fd@{listener.fileno()}", str(control), servers, interval))
        process = subprocess.Popen(
            # -n: not as many as this machine allows
            [program("haproxy"), "-db", "-n", "500", "-f", config],
            env={"PATH": os.environ["PATH"]},
            pass_fds=[listener.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        end = time.monotonic() + DEADLINE
        while not control.exists():
            assert process.poll() is None and time.monotonic() < end, log.read_text()
            time.sleep(0.01)
        yield Balancer(address, control)
    finally:
        process.kill()
        process.wait()
