"""Clients that wait to be asked: .NET and Chromium send no credentials before a 407, and go on with the same socket."""

import hashlib
import http.client
import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import pytest

from certificates import Certificates
from harness import DEADLINE, Proxy
from origin import FIVE_MIB, HELLO, Origin, Site, bytes_of

CHALLENGE = 'Basic realm="sami-proxy", charset="UTF-8"'
TEN_KB = bytes_of(10_000)

FIELDS_OF = {
    "dotnet": "",
    "chromium": "Proxy-Connection: keep-alive\r\nUser-Agent: Mozilla/5.0 Chrome/140.0.0.0 Electron/38.0.0\r\n",
}
"""What each of them says in a CONNECT beside Host."""


@dataclass(frozen=True)
class Response:
    """One response, read to its end."""

    line: str
    fields: http.client.HTTPMessage
    body: bytes

    @property
    def status(self) -> int:
        """The status code."""
        return int(self.line.split()[1])


class Wire:
    """One socket to the proxy, with nothing between the test and the bytes."""

    def __init__(self, proxy: Proxy):
        self.socket = socket.create_connection(proxy.address, DEADLINE)
        self._incoming = self.socket.makefile("rb")

    def close(self) -> None:
        """Ends the connection."""
        self._incoming.close()
        self.socket.close()

    def send(self, head: str, body: bytes = b"") -> None:
        """Sends a request in one piece."""
        self.socket.sendall(head.encode() + b"\r\n" + body)

    def receive(self) -> Response:
        """Reads the next response; one without a length has no body, as a 200 to CONNECT."""
        line = self._incoming.readline().decode().rstrip("\r\n")
        assert line, "the proxy closed the connection in place of an answer"
        fields = http.client.parse_headers(self._incoming)
        return Response(line, fields, self._incoming.read(int(fields.get("Content-Length", 0))))

    def is_at_its_end(self) -> bool:
        """Whether the proxy has closed."""
        return self._incoming.read(1) == b""


@contextmanager
def wire_to(proxy: Proxy) -> Iterator[Wire]:
    """A new connection to the proxy."""
    wire = Wire(proxy)
    try:
        yield wire
    finally:
        wire.close()


def credentials_of(proxy: Proxy) -> str:
    """The field that a client sends after it has been asked."""
    return f"Proxy-Authorization: Basic {proxy.credentials.token}\r\n"


def connect(site: Site, fields: str = "") -> str:
    """The head of a CONNECT request."""
    return f"CONNECT {site.authority} HTTP/1.1\r\nHost: {site.authority}\r\n{fields}"


def post(site: Site, body: bytes, fields: str = "") -> str:
    """The head of a POST in absolute form."""
    return f"POST {site.url('/upload')} HTTP/1.1\r\nHost: {site.authority}\r\nContent-Length: {len(body)}\r\n{fields}"


def assert_asks_for_credentials(answer: Response) -> None:
    """A 407 that a client can act on without losing the connection."""
    assert answer.status == 407
    assert answer.fields["Proxy-Authenticate"] == CHALLENGE
    assert int(answer.fields["Content-Length"]) == len(answer.body)


def assert_keeps_the_connection(answer: Response) -> None:
    """No word about closing, in either spelling."""
    words = [answer.fields.get("Connection", ""), answer.fields.get("Proxy-Connection", "")]
    assert "close" not in "".join(words).lower()


