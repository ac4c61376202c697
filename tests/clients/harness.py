"""The proxy under test, the programs that talk to it, and the way to say that one is missing."""

import base64
import importlib
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn
from urllib.parse import quote

import pytest

DEADLINE = 30.0
"""Seconds that nothing here takes when it works, so that a hang is a failure and not a stuck run."""

REPOSITORY = Path(__file__).resolve().parents[2]

Run = Callable[..., subprocess.CompletedProcess]
"""Runs a client to its end, as the fixture `run` does."""

RFC_9209_ERRORS = frozenset(
    """
    dns_timeout dns_error destination_not_found destination_unavailable destination_ip_prohibited
    destination_ip_unroutable connection_refused connection_terminated connection_timeout connection_read_timeout
    connection_write_timeout connection_limit_reached tls_protocol_error tls_certificate_error tls_alert_received
    http_request_error http_request_denied http_response_incomplete http_response_header_section_size
    http_response_header_size http_response_body_size http_response_trailer_section_size http_response_trailer_size
    http_response_transfer_coding http_response_content_coding http_response_timeout http_upgrade_failed
    http_protocol_error proxy_internal_response proxy_internal_error proxy_configuration_error proxy_loop_detected
    """.split()
)


METRICS = {
    f"sami_proxy_{name}"
    for name in """
    build_info start_time_seconds connections_accepted_total connections_total connections_open connections_limit
    requests_total refusals_total tunnels_total tunnels_open bytes_total stage_duration_seconds_bucket
    stage_duration_seconds_sum stage_duration_seconds_count dns_lookups_total log_lines_dropped_total open_descriptors
    descriptors_limit draining
    """.split()
}
"""Every metric of `--admin`, as dashboards and alerts name them."""


def unavailable(what: str) -> NoReturn:
    """Skip because this machine lacks `what`; on CI, where everything is installed, fail."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what}, and CI=true allows no skipping", pytrace=False)
    pytest.skip(what, allow_module_level=True)


def program(name: str) -> str:
    """The path of an installed program."""
    return shutil.which(name) or unavailable(f"{name} is not installed")


def package(name: str):
    """An installed Python package."""
    try:
        return importlib.import_module(name)
    except ImportError:
        unavailable(f"the Python package {name} is not installed")


@dataclass(frozen=True)
class Credentials:
    """A user and a password, in every spelling that a client needs."""

    user: str
    password: str

    @property
    def in_url(self) -> str:
        """What stands before the `@` of a proxy URL."""
        return f"{quote(self.user, safe='')}:{quote(self.password, safe='')}"

    @property
    def token(self) -> str:
        """The base64 that the Basic scheme carries (RFC 7617)."""
        return base64.b64encode(f"{self.user}:{self.password}".encode()).decode()

    @property
    def spellings(self) -> tuple[str, ...]:
        """Every way in which a careless log could give the password away."""
        return self.password, quote(self.password, safe=""), self.token


@dataclass(frozen=True)
class Failed:
    """What a proxy's own answer says about why it is one."""

    error: str
    details: str

    @classmethod
    def read(cls, proxy_status: str) -> "Failed":
        """Reads a `Proxy-Status` field as this project promises to write it."""
        form = r'sami-proxy; error=([a-z_]+)(?:; details="((?:[^"\\]|\\.)*)")?'
        found = re.fullmatch(form, proxy_status)
        assert found, f"not a Proxy-Status of sami-proxy: {proxy_status!r}"
        assert found[1] in RFC_9209_ERRORS, f"not an error type of RFC 9209: {found[1]}"
        return cls(error=found[1], details=found[2] or "")


