"""Fetching others' keys: to the address that was checked, by the name that was listed, and nowhere else."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from sharewell.gateway.oauth.egress import Egress, FetchFailed

Resolves = Callable[[str], None]


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow machine is no server that keeps us waiting."""
    monkeypatch.setattr("sharewell.gateway.oauth.egress.SECONDS", 60.0)


@pytest.fixture
async def resolves_to(monkeypatch: pytest.MonkeyPatch) -> Resolves:
    """Let every name point to one address."""

    def point(address: str) -> None:
        async def resolve(host: str, port: int, **_: Any) -> list[Any]:
            return [(2, 1, 6, "", (address, port))]

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve, raising=False)

    return point


@pytest.mark.parametrize("mark", ["", "private:"])
@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "::1", "::ffff:127.0.0.1", "169.254.169.254", "fe80::1", "0.0.0.0", "224.0.0.1",
        "::ffff:169.254.169.254", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "2002:a9fe:a9fe::1",
        "::7f00:1", "fec0::1",
    ],
)
async def test_a_name_never_leads_to_this_machine_or_its_link(resolves_to: Resolves, address: str, mark: str) -> None:
    resolves_to(address)
    with pytest.raises(FetchFailed, match="inside"):
        await Egress([f"{mark}https://keys.example"]).document("https://keys.example/jwks")


@pytest.mark.parametrize("address", ["10.1.2.3", "192.168.0.1", "fd00::1", "100.64.0.1", "64:ff9b::a01:203"])
async def test_a_name_leads_inside_the_network_only_where_the_operator_says_so(
    resolves_to: Resolves, address: str
) -> None:
    resolves_to(address)
    with pytest.raises(FetchFailed, match="inside"):
        await Egress(["https://keys.example"]).document("https://keys.example/jwks")


async def test_another_scheme_port_or_host_is_another_origin() -> None:
    egress = Egress(["https://keys.example"])
    assert egress.allows("https://keys.example:443/jwks")
    for url in ("http://keys.example/jwks", "https://keys.example:8443/", "https://keys.example.evil/", "https://evil/"):
        assert not egress.allows(url)
        with pytest.raises(FetchFailed, match="not listed"):
            await egress.document(url)


class Keys(BaseHTTPRequestHandler):
    """Tells by which name it was asked."""

    def do_GET(self) -> None:
        body = f'{{"host": "{self.headers["Host"]}"}}'.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nothing to tell."""


@pytest.fixture
def own_address() -> str:
    """An address of this machine that is not its loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing
        except OSError:
            pytest.skip("this machine has no address but its loopback")
        return str(probe.getsockname()[0])


@pytest.fixture
def server(own_address: str, tmp_path: Path) -> Iterator[tuple[int, ssl.SSLContext]]:
    """An https server whose certificate is for keys.example; its port, and a context that trusts it."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "keys.example")])
    certificate = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("keys.example")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    pem = tmp_path / "server.pem"
    pem.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ) + certificate.public_bytes(serialization.Encoding.PEM)
    )  # fmt: skip
    ours = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ours.load_cert_chain(pem)
    running = HTTPServer((own_address, 0), Keys)
    running.socket = ours.wrap_socket(running.socket, server_side=True)
    thread = threading.Thread(target=running.serve_forever)
    thread.start()
    try:
        trusting = ssl.create_default_context(cadata=certificate.public_bytes(serialization.Encoding.PEM).decode())
        yield running.server_port, trusting
    finally:
        running.shutdown()
        thread.join()
        running.server_close()


@pytest.mark.parametrize(("host", "good"), [("keys.example", True), ("other.example", False)])
async def test_the_address_is_pinned_and_the_certificate_is_held_to_the_name(
    server: tuple[int, ssl.SSLContext], resolves_to: Resolves, own_address: str, host: str, good: bool
) -> None:
    port, trusting = server
    resolves_to(own_address)
    origin = f"https://{host}:{port}"
    egress = Egress([f"private:{origin}"], transport=httpx2.AsyncHTTPTransport(verify=trusting))
    if good:
        assert await egress.document(f"{origin}/jwks") == {"host": f"{host}:{port}"}
    else:
        with pytest.raises(FetchFailed, match="ConnectError"):
            await egress.document(f"{origin}/jwks")
