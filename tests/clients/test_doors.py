"""Everything but plain HTTP that one port speaks: SOCKS, TLS and the PROXY protocol."""

import http.client
import json
import re
import socket
import ssl
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from certificates import Certificates
from conftest import ACCOUNTS
from curl import Curl
from git_backend import GIT_ENVIRONMENT, git, make_repository
from harness import DEADLINE, Credentials, Proxy, Run, package, program, running_proxy
from libcurl import Transfer
from nameserver import NameServer
from origin import FIVE_MIB, FIVE_MIB_SHA256, HELLO, Origin, Site, bytes_of

httpx = package("httpx")
pycurl = package("pycurl")
requests = package("requests")
package("socks")
package("socksio")

CURLE_PEER_FAILED_VERIFICATION = 60
CURLE_PROXY = 97

NAME = "distinctive.example"
SOCKS5 = ["socks5", "socks5h"]
SOCKS4 = ["socks4", "socks4a"]
FILES = {"one": b"1\n", "large": bytes_of(2_000_000)}
WRONG = Credentials("sami", "wrong")
WRONG_PIN = f"sha256:{'A' * 43}="


def comes_in_by(proxy: Proxy, door: str, site: Site, since: int) -> bool:
    """Waits for the line about the site, and says whether it names the door."""
    line = proxy.wait_for_log(rf".* target=\S*:{site.port} .*", since)[0]
    return f" door={door} " in line


@pytest.fixture
def clone(run: Run, certificates: Certificates) -> Run:
    """Has git clone a URL into the folder `clone` through the proxy of a URL."""

    def run_git(proxy_url: str, url: str) -> subprocess.CompletedProcess:
        settings = [f"http.proxy={proxy_url}", f"http.proxySSLCAInfo={certificates.ca_file}"]
        options = [word for setting in settings for word in ("-c", setting)]
        environment = GIT_ENVIRONMENT | {"GIT_SSL_CAINFO": str(certificates.ca_file)}
        return run(program("git"), *options, "clone", url, "clone", env=environment, text=True)

    return run_git


# SOCKS


@pytest.fixture(scope="module")
def knowing_proxy(names: NameServer) -> Iterator[Proxy]:
    """A proxy that knows more names than its clients."""
    with running_proxy("--allow-private", "--dns", names.address) as proxy:
        yield proxy


@pytest.mark.parametrize("scheme", SOCKS5)
def test_curl_gets_through_socks5(curl: Curl, proxy: Proxy, site: Site, scheme: str):
    since = proxy.now_in_log()
    answer = curl(proxy, site.url("/hello"), via=proxy.url_over(scheme))
    assert (answer.exit_status, answer.status, answer.body) == (0, 200, HELLO.encode())
    assert comes_in_by(proxy, "socks5", site, since)


@pytest.mark.parametrize("proxy", ["open", "chain"], indirect=True)
@pytest.mark.parametrize("scheme", SOCKS4)
def test_curl_gets_through_socks4(curl: Curl, proxy: Proxy, site: Site, scheme: str):
    since = proxy.now_in_log()
    answer = curl(proxy, site.url("/hello"), via=proxy.url_over(scheme))
    assert (answer.exit_status, answer.status, answer.body) == (0, 200, HELLO.encode())
    assert comes_in_by(proxy, "socks4", site, since)


@pytest.mark.parametrize("option", ["--socks5", "--socks5-hostname", "--socks4", "--socks4a"])
def test_curl_has_an_option_for_each(curl: Curl, open_proxy: Proxy, site: Site, option: str):
    answer = curl(open_proxy, option, f"{open_proxy.host}:{open_proxy.port}", site.url("/hello"))
    assert answer.body == HELLO.encode()


@pytest.mark.parametrize("scheme", ["socks5h", "socks4a"])
def test_a_name_may_be_one_that_only_the_proxy_knows(curl: Curl, knowing_proxy: Proxy, site: Site, scheme: str):
    answer = curl(knowing_proxy, site.origin.url(site.scheme, "/hello", NAME), via=knowing_proxy.url_over(scheme))
    assert answer.body == HELLO.encode()
    knowing_proxy.wait_for_log(f" door={scheme[:6]} .* target={NAME}:{site.port} ")


def test_uploads_and_downloads_through_socks_arrive_byte_for_byte(
    curl: Curl, proxy: Proxy, site: Site, five_mib: Path
):
    via = proxy.url_over("socks5h")
    received = curl(proxy, "--data-binary", f"@{five_mib}", site.url("/upload"), via=via).json()
    assert (received["length"], received["sha256"]) == (len(FIVE_MIB), FIVE_MIB_SHA256)
    assert curl(proxy, site.url(f"/bytes/{len(FIVE_MIB)}"), via=via).body == FIVE_MIB


