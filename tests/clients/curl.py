"""curl as these tests run it, and what one run of it brought."""

import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from certificates import Certificates
from event_stream import Gate
from harness import DEADLINE, Failed, Proxy, Run, client_environment, program


@dataclass(frozen=True)
class Answer:
    """What one run of curl brought; it may have made several transfers."""

    exit_status: int
    reports: list[dict]
    head: str
    bodies: list[bytes]
    progress: str

    @property
    def status(self) -> int:
        """The status of the last transfer."""
        return self.reports[-1]["response_code"]

    @property
    def connect_status(self) -> int:
        """What the proxy said to CONNECT in the last transfer, 0 without one."""
        return self.reports[-1]["http_connect"]

    @property
    def new_connections(self) -> list[int]:
        """How many connections each transfer opened."""
        return [report["num_connects"] for report in self.reports]

    @property
    def statuses(self) -> list[int]:
        """The status of every response that came, interim ones and those to CONNECT among them."""
        return [int(status) for status in re.findall(r"^HTTP/1\.[01] (\d{3})", self.head, re.MULTILINE)]

    @property
    def body(self) -> bytes:
        """The body of the last transfer."""
        return self.bodies[-1]

    def json(self, transfer: int = -1) -> dict:
        """The body of a handler that answers in JSON."""
        return json.loads(self.bodies[transfer])

    def fields(self, name: str) -> list[str]:
        """Every value of a header field, in any of the responses."""
        return re.findall(rf"^{name}: (.*)$", self.head, re.MULTILINE | re.IGNORECASE)

    def failure(self) -> Failed:
        """Why the proxy says it could not do it."""
        (proxy_status,) = self.fields("Proxy-Status")
        return Failed.read(proxy_status)


class Curl:
    """Runs curl through a proxy."""

    def __init__(self, run: Run, certificates: Certificates, folder: Path):
        self._run = run
        self._certificates = certificates
        self._folder = folder

    def command(self, proxy_url: str) -> list[str]:
        """curl with the proxy, the test CA and a limit on time."""
        trust = ["--cacert", str(self._certificates.ca_file)]
        return [program("curl"), "-q", "-sS", "--max-time", str(int(DEADLINE)), *trust, "-x", proxy_url]

    @contextmanager
    def streaming(self, proxy: Proxy, gate: Gate, url: str, via: str | None = None) -> Iterator[subprocess.Popen]:
        """curl while it reads an event stream that the gate holds back; `via` replaces the URL of the proxy."""
        fields = [word for name, value in gate.headers.items() for word in ("-H", f"{name}: {value}")]
        command = [*self.command(via or proxy.url), "-N", *fields, url]
        with subprocess.Popen(
            command, env=client_environment(self._folder), stdout=subprocess.PIPE, text=True
        ) as running:
            yield running

    def __call__(self, proxy: Proxy, *arguments: str, via: str | None = None, input: bytes | None = None) -> Answer:
        """Runs curl with these arguments and waits for its end; `via` replaces the URL of the proxy."""
        head = self._folder / "head"
        bodies = [self._folder / f"body-{n}" for n in range(sum("://" in word for word in arguments))]
        outputs = [word for body in bodies for word in ("-o", body)]
        command = [*self.command(via or proxy.url), "-D", head, *outputs, "-w", "%{json}\\n", *arguments]
        done = self._run(*command, input=input)
        return Answer(
            exit_status=done.returncode,
            reports=[json.loads(line) for line in done.stdout.splitlines()],
            head=_read(head).decode("latin-1").replace("\r\n", "\n"),
            bodies=[_read(body) for body in bodies],
            progress=done.stderr.decode(),
        )


def _read(path: Path) -> bytes:
    """What curl wrote to a file, if anything."""
    return path.read_bytes() if path.exists() else b""
