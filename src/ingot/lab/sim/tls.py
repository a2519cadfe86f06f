"""Certificates for the simulated agents' HTTPS listeners.

A real agent makes its own key and certificate at start (SAN = its address, 90 days, one hour of
allowed clock skew). Here one key serves the process, and one certificate serves a block of 64
addresses: the client's check of the address stays real while 1,000 machines cost 16 signatures.
"""

from __future__ import annotations

import datetime
import ipaddress
import os
import ssl
import tempfile
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

BLOCK = 64


@dataclass(frozen=True)
class AgentCertificate:
    """`pem` is what the agent sends as `agent_verify_ca`."""

    pem: str
    context: ssl.SSLContext


class CertificateShop:
    """Makes certificates on demand and keeps them."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._made: dict[tuple[int, int], AgentCertificate] = {}

    def for_address(self, address: str, clock_ahead: float = 0.0) -> AgentCertificate:
        first = int(ipaddress.IPv4Address(address)) // BLOCK * BLOCK
        key = (first, round(clock_ahead))
        if key not in self._made:
            addresses = [ipaddress.IPv4Address(first + n) for n in range(BLOCK)]
            self._made[key] = self._make(addresses, clock_ahead)
        return self._made[key]

    def for_host(self, address: str) -> ssl.SSLContext:
        """A context for a BMC's own HTTPS."""
        return self.for_address(address).context

    def _make(self, addresses: list[ipaddress.IPv4Address], clock_ahead: float) -> AgentCertificate:
        now = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=clock_ahead)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self._key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=90))
            .add_extension(
                x509.SubjectAlternativeName([x509.IPAddress(a) for a in addresses]), critical=True
            )
            .sign(self._key, hashes.SHA256())
        )
        pem = certificate.public_bytes(serialization.Encoding.PEM)
        key_pem = self._key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        with tempfile.NamedTemporaryFile(delete=False) as file:
            file.write(key_pem + pem)
        try:
            context.load_cert_chain(file.name)
        finally:
            os.unlink(file.name)
        return AgentCertificate(pem.decode(), context)
