"""What passes over loopback, as somebody on the wire would see it."""

import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

ETH_P_IP = 0x0800
# of <linux/socket.h>; Python has no names for them
SO_RCVBUFFORCE = 33
SOL_PACKET, PACKET_STATISTICS = 263, 6
BUFFER = 64 * 1024 * 1024
LARGEST = 128 * 1024
PORTS = struct.Struct("!2H")


@dataclass
class Capture:
    """The TCP payloads that were sent from or to each port."""

    by_port: dict[int, bytearray] = field(default_factory=dict)

    def of(self, port: int) -> bytes:
        """Everything that the connections of `port` carried, both ways."""
        return bytes(self.by_port.get(port, b""))


@contextmanager
def capturing() -> Iterator[Capture]:
    """Captures while the block runs; what it saw can be read behind the block."""
    try:
        tap = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM)
    except PermissionError:
        pytest.skip("only root may capture packets")
    capture = Capture()
    with tap:
        tap.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER)
        tap.bind(("lo", ETH_P_IP))
        yield capture
        while packet := _next(tap):
            _note(packet, capture)
        _, dropped = struct.unpack("2I", tap.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))
        assert dropped == 0, f"{dropped} packets were missed"


def _next(tap: socket.socket) -> bytes | None:
    """The next packet that was received before now."""
    try:
        return tap.recv(LARGEST, socket.MSG_DONTWAIT)
    except BlockingIOError:
        return None


def _note(packet: bytes, capture: Capture) -> None:
    """Files the payload of an IPv4 packet under both of its ports."""
    start = 4 * (packet[0] & 0xF)
    if packet[9] != socket.IPPROTO_TCP:
        return
    payload = packet[start + 4 * (packet[start + 12] >> 4) :]
    for port in PORTS.unpack_from(packet, start):
        capture.by_port.setdefault(port, bytearray()).extend(payload)
