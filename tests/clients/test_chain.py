"""Two proxies in a row; most of what clients do through them is tested wherever a test takes the fixture `proxy`."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from capture import capturing
from chain import ACCOUNT, Chain
from curl import Curl
from harness import Proxy, running_proxy
from origin import HELLO, Origin, Site, bytes_of

NAME = "distinctive.example"
TWENTY_MIB = bytes_of(20 * 1024 * 1024)
WRONG_PIN = "sha256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="


@pytest.fixture(scope="module")
def distrustful_proxy(chain: Chain) -> Iterator[Proxy]:
    """A proxy that takes the chain's parent for an impostor."""
    with running_proxy("--allow-private", "--upstream-pin", WRONG_PIN, parent=chain.remote) as proxy:
        yield proxy


def test_a_large_upload_arrives_byte_for_byte(curl: Curl, chain_proxy: Proxy, site: Site, tmp_path: Path):
    file = tmp_path / "twenty-mib"
    file.write_bytes(TWENTY_MIB)
    received = curl(chain_proxy, "-H", "Expect:", "--data-binary", f"@{file}", site.url("/upload")).json()
    assert (received["length"], received["sha256"]) == (len(TWENTY_MIB), hashlib.sha256(TWENTY_MIB).hexdigest())


def test_each_proxy_has_a_line_about_a_tunnel(curl: Curl, chain: Chain, origin: Origin):
    port = origin.ports["https"]
    since_local, since_remote = chain.local.now_in_log(), chain.remote.now_in_log()
    assert curl(chain.local, origin.url("https", "/hello", NAME)).body == HELLO.encode()
    about = f"method=CONNECT target={NAME}:{port}"
    here = chain.local.wait_for_log(f".*{about}.*", since_local)[0]
    assert f" door=http user=- {about} dialed=127.0.0.1:{chain.remote.port} " in here
    there = chain.remote.wait_for_log(f".*{about}.*", since_remote)[0]
    assert f" door=https user={ACCOUNT.user} {about} dialed=127.0.0.1:{port} " in there


def test_names_are_resolved_by_the_parent_only(curl: Curl, chain: Chain, site: Site):
    assert curl(chain.local, site.origin.url(site.scheme, "/hello", NAME)).body == HELLO.encode()
    assert chain.names_at_home.questions == []


def test_an_event_arrives_before_the_next_one_is_sent(curl: Curl, chain_proxy: Proxy, site: Site):
    gate = site.origin.gate()
    with curl.streaming(chain_proxy, gate, site.origin.url(site.scheme, "/sse?events=2", NAME)) as running:
        assert running.stdout.readline() == "data: event 0\n"
        gate.open()
        assert running.stdout.read() == "\ndata: event 1\n\n"


def test_nothing_between_the_two_tells_who_is_talked_to(curl: Curl, chain: Chain, origin: Origin):
    """The leg from the client to the first proxy shows that the capture works: there everything can be read."""
    length, since = 100_000, chain.remote.now_in_log()
    with capturing() as capture:
        assert curl(chain.local, origin.url("https", f"/bytes/{length}", NAME)).body == bytes_of(length)
        chain.remote.wait_for_log(rf" target={NAME}:", since)
    near, far = capture.of(chain.local.port), capture.of(chain.remote.port)
    telling = [word.encode() for word in (NAME, "CONNECT", "HTTP/1.1", "Connection established", "User-Agent")]
    assert [word for word in telling if word not in near] == []
    assert [word for word in (*telling, ACCOUNT.token.encode()) if word in far] == []
    assert len(far) > length


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_parent_with_another_pin_is_not_talked_to(curl: Curl, distrustful_proxy: Proxy, origin: Origin, scheme: str):
    since = distrustful_proxy.now_in_log()
    answer = curl(distrustful_proxy, origin.url(scheme, "/hello", NAME))
    assert answer.statuses == [502]
    assert answer.failure().error == "tls_certificate_error"
    line = distrustful_proxy.wait_for_log(rf".* target={NAME}:.*", since)[0]
    assert line.endswith(" error=tls_certificate_error")


def test_a_wrong_pin_is_said_to_be_one(curl: Curl, chain: Chain, distrustful_proxy: Proxy, origin: Origin):
    body = curl(distrustful_proxy, origin.url("http", "/hello", NAME)).body.decode()
    happened, advice = body.splitlines()
    assert f"its pin is {chain.remote.pin}, not the expected {WRONG_PIN}" in happened
    assert "--upstream" in advice
