"""What the tests share: the certificates, the origin, and the proxy in both of its modes."""

import os
import socket
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from certificates import Certificates, make_certificates
from chain import Chain, running_chain
from curl import Curl
from harness import DEADLINE, Credentials, Proxy, Run, client_environment, running_proxy
from nameserver import NameServer, running_nameserver
from origin import FIVE_MIB, Origin, Site, running_origin

ACCOUNTS = (Credentials("sami", "p@ss:w/rd%#ü"), Credentials("sami-latin", "p@ss:w/rd%#"))
"""The second is for clients that can't spell the first: Requests, pip and aiohttp send ISO-8859-1."""

NAMES = ("distinctive.example", "chat.openai.com")
"""Names that nobody knows here but the tests' name server: they are this machine."""


@pytest.fixture(scope="session", autouse=True)
def _nothing_from_the_environment() -> None:
    """Python clients in this process see no proxy and no CA but the ones they are given."""
    trust = {"SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"}
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name in trust:
            del os.environ[name]


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """The throwaway CA and what it has signed."""
    return make_certificates(tmp_path_factory.mktemp("certificates"), *NAMES)


@pytest.fixture(scope="session")
def names() -> Iterator[NameServer]:
    """The name server that knows the invented names, and of the real ones only the one of this machine."""
    with running_nameserver("localhost", *NAMES) as server:
        yield server


@pytest.fixture(scope="session")
def origin(certificates: Certificates, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Origin]:
    """The server that everything here is fetched from."""
    with running_origin(certificates.server, tmp_path_factory.mktemp("repositories")) as origin:
        yield origin


@pytest.fixture(params=["http", "https"])
def site(request: pytest.FixtureRequest, origin: Origin) -> Site:
    """The origin over plain HTTP, which a proxy forwards, and over HTTPS, which it tunnels."""
    return Site(origin, request.param)


@pytest.fixture(scope="session")
def open_proxy() -> Iterator[Proxy]:
    """A proxy without credentials; its clients are trusted because they come from loopback."""
    with running_proxy("--allow-private") as proxy:
        yield proxy


@pytest.fixture(scope="session")
def auth_proxy() -> Iterator[Proxy]:
    """A proxy that wants a password, and one that is hard to spell."""
    with running_proxy("--allow-private", accounts=ACCOUNTS) as proxy:
        yield proxy


@pytest.fixture(scope="session")
def chain(names: NameServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    """Two proxies: one beside the client, and its parent that it reaches over TLS."""
    with running_chain(names, tmp_path_factory.mktemp("state")) as chain:
        yield chain


@pytest.fixture(scope="session")
def chain_proxy(chain: Chain) -> Proxy:
    """The end of the chain that clients see."""
    return chain.local


@pytest.fixture(params=["open", "auth"])
def single_proxy(request: pytest.FixtureRequest) -> Proxy:
    """The proxy that goes to the origin itself, once in each of its modes."""
    return request.getfixturevalue(f"{request.param}_proxy")


@pytest.fixture(params=["open", "auth", "chain"])
def proxy(request: pytest.FixtureRequest) -> Proxy:
    """The proxy, once in each of its modes, and once with a parent."""
    return request.getfixturevalue(f"{request.param}_proxy")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs a client in a clean environment and a folder of its own, for a bounded time."""

    def run_client(
        *command: str | Path,
        env: Mapping[str, str] = {},
        cwd: Path = tmp_path,
        input: bytes | None = None,
        text: bool = False,
    ) -> subprocess.CompletedProcess:
        return subprocess.run(
            [str(word) for word in command],
            env=client_environment(tmp_path, env),
            cwd=cwd,
            text=text,
            timeout=2 * DEADLINE,
            capture_output=True,
            **({"stdin": subprocess.DEVNULL} if input is None else {"input": input}),
        )

    return run_client


@pytest.fixture
def curl(run: Run, certificates: Certificates, tmp_path: Path) -> Curl:
    """curl in a clean environment and a folder of its own."""
    return Curl(run, certificates, tmp_path)


@pytest.fixture
def refusing_authority() -> Iterator[str]:
    """A host and port that refuse connections, and that nobody else can get meanwhile."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{bound.getsockname()[1]}"


@pytest.fixture
def five_mib(tmp_path: Path) -> Path:
    """A file to upload."""
    path = tmp_path / "five-mib"
    path.write_bytes(FIVE_MIB)
    return path
