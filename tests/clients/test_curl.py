"""curl through the proxy: what it fetches, what it uploads, and what the origin learns of it."""

import hashlib
from pathlib import Path

import pytest

from curl import Curl
from harness import DEADLINE, Proxy, running_proxy
from origin import (
    FIVE_MIB,
    FIVE_MIB_SHA256,
    HELLO,
    LINK_HINT,
    TOO_LARGE,
    TRAILER,
    Origin,
    Site,
    bytes_of,
    etag_of,
    has_ipv6,
)

CURLE_PARTIAL_FILE = 18
CURLE_RECV_ERROR = 56


# Downloads


def test_a_get_brings_what_the_origin_serves(curl: Curl, proxy: Proxy, site: Site):
    answer = curl(proxy, site.url("/hello"))
    assert (answer.exit_status, answer.status, answer.body) == (0, 200, HELLO.encode())
    assert answer.connect_status == (200 if site.scheme == "https" else 0)


def test_a_plain_http_origin_can_be_reached_through_a_tunnel_too(curl: Curl, proxy: Proxy, origin: Origin):
    answer = curl(proxy, "--proxytunnel", origin.url("http", "/hello"))
    assert (answer.connect_status, answer.status, answer.body) == (200, 200, HELLO.encode())


def test_connect_is_answered_with_one_line_and_no_fields(curl: Curl, proxy: Proxy, origin: Origin):
    answer = curl(proxy, origin.url("https", "/hello"))
    assert answer.head.split("\n\n")[0] == "HTTP/1.1 200 Connection established"


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_an_address_works_in_place_of_a_name(curl: Curl, proxy: Proxy, site: Site, host: str):
    if host == "[::1]" and not has_ipv6():
        pytest.skip("this machine has no ::1")
    answer = curl(proxy, site.origin.url(site.scheme, "/hello", host))
    assert (answer.status, answer.body) == (200, HELLO.encode())


def test_a_large_download_arrives_byte_for_byte(curl: Curl, proxy: Proxy, site: Site):
    answer = curl(proxy, site.url(f"/bytes/{len(FIVE_MIB)}"))
    assert hashlib.sha256(answer.body).hexdigest() == FIVE_MIB_SHA256


def test_a_head_brings_the_length_without_a_body_and_keeps_the_connection(curl: Curl, proxy: Proxy, site: Site):
    answer = curl(proxy, "--head", site.url("/bytes/1000"), site.url("/bytes/2000"))
    assert answer.fields("Content-Length") == ["1000", "2000"]
    assert (answer.status, answer.new_connections) == (200, [1, 0])


def test_a_304_has_no_body_and_keeps_the_connection(curl: Curl, proxy: Proxy, site: Site):
    condition = f"If-None-Match: {etag_of(1000)}"
    answer = curl(proxy, "-H", condition, site.url("/bytes/1000"), site.url("/hello"))
    assert answer.statuses[-2:] == [304, 200]
    assert (answer.bodies, answer.new_connections) == ([b"", HELLO.encode()], [1, 0])


def test_a_range_brings_exactly_those_bytes(curl: Curl, proxy: Proxy, site: Site):
    answer = curl(proxy, "--range", "100-299", site.url("/bytes/1000"))
    assert (answer.status, answer.body) == (206, bytes_of(1000)[100:300])
    assert answer.fields("Content-Range") == ["bytes 100-299/1000"]


def test_a_body_that_ends_with_the_connection_arrives_whole(curl: Curl, proxy: Proxy, site: Site):
    answer = curl(proxy, site.url("/until-close"))
    assert (answer.exit_status, answer.status, answer.body) == (0, 200, HELLO.encode())


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_body_that_breaks_off_is_not_passed_off_as_a_whole_one(curl: Curl, proxy: Proxy, site: Site, framing: str):
    answer = curl(proxy, site.url(f"/cut/{framing}"))
    assert answer.exit_status in (CURLE_PARTIAL_FILE, CURLE_RECV_ERROR)
    assert (answer.status, answer.body) == (200, HELLO.encode())


def test_repeated_empty_and_latin_fields_arrive_as_they_are(curl: Curl, proxy: Proxy, site: Site):
    answer = curl(proxy, site.url("/odd-fields"))
    assert answer.fields("Set-Cookie") == ["a=1", "b=2"]
    assert (answer.fields("X-Latin"), answer.fields("X-Lower")) == (["caf\xe9"], ["yes"])
    assert "X-Empty:" in answer.head.replace("x-empty", "X-Empty")


