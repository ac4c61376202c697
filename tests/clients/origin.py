"""The server that everything is fetched from: the same handlers over HTTP and over HTTPS, on loopback only."""

import asyncio
import hashlib
import random
import socket
import ssl
import threading
from collections.abc import Coroutine, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web

import fake_llm
import git_backend
import package_index
from event_stream import GATES, Gate, event, stream_events

HELLO = "hello from the origin\n"
TRAILER = ("X-Checksum", "of-the-whole-body")
TOO_LARGE = "too large for the origin\n"
DRAIN_SECONDS = 5
FIELD_LIMIT = 64 * 1024
CUT = {"length": ("Content-Length: 1000", HELLO), "chunked": ("Transfer-Encoding: chunked", f"3e8\r\n{HELLO}")}
ODD_FIELDS = b"Set-Cookie: a=1\r\nSet-Cookie: b=2\r\nX-Empty:\r\nX-Latin: caf\xe9\r\nx-lower: yes\r\n"
LINK_HINT = "</style.css>; rel=preload; as=style"


@dataclass
class Origin:
    """Where the running server listens, and a handle on what it holds back."""

    loop: asyncio.AbstractEventLoop
    repositories: Path
    ports: dict[str, int] = field(default_factory=dict)
    gates: dict[str, Gate] = field(default_factory=dict)

    def url(self, scheme: str, path: str, host: str = "localhost") -> str:
        """An address on this origin; the scheme `http-other` is a second origin over plain HTTP."""
        return f"{scheme.removesuffix('-other')}://{host}:{self.ports[scheme]}{path}"

    def gate(self) -> Gate:
        """A new gate for the requests that name it."""
        gate = Gate(f"gate-{len(self.gates)}", self.loop)
        self.gates[gate.name] = gate
        return gate


@dataclass(frozen=True)
class Site:
    """The origin as seen over one scheme."""

    origin: Origin
    scheme: str

    @property
    def port(self) -> int:
        """Where it listens."""
        return self.origin.ports[self.scheme]

    @property
    def authority(self) -> str:
        """Host and port, as a CONNECT request and a log line name them."""
        return f"localhost:{self.port}"

    def url(self, path: str) -> str:
        """An address on this site."""
        return self.origin.url(self.scheme, path)

    def ws_url(self, path: str) -> str:
        """The same for WebSocket."""
        return self.url(path).replace("http", "ws", 1)


def bytes_of(length: int) -> bytes:
    """What `/bytes/<length>` holds: always the same, and nothing that compresses."""
    return random.Random(length).randbytes(length)


def etag_of(length: int) -> str:
    """The entity tag of `/bytes/<length>`."""
    return f'"bytes-{length}"'


FIVE_MIB = bytes_of(5 * 1024 * 1024)
FIVE_MIB_SHA256 = hashlib.sha256(FIVE_MIB).hexdigest()


async def hello(_: web.Request) -> web.Response:
    """The simplest answer there is."""
    return web.Response(text=HELLO)


async def headers(request: web.Request) -> web.Response:
    """Everything that arrived, as JSON."""
    body = await request.read()
    return web.json_response(
        {
            "method": request.method,
            "path": request.raw_path,
            "version": f"{request.version.major}.{request.version.minor}",
            "port": request.transport.get_extra_info("sockname")[1],
            "headers": [[name, value] for name, value in request.headers.items()],
            "body_length": len(body),
            "body_sha256": hashlib.sha256(body).hexdigest(),
        }
    )


async def some_bytes(request: web.Request) -> web.Response:
    """A body of a wanted length, whole, in part, or not at all because the client has it."""
    length = int(request.match_info["length"])
    caching = {"ETag": etag_of(length), "Accept-Ranges": "bytes"}
    if request.headers.get("If-None-Match") == etag_of(length):
        return web.Response(status=304, headers=caching)
    if "Range" not in request.headers:
        return web.Response(body=bytes_of(length), headers=caching)
    start, stop, _ = request.http_range.indices(length)
    if start >= stop:
        return web.Response(status=416, headers={"Content-Range": f"bytes */{length}"})
    caching["Content-Range"] = f"bytes {start}-{stop - 1}/{length}"
    return web.Response(status=206, body=bytes_of(length)[start:stop], headers=caching)


async def upload(request: web.Request) -> web.Response:
    """Reads a body of any framing and tells what it was; aiohttp sends the 100 that `Expect` asks for first."""
    digest, length = hashlib.sha256(), 0
    async for chunk in request.content.iter_any():
        digest.update(chunk)
        length += len(chunk)
    return web.json_response(
        {
            "length": length,
            "sha256": digest.hexdigest(),
            "chunked": "chunked" in request.headers.get("Transfer-Encoding", ""),
            "expected_100": "Expect" in request.headers,
        }
    )


async def refuse_upload(request: web.Request) -> web.Response:
    """Answers 413 before the body has been read, then lets the client finish or give up, and closes."""
    response = web.Response(status=413, text=TOO_LARGE, headers={"Connection": "close"})
    await response.prepare(request)
    await response.write_eof()
    await _drain(request)
    if request.transport:
        request.transport.close()
    return response


async def _drain(request: web.Request) -> None:
    """Reads and forgets, because closing on unread bytes would reset the answer away; for a bounded time."""
    try:
        async with asyncio.timeout(DRAIN_SECONDS):
            async for _ in request.content.iter_any():
                pass
    except (ConnectionError, TimeoutError, web.RequestPayloadError):
        pass


