"""An HTTP/2 client that shows what it is told; the frames are made and read by the package h2."""

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from harness import Credentials, package

h2_config = package("h2.config")
h2_connection = package("h2.connection")
h2_events = package("h2.events")

NO_ERROR, CANCEL = 0, 8
"""RFC 9113 §7. NO_ERROR after a complete answer says no more than that no body is wanted (§8.1)."""

Fields = list[tuple[str, str]]


@dataclass
class Stream:
    """What has come on one stream."""

    number: int
    fields: dict[str, str] = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray)
    ended: bool = False
    reset: int | None = None
    """The error code of the RST_STREAM."""

    @property
    def status(self) -> int:
        """The status of the answer, 0 before it is there."""
        return int(self.fields.get(":status", 0))

    @property
    def over(self) -> bool:
        """Whether nothing more will come."""
        return self.ended or self.reset is not None


class Http2:
    """One connection over a socket that says HTTP/2 from its first byte on."""

    def __init__(self, sock: socket.socket, credentials: Credentials | None = None):
        self._sock = sock
        self._credentials = credentials
        self._streams: dict[int, Stream] = {}
        self._h2 = h2_connection.H2Connection(h2_config.H2Configuration(header_encoding="latin-1"))
        self._h2.initiate_connection()
        self._flush()

    def request(self, method: str, scheme: str, authority: str, path: str, body: bytes = b"") -> Stream:
        """A request with an `http` URL, as a client sends it to a forward proxy."""
        head = [(":method", method), (":scheme", scheme), (":authority", authority), (":path", path)]
        stream = self._open(head, end=not body)
        if body:
            self.send(stream, body, end=True)
        return stream

    def get(self, authority: str, path: str, *fields: tuple[str, str]) -> Stream:
        """A GET over plain HTTP."""
        head = [(":method", "GET"), (":scheme", "http"), (":authority", authority), (":path", path)]
        return self._open([*head, *fields], end=True)

    def connect(self, authority: str) -> Stream:
        """Asks for a tunnel (RFC 9113 §8.5) and waits for the answer."""
        stream = self._open([(":method", "CONNECT"), (":authority", authority)], end=False)
        self.wait(lambda: stream.status or stream.over)
        return stream

    def send(self, stream: Stream, data: bytes, end: bool = False) -> None:
        """Sends as fast as the windows allow, and reads meanwhile."""
        left = memoryview(data)
        while left:
            room = min(self._h2.local_flow_control_window(stream.number), self._h2.max_outbound_frame_size)
            if room == 0:
                self._receive()
                continue
            self._h2.send_data(stream.number, bytes(left[:room]))
            left = left[room:]
            self._flush()
        if end:
            self._h2.end_stream(stream.number)
            self._flush()

    def reset(self, stream: Stream) -> None:
        """Gives the stream up."""
        self._h2.reset_stream(stream.number, CANCEL)
        self._flush()

    def wait(self, condition: Callable[[], object]) -> None:
        """Reads until the condition holds; the socket has a limit on time."""
        while not condition():
            self._receive()

    def finish(self, stream: Stream) -> Stream:
        """Reads until the stream is over."""
        self.wait(lambda: stream.over)
        return stream

    def _open(self, head: Fields, end: bool) -> Stream:
        """Begins a stream."""
        stream = Stream(self._h2.get_next_available_stream_id())
        self._streams[stream.number] = stream
        authorization = [("proxy-authorization", f"Basic {self._credentials.token}")] if self._credentials else []
        self._h2.send_headers(stream.number, head + authorization, end_stream=end)
        self._flush()
        return stream

    def _receive(self) -> None:
        """Takes in what has come, and gives the room for it back."""
        data = self._sock.recv(65536)
        if not data:
            raise ConnectionError("the proxy has closed the connection")
        for event in self._h2.receive_data(data):
            self._note(event)
        self._flush()

    def _note(self, event: object) -> None:
        """Files an event under its stream."""
        if isinstance(event, h2_events.ConnectionTerminated):
            raise ConnectionError(f"the proxy has said GOAWAY {event.error_code}: {event.additional_data!r}")
        stream = self._streams.get(getattr(event, "stream_id", None) or 0)
        if stream is None:
            return
        if isinstance(event, h2_events.ResponseReceived):
            stream.fields = dict(event.headers)
        elif isinstance(event, h2_events.DataReceived):
            stream.body += event.data
            self._h2.acknowledge_received_data(event.flow_controlled_length, stream.number)
        elif isinstance(event, h2_events.StreamEnded):
            stream.ended = True
        elif isinstance(event, h2_events.StreamReset) and not (stream.ended and event.error_code == NO_ERROR):
            stream.reset = int(event.error_code)

    def _flush(self) -> None:
        """Sends what is ready."""
        self._sock.sendall(self._h2.data_to_send())


@contextmanager
def listening() -> Iterator[tuple[socket.socket, str]]:
    """A target that does what the test does, and its authority."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener, f"127.0.0.1:{listener.getsockname()[1]}"
