"""
No log line, exception or repr has a password or a key in it.
"""

import asyncio
import base64
import gc
import logging
import re
import traceback
from collections.abc import Iterator
from typing import Any

import pytest
from aioice import stun
from aioice.turn import make_integrity_key

from aiortc_restart import (
    RTCConfiguration,
    RTCIceServer,
    RTCIceTransportPolicy,
    RTCPeerConnection,
)

from .calls import (
    RETIREMENT,
    answered,
    edited,
    ice_transport,
    offered,
    peers,
    restart,
)
from .network import Address, Network
from .turn import TurnServer, turn_server
from .utils import connected_pair, credentials, negotiate

CREDENTIAL = "TurnPassword0123456789"
WRONG = "WrongPassword9876543210"
USER, REALM = "user", "example.org"
LONGEST = 8
"How many characters of a secret in a row, or bytes of a key, are too many."


class AskingTurnServer(TurnServer):
    """
    A TURN server for those who know its password (RFC 8489 section 9.2).
    """

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        if data[0] & 0xC0 != 0x40:
            request = stun.parse_message(data)
            if "MESSAGE-INTEGRITY" not in request.attributes or not (
                request.check_message_integrity(self.key)
            ):
                refusal = stun.Message(
                    request.message_method, stun.Class.ERROR, request.transaction_id
                )
                refusal.attributes["ERROR-CODE"] = (401, "Unauthorized")
                refusal.attributes["REALM"] = REALM
                refusal.attributes["NONCE"] = b"nonce"
                super().send(bytes(refusal), addr)
                return
        super().datagram_received(data, addr)

    @property
    def key(self) -> bytes:
        return make_integrity_key(USER, REALM, CREDENTIAL)

    def send(self, data: bytes, addr: Address) -> None:
        if data[0] & 0xC0 != 0x40:
            answer = stun.parse_message(data)
            answer.add_message_integrity(self.key)
            data = bytes(answer)
        super().send(data, addr)


class Spy(logging.Handler):
    """
    Keeps the text of all log records, and of what the event loop is told.
    """

    def __init__(self) -> None:
        super().__init__()
        self.parts: set[str] = set()
        self.texts: set[str] = set()
        for password in (CREDENTIAL, WRONG):
            self.add(password)
            self.add_key(make_integrity_key(USER, REALM, password))

    def add(self, secret: str) -> None:
        self.parts |= {secret[:LONGEST], secret[-LONGEST:]}

    def add_key(self, key: bytes) -> None:
        self.add(base64.b64encode(key).decode())
        # Eight characters of a key's repr are as little as two bytes, which any of the
        # logged MESSAGE-INTEGRITY values may have by chance.
        for part in (key[:LONGEST], key[-LONGEST:]):
            self.parts |= {part.hex(), repr(part)[2:-1]}

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.add(self.format(record))
        # What another formatter might show.
        self.texts.add(repr((record.msg, record.args, record.exc_text)))

    def found(self) -> set[str]:
        """
        Return the texts in which a secret is, or much of one.
        """
        secret = re.compile("|".join(map(re.escape, self.parts)))
        # The end of a text is what its line is about.
        return {
            x[max(0, match.start() - 300) : match.start()]
            for x in self.texts
            if (match := secret.search(x))
        }

    def learn(self, *pcs: RTCPeerConnection) -> None:
        """
        Add the passwords of descriptions and the keys of certificates.
        """
        for pc in pcs:
            for description in (pc.localDescription, pc.remoteDescription):
                if description is not None:
                    for _, password in credentials(description):
                        self.add(password)
            transport = ice_transport(pc)
            for generation in transport.generations:
                self.add(generation.connection.local_password)
        for pc in pcs:
            assert pc.sctp is not None
            # The exporter gives the keys of SRTP.
            ssl = pc.sctp.transport._ssl
            if ssl is not None and pc.sctp.transport.state == "connected":
                self.add_key(ssl.export_keying_material(b"EXTRACTOR-dtls_srtp", 60))

    def look_at_objects(self) -> None:
        """
        Keep what the objects say of themselves which this package has made.
        """
        for x in gc.get_objects():
            if type(x).__module__.startswith("aiortc_restart"):
                self.texts.add(repr(x))


@pytest.fixture
def spy() -> Iterator[Spy]:
    spy = Spy()
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    # The records of a whole call are kept here and nowhere else.
    root.handlers = [spy]
    root.setLevel(logging.DEBUG)
    try:
        yield spy
    finally:
        root.handlers = handlers
        root.setLevel(level)


def reveal_everything(spy: Spy) -> None:
    """
    Let the event loop log each callback and each task, with their arguments.
    """
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    loop.slow_callback_duration = 0
    handler = loop.get_exception_handler()

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        spy.texts.add(repr(context))
        if (exc := context.get("exception")) is not None:
            spy.texts.update(traceback.format_exception(exc))
        if handler is not None:
            handler(loop, context)

    loop.set_exception_handler(handle)


def configuration(credential: str, **options: Any) -> RTCConfiguration:
    return RTCConfiguration(
        iceServers=[RTCIceServer("turn:10.0.8.1", USER, credential)],
        iceTransportPolicy=RTCIceTransportPolicy.RELAY,
        **options,
    )


async def asking_server(network: Network, count: int) -> TurnServer:
    server = await turn_server(network, *count * [0.1])
    server.__class__ = AskingTurnServer
    return server


