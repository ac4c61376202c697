"""The HTTP and WebSocket clients of Python through the proxy."""

import asyncio
import hashlib
import json
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import TypeVar

import pytest

from certificates import Certificates
from harness import DEADLINE, Credentials, Proxy, package
from origin import HELLO, Site, bytes_of

aiohttp = package("aiohttp")
httpx = package("httpx")
requests = package("requests")
websockets = package("websockets")
websockets_sync = package("websockets.sync.client")

Result = TypeVar("Result")

MIB = bytes_of(1024 * 1024)
MIB_SHA256 = hashlib.sha256(MIB).hexdigest()
EVENTS = [f"data: event {n}" for n in range(5)]
MESSAGES = ["hello", "прокси 🙂", bytes_of(3), bytes_of(500_000)]


def in_time(work: Awaitable[Result]) -> Result:
    """Runs asynchronous work to its end, for a bounded time."""

    async def bounded() -> Result:
        async with asyncio.timeout(DEADLINE):
            return await work

    return asyncio.run(bounded())


def pieces() -> Iterator[bytes]:
    """A mebibyte in an upload of unknown length."""
    yield from (MIB[at : at + 100_000] for at in range(0, len(MIB), 100_000))


async def async_pieces() -> AsyncIterator[bytes]:
    """The same for asynchronous clients."""
    for piece in pieces():
        yield piece


def names_of_fields(asked: dict) -> set[str]:
    """What the origin received, by name."""
    return {name.lower() for name, _ in asked["headers"]}


# urllib


def test_urllib_gets_and_uploads(proxy: Proxy, site: Site, certificates: Certificates):
    through = urllib.request.ProxyHandler({site.scheme: proxy.url})
    opener = urllib.request.build_opener(through, urllib.request.HTTPSHandler(context=certificates.client))
    with opener.open(site.url("/hello"), timeout=DEADLINE) as response:
        assert response.read() == HELLO.encode()
    with opener.open(site.url("/upload"), data=MIB, timeout=DEADLINE) as response:
        assert json.load(response)["sha256"] == MIB_SHA256


# Requests


@pytest.fixture
def session(proxy: Proxy, certificates: Certificates) -> Iterator["requests.Session"]:
    """A session of Requests through the proxy."""
    with requests.Session() as session:
        session.proxies = {"http": proxy.latin_url, "https": proxy.latin_url}
        session.verify = str(certificates.ca_file)
        yield session


def test_requests_gets_what_the_origin_serves(session: "requests.Session", site: Site):
    assert session.get(site.url("/hello"), timeout=DEADLINE).text == HELLO


def test_requests_repeats_itself_on_one_session(session: "requests.Session", site: Site):
    fetched = [session.get(site.url(f"/bytes/{length}"), timeout=DEADLINE).content for length in range(1, 20)]
    assert fetched == [bytes_of(length) for length in range(1, 20)]


def test_requests_uploads_with_a_length_and_without(session: "requests.Session", site: Site):
    for data, chunked in ((MIB, False), (pieces(), True)):
        received = session.post(site.url("/upload"), data=data, timeout=DEADLINE).json()
        assert (received["sha256"], received["chunked"]) == (MIB_SHA256, chunked)


def test_requests_reads_an_event_before_the_next_one_is_sent(session: "requests.Session", site: Site):
    gate = site.origin.gate()
    with session.get(site.url("/sse?events=5"), headers=gate.headers, stream=True, timeout=DEADLINE) as response:
        lines = filter(None, response.iter_lines(chunk_size=1, decode_unicode=True))
        assert next(lines) == EVENTS[0]
        gate.open()
        assert list(lines) == EVENTS[1:]


def test_requests_tells_the_origin_nothing_of_the_proxy(session: "requests.Session", site: Site):
    asked = session.get(site.url("/headers"), timeout=DEADLINE).json()
    assert not {"proxy-authorization", "proxy-connection"} & names_of_fields(asked)


def test_requests_reports_a_wrong_password(auth_proxy: Proxy, site: Site, certificates: Certificates):
    wrong = auth_proxy.url_for(Credentials("sami", "wrong"))
    options = {"proxies": {site.scheme: wrong}, "verify": certificates.ca_file, "timeout": DEADLINE}
    if site.scheme == "http":
        assert requests.get(site.url("/hello"), **options).status_code == 407
    else:
        with pytest.raises(requests.exceptions.ProxyError, match="407"):
            requests.get(site.url("/hello"), **options)


# httpx


@pytest.fixture
def httpx_options(proxy: Proxy, certificates: Certificates) -> dict:
    """What a client of httpx needs to use the proxy."""
    return {"proxy": proxy.url, "verify": certificates.client, "timeout": DEADLINE}


def test_httpx_gets_and_uploads(httpx_options: dict, site: Site):
    with httpx.Client(**httpx_options) as client:
        assert client.get(site.url("/hello")).text == HELLO
        for content in (MIB, pieces()):
            assert client.post(site.url("/upload"), content=content).json()["sha256"] == MIB_SHA256


def test_httpx_reads_an_event_before_the_next_one_is_sent(httpx_options: dict, site: Site):
    gate = site.origin.gate()
    with httpx.Client(**httpx_options) as client:
        with client.stream("GET", site.url("/sse?events=5"), headers=gate.headers) as response:
            lines = filter(None, response.iter_lines())
            assert next(lines) == EVENTS[0]
            gate.open()
            assert list(lines) == EVENTS[1:]