def test_trailers_reach_a_client_that_asks_for_them(curl: Curl, proxy: Proxy, site: Site):
    answer = curl(proxy, "-H", "TE: trailers", "-H", "Connection: TE", site.url("/trailers"))
    assert (answer.status, answer.body) == (200, HELLO.encode())
    assert answer.fields(TRAILER[0]) == [TRAILER[1]]


def test_early_hints_pass_before_the_answer(curl: Curl, proxy: Proxy, site: Site):
    answer = curl(proxy, site.url("/early-hints"))
    assert answer.statuses[-2:] == [103, 200]
    assert (answer.fields("Link"), answer.body) == ([LINK_HINT], HELLO.encode())


def test_an_event_arrives_before_the_next_one_is_sent(curl: Curl, proxy: Proxy, site: Site):
    gate = site.origin.gate()
    with curl.streaming(proxy, gate, site.url("/sse?events=3")) as running:
        assert running.stdout.readline() == "data: event 0\n", "curl gave up before the first event came"
        gate.open()
        assert running.stdout.read() == "\ndata: event 1\n\ndata: event 2\n\n"
    assert running.returncode == 0


def test_the_origin_learns_at_once_that_the_client_of_a_tunnel_has_gone(curl: Curl, proxy: Proxy, origin: Origin):
    assert learns_that_its_client_has_gone(curl, proxy, Site(origin, "https"))


def test_the_origin_of_a_forwarded_request_learns_it_after_the_half_close_time(curl: Curl, origin: Origin):
    with running_proxy("--allow-private", "--half-close-timeout", "1s") as impatient_proxy:
        assert learns_that_its_client_has_gone(curl, impatient_proxy, Site(origin, "http"))


def learns_that_its_client_has_gone(curl: Curl, proxy: Proxy, site: Site) -> bool:
    """Ends curl in the middle of a stream, and waits for the origin to take note of it."""
    gate = site.origin.gate()
    with curl.streaming(proxy, gate, site.url("/sse?events=2")) as running:
        assert running.stdout.readline() == "data: event 0\n"
        running.kill()
    return gate.abandoned.wait(DEADLINE)


# Uploads


@pytest.mark.parametrize("method", [["--upload-file"], ["--data-binary"]], ids=["put", "post"])
def test_an_upload_arrives_byte_for_byte(curl: Curl, proxy: Proxy, site: Site, five_mib: Path, method: list[str]):
    file = str(five_mib) if method == ["--upload-file"] else f"@{five_mib}"
    received = curl(proxy, *method, file, site.url("/upload")).json()
    assert (received["length"], received["sha256"]) == (len(FIVE_MIB), FIVE_MIB_SHA256)


def test_an_upload_of_unknown_length_arrives_in_chunks(curl: Curl, proxy: Proxy, site: Site):
    received = curl(proxy, "--upload-file", "-", site.url("/upload"), input=FIVE_MIB).json()
    assert (received["chunked"], received["sha256"]) == (True, FIVE_MIB_SHA256)


def test_a_100_continue_comes_from_the_origin_before_the_body_goes(
    curl: Curl, proxy: Proxy, site: Site, five_mib: Path
):
    expecting = ["-v", "-H", "Expect: 100-continue", "--expect100-timeout", str(DEADLINE)]
    answer = curl(proxy, *expecting, "--data-binary", f"@{five_mib}", site.url("/upload"))
    assert "< HTTP/1.1 100 Continue" in answer.progress
    assert (answer.json()["expected_100"], answer.json()["sha256"]) == (True, FIVE_MIB_SHA256)


def test_an_origin_that_refuses_an_expectation_is_never_sent_the_body(
    curl: Curl, proxy: Proxy, site: Site, five_mib: Path
):
    expecting = ["-H", "Expect: 100-continue", "--expect100-timeout", str(DEADLINE)]
    answer = curl(proxy, *expecting, "--data-binary", f"@{five_mib}", site.url("/refuse-upload"))
    assert (answer.status, answer.reports[0]["size_upload"]) == (413, 0)
    assert 100 not in answer.statuses


def test_a_refusal_reaches_a_client_that_has_sent_all(curl: Curl, proxy: Proxy, site: Site, five_mib: Path):
    answer = curl(proxy, "-H", "Expect:", "--data-binary", f"@{five_mib}", site.url("/refuse-upload"))
    assert (answer.status, answer.body) == (413, TOO_LARGE.encode())


