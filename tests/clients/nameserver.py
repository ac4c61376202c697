"""A name server on loopback that knows the names it is told, and says of all others that there are none."""

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

NOERROR_FLAGS, NXDOMAIN_FLAGS = 0x8180, 0x8183
HEADER = struct.Struct("!6H")
TYPE_A = 1
LOOPBACK = socket.inet_aton("127.0.0.1")


@dataclass(frozen=True)
class NameServer:
    """Where it listens, and every name it has been asked for."""

    address: str
    questions: list[str] = field(default_factory=list)


@contextmanager
def running_nameserver(*names: str) -> Iterator[NameServer]:
    """A server to which each of `names` is 127.0.0.1 and nothing else, and which answers NXDOMAIN to any other."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        listening.bind(("127.0.0.1", 0))
        host, port = listening.getsockname()
        server = NameServer(f"{host}:{port}")
        thread = threading.Thread(target=_answer, args=(listening, server, frozenset(names)), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            listening.sendto(b"", (host, port))
            thread.join(10)


def _answer(listening: socket.socket, server: NameServer, names: frozenset[str]) -> None:
    """Answers until an empty datagram comes."""
    while True:
        packet, client = listening.recvfrom(4096)
        if not packet:
            return
        question, name, asked = _question(packet)
        server.questions.append(name)
        answer = _address(question) if name in names and asked == TYPE_A else b""
        flags = NOERROR_FLAGS if name in names else NXDOMAIN_FLAGS
        head = HEADER.pack(HEADER.unpack_from(packet)[0], flags, 1, bool(answer), 0, 0)
        listening.sendto(head + question + answer, client)


def _question(packet: bytes) -> tuple[bytes, str, int]:
    """The question section of a packet with one question, the name in it and the type that is asked for."""
    at, labels = HEADER.size, []
    while length := packet[at]:
        labels.append(packet[at + 1 : at + 1 + length].decode().lower())
        at += 1 + length
    return packet[HEADER.size : at + 5], ".".join(labels), int.from_bytes(packet[at + 1 : at + 3])


def _address(question: bytes) -> bytes:
    """A record with the address of loopback, for a minute."""
    name, class_ = question[:-4], question[-2:]
    return name + TYPE_A.to_bytes(2) + class_ + struct.pack("!IH", 60, len(LOOPBACK)) + LOOPBACK
