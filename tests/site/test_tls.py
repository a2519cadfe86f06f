"""TLS at the API's own listener: a stock client, a renewed certificate, and clients that dawdle."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import ssl
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ingot.app.tls import Certificate
from ingot.kit.faults import Fault
from tests.site.server import OPENSTACK, Site, clean_environment, free_port, run

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(90)]


def issue(folder: Path, name: str, passphrase: bytes = b"") -> tuple[Path, Path]:
    """A certificate of its own for loopback, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    closed = (
        serialization.BestAvailableEncryption(passphrase)
        if passphrase
        else serialization.NoEncryption()
    )
    certificate, secret = folder / "tls.crt", folder / "tls.key"
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, closed)
    )
    return certificate, secret


async def shown(context: ssl.SSLContext) -> str:
    """The name in the certificate that a server with this context shows."""
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    any_ = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    any_.check_hostname, any_.verify_mode = False, ssl.CERT_NONE
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=any_)
    told = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    server.close()
    names = x509.load_der_x509_certificate(told).subject
    return str(names.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)


async def test_a_renewed_certificate_counts_and_half_a_renewal_breaks_nothing(
    tmp_path: Path,
) -> None:
    certificate, key = issue(tmp_path, "first")
    held = Certificate(certificate, key)
    assert await shown(held.context) == "first"
    old_key = key.read_bytes()
    issue(tmp_path, "second")
    new_key = key.read_bytes()
    key.write_bytes(old_key)
    held.look()
    assert await shown(held.context) == "first"
    key.unlink()
    held.look()
    assert await shown(held.context) == "first"
    key.write_bytes(new_key)
    held.look()
    assert await shown(held.context) == "second"


def test_files_that_cannot_be_used_are_told(tmp_path: Path) -> None:
    certificate, key = issue(tmp_path, "x")
    with pytest.raises(Fault, match="No such file"):
        Certificate(certificate, tmp_path / "none")
    certificate.write_text("no certificate")
    with pytest.raises(Fault, match=str(certificate)):
        Certificate(certificate, key)
    certificate, key = issue(tmp_path, "x", b"secret")
    with pytest.raises(Fault, match="passphrase"):
        Certificate(certificate, key)


@pytest.mark.parametrize(
    ("lines", "word"),
    [
        ('[tls]\ncertificate = "a"\n', "tls.key"),
        ('[tls]\nkey = "a"\n', "tls.certificate"),
        ('database = "postgresql://a@b/c"\n[tls]\ncertificate = "a"\nkey = "b"\n', "balancer"),
        ('[tls]\ncertificate = "a.pem"\nkey = "b.pem"\n', "a.pem"),
    ],
)
async def test_settings_that_cannot_work_are_refused(tmp_path: Path, lines: str, word: str) -> None:
    (tmp_path / "ingot.toml").write_text(lines)
    code, _, said = await run("serve", "--config", "ingot.toml", "--state", "s", cwd=tmp_path)
    assert code == 2
    assert word in said.replace("\n", " "), said


async def test_stock_clients_over_tls(tmp_path: Path) -> None:
    certificate, key = issue(tmp_path, "cloud")
    async with aiohttp.ClientSession() as http:
        here = Site(tmp_path, free_port(), free_port(), http)
        file = here.settings(
            tls={"certificate": str(certificate), "key": str(key)}, http={"head_seconds": 1}
        )
        await here.start(file)
        try:
            await _use(here, certificate)
        finally:
            assert await here.stop() == 0


async def _use(here: Site, certificate: Path) -> None:
    clouds = here.state / "clouds.yaml"
    auth = yaml.safe_load(clouds.read_text())["clouds"]["ingot"]["auth"]
    assert auth["auth_url"] == f"https://127.0.0.1:{here.api}/identity"
    # It signed itself, so clouds.yaml names it.
    env = clean_environment(OS_CLIENT_CONFIG_FILE=str(clouds), OS_CLOUD="ingot")
    code, out, err = await _openstack(here, env, "catalog", "list", "-f", "json")
    assert code == 0, err
    assert f"https://127.0.0.1:{here.api}" in out
    assert f"http://127.0.0.1:{here.api}" not in out
    code, out, err = await _openstack(here, env, "image", "list", "-f", "json")
    assert (code, out.strip()) == (0, "[]"), err
    code, out, err = await run(
        "operations", "-f", "json", cwd=here.folder, OS_CLIENT_CONFIG_FILE=str(clouds)
    )
    assert (code, out) == (0, ""), err
    # Another certificate is not trusted, and without TLS nothing is answered.
    (here.folder / "other").mkdir()
    other, _ = issue(here.folder / "other", "cloud")
    code, _, _ = await _openstack(here, {**env, "OS_CACERT": str(other)}, "image", "list")
    assert code != 0
    code, _, err = await run(
        "operations", cwd=here.folder, OS_CACERT=str(other), OS_CLIENT_CONFIG_FILE=str(clouds)
    )
    assert code != 0
    assert "not trusted" in err
    with pytest.raises(aiohttp.ClientError):
        await here.http.get(f"{here.url}/healthz")
    await _dawdle(here)


async def _dawdle(here: Site) -> None:
    """Who does not go on with the handshake is cut off."""
    reader, writer = await asyncio.open_connection("127.0.0.1", here.api)
    writer.write(b"\x16\x03\x01")
    began = time.monotonic()
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await asyncio.wait_for(reader.readexactly(1), 20)
    assert time.monotonic() - began < 15
    writer.close()


async def _openstack(here: Site, env: dict[str, Any], *words: str) -> tuple[int, str, str]:
    child = await asyncio.create_subprocess_exec(
        str(OPENSTACK),
        *words,
        cwd=here.folder,
        env=env,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(child.communicate(), 60)
    return child.returncode or 0, out.decode(), err.decode()