def test_a_refusal_reaches_a_client_that_is_still_sending(curl: Curl, proxy: Proxy, site: Site, five_mib: Path):
    slow = ["-H", "Expect:", "--limit-rate", "64k", "--data-binary", f"@{five_mib}"]
    answer = curl(proxy, *slow, site.url("/refuse-upload"))
    assert (answer.status, answer.body) == (413, TOO_LARGE.encode())
    assert answer.reports[0]["size_upload"] < len(FIVE_MIB)


# Connections


def test_the_connection_to_the_proxy_is_kept_for_the_next_url(curl: Curl, proxy: Proxy, site: Site):
    answer = curl(proxy, "-v", site.url("/hello"), site.url("/headers"))
    assert answer.new_connections == [1, 0]
    assert "Re-using existing" in answer.progress


def test_one_connection_to_the_proxy_reaches_one_origin_after_another(curl: Curl, proxy: Proxy, origin: Origin):
    schemes = ["http", "http-other", "http"]
    answer = curl(proxy, *(origin.url(scheme, "/headers") for scheme in schemes))
    assert [answer.json(n)["port"] for n in range(3)] == [origin.ports[scheme] for scheme in schemes]
    assert answer.new_connections == [1, 0, 0]


def test_a_tunnel_is_opened_for_a_connect_of_http_1_0(curl: Curl, proxy: Proxy, origin: Origin):
    via = proxy.url.removeprefix("http://")
    answer = curl(proxy, "--proxy1.0", via, origin.url("https", "/hello"))
    assert (answer.connect_status, answer.body) == (200, HELLO.encode())


def test_a_client_of_http_1_0_gets_no_chunks_and_no_interim_answers(curl: Curl, proxy: Proxy, origin: Origin):
    answer = curl(proxy, "--http1.0", origin.url("http", "/early-hints"), origin.url("http", "/sse?events=2"))
    assert answer.statuses == [200, 200]
    assert (answer.fields("Transfer-Encoding"), answer.body) == ([], b"data: event 0\n\ndata: event 1\n\n")


def test_a_websocket_opens_through_curl(curl: Curl, single_proxy: Proxy, site: Site):
    """By hand, for Debian's curl has no ws://; it prints the frames as they are."""
    handshake = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    fields = [argument for name, value in handshake.items() for argument in ("-H", f"{name}: {value}")]
    answer = curl(single_proxy, "--http1.1", "--max-time", "10", *fields, site.url("/ws?say=hello"))
    assert 101 in answer.statuses
    assert answer.fields("Sec-WebSocket-Accept") == ["s3pPLMBiTxaQ9kYGzzhZRbK+xOo="]
    assert answer.body.startswith(b"\x81\x05hello\x88")


# What the origin learns


def test_the_origin_sees_the_request_and_nothing_of_the_proxy(curl: Curl, proxy: Proxy, site: Site):
    asked = curl(proxy, "-H", "X-Of-The-Client: yes", "-d", "body", site.url("/headers?a=b%20c")).json()
    assert (asked["method"], asked["path"], asked["body_length"]) == ("POST", "/headers?a=b%20c", 4)
    fields = {name.lower(): value for name, value in asked["headers"]}
    assert (fields["host"], fields["x-of-the-client"]) == (site.authority, "yes")
    hidden = {"proxy-authorization", "proxy-connection", "forwarded", "x-forwarded-for", "x-real-ip"}
    assert not hidden & fields.keys()


def test_a_long_request_line_and_a_large_field_pass(curl: Curl, proxy: Proxy, site: Site):
    path, token = f"/headers?{'q' * 8000}", "t" * 30_000
    asked = curl(proxy, "-H", f"X-Token: {token}", site.url(path)).json()
    assert (asked["path"], dict(asked["headers"])["X-Token"]) == (path, token)


def test_fields_of_the_clients_own_hop_stay_on_it(curl: Curl, proxy: Proxy, origin: Origin):
    own = ["-H", "Connection: keep-alive, X-Hop", "-H", "X-Hop: 1", "-H", "Keep-Alive: timeout=5"]
    asked = curl(proxy, *own, origin.url("http", "/headers")).json()
    assert not {"x-hop", "keep-alive"} & {name.lower() for name, _ in asked["headers"]}