async def no_100(_: web.Request) -> None:
    """What `/refuse-upload` sends to a client that waits for a 100: nothing but its final answer."""


async def sse(request: web.Request) -> web.StreamResponse:
    """As many events as wanted, with as much time between them."""
    count = int(request.query.get("events", 5))
    interval = int(request.query.get("interval_ms", 0)) / 1000
    return await stream_events(request, [event(f"event {n}") for n in range(count)], interval)


async def early_hints(request: web.Request) -> web.Response:
    """A 103 and then the answer."""
    request.transport.write(f"HTTP/1.1 103 Early Hints\r\nLink: {LINK_HINT}\r\n\r\n".encode())
    return web.Response(text=HELLO)


class WrittenByHand(web.StreamResponse):
    """Says to aiohttp that the handler has written the whole response to the transport already."""

    async def prepare(self, request: web.BaseRequest) -> None:
        """Writes nothing."""

    async def write_eof(self, data: bytes = b"") -> None:
        """Writes nothing."""


def written_by_hand(request: web.Request, response: bytes) -> WrittenByHand:
    """Sends exactly these bytes and closes."""
    request.transport.write(response)
    return WrittenByHand()


async def trailers(request: web.Request) -> web.StreamResponse:
    """A chunked body with a field after it."""
    name, value = TRAILER
    head = f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: {name}\r\n\r\n"
    body = f"{len(HELLO):x}\r\n{HELLO}\r\n0\r\n{name}: {value}\r\n\r\n"
    return written_by_hand(request, (head + body).encode())


async def until_close(request: web.Request) -> web.StreamResponse:
    """A body that ends where the connection does."""
    return written_by_hand(request, f"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{HELLO}".encode())


async def cut(request: web.Request) -> web.StreamResponse:
    """A body that promises more than comes."""
    promise, begun = CUT[request.match_info["framing"]]
    return written_by_hand(request, f"HTTP/1.1 200 OK\r\n{promise}\r\n\r\n{begun}".encode())


async def odd_fields(request: web.Request) -> web.StreamResponse:
    """Fields that are allowed and that careless hands lose."""
    return written_by_hand(request, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n" + ODD_FIELDS + b"\r\n")


async def websocket_echo(request: web.Request) -> web.WebSocketResponse:
    """Sends every message back as it came; with `?say=`, says that and closes."""
    socket_ = web.WebSocketResponse(max_msg_size=0)
    await socket_.prepare(request)
    if "say" in request.query:
        await socket_.send_str(request.query["say"])
        await socket_.close()
    async for message in socket_:
        if message.type is web.WSMsgType.TEXT:
            await socket_.send_str(message.data)
        elif message.type is web.WSMsgType.BINARY:
            await socket_.send_bytes(message.data)
    return socket_


def application(origin: Origin) -> web.Application:
    """Every handler at its path."""
    app = web.Application(client_max_size=64 * 1024 * 1024)
    app[GATES] = origin.gates
    app.add_routes(
        [
            web.get("/hello", hello),
            web.route("*", "/headers", headers),
            web.get("/bytes/{length:\\d+}", some_bytes),
            web.route("*", "/upload", upload),
            web.route("*", "/refuse-upload", refuse_upload, expect_handler=no_100),
            web.get("/sse", sse),
            web.get("/early-hints", early_hints),
            web.get("/trailers", trailers),
            web.get("/until-close", until_close),
            web.get("/cut/{framing}", cut),
            web.get("/odd-fields", odd_fields),
            web.get("/ws", websocket_echo),
            *fake_llm.routes(),
            *git_backend.routes(origin.repositories),
            *package_index.routes(),
        ]
    )
    return app


def loopback_sockets() -> list[socket.socket]:
    """One free port on 127.0.0.1 and, where this machine has it, on ::1."""
    for _ in range(20):
        over_ipv4 = socket.create_server(("127.0.0.1", 0))
        if not has_ipv6():
            return [over_ipv4]
        try:
            return [over_ipv4, socket.create_server(("::1", over_ipv4.getsockname()[1]), family=socket.AF_INET6)]
        except OSError:
            over_ipv4.close()
    raise OSError("found no port that is free on 127.0.0.1 and on ::1")


def has_ipv6() -> bool:
    """Whether this machine has ::1."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


async def _serve(origin: Origin, tls: ssl.SSLContext) -> web.AppRunner:
    """Starts listening on every port."""
    runner = web.AppRunner(
        application(origin),
        auto_decompress=False,
        handler_cancellation=True,
        lingering_time=0,
        max_field_size=FIELD_LIMIT,
        max_line_size=FIELD_LIMIT,
        shutdown_timeout=1,
    )
    await runner.setup()
    for scheme, context in {"http": None, "http-other": None, "https": tls}.items():
        sockets = loopback_sockets()
        origin.ports[scheme] = sockets[0].getsockname()[1]
        for listening in sockets:
            await web.SockSite(runner, listening, ssl_context=context).start()
    return runner


@contextmanager
def running_origin(tls: ssl.SSLContext, repositories: Path) -> Iterator[Origin]:
    """The server in a thread of its own, for as long as the block lasts."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    def finish(work: Coroutine):
        result: Future = asyncio.run_coroutine_threadsafe(work, loop)
        return result.result(10)

    origin = Origin(loop, repositories)
    runner = finish(_serve(origin, tls))
    try:
        yield origin
    finally:
        finish(runner.cleanup())
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
