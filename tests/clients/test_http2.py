"""HTTP/2 to the proxy, with prior knowledge and agreed on under TLS: frame by frame, and with libcurl."""

import json
import socket
import ssl
import struct
from collections.abc import Iterator

import pytest

from certificates import Certificates
from conftest import ACCOUNTS
from harness import DEADLINE, Failed, Proxy, running_proxy
from http2 import Http2, listening
from libcurl import Transfer
from origin import FIVE_MIB, FIVE_MIB_SHA256, HELLO, Origin, Site

CONNECT_ERROR = 0xA
"""RFC 9113 §8.5: what becomes of a tunnel whose TCP connection is reset."""


@pytest.fixture(scope="module")
def tls_proxy(certificates: Certificates) -> Iterator[Proxy]:
    """A proxy with a certificate that clients trust, and credentials."""
    files = ["--tls-cert", certificates.chain_file, "--tls-key", certificates.key_file]
    with running_proxy("--allow-private", *files, accounts=ACCOUNTS) as proxy:
        yield proxy


@pytest.fixture(params=["h2c", "h2"])
def door(request: pytest.FixtureRequest) -> str:
    """In the clear and under TLS."""
    return request.param


@pytest.fixture
def client(tls_proxy: Proxy, door: str, certificates: Certificates) -> Iterator[Http2]:
    """A connection by that door, with the right password."""
    with connected(tls_proxy, door, certificates) as sock:
        yield Http2(sock, tls_proxy.credentials)


def connected(proxy: Proxy, door: str, certificates: Certificates) -> socket.socket:
    """A socket to the proxy; under TLS, one on which it has agreed to HTTP/2."""
    plain = socket.create_connection(proxy.address, DEADLINE)
    if door == "h2c":
        return plain
    trust = ssl.create_default_context(cafile=certificates.ca_file)
    trust.set_alpn_protocols(["h2", "http/1.1"])
    covered = trust.wrap_socket(plain, server_hostname="localhost")
    assert covered.selected_alpn_protocol() == "h2"
    return covered


def accepted(listener: socket.socket) -> socket.socket:
    """The connection that has come."""
    listener.settimeout(DEADLINE)
    target, _ = listener.accept()
    target.settimeout(DEADLINE)
    return target


