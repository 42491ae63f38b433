"""
A coturn server on the loopback interface, and what it says of its allocations.
"""

import asyncio
import contextlib
import datetime
import ipaddress
import random
import re
import shutil
import socket
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ..utils import until

MISSING = None if shutil.which("turnserver") else "coturn is not installed"

USER, PASSWORD, REALM = "user", "secret", "example.org"

OTHER_USER, OTHER_PASSWORD = "other", "other secret"


class Coturn:
    """
    A running server.
    """

    def __init__(self, address: str, port: int, tls_port: int) -> None:
        self.log: list[str] = []
        self.url = f"turn:{address}:{port}"
        self.urls = {
            "udp": self.url,
            "tcp": f"{self.url}?transport=tcp",
            "tls": f"turns:{address}:{tls_port}",
        }
        "By how one gets to the server."
        self._live: set[str] = set()
        self._made = 0
        self._users: dict[str, set[str]] = {}

    @property
    def live(self) -> int:
        """
        The number of allocations which the server holds.
        """
        return len(self._live)

    def has_made(self, allocations: int) -> bool:
        """
        Whether the server has granted so many allocations so far.
        """
        return self._made == allocations

    def live_of(self, user: str) -> int:
        """
        Return the number of allocations which the server holds for a user.
        """
        return sum(self._users[x] == {user} for x in self._live)

    def users(self) -> list[set[str]]:
        """
        Return who has been heard in each session, the oldest first.
        """
        return list(self._users.values())

    def read(self, line: str) -> None:
        self.log.append(line)
        if match := re.search(r"session (\d+): .* user <([^>]+)>: incoming", line):
            self._users.setdefault(match[1], set()).add(match[2])
        match = re.search(r"session (\d+).* (ALLOCATE processed, success|closed)", line)
        if match is None:
            return
        if match[2] == "closed":
            self._live.discard(match[1])
        elif match[1] not in self._live:
            self._live.add(match[1])
            self._made += 1


def free_port() -> int:
    """
    Return a port on which nobody listens, neither with UDP nor with TCP.
    """
    while True:
        # Not one of those which the system gives to whoever asks for any.
        port = random.randrange(20_000, 32_000)
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams,
            socket.socket(socket.AF_INET, socket.SOCK_STREAM) as streams,
        ):
            datagrams.bind(("127.0.0.1", port))
            streams.bind(("127.0.0.1", port))
            return port


def make_certificate(path: Path, address: str = "127.0.0.1") -> Path:
    """
    Write a self-signed certificate of a server, with its private key, to a file.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, address)])
    now = datetime.datetime.now(datetime.UTC)
    alternative = x509.IPAddress(ipaddress.ip_address(address))
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(identifier, critical=False)
        .sign(key, hashes.SHA256())
    )
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return path


@contextlib.asynccontextmanager
async def coturn(
    address: str = "127.0.0.1",
    wrapper: Sequence[str] = (),
    certificate: Path | None = None,
) -> AsyncIterator[Coturn]:
    """
    Run a server while the context lasts.

    :param address: The address which it listens on.
    :param wrapper: The program, with its arguments, which runs the server.
    :param certificate: A file with the certificate and the key for TLS, if it is to
                        speak that.
    """
    port, tls_port = free_port(), free_port()
    server = Coturn(address, port, tls_port)
    tls = ["--no-tls"]
    if certificate is not None:
        tls = ["--tls-listening-port", str(tls_port)]
        tls += ["--cert", str(certificate), "--pkey", str(certificate)]
    process = await asyncio.create_subprocess_exec(
        *wrapper,
        *("turnserver", "-n", "--lt-cred-mech", "--no-cli", "--no-dtls"),
        *tls,
        *("--log-file", "stdout", "--simple-log", "-v", "--allow-loopback-peers"),
        *("--listening-ip", address, "--relay-ip", address),
        *("--listening-port", str(port), "--user", f"{USER}:{PASSWORD}"),
        *("--user", f"{OTHER_USER}:{OTHER_PASSWORD}"),
        *("--realm", REALM, "--pidfile", "", "--relay-threads", "1"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )

    async def read() -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            server.read(line.decode(errors="replace").strip())

    reader = asyncio.create_task(read())
    try:
        # The others are open by then.
        await until(
            lambda: any("UDP listener opened" in x for x in server.log),
            message="coturn does not listen",
        )
        yield server
    finally:
        process.terminate()
        await process.wait()
        await reader
