"""`--admin`: what Prometheus reads is read by Prometheus' own parser and agrees with what was done."""

import re
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from curl import Curl
from harness import DEADLINE, METRICS, Proxy, running_proxy
from origin import Origin, Site

Samples = dict[tuple[str, frozenset], float]


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    """A proxy of the test's own, so that nobody else is counted."""
    with running_proxy("--allow-private", "--workers", "1", "--admin", "127.0.0.1:0") as proxy:
        yield proxy


def ask(proxy: Proxy, path: str) -> tuple[int, str, str]:
    """Status, media type and body of the admin port's answer."""
    port = proxy.wait_for_log(r"metrics and health on 127\.0\.0\.1:(\d+)")[1]
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(f"http://127.0.0.1:{port}{path}", timeout=DEADLINE) as answer:
            return answer.status, answer.headers["Content-Type"], answer.read().decode()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.headers["Content-Type"], refused.read().decode()


def scrape(proxy: Proxy) -> Samples:
    """Every sample, by name and labels."""
    status, kind, text = ask(proxy, "/metrics")
    assert (status, kind) == (200, "application/openmetrics-text; version=1.0.0; charset=utf-8")
    families = text_string_to_metric_families(text)
    return {(one.name, frozenset(one.labels.items())): one.value for family in families for one in family.samples}


def wait_for_lines(proxy: Proxy, pattern: str, count: int) -> None:
    """Until the log has so many lines that match: a tunnel ends a little after its client."""
    since = 0
    for _ in range(count):
        since = proxy.log.index(proxy.wait_for_log(pattern, since).string, since) + 1


def key(name: str, **labels: str) -> tuple[str, frozenset]:
    return f"sami_proxy_{name}", frozenset(labels.items())


def test_counts_agree_with_what_was_done(curl: Curl, proxy: Proxy, origin: Origin, refusing_authority: str):
    plain, secure = Site(origin, "http"), Site(origin, "https")
    socks = f"socks5h://{proxy.host}:{proxy.port}"
    for _ in range(3):
        curl(proxy, plain.url("/hello"))
    for _ in range(2):
        curl(proxy, secure.url("/hello"))
    for _ in range(4):
        curl(proxy, secure.url("/hello"), via=socks)
    curl(proxy, f"http://{refusing_authority}/")
    with socket.create_connection(proxy.address, DEADLINE) as scanner:
        scanner.sendall(b"SSH-2.0-scanner\r\n")
        assert scanner.recv(1) == b""
    wait_for_lines(proxy, "ended=.*", 10)
    lines = proxy.log[: proxy.now_in_log()]  # and the mark itself: a CONNECT to a mail port
    # Still open while it is counted.
    with socket.create_connection(proxy.address, DEADLINE) as tunnel:
        tunnel.sendall(f"CONNECT {plain.authority} HTTP/1.1\r\nHost: {plain.authority}\r\n\r\n".encode())
        assert tunnel.recv(4096).startswith(b"HTTP/1.1 200 ")
        got = scrape(proxy)

    expected = {
        key("connections_accepted_total"): 13,
        key("connections_total", door="http"): 8,
        key("connections_total", door="socks5"): 4,
        key("connections_total", door="unknown"): 1,
        key("connections_total", door="h2"): 0,
        key("connections_open"): 1,
        key("requests_total", door="http", outcome="connection_refused"): 1,
        key("requests_total", door="http", outcome="http_request_denied"): 1,
        key("refusals_total", reason="mail_port"): 1,
        key("refusals_total", reason="stranger"): 0,
        key("tunnels_total"): 7,
        key("tunnels_open"): 1,
        key("stage_duration_seconds_count", stage="total"): 11,
        key("stage_duration_seconds_count", stage="connect"): 7,  # plain requests share a connection
        key("stage_duration_seconds_bucket", stage="total", le="+Inf"): 11,
        key("log_lines_dropped_total"): 0,
        key("draining"): 0,
    }
    assert {name: got.get(name) for name in expected} == expected
    # curl may close with bytes unread, which is a reset and no failure of anybody.
    for door, count in {"http": 5, "socks5": 4}.items():
        served = {word: got.get(key("requests_total", door=door, outcome=word), 0) for word in ("ok", "client_gone")}
        assert sum(served.values()) == count
        logged = {word: sum(f"door={door} " in line and f"outcome={word}" in line for line in lines) for word in served}
        assert logged == served
    for direction in ("up", "down"):
        logged = sum(int(found[1]) for line in lines if (found := re.search(rf" {direction}=(\d+)", line)))
        assert got[key("bytes_total", direction=direction)] == logged
    assert {name for name, _ in got} == METRICS
    labelled = [labels for name, labels in got if name == "sami_proxy_build_info"]
    assert len(labelled) == 1
    assert 0 < got[key("open_descriptors")] < got[key("descriptors_limit")]


def test_readiness_ends_when_draining_begins_and_health_does_not(proxy: Proxy, origin: Origin):
    assert ask(proxy, "/readyz")[::2] == (200, "ok\n")
    authority = Site(origin, "http").authority
    with socket.create_connection(proxy.address, DEADLINE) as tunnel:
        tunnel.sendall(f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode())
        assert tunnel.recv(4096).startswith(b"HTTP/1.1 200 ")
        proxy.ask_to_stop()
        proxy.wait_for_log("stopping: ")
        assert ask(proxy, "/readyz")[::2] == (503, "draining\n")
        assert ask(proxy, "/healthz")[::2] == (200, "ok\n")
        assert scrape(proxy)[key("draining")] == 1


def test_the_admin_port_has_nothing_else_and_is_not_reached_through_the_proxy(curl: Curl, proxy: Proxy):
    assert ask(proxy, "/")[0] == 404
    port = proxy.wait_for_log(r"metrics and health on 127\.0\.0\.1:(\d+)")[1]
    since = proxy.now_in_log()
    curl(proxy, f"http://127.0.0.1:{port}/metrics")
    assert "proxy_loop_detected" in proxy.wait_for_log(rf".*127\.0\.0\.1:{port}.*", since)[0]