def test_an_event_through_socks_arrives_before_the_next_one_is_sent(curl: Curl, proxy: Proxy, site: Site):
    gate = site.origin.gate()
    with curl.streaming(proxy, gate, site.url("/sse?events=2"), via=proxy.url_over("socks5h")) as running:
        assert running.stdout.readline() == "data: event 0\n"
        gate.open()
        assert running.stdout.read() == "\ndata: event 1\n\n"


@pytest.mark.parametrize("credentials", [WRONG, None], ids=["wrong", "none"])
@pytest.mark.parametrize("scheme", ["socks5h", "socks4a"])
def test_socks_without_the_password_brings_nothing(
    curl: Curl, auth_proxy: Proxy, site: Site, scheme: str, credentials: Credentials | None
):
    via = auth_proxy.url_for(credentials).replace("http", scheme, 1)
    answer = curl(auth_proxy, site.url("/hello"), via=via)
    assert (answer.exit_status, answer.body) == (CURLE_PROXY, b"")


def test_credentials_that_nobody_wants_do_no_harm_to_socks(curl: Curl, open_proxy: Proxy, site: Site):
    via = open_proxy.url_for(WRONG).replace("http", "socks5h", 1)
    assert curl(open_proxy, site.url("/hello"), via=via).body == HELLO.encode()


def test_a_refused_connection_has_its_own_number_in_socks5(curl: Curl, single_proxy: Proxy, refusing_authority: str):
    answer = curl(single_proxy, f"http://{refusing_authority}/", via=single_proxy.url_over("socks5h"))
    assert answer.exit_status == CURLE_PROXY
    assert answer.progress.rstrip().endswith("(5)")


@pytest.mark.parametrize("scheme", SOCKS5)
def test_requests_gets_and_uploads_through_socks(proxy: Proxy, site: Site, certificates: Certificates, scheme: str):
    with requests.Session() as session:
        session.proxies = dict.fromkeys(("http", "https"), proxy.url_over(scheme))
        session.verify = str(certificates.ca_file)
        assert session.get(site.url("/hello"), timeout=DEADLINE).text == HELLO
        received = session.post(site.url("/upload"), data=FIVE_MIB, timeout=DEADLINE).json()
        assert received["sha256"] == FIVE_MIB_SHA256


@pytest.mark.parametrize("scheme", SOCKS4)
def test_requests_gets_through_socks4(open_proxy: Proxy, site: Site, certificates: Certificates, scheme: str):
    proxies = dict.fromkeys(("http", "https"), open_proxy.url_over(scheme))
    answer = requests.get(site.url("/hello"), proxies=proxies, verify=certificates.ca_file, timeout=DEADLINE)
    assert answer.text == HELLO


def test_httpx_gets_and_uploads_through_socks(proxy: Proxy, site: Site, certificates: Certificates):
    via = proxy.url_over("socks5h")
    with httpx.Client(proxy=via, verify=certificates.client, timeout=DEADLINE) as client:
        assert client.get(site.url("/hello")).text == HELLO
        assert client.post(site.url("/upload"), content=FIVE_MIB).json()["sha256"] == FIVE_MIB_SHA256


def test_git_clones_through_socks(clone: Run, proxy: Proxy, site: Site, tmp_path: Path):
    path = site.origin.repositories / f"{tmp_path.name}.git"
    head = make_repository(path, FILES)
    done = clone(proxy.url_over("socks5h"), site.url(f"/git/{path.name}"))
    assert done.returncode == 0, done.stderr
    assert git("rev-parse", "HEAD", cwd=tmp_path / "clone") == head
    assert (tmp_path / "clone" / "large").read_bytes() == FILES["large"]


# TLS


@pytest.fixture(scope="module")
def tls_proxy(certificates: Certificates) -> Iterator[Proxy]:
    """A proxy with a certificate that an authority has signed."""
    files = ["--tls-cert", certificates.chain_file, "--tls-key", certificates.key_file]
    with running_proxy("--allow-private", *files, accounts=ACCOUNTS) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def pinned_proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """A proxy whose certificate is its own work."""
    state = tmp_path_factory.mktemp("state")
    with running_proxy("--allow-private", "--tls-self-signed", "--state-dir", state, accounts=ACCOUNTS) as proxy:
        yield proxy


