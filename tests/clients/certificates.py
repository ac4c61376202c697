"""A throwaway certificate authority and the certificate of `localhost`."""

import ssl
from dataclasses import dataclass
from pathlib import Path

import trustme


@dataclass(frozen=True)
class Certificates:
    """What the origin shows and what the clients trust."""

    ca_file: Path
    server: ssl.SSLContext
    client: ssl.SSLContext


def make_certificates(folder: Path) -> Certificates:
    """A certificate for every name of this machine's loopback, and the file that makes clients accept it."""
    authority = trustme.CA()
    ca_file = folder / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost", "127.0.0.1", "::1").configure_cert(server)
    return Certificates(ca_file, server, ssl.create_default_context(cafile=ca_file))
