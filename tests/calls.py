"""
What the tests of negotiations share: steps of a restart, edits, and looks inside.
"""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from typing import Any

import aiortc
from aiortc import RTCSessionDescription
from aiortc.sdp import MediaDescription, SessionDescription

from aiortc_restart import RTCConfiguration, RTCIceTransport, RTCPeerConnection
from aiortc_restart._aiortc import Descriptions, dtls_of

from .network import Network
from .utils import Pair, credentials, negotiate, until

RETIREMENT = 3.5
"Seconds after which an old generation has given its sockets back."

ROLLBACK = RTCSessionDescription(sdp="", type="rollback")

SETTLING = 1.0
"Seconds after which a peer on a healthy network has done all that it will do."


def ice_transport(pc: aiortc.RTCPeerConnection) -> RTCIceTransport:
    """
    Return the transport of the data channels.
    """
    assert pc.sctp is not None
    transport = pc.sctp.transport.transport
    assert isinstance(transport, RTCIceTransport)
    return transport


def ice_transports(pc: aiortc.RTCPeerConnection) -> list[RTCIceTransport]:
    """
    Return the transports, in the order of the transceivers, the data channels' last.
    """
    transports: list[Any] = [
        # One which was stopped may have none any more.
        dtls_of(x).transport
        for x in pc.getTransceivers()
        if dtls_of(x) in slot(pc, "dtlsTransports")
    ]
    if pc.sctp is not None:
        transports.append(pc.sctp.transport.transport)
    return list(dict.fromkeys(transports))


def slot(pc: aiortc.RTCPeerConnection, name: str) -> Any:
    """
    Return one of aiortc's slots of a connection, of either class.
    """
    return getattr(pc, f"_RTCPeerConnection__{name}")


def parsed(pc: RTCPeerConnection) -> Descriptions:
    """
    Return the descriptions of a connection, not as text.
    """
    return pc._slots.descriptions


def path(transport: RTCIceTransport) -> tuple[str, str]:
    """
    Return the username fragments of the pair on which a transport sends, ours first.
    """
    pair = transport.getSelectedCandidatePair()
    assert pair is not None
    assert pair.local.usernameFragment is not None
    assert pair.remote.usernameFragment is not None
    return pair.local.usernameFragment, pair.remote.usernameFragment


def paths(*pcs: RTCPeerConnection) -> list[tuple[str, str]]:
    """
    Return what :func:`path` does, for each transport of each peer.
    """
    return [path(transport) for pc in pcs for transport in ice_transports(pc)]


def sections(description: RTCSessionDescription) -> list[MediaDescription]:
    """
    Return the m-sections of a description.
    """
    return SessionDescription.parse(description.sdp).media


def ufrag_of(description: RTCSessionDescription) -> str:
    """
    Return the username fragment of the first section of a description.
    """
    return credentials(description)[0][0]


def edited(
    description: RTCSessionDescription, pattern: str, replacement: str
) -> RTCSessionDescription:
    """
    Return a copy of a description with all matches of a regular expression replaced.
    """
    sdp, count = re.subn(pattern, replacement, description.sdp, flags=re.MULTILINE)
    assert count, f"nothing matches {pattern}"
    return RTCSessionDescription(sdp=sdp, type=description.type)


def unbundled(description: RTCSessionDescription) -> RTCSessionDescription:
    """
    Return a copy of a description which bundles nothing.
    """
    return edited(description, r"^a=group:BUNDLE[^\n]*\n", "")


async def answered(
    answerer: RTCPeerConnection, offer: RTCSessionDescription
) -> RTCSessionDescription:
    """
    Answer an offer as applications do, and return the answer.
    """
    await answerer.setRemoteDescription(offer)
    await answerer.setLocalDescription(await answerer.createAnswer())
    return answerer.localDescription


async def offered(pc: RTCPeerConnection, **options: Any) -> RTCSessionDescription:
    """
    Make an offer, apply it, and return it with its candidates.
    """
    await pc.setLocalDescription(await pc.createOffer(**options))
    return pc.localDescription


def provisional(answer: RTCSessionDescription) -> RTCSessionDescription:
    return RTCSessionDescription(sdp=answer.sdp, type="pranswer")


@contextlib.asynccontextmanager
async def peers(
    network: Network,
    offerer: type[RTCPeerConnection] = RTCPeerConnection,
    answerer: type[RTCPeerConnection] = RTCPeerConnection,
    configuration: RTCConfiguration | None = None,
) -> AsyncIterator[tuple[RTCPeerConnection, RTCPeerConnection]]:
    """
    Make two peers, on "alice" and "bob", which have not negotiated yet.
    """
    configuration = configuration or RTCConfiguration(iceServers=[])
    pair = (
        network.at("alice", offerer)(configuration),
        network.at("bob", answerer)(configuration),
    )
    try:
        yield pair
    finally:
        await asyncio.gather(*(x.close() for x in pair))


async def restart(offerer: RTCPeerConnection, answerer: RTCPeerConnection) -> None:
    """
    Restart ICE and wait until both sides send on new pairs.
    """
    before = paths(offerer, answerer)
    await negotiate(offerer, answerer, iceRestart=True)
    await switched(offerer, answerer)
    for old, new in zip(before, paths(offerer, answerer), strict=True):
        assert set(old).isdisjoint(new)


async def switched(*pcs: RTCPeerConnection) -> None:
    """
    Wait until peers send on pairs of the generations which were negotiated last.
    """

    def done() -> bool:
        return all(
            transport.state == "completed"
            and path(transport)
            == (
                transport.local_parameters.usernameFragment,
                transport.remote_parameters.usernameFragment,
            )
            for pc in pcs
            for transport in ice_transports(pc)
            if transport.remote_parameters is not None
        )

    await until(done, message=lambda: f"not switched: {paths(*pcs)}")


@contextlib.asynccontextmanager
async def unharmed(network: Network, pair: Pair) -> AsyncIterator[None]:
    """
    Assert that a call survives what happens within: it runs on over its old pair, and a
    restart by either side still works.
    """
    both = [pair.offerer, pair.answerer]
    before = paths(*both)
    yield
    # Time enough for a switch, or for an end, which is not to come.
    await asyncio.sleep(SETTLING)
    assert paths(*both) == before
    await pair.exchange()
    assert [x.connectionState for x in both] == ["connected", "connected"]
    if pair.answerer.signalingState == "have-local-offer":
        both.reverse()
    for _ in range(2):
        await restart(*both)
        await pair.exchange()
        both.reverse()
    await asyncio.sleep(RETIREMENT)
    for name, pc in (("alice", pair.offerer), ("bob", pair.answerer)):
        assert {x.state for x in ice_transports(pc)} == {"completed"}
        assert network.sockets(name) == len(ice_transports(pc))


class Unbundled(RTCPeerConnection):
    """
    A peer whose first offer bundles nothing.
    """

    async def createOffer(self, iceRestart: bool = False) -> RTCSessionDescription:
        offer = await super().createOffer(iceRestart=iceRestart)
        return offer if self.remoteDescription else unbundled(offer)