def test_curl_trusts_the_authority_of_the_proxys_certificate(
    curl: Curl, tls_proxy: Proxy, site: Site, certificates: Certificates
):
    since = tls_proxy.now_in_log()
    trust = ["--proxy-cacert", str(certificates.ca_file)]
    answer = curl(tls_proxy, "-v", *trust, site.url("/hello"), via=tls_proxy.url_over("https"))
    assert (answer.status, answer.body) == (200, HELLO.encode())
    assert "SSL connection using TLSv1.3" in answer.progress
    assert comes_in_by(tls_proxy, "https", site, since)


def test_a_certificate_that_nobody_has_signed_is_not_trusted(curl: Curl, pinned_proxy: Proxy, site: Site):
    answer = curl(pinned_proxy, site.url("/hello"), via=pinned_proxy.url_over("https"))
    assert (answer.exit_status, answer.body) == (CURLE_PEER_FAILED_VERIFICATION, b"")


def test_libcurl_knows_the_certificate_by_the_pin_that_is_in_the_log(
    pinned_proxy: Proxy, site: Site, certificates: Certificates
):
    """The program does not do: until 8.10 it takes `--proxy-pinnedpubkey` and forgets it (curl/curl#14438)."""
    transfer = Transfer(pinned_proxy.url_over("https"), certificates, pin=pinned_proxy.pin)
    assert transfer.get(site.url("/hello")) == HELLO.encode()


def test_libcurl_does_not_talk_to_another_pin(pinned_proxy: Proxy, site: Site, certificates: Certificates):
    transfer = Transfer(pinned_proxy.url_over("https"), certificates, pin=WRONG_PIN)
    with pytest.raises(pycurl.error) as raised:
        transfer.get(site.url("/hello"))
    assert raised.value.args[0] == pycurl.E_SSL_PINNEDPUBKEYNOTMATCH


def test_the_pin_of_a_signed_certificate_is_in_the_log_too(tls_proxy: Proxy, certificates: Certificates):
    assert tls_proxy.pin == certificates.pin


def test_a_self_signed_certificate_stays_the_same(tmp_path: Path):
    flags = ["--tls-self-signed", "--state-dir", tmp_path / "state"]
    with running_proxy(*flags) as first:
        pin = first.pin
    with running_proxy(*flags) as second:
        assert second.pin == pin


def test_large_bodies_pass_under_tls(
    curl: Curl, tls_proxy: Proxy, site: Site, certificates: Certificates, five_mib: Path
):
    trust, via = ["--proxy-cacert", str(certificates.ca_file)], tls_proxy.url_over("https")
    received = curl(tls_proxy, *trust, "--data-binary", f"@{five_mib}", site.url("/upload"), via=via).json()
    assert (received["length"], received["sha256"]) == (len(FIVE_MIB), FIVE_MIB_SHA256)
    assert curl(tls_proxy, *trust, site.url(f"/bytes/{len(FIVE_MIB)}"), via=via).body == FIVE_MIB


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def test_httpx_speaks_both_versions_of_tls_to_the_proxy(
    tls_proxy: Proxy, site: Site, certificates: Certificates, version: ssl.TLSVersion
):
    trust = ssl.create_default_context(cafile=certificates.ca_file)
    trust.minimum_version = trust.maximum_version = version
    via = httpx.Proxy(tls_proxy.url_over("https"), ssl_context=trust)
    with httpx.Client(proxy=via, verify=certificates.client, timeout=DEADLINE) as client:
        assert client.get(site.url("/hello")).text == HELLO
        assert client.post(site.url("/upload"), content=FIVE_MIB).json()["sha256"] == FIVE_MIB_SHA256


def test_requests_speaks_tls_to_the_proxy(tls_proxy: Proxy, origin: Origin, certificates: Certificates):
    """To an https origin: on the way to others Requests does not look at the proxy's certificate."""
    with requests.Session() as session:
        session.proxies = {"https": tls_proxy.latin_url.replace("http", "https", 1)}
        session.verify = str(certificates.ca_file)
        assert session.get(origin.url("https", "/hello"), timeout=DEADLINE).text == HELLO
        received = session.post(origin.url("https", "/upload"), data=FIVE_MIB, timeout=DEADLINE).json()
        assert received["sha256"] == FIVE_MIB_SHA256


