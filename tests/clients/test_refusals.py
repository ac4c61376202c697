"""What curl is told when the proxy asks for a password or will not or cannot go where it is sent."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from curl import Curl
from harness import Credentials, Proxy, running_proxy
from nameserver import running_nameserver
from origin import FIVE_MIB_SHA256, HELLO, Origin, Site

WRONG = Credentials("sami", "wrong")
POLICY = {"destination_ip_prohibited", "http_request_denied"}


@pytest.fixture(scope="module")
def strict_proxy() -> Iterator[Proxy]:
    """A proxy as it is by default: without `--allow-private`."""
    with running_proxy() as proxy:
        yield proxy


@pytest.fixture(scope="module")
def nameless_proxy() -> Iterator[Proxy]:
    """A proxy whose name server knows no name."""
    with running_nameserver() as names, running_proxy("--allow-private", "--dns", names.address) as proxy:
        yield proxy


# Authentication


def test_a_client_that_waits_to_be_asked_is_asked_and_served_on_one_connection(
    curl: Curl, auth_proxy: Proxy, site: Site
):
    answer = curl(auth_proxy, "--proxy-anyauth", site.url("/hello"))
    assert answer.statuses == ([407, 200, 200] if site.scheme == "https" else [407, 200])
    assert (answer.body, answer.new_connections) == (HELLO.encode(), [1])


def test_an_upload_survives_being_asked_for_the_password(curl: Curl, auth_proxy: Proxy, site: Site, five_mib: Path):
    answer = curl(auth_proxy, "--proxy-anyauth", "--data-binary", f"@{five_mib}", site.url("/upload"))
    assert answer.statuses[0] == 407
    assert answer.json()["sha256"] == FIVE_MIB_SHA256


def test_credentials_that_nobody_wants_do_no_harm_and_go_no_further(curl: Curl, open_proxy: Proxy, site: Site):
    asked = curl(open_proxy, site.url("/headers"), via=open_proxy.url_for(WRONG)).json()
    assert "proxy-authorization" not in {name.lower() for name, _ in asked["headers"]}


@pytest.mark.parametrize("credentials", [WRONG, None], ids=["wrong", "none"])
def test_a_407_says_which_scheme_and_why(curl: Curl, auth_proxy: Proxy, site: Site, credentials: Credentials | None):
    answer = curl(auth_proxy, site.url("/hello"), via=auth_proxy.url_for(credentials))
    assert answer.statuses == [407]
    assert answer.fields("Proxy-Authenticate") == ['Basic realm="sami-proxy", charset="UTF-8"']
    assert answer.failure().error == "http_request_denied"
    assert answer.exit_status == (56 if site.scheme == "https" else 0)


@pytest.mark.parametrize("user", ["Sami", "sam", "samis", "sami "])
def test_a_user_that_is_almost_right_is_wrong(curl: Curl, auth_proxy: Proxy, site: Site, user: str):
    almost = Credentials(user, auth_proxy.password)
    assert curl(auth_proxy, site.url("/hello"), via=auth_proxy.url_for(almost)).statuses == [407]


# Refusals


def assert_says_what_happened_and_what_to_do(body: bytes) -> None:
    """A body for people: two lines of text, neither of them empty."""
    lines = body.decode().splitlines()
    assert len(lines) == 2, body
    assert all(lines), body


def test_a_refused_connection_is_a_502_in_place_of_a_tunnel(curl: Curl, single_proxy: Proxy, refusing_authority: str):
    answer = curl(single_proxy, f"https://{refusing_authority}/")
    assert (answer.exit_status, answer.connect_status) == (56, 502)
    assert answer.failure().error == "connection_refused"


def test_a_refused_connection_is_a_502_that_a_person_can_read(
    curl: Curl, single_proxy: Proxy, refusing_authority: str
):
    answer = curl(single_proxy, f"http://{refusing_authority}/")
    assert (answer.status, answer.failure().error) == (502, "connection_refused")
    assert answer.fields("Content-Length") == [str(len(answer.body))]
    assert_says_what_happened_and_what_to_do(answer.body)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_an_unknown_name_is_a_dns_error(curl: Curl, nameless_proxy: Proxy, scheme: str):
    answer = curl(nameless_proxy, f"{scheme}://does-not-exist.invalid/")
    assert answer.statuses in ([502], [504])
    assert answer.failure().error in ("dns_error", "dns_timeout")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "localhost", "LOCALHOST.", "[::1]", "[::ffff:127.0.0.1]"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_an_address_of_this_network_is_prohibited_by_default(
    curl: Curl, strict_proxy: Proxy, origin: Origin, scheme: str, host: str
):
    answer = curl(strict_proxy, origin.url(scheme, "/hello", host))
    assert (answer.statuses, answer.failure().error) == ([403], "destination_ip_prohibited")
    if scheme == "http":
        assert_says_what_happened_and_what_to_do(answer.body)


@pytest.mark.parametrize("port", [25, 465, 587])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_port_of_mail_is_forbidden(curl: Curl, proxy: Proxy, scheme: str, port: int):
    answer = curl(proxy, f"{scheme}://127.0.0.1:{port}/")
    assert answer.statuses == [403]
    assert answer.failure().error in POLICY


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_the_proxy_does_not_fetch_from_itself(curl: Curl, proxy: Proxy, scheme: str):
    answer = curl(proxy, f"{scheme}://127.0.0.1:{proxy.port}/hello")
    assert answer.statuses == [403]
    assert answer.failure().error in POLICY | {"proxy_loop_detected"}


def test_a_refusal_keeps_the_connection_for_the_next_request(
    curl: Curl, proxy: Proxy, origin: Origin, refusing_authority: str
):
    answer = curl(proxy, f"http://{refusing_authority}/", origin.url("http", "/hello"))
    assert (answer.statuses, answer.new_connections) == ([502, 200], [1, 0])