def reset(sock: socket.socket) -> None:
    """Closes with a RST in place of a FIN."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


# Tunnels


def test_a_tunnel_carries_both_ways_and_each_half_ends_on_its_own(client: Http2, tls_proxy: Proxy, door: str):
    with listening() as (listener, authority):
        stream = client.connect(authority)
        assert (stream.status, stream.ended) == (200, False)
        with accepted(listener) as target:
            client.send(stream, b"ping")
            assert target.recv(4) == b"ping"
            target.sendall(b"pong")
            client.wait(lambda: stream.body == b"pong")
            client.send(stream, b"", end=True)
            assert target.recv(1) == b""
            assert not stream.over
            target.sendall(b", and the rest")
        client.finish(stream)
    assert (bytes(stream.body), stream.ended, stream.reset) == (b"pong, and the rest", True, None)
    tls_proxy.wait_for_log(f" door={door} user={ACCOUNTS[0].user} method=CONNECT target={authority} .* outcome=ok")


def test_a_tunnel_whose_target_ends_first_still_goes_up(client: Http2):
    with listening() as (listener, authority):
        stream = client.connect(authority)
        with accepted(listener) as target:
            target.sendall(b"bye")
            target.shutdown(socket.SHUT_WR)
            client.finish(stream)
            assert (bytes(stream.body), stream.reset) == (b"bye", None)
            client.send(stream, b"one more word", end=True)
            assert target.makefile("rb").read() == b"one more word"


def test_two_tunnels_share_a_connection(client: Http2):
    with listening() as (listener, authority):
        first, second = client.connect(authority), client.connect(authority)
        with accepted(listener) as one, accepted(listener) as other:
            for stream, word in ((first, b"first"), (second, b"second"), (first, b"again")):
                client.send(stream, word)
            assert (one.recv(5), other.recv(6), one.recv(5)) == (b"first", b"second", b"again")
            other.sendall(b"2")
            client.wait(lambda: second.body == b"2")
            one.sendall(b"1")
            client.wait(lambda: first.body == b"1")
            assert not (first.over or second.over)


def test_more_than_any_window_passes_through_a_tunnel(client: Http2):
    with listening() as (listener, authority):
        stream = client.connect(authority)
        with accepted(listener) as target:
            target.sendall(FIVE_MIB[: 1 << 20])
            target.shutdown(socket.SHUT_WR)
            assert bytes(client.finish(stream).body) == FIVE_MIB[: 1 << 20]


def test_a_target_that_resets_resets_the_stream_and_not_the_connection(client: Http2, origin: Origin):
    with listening() as (listener, authority):
        stream = client.connect(authority)
        reset(accepted(listener))
        client.finish(stream)
    assert (stream.reset, stream.ended) == (CONNECT_ERROR, False)
    assert client.finish(client.get(f"localhost:{origin.ports['http']}", "/hello")).body == HELLO.encode()


def test_a_stream_that_is_given_up_resets_its_target_and_not_the_connection(client: Http2, origin: Origin):
    with listening() as (listener, authority):
        stream = client.connect(authority)
        with accepted(listener) as target:
            client.reset(stream)
            with pytest.raises(ConnectionResetError):
                target.recv(1)
    assert client.finish(client.get(f"localhost:{origin.ports['http']}", "/hello")).body == HELLO.encode()


def test_a_target_that_refuses_is_a_502(client: Http2, refusing_authority: str):
    stream = client.finish(client.connect(refusing_authority))
    assert (stream.status, stream.reset) == (502, None)
    assert Failed.read(stream.fields["proxy-status"]).error == "connection_refused"


# Requests


def test_a_get_brings_what_the_origin_serves(client: Http2, tls_proxy: Proxy, origin: Origin, door: str):
    authority = f"localhost:{origin.ports['http']}"
    since = tls_proxy.now_in_log()
    stream = client.finish(client.get(authority, "/hello"))
    assert (stream.status, bytes(stream.body), stream.reset) == (200, HELLO.encode(), None)
    tls_proxy.wait_for_log(f" door={door} .* method=GET target={authority} .* outcome=ok", since)


def test_the_origin_sees_a_request_of_http_1_1_and_no_password(client: Http2, origin: Origin):
    authority = f"localhost:{origin.ports['http']}"
    asked = json.loads(client.finish(client.get(authority, "/headers?a=b", ("x-own", "yes"))).body)
    fields = {name.lower(): value for name, value in asked["headers"]}
    assert (asked["method"], asked["path"], asked["version"]) == ("GET", "/headers?a=b", "1.1")
    assert (fields["host"], fields["x-own"]) == (authority, "yes")
    assert not {"proxy-authorization", "connection", "forwarded", "x-forwarded-for"} & fields.keys()


def test_a_large_upload_and_a_large_download_arrive_byte_for_byte(client: Http2, origin: Origin):
    authority = f"localhost:{origin.ports['http']}"
    received = json.loads(client.finish(client.request("POST", "http", authority, "/upload", FIVE_MIB)).body)
    assert (received["length"], received["sha256"]) == (len(FIVE_MIB), FIVE_MIB_SHA256)
    assert bytes(client.finish(client.get(authority, f"/bytes/{len(FIVE_MIB)}")).body) == FIVE_MIB


def test_one_stream_does_not_wait_for_another(client: Http2, origin: Origin):
    authority = f"localhost:{origin.ports['http']}"
    gate = origin.gate()
    slow = client.get(authority, "/sse?events=2", *((name.lower(), value) for name, value in gate.headers.items()))
    client.wait(lambda: slow.body == b"data: event 0\n\n")
    assert client.finish(client.get(authority, "/hello")).body == HELLO.encode()
    assert not slow.over
    gate.open()
    assert client.finish(slow).body == b"data: event 0\n\ndata: event 1\n\n"


def test_without_the_password_it_is_a_407(tls_proxy: Proxy, door: str, certificates: Certificates, origin: Origin):
    with connected(tls_proxy, door, certificates) as sock:
        client = Http2(sock)
        stream = client.finish(client.get(f"localhost:{origin.ports['http']}", "/hello"))
        assert stream.status == 407
        assert stream.fields["proxy-authenticate"] == 'Basic realm="sami-proxy", charset="UTF-8"'
        assert client.connect(f"localhost:{origin.ports['https']}").status == 407


# libcurl


def test_libcurl_agrees_on_http2_with_the_proxy(tls_proxy: Proxy, site: Site, certificates: Certificates):
    since = tls_proxy.now_in_log()
    transfer = Transfer(tls_proxy.url_over("https"), certificates, http2=True)
    assert transfer.get(site.url("/hello")) == HELLO.encode()
    assert transfer.get(site.url(f"/bytes/{len(FIVE_MIB)}")) == FIVE_MIB
    assert json.loads(transfer.post(site.url("/upload"), FIVE_MIB))["sha256"] == FIVE_MIB_SHA256
    transfer.close()
    tls_proxy.wait_for_log(rf" door=h2 .* target=localhost:{site.port} .* status=200 ", since)
