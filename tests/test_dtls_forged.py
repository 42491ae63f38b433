"""
No datagram that anybody could have sent ends a DTLS association, or its handshake
(RFC 6347 section 4.1.2.7).
"""

import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from unittest import mock

import pytest
from OpenSSL import SSL

from .calls import peers
from .network import Datagram, Network
from .utils import Pair, connected_pair, negotiate, until

DTLS = range(20, 64)
"How datagrams of DTLS begin (RFC 7983 section 7)."

HANDSHAKE = 22

CLIENT_HELLO, SERVER_HELLO, CERTIFICATE = 1, 2, 11


def alert(level: int, description: int) -> bytes:
    """
    Return an alert that nobody has signed.
    """
    return b"\x15\xfe\xfd" + bytes(8) + b"\x00\x02" + bytes([level, description])


def message(kind: int, number: int, body: bytes) -> bytes:
    """
    Return a record with a handshake message.
    """
    length = len(body).to_bytes(3, "big")
    content = (
        bytes([kind]) + length + struct.pack("!H", number) + bytes(3) + length + body
    )
    header = b"\x16\xfe\xfd" + bytes(8) + struct.pack("!H", len(content))
    return header + content


def hello() -> bytes:
    """
    Return the ClientHello of somebody.
    """
    context = SSL.Context(SSL.DTLS_METHOD)
    ssl = SSL.Connection(context)
    ssl.set_connect_state()
    with pytest.raises(SSL.WantReadError):
        ssl.do_handshake()
    return ssl.bio_read(1500)


FORGED: dict[str, Callable[[], bytes]] = {
    "fatal alert": lambda: alert(2, 40),
    "close": lambda: alert(1, 0),
    "application data": lambda: b"\x17\xfe\xfd" + bytes(8) + b"\x00\x04data",
    "garbage": lambda: b"\x16" * 100,
    "no message": lambda: b"\x16\xfe\xfd" + bytes(8) + b"\x00\x04text",
    "change of keys": lambda: b"\x14\xfe\xfd" + bytes(8) + b"\x00\x01\x01",
    "hello": hello,
    "bad hello": lambda: message(CLIENT_HELLO, 0, bytes(40)),
    "bad server hello": lambda: message(SERVER_HELLO, 0, bytes(40)),
    "bad certificate": lambda: message(CERTIFICATE, 1, bytes(40)),
}


@contextmanager
def forging(
    network: Network, nth: int, forge: Callable[[], bytes], repeat: int = 1
) -> Iterator[list[Datagram]]:
    """
    Send something in the peer's name before each of its first datagrams of DTLS from
    the nth on.

    :param repeat: Before how many.
    """
    count = 0
    forged: list[Datagram] = []
    busy = False

    def watch(datagram: Datagram) -> bool:
        nonlocal busy, count
        if busy or datagram.data[0] not in DTLS:
            return True
        if nth <= count < nth + repeat:
            busy = True
            network.send(datagram.source, datagram.destination, forge())
            busy = False
            forged.append(network.log[-1])
        count += 1
        return True

    network.filter = watch
    yield forged
    network.filter = None


@pytest.mark.parametrize("nth", range(4))
@pytest.mark.parametrize("kind", FORGED)
async def test_handshake(network: Network, kind: str, nth: int) -> None:
    """
    Whatever is forged in a handshake, to either side, it succeeds.
    """
    async with peers(network) as (offerer, answerer):
        channel = offerer.createDataChannel("test")
        opened: list[object] = []
        answerer.on("datachannel", opened.append)
        network.delay(0.005)
        with forging(network, nth, FORGED[kind]) as forged:
            await negotiate(offerer, answerer)
            await until(lambda: channel.readyState == "open" and opened, timeout=25)
        assert len(forged) == 1
        assert offerer.connectionState == answerer.connectionState == "connected"
        await Pair(offerer, answerer, channel, opened[0]).exchange()  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", FORGED)
async def test_connected(network: Network, kind: str) -> None:
    """
    When the keys are there nothing that is forged is heeded, however often it comes.
    """
    async with connected_pair(network) as pair:
        with forging(network, 0, FORGED[kind], repeat=20) as forged:
            for _ in range(20):
                await pair.exchange()
        assert len(forged) == 20
        for pc in (pair.offerer, pair.answerer):
            assert pc.connectionState == "connected"


async def test_authentic_alert(network: Network) -> None:
    """
    A fatal alert that OpenSSL takes for authentic ends the association, and with it the
    connection: nothing would be decrypted any more.
    """
    # RFC 5246 section 7.2.2. OpenSSL sends none on demand.
    async with connected_pair(network) as pair:
        assert pair.answerer.sctp is not None
        ssl = mock.Mock()
        ssl.recv.side_effect = SSL.Error([("SSL routines", "", "tlsv1 alert")])
        ssl.get_shutdown.return_value = SSL.RECEIVED_SHUTDOWN
        ssl.bio_read.side_effect = SSL.WantReadError
        pair.answerer.sctp.transport._ssl = ssl
        pair.channel.send("anything")
        await until(lambda: pair.answerer.connectionState == "closed")


async def test_bad_record(network: Network) -> None:
    """
    An error of OpenSSL's which is no alert ends nothing.
    """
    async with connected_pair(network) as pair:
        assert pair.answerer.sctp is not None
        dtls = pair.answerer.sctp.transport
        with mock.patch.object(dtls, "_ssl", wraps=dtls._ssl) as ssl:
            ssl.recv.side_effect = SSL.Error([("SSL routines", "", "bad record")])
            pair.channel.send("lost, and sent again")
            await until(lambda: ssl.recv.called)
        await pair.exchange()
        assert pair.answerer.connectionState == "connected"