def test_git_clones_through_a_proxy_under_tls(clone: Run, tls_proxy: Proxy, site: Site, tmp_path: Path):
    path = site.origin.repositories / f"{tmp_path.name}.git"
    head = make_repository(path, FILES)
    done = clone(tls_proxy.url_over("https"), site.url(f"/git/{path.name}"))
    assert done.returncode == 0, done.stderr
    assert git("rev-parse", "HEAD", cwd=tmp_path / "clone") == head


@pytest.mark.parametrize("scheme", ["http", "socks5h"])
def test_tls_is_an_offer_and_no_demand(curl: Curl, tls_proxy: Proxy, site: Site, scheme: str):
    assert curl(tls_proxy, site.url("/hello"), via=tls_proxy.url_over(scheme)).body == HELLO.encode()


# The PROXY protocol

SOURCE = ("203.0.113.7", 4711)
VERSION_1 = f"PROXY TCP4 {SOURCE[0]} 127.0.0.1 {SOURCE[1]} 8080\r\n".encode()
VERSION_2 = (
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11"
    + struct.pack("!H", 12)
    + socket.inet_aton(SOURCE[0])
    + socket.inet_aton("127.0.0.1")
    + struct.pack("!2H", SOURCE[1], 8080)
)


@pytest.fixture(scope="module")
def balanced_proxy(certificates: Certificates) -> Iterator[Proxy]:
    """A proxy behind load balancers on loopback."""
    files = ["--tls-cert", certificates.chain_file, "--tls-key", certificates.key_file]
    trust = ["--proxy-protocol-from", "127.0.0.0/8"]
    with running_proxy("--allow-private", *trust, *files, accounts=ACCOUNTS) as proxy:
        yield proxy


def test_curl_says_who_it_is(curl: Curl, balanced_proxy: Proxy, origin: Origin):
    """In a tunnel curl says it to the target, so there is none here."""
    answer = curl(balanced_proxy, "--haproxy-protocol", origin.url("http", "/hello"))
    assert (answer.status, answer.body) == (200, HELLO.encode())
    port = answer.reports[0]["local_port"]
    balanced_proxy.wait_for_log(rf" client=127\.0\.0\.1:{port} door=http user={ACCOUNTS[0].user} method=GET ")


def test_who_does_not_say_it_is_not_heard(curl: Curl, balanced_proxy: Proxy, site: Site):
    answer = curl(balanced_proxy, site.url("/hello"))
    assert (answer.statuses, answer.body) == ([], b"")
    balanced_proxy.wait_for_log("closed: no valid PROXY protocol header")


def test_who_says_it_unasked_is_not_heard(curl: Curl, open_proxy: Proxy, origin: Origin):
    answer = curl(open_proxy, "--haproxy-protocol", origin.url("http", "/hello"))
    assert (answer.statuses, answer.body) == ([], b"")


@pytest.mark.parametrize("door", ["http", "https"])
@pytest.mark.parametrize("header", [VERSION_1, VERSION_2], ids=["v1", "v2"])
def test_the_client_is_the_one_behind_the_load_balancer(
    balanced_proxy: Proxy, origin: Origin, certificates: Certificates, header: bytes, door: str
):
    """By hand what a load balancer does: its header first, then the bytes of a client, under TLS or not."""
    connection = http.client.HTTPConnection(balanced_proxy.host, balanced_proxy.port, timeout=DEADLINE)
    connection.sock = socket.create_connection(balanced_proxy.address, DEADLINE)
    connection.sock.sendall(header)
    if door == "https":
        connection.sock = certificates.client.wrap_socket(connection.sock, server_hostname="localhost")
    path = f"/headers?{door}-{len(header)}"
    fields = {"Proxy-Authorization": f"Basic {ACCOUNTS[0].token}"}
    connection.request("GET", origin.url("http", path), headers=fields)
    asked = json.load(connection.getresponse())
    connection.close()
    assert asked["path"] == path
    client = re.escape(f"{SOURCE[0]}:{SOURCE[1]}")
    balanced_proxy.wait_for_log(f" client={client} door={door} user={ACCOUNTS[0].user} .* status=200 ")


def test_the_client_behind_the_load_balancer_is_judged_and_not_the_balancer(origin: Origin):
    with running_proxy("--allow-private", "--proxy-protocol-from", "127.0.0.0/8") as proxy:
        connection = http.client.HTTPConnection(proxy.host, proxy.port, timeout=DEADLINE)
        connection.sock = socket.create_connection(proxy.address, DEADLINE)
        connection.sock.sendall(VERSION_1)
        connection.request("GET", origin.url("http", "/hello"))
        answer = connection.getresponse()
        assert (answer.status, b"allow-private" in answer.read()) == (403, False)
        connection.close()
