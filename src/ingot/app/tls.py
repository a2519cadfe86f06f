"""TLS of the API's listener: its certificate and key, read again when their files change.

A renewed certificate (certbot, acme.sh, an internal authority) counts for new connections within a minute; nobody
needs to restart or signal anything. Files that cannot be used are told in the log, and the old ones stay in force.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from pathlib import Path

from ingot.kit import log
from ingot.kit.faults import Fault

#: Seconds between two looks at the files.
LOOK_SECONDS = 30.0
_log = log.get("serve")


class Certificate:
    """A certificate with its chain and key, both PEM. `context` is for servers, TLS 1.2 or newer.

    Raises Fault where the files cannot be read or do not belong together.
    """

    def __init__(self, certificate: Path, key: Path) -> None:
        self._certificate, self._key = certificate, key
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._seen = self._stamps()
        if wrong := self._load():
            raise Fault(
                f"The certificate {certificate} with the key {key} cannot be used: {wrong}.",
                next_action="Both are PEM files: the certificate with its chain, and the key without a passphrase.",
            )

    async def follow(self) -> None:
        """Read the files again whenever they change, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            self.look()

    def look(self) -> None:
        """Take a renewed certificate over, if both files hold one that can be used."""
        stamps = self._stamps()
        if stamps == self._seen:
            return
        self._seen = stamps
        if wrong := self._tried():
            _log.error(
                "the new certificate cannot be used; the old one stays",
                file=str(self._certificate),
                why=wrong,
            )
            return
        self._load()
        _log.info("the certificate was read again", file=str(self._certificate))

    def _tried(self) -> str:
        """What is wrong with the files, tried on a context that nobody uses: half a renewal must break nothing."""
        return _loaded(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), self._certificate, self._key)

    def _load(self) -> str:
        return _loaded(self.context, self._certificate, self._key)

    def _stamps(self) -> tuple[object, ...]:
        return (*_stamp(self._certificate), *_stamp(self._key))


def trusted(certificate: str) -> str:
    """What clients on this host need besides its own list to trust a certificate: the file, when it signed itself."""
    if not certificate:
        return ""
    from cryptography import x509  # only once in the life of a cloud

    try:
        own = x509.load_pem_x509_certificate(Path(certificate).read_bytes())
    except (OSError, ValueError):
        return ""
    return str(Path(certificate).absolute()) if own.issuer == own.subject else ""


def _loaded(context: ssl.SSLContext, certificate: Path, key: Path) -> str:
    """Load both into a context; what is wrong, or ""."""

    def passphrase() -> str:
        raise ValueError("the key has a passphrase")  # else OpenSSL asks at the terminal, and waits

    try:
        context.load_cert_chain(certificate, key, passphrase)
    except ssl.SSLError as error:
        return (error.reason or str(error)).lower().replace("_", " ")
    except OSError as error:
        return os.strerror(error.errno or 0)
    except ValueError as error:
        return str(error)
    return ""


def _stamp(path: Path) -> tuple[object, ...]:
    try:
        told = path.stat()
    except OSError:
        return (None,)
    return told.st_ino, told.st_mtime_ns, told.st_size