def fetch_hello(wire: Wire, certificates: Certificates) -> bytes:
    """Speaks TLS and HTTP with the origin inside of an open tunnel."""
    with certificates.client.wrap_socket(wire.socket, server_hostname="localhost") as tls:
        tls.sendall(b"GET /hello HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        return b"".join(iter(lambda: tls.recv(65536), b""))


@pytest.fixture
def https(origin: Origin) -> Site:
    """The origin to tunnel to."""
    return Site(origin, "https")


@pytest.fixture
def http_site(origin: Origin) -> Site:
    """The origin to forward to."""
    return Site(origin, "http")


@pytest.mark.parametrize("client", FIELDS_OF)
def test_a_connect_is_repeated_with_credentials_on_the_same_socket(
    auth_proxy: Proxy, https: Site, certificates: Certificates, client: str
):
    with wire_to(auth_proxy) as wire:
        wire.send(connect(https, FIELDS_OF[client]))
        asked = wire.receive()
        assert_asks_for_credentials(asked)
        assert_keeps_the_connection(asked)
        wire.send(connect(https, FIELDS_OF[client] + credentials_of(auth_proxy)))
        established = wire.receive()
        assert (established.line, established.fields.items()) == ("HTTP/1.1 200 Connection established", [])
        assert HELLO.encode() in fetch_hello(wire, certificates)


@pytest.mark.parametrize("client", FIELDS_OF)
def test_a_proxy_that_needs_no_credentials_opens_the_tunnel_at_once(
    open_proxy: Proxy, https: Site, certificates: Certificates, client: str
):
    with wire_to(open_proxy) as wire:
        wire.send(connect(https, FIELDS_OF[client]))
        assert wire.receive().line == "HTTP/1.1 200 Connection established"
        assert HELLO.encode() in fetch_hello(wire, certificates)


def test_a_post_is_repeated_with_credentials_on_the_same_socket(auth_proxy: Proxy, http_site: Site):
    with wire_to(auth_proxy) as wire:
        wire.send(post(http_site, TEN_KB), TEN_KB)
        asked = wire.receive()
        assert_asks_for_credentials(asked)
        assert_keeps_the_connection(asked)
        wire.send(post(http_site, TEN_KB, credentials_of(auth_proxy)), TEN_KB)
        assert json.loads(wire.receive().body)["sha256"] == hashlib.sha256(TEN_KB).hexdigest()


def test_a_post_is_asked_for_credentials_before_its_body_has_come(auth_proxy: Proxy, http_site: Site):
    with wire_to(auth_proxy) as wire:
        wire.send(post(http_site, TEN_KB))
        assert_asks_for_credentials(wire.receive())


def test_a_large_post_without_credentials_can_read_the_407_after_it_is_sent(auth_proxy: Proxy, http_site: Site):
    with wire_to(auth_proxy) as wire:
        with suppress(ConnectionError):  # a proxy need not take it all, but its answer must survive
            wire.send(post(http_site, FIVE_MIB), FIVE_MIB)
        answer = wire.receive()
        assert_asks_for_credentials(answer)
        assert answer.fields.get("Connection", "").lower() == "close"
        assert wire.is_at_its_end()


def test_a_wrong_password_is_asked_again_and_a_right_one_is_served_after_it(auth_proxy: Proxy, http_site: Site):
    wrong = "Proxy-Authorization: Basic c2FtaTp3cm9uZw==\r\n"
    with wire_to(auth_proxy) as wire:
        for fields, status in ((wrong, 407), (credentials_of(auth_proxy), 200)):
            wire.send(post(http_site, TEN_KB, fields), TEN_KB)
            assert wire.receive().status == status


def test_credentials_are_wanted_in_every_request_of_a_connection(auth_proxy: Proxy, http_site: Site):
    with wire_to(auth_proxy) as wire:
        for fields, status in ((credentials_of(auth_proxy), 200), ("", 407)):
            wire.send(post(http_site, TEN_KB, fields), TEN_KB)
            assert wire.receive().status == status


def test_being_asked_a_hundred_times_bans_nobody(auth_proxy: Proxy, https: Site, certificates: Certificates):
    for _ in range(100):
        with wire_to(auth_proxy) as wire:
            wire.send(connect(https))
            assert_asks_for_credentials(wire.receive())
    with wire_to(auth_proxy) as wire:
        wire.send(connect(https, credentials_of(auth_proxy)))
        assert wire.receive().status == 200
        assert HELLO.encode() in fetch_hello(wire, certificates)