@pytest.mark.parametrize("trickle", [False, True])
async def test_call(network: Network, spy: Spy, trickle: bool) -> None:
    """
    A relayed call with restarts, a failed one, a loss of the path and wrong credentials
    logs no secret, whatever the level, though the event loop debugs.
    """
    reveal_everything(spy)
    server = await asking_server(network, 10)
    async with connected_pair(
        network,
        configuration=configuration(CREDENTIAL, iceTrickle=trickle),
        answerer_configuration=RTCConfiguration(iceServers=[]),
    ) as pair:
        both = pair.offerer, pair.answerer
        spy.learn(*both)
        assert server.live == 1
        await restart(*both)
        spy.learn(*both)
        await pair.exchange()
        spy.look_at_objects()

        pair.offerer.setConfiguration(configuration(WRONG, iceTrickle=trickle))
        await negotiate(*both)
        spy.learn(*both)
        await asyncio.sleep(45)
        spy.look_at_objects()

        pair.offerer.setConfiguration(configuration(CREDENTIAL, iceTrickle=trickle))
        network.cut("alice")
        await asyncio.sleep(35)
        network.heal()
        await negotiate(*both, iceRestart=True)
        spy.learn(*both)
        await asyncio.sleep(RETIREMENT)
        await pair.exchange()
        spy.look_at_objects()
    assert any("Executing" in x for x in spy.texts)
    assert any("turn/udp" in x for x in spy.texts)
    assert spy.found() == set()
    server.close()


async def test_failed_descriptions(network: Network, spy: Spy) -> None:
    """
    Nor does what is raised for a description, a candidate or a configuration.
    """
    reveal_everything(spy)
    async with connected_pair(network) as pair:
        spy.learn(pair.offerer, pair.answerer)
        offer = await offered(pair.offerer, iceRestart=True)
        password = credentials(offer)[0][1]
        spy.add(password)
        for old, new in (
            (password, password[:-3]),
            (password, password + "!"),
            ("a=ice-ufrag:", "a=ice-ufrag:!"),
            ("a=setup:actpass", "a=setup:passive"),
            ("a=fingerprint:", "a=finger:"),
        ):
            broken = type(offer)(offer.sdp.replace(old, new), offer.type)
            try:
                await pair.answerer.setRemoteDescription(broken)
                await pair.answerer.setRemoteDescription(
                    type(offer)(sdp="", type="rollback")
                )
            except Exception as exc:
                spy.texts.update(traceback.format_exception(exc))
        await pair.offerer.setRemoteDescription(await answered(pair.answerer, offer))
        await asyncio.sleep(RETIREMENT)
    assert spy.found() == set()


@pytest.mark.parametrize("end", ["\r", "\x0b", "\x85", "\u2028", "\\r\\n", " ", ""])
async def test_line_breaks(network: Network, spy: Spy, end: str) -> None:
    """
    Nor is a description shown with its password if its lines end otherwise, or if its
    line breaks have been lost.
    """
    async with peers(network) as (offerer, answerer):
        offerer.createDataChannel("test")
        offer = await offered(offerer)
        spy.learn(offerer)
        # An exception repeats only what comes first.
        lines = edited(offer, "^t=", f"a=ice-pwd:{credentials(offer)[0][1]}\r\nt=").sdp
        strange = end.join([*lines.splitlines(), ""])
        try:
            await answerer.setRemoteDescription(type(offer)(strange, offer.type))
        except ValueError as exc:
            spy.texts.update(traceback.format_exception(exc))
    assert any("setRemoteDescription" in x for x in spy.texts)
    assert spy.found() == set()


@pytest.mark.parametrize(
    "servers",
    [
        [{"urls": "turn:a", "username": USER, "credential": CREDENTIAL}],
        [RTCIceServer(f"turn:{USER}:{CREDENTIAL}@a")],
        [RTCIceServer({"turn:a": CREDENTIAL})],  # type: ignore[arg-type]
        [RTCIceServer("turn:a", None, CREDENTIAL)],
        {"urls": "turn:a", "credential": CREDENTIAL},
        RTCIceServer("turn:a", USER, CREDENTIAL),
        [RTCIceServer("sturn:a", USER, CREDENTIAL)],
    ],
)
def test_configuration(spy: Spy, servers: Any) -> None:
    """
    A configuration that is refused is not shown with its credentials.
    """
    pc = RTCPeerConnection()
    given = RTCConfiguration(iceServers=servers)
    if not isinstance(servers[0] if isinstance(servers, list) else 0, RTCIceServer):
        spy.texts.add(repr(given))
    with pytest.raises(Exception) as raised:
        pc.setConfiguration(given)
    spy.texts.add(repr(raised.value))
    spy.texts.update(traceback.format_exception(raised.value))
    with pytest.raises(ValueError) as raised_value:
        pc.setConfiguration({"iceServers": servers})  # type: ignore[arg-type]
    spy.texts.add(str(raised_value.value))
    assert spy.found() == set()


def test_reprs(spy: Spy) -> None:
    """
    A configuration can be printed: it does not show the credentials.
    """
    given = configuration(CREDENTIAL)
    shown = repr(given)
    spy.texts.add(shown)
    assert spy.found() == set()
    assert USER in shown
    assert "turn:10.0.8.1" in shown
    assert given.iceServers is not None
    assert given.iceServers[0].credential == CREDENTIAL