def test_httpx_makes_many_requests_at_once(httpx_options: dict, site: Site):
    lengths = range(1000, 1040)

    async def fetch_all() -> list[bytes]:
        async with httpx.AsyncClient(**httpx_options) as client:
            fetched = await asyncio.gather(*(client.get(site.url(f"/bytes/{length}")) for length in lengths))
            return [response.content for response in fetched]

    assert in_time(fetch_all()) == [bytes_of(length) for length in lengths]


def test_httpx_streams_up_and_down_asynchronously(httpx_options: dict, site: Site):
    async def exchange() -> tuple[str, list[str]]:
        async with httpx.AsyncClient(**httpx_options) as client:
            uploaded = await client.post(site.url("/upload"), content=async_pieces())
            async with client.stream("GET", site.url("/sse?events=5&interval_ms=10")) as response:
                return uploaded.json()["sha256"], [line async for line in response.aiter_lines() if line]

    assert in_time(exchange()) == (MIB_SHA256, EVENTS)


def test_httpx_tells_the_origin_nothing_of_the_proxy(httpx_options: dict, site: Site):
    with httpx.Client(**httpx_options) as client:
        asked = client.get(site.url("/headers")).json()
    assert not {"proxy-authorization", "proxy-connection"} & names_of_fields(asked)


def test_httpx_reports_a_wrong_password(auth_proxy: Proxy, site: Site, certificates: Certificates):
    wrong = auth_proxy.url_for(Credentials("sami", "wrong"))
    with httpx.Client(proxy=wrong, verify=certificates.client, timeout=DEADLINE) as client:
        if site.scheme == "http":
            assert client.get(site.url("/hello")).status_code == 407
        else:
            with pytest.raises(httpx.ProxyError, match="407"):
                client.get(site.url("/hello"))


# aiohttp


def with_aiohttp(
    proxy: Proxy, certificates: Certificates, work: Callable[["aiohttp.ClientSession"], Awaitable[Result]]
) -> Result:
    """Does the work with a session of aiohttp that goes through the proxy."""

    async def run() -> Result:
        connector = aiohttp.TCPConnector(ssl=certificates.client)
        async with aiohttp.ClientSession(connector=connector, proxy=proxy.latin_url) as session:
            return await work(session)

    return in_time(run())


def test_aiohttp_gets_and_uploads(proxy: Proxy, site: Site, certificates: Certificates):
    async def exchange(session: "aiohttp.ClientSession") -> tuple[str, list[str]]:
        async with session.get(site.url("/hello")) as response:
            text = await response.text()
        digests = []
        for data in (MIB, async_pieces()):
            async with session.post(site.url("/upload"), data=data) as response:
                digests.append((await response.json())["sha256"])
        return text, digests

    assert with_aiohttp(proxy, certificates, exchange) == (HELLO, [MIB_SHA256] * 2)


def test_aiohttp_reads_an_event_before_the_next_one_is_sent(proxy: Proxy, site: Site, certificates: Certificates):
    gate = site.origin.gate()

    async def read(session: "aiohttp.ClientSession") -> list[str]:
        async with session.get(site.url("/sse?events=5"), headers=gate.headers) as response:
            first = await response.content.readline()
            gate.open()
            return (first + await response.read()).decode().split("\n\n")[:-1]

    assert with_aiohttp(proxy, certificates, read) == EVENTS


def test_aiohttp_tells_the_origin_nothing_of_the_proxy(proxy: Proxy, site: Site, certificates: Certificates):
    async def ask(session: "aiohttp.ClientSession") -> dict:
        async with session.get(site.url("/headers")) as response:
            return await response.json()

    asked = with_aiohttp(proxy, certificates, ask)
    assert not {"proxy-authorization", "proxy-connection"} & names_of_fields(asked)


def test_aiohttp_exchanges_messages_over_a_websocket(proxy: Proxy, site: Site, certificates: Certificates):
    async def exchange(session: "aiohttp.ClientSession") -> list[str | bytes]:
        async with session.ws_connect(site.url("/ws"), max_msg_size=0) as connection:
            return [await _echo(connection, message) for message in MESSAGES]

    assert with_aiohttp(proxy, certificates, exchange) == MESSAGES


async def _echo(connection: "aiohttp.ClientWebSocketResponse", message: str | bytes) -> str | bytes:
    """Sends a message and returns what comes back."""
    await (connection.send_str(message) if isinstance(message, str) else connection.send_bytes(message))
    return (await connection.receive()).data


# websockets


def trust_for(site: Site, certificates: Certificates) -> dict:
    """What the package websockets wants to hear about TLS, and only then."""
    return {"ssl": certificates.client} if site.scheme == "https" else {}


def test_websockets_exchanges_messages(proxy: Proxy, site: Site, certificates: Certificates):
    trust = trust_for(site, certificates)
    with websockets_sync.connect(site.ws_url("/ws"), proxy=proxy.url, **trust) as connection:
        for message in MESSAGES:
            connection.send(message)
            assert connection.recv(DEADLINE) == message


def test_websockets_exchanges_messages_asynchronously(proxy: Proxy, site: Site, certificates: Certificates):
    async def exchange() -> list[str | bytes]:
        trust = trust_for(site, certificates)
        async with websockets.connect(site.ws_url("/ws"), proxy=proxy.url, **trust) as connection:
            for message in MESSAGES:
                await connection.send(message)
            return [await connection.recv() for _ in MESSAGES]

    assert in_time(exchange()) == MESSAGES


def test_websockets_answers_pings_and_closes_in_both_directions(proxy: Proxy, site: Site, certificates: Certificates):
    with websockets_sync.connect(site.ws_url("/ws"), proxy=proxy.url, **trust_for(site, certificates)) as connection:
        assert connection.ping().wait(DEADLINE)
    assert connection.protocol.close_code == 1000
