"""A throwaway certificate authority and the certificate of this machine and of a few invented names."""

import base64
import hashlib
import ssl
from dataclasses import dataclass
from pathlib import Path

import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat


@dataclass(frozen=True)
class Certificates:
    """What servers show and what the clients trust."""

    ca_file: Path
    chain_file: Path
    key_file: Path
    pin: str
    server: ssl.SSLContext
    client: ssl.SSLContext


def make_certificates(folder: Path, *names: str) -> Certificates:
    """A certificate for every name of this machine's loopback and for `names`, and what makes clients accept it."""
    authority = trustme.CA()
    ca_file, chain_file, key_file = (folder / f"{name}.pem" for name in ("ca", "chain", "key"))
    authority.cert_pem.write_to_path(str(ca_file))
    issued = authority.issue_cert("localhost", "127.0.0.1", "::1", *names)
    for pem in issued.cert_chain_pems:
        pem.write_to_path(str(chain_file), append=True)
    issued.private_key_pem.write_to_path(str(key_file))
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    issued.configure_cert(server)
    client = ssl.create_default_context(cafile=ca_file)
    return Certificates(ca_file, chain_file, key_file, _pin(issued.cert_chain_pems[0].bytes()), server, client)


def _pin(pem: bytes) -> str:
    """`sha256:` and the base64 of the digest of the public key (RFC 7469)."""
    key = x509.load_pem_x509_certificate(pem).public_key()
    digest = hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()
    return f"sha256:{base64.b64encode(digest).decode()}"