class Proxy:
    """A running sami-proxy: where it listens, who may use it, and what it has logged so far."""

    host = "127.0.0.1"

    def __init__(self, process: subprocess.Popen, accounts: Sequence[Credentials] = ()):
        self.log: list[str] = []
        self.accounts = tuple(accounts)
        self._process = process
        self._grown = threading.Condition()
        self._ended = False
        self._asked_to_stop = False
        self.expected_status = 0
        self._marks = 0
        self._reader = threading.Thread(target=self._collect, daemon=True)
        self._reader.start()
        self.port = int(self.wait_for_log(r"listening on 127\.0\.0\.1:(\d+)")[1])

    @property
    def credentials(self) -> Credentials | None:
        """The account that clients use when they can spell every character of it."""
        return self.accounts[0] if self.accounts else None

    @property
    def user(self) -> str | None:
        """The user of `credentials`."""
        return self.credentials and self.credentials.user

    @property
    def password(self) -> str | None:
        """The password of `credentials`."""
        return self.credentials and self.credentials.password

    @property
    def address(self) -> tuple[str, int]:
        """Where to connect."""
        return self.host, self.port

    @property
    def pin(self) -> str:
        """What it says at its start that its TLS certificate is known by: `sha256:` and base64."""
        return self.wait_for_log(r"pin of the TLS certificate is (sha256:\S+)")[1]

    @property
    def bare_url(self) -> str:
        """The proxy's URL without anybody's credentials."""
        return f"http://{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """The URL that a person would type into a client, with what the proxy wants to know in it."""
        return self.url_for(self.credentials)

    @property
    def latin_url(self) -> str:
        """The same for clients that spell credentials in ISO-8859-1 whatever the challenge's charset says."""
        return self.url_for(self.accounts[-1] if self.accounts else None)

    def url_for(self, credentials: Credentials | None) -> str:
        """The proxy's URL with these credentials in it."""
        return f"http://{credentials.in_url}@{self.host}:{self.port}" if credentials else self.bare_url

    def url_over(self, scheme: str) -> str:
        """The URL that a person would type, for another of its doors: `https`, `socks5h` and so on."""
        return self.url.replace("http", scheme, 1)

    def wait_for_log(self, pattern: str, since: int = 0) -> re.Match[str]:
        """The first line from number `since` on that matches, waited for a bounded time."""
        with self._grown:
            found = self._grown.wait_for(lambda: self._search(pattern, since) or self._ended, DEADLINE)
        assert isinstance(found, re.Match), f"no line like {pattern!r} in the log:\n{''.join(self.log[since:])}"
        return found

    def now_in_log(self) -> int:
        """The number of the next line: everything that happened until now stands before it.

        Lines are gathered and written a little late, so a request of a name of its own is waited for (it is refused for
        its port before anybody looks the name up).
        """
        self._marks += 1
        mark = f"mark-{self._marks}.example:25"
        with socket.create_connection(self.address, DEADLINE) as client:
            client.sendall(f"CONNECT {mark} HTTP/1.1\r\nHost: {mark}\r\n\r\n".encode())
            while client.recv(4096):
                client.shutdown(socket.SHUT_WR)
        self.wait_for_log(re.escape(mark))
        return len(self.log)

    def ask_to_stop(self) -> None:
        """Sends SIGTERM, but once: the second would end running transfers."""
        if not self._asked_to_stop:
            self._asked_to_stop = True
            self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Ends it as a crash would: at once, and without a word."""
        self.expected_status = -signal.SIGKILL
        self._process.kill()
        self._process.wait(DEADLINE)

    def refuses_connections(self) -> bool:
        """Whether the port is closed within a bounded time."""
        end = time.monotonic() + DEADLINE
        while time.monotonic() < end:
            try:
                socket.create_connection(self.address, DEADLINE).close()
            except ConnectionResetError:
                pass  # it was waiting to be accepted while the port was closed
            except ConnectionRefusedError:
                return True
        return False

    def stop(self) -> int:
        """Asks the proxy to end, and returns its exit status."""
        self.ask_to_stop()
        status = self._process.wait(DEADLINE)
        self._reader.join(DEADLINE)
        return status

    def _collect(self) -> None:
        """Keeps the pipe empty, so that the proxy never waits for its log to be read."""
        for line in self._process.stdout:
            with self._grown:
                self.log.append(line)
                self._grown.notify_all()
        with self._grown:
            self._ended = True
            self._grown.notify_all()

    def _search(self, pattern: str, since: int) -> re.Match[str] | None:
        """The first line that matches now."""
        return next(filter(None, (re.search(pattern, line) for line in self.log[since:])), None)


NEVER_LOGGED = "canary-that-no-log-may-hold"
"""A word that tests put into queries, headers and bodies."""


@contextmanager
def running_proxy(
    *flags: str | Path, accounts: Sequence[Credentials] = (), parent: Proxy | None = None
) -> Iterator[Proxy]:
    """A proxy of one's own, which must end cleanly and have kept every secret; its parent's too, if it has one."""
    command = [str(binary()), "serve", "--listen", "127.0.0.1:0", "--log-level", "info", *map(str, flags)]
    if parent:
        command += ["--upstream", parent.url_over("https")]
    for account in accounts:
        command += ["--auth", f"{account.user}:{account.password}"]
    process = subprocess.Popen(
        command,
        env={"PATH": os.environ["PATH"]},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="backslashreplace",
    )
    try:
        proxy = Proxy(process, accounts)
        yield proxy
        status = proxy.stop()
        assert status == proxy.expected_status, f"exit status {status}; the log:\n{''.join(proxy.log)}"
        _assert_nothing_secret(proxy, [*accounts, *(parent.accounts if parent else ())])
    finally:
        process.kill()
        process.wait()


def binary() -> Path:
    """The proxy under test."""
    path = Path(os.environ.get("SAMI_PROXY_BIN", REPOSITORY / "target/debug/sami-proxy")).resolve()
    assert path.is_file(), f"there is no {path}; build it with `cargo build` or set SAMI_PROXY_BIN"
    return path


def _assert_nothing_secret(proxy: Proxy, accounts: Sequence[Credentials]) -> None:
    """Fails when the log holds a password, a query, a header or a body."""
    secrets = [NEVER_LOGGED, *(spelling for account in accounts for spelling in account.spellings)]
    told = [line for line in proxy.log if any(secret in line for secret in secrets)]
    assert not told, f"secrets in the log:\n{''.join(told)}"


def client_environment(home: Path, extra: Mapping[str, str] = {}) -> dict[str, str]:
    """An environment in which a client finds no proxy, no configuration and no other trust than what it is given."""
    return {"PATH": os.environ["PATH"], "HOME": str(home), "LC_ALL": "C.UTF-8", **extra}
