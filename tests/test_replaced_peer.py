"""
Another peer comes in the place of one in a call: a DTLS association is begun anew, and
media and data channels go on with it (RFC 8842 section 5.1, RFC 9429 section 5.11).
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import aiortc
import pytest
from aiortc import RTCDataChannel

from aiortc_restart import (
    RTCConfiguration,
    RTCIceServer,
    RTCPeerConnection,
    RTCRtpSender,
)
from aiortc_restart._aiortc import RTCRtpReceiver as OurReceiver
from aiortc_restart._aiortc import RTCSctpTransport as OurSctpTransport

from .calls import (
    ROLLBACK,
    Unbundled,
    answered,
    edited,
    ice_transports,
    offered,
    peers,
    provisional,
    sections,
    switched,
)
from .found import trickle as send_candidates
from .media import Pictures, add_media, flowing
from .network import Network
from .snapshots import nothing_changes
from .utils import credentials, negotiate, until


class Messages(list[str]):
    """
    What comes on the data channels that a peer has not opened, and on its own.
    """

    def __init__(self, pc: RTCPeerConnection) -> None:
        super().__init__()
        self.channels: list[RTCDataChannel] = []
        pc.on("datachannel", self.add)

    def add(self, channel: RTCDataChannel) -> None:
        self.channels.append(channel)
        channel.on("message", lambda x: self.append(f"{channel.label}: {x}"))

    @property
    def labels(self) -> list[str]:
        return [x.label for x in self.channels]


@contextlib.asynccontextmanager
async def third(
    network: Network,
    cls: type[RTCPeerConnection] = RTCPeerConnection,
    trickle: bool = False,
) -> AsyncIterator[RTCPeerConnection]:
    """
    Make a peer which comes in another one's place.
    """
    pc = network.at("bob", cls)(RTCConfiguration(iceServers=[], iceTrickle=trickle))
    try:
        yield pc
    finally:
        await pc.close()


async def connected(*pcs: RTCPeerConnection) -> None:
    await until(
        lambda: all(x.connectionState == "connected" for x in pcs),
        message=lambda: str([x.connectionState for x in pcs]),
    )


async def replace(
    pc: RTCPeerConnection, other: RTCPeerConnection, other_offers: bool
) -> None:
    """
    Negotiate with another peer than before.
    """
    if other_offers:
        await negotiate(other, pc)
    else:
        await negotiate(pc, other, iceRestart=True)


@pytest.mark.parametrize("offers", [False, True], ids=["answer", "offer"])
@pytest.mark.parametrize("bundled", [True, False], ids=["bundled", "unbundled"])
@pytest.mark.parametrize("trickle", [False, True], ids=["whole", "trickle"])
async def test_replaced(
    network: Network, offers: bool, bundled: bool, trickle: bool
) -> None:
    """
    Sound, pictures and messages go on with the peer that has come in another one's
    place, by its answer to a restart or by its offer, and nothing of the old call is
    left.
    """
    cls = RTCPeerConnection if bundled else Unbundled
    configuration = RTCConfiguration(iceServers=[], iceTrickle=trickle)
    async with (
        peers(network, cls, configuration=configuration) as (pc, old),
        third(network, cls, trickle) as new,
    ):
        messages = {x: Messages(x) for x in (pc, old, new)}
        add_media(pc, old, new)
        channel = pc.createDataChannel("ours")
        if trickle:
            send_candidates(pc, old)
        await negotiate(pc, old)
        await connected(pc, old)
        theirs = old.createDataChannel("theirs")
        await until(lambda: theirs.readyState == channel.readyState == "open")
        await flowing(pc, old)
        transceivers, sctp = pc.getTransceivers(), pc.sctp
        before = {x.receiver.transport for x in transceivers}
        if offers:
            new.createDataChannel("new")
        if trickle:
            pc.remove_all_listeners("icecandidate")
            send_candidates(pc, new)
        await replace(pc, new, offers)
        await connected(pc, new)
        await flowing(pc, new)
        channel.send("hello")
        await until(lambda: "ours: hello" in messages[new])
        late = new.createDataChannel("late")
        await until(lambda: late.readyState == "open")
        late.send("hello")
        await until(lambda: messages[pc] == ["late: hello"])
        assert messages[pc].labels == [
            "theirs",
            *(["new"] if offers else []),
            "late",
        ]
        assert channel.readyState == "open"
        assert (pc.getTransceivers(), pc.sctp) == (transceivers, sctp)
        assert before.isdisjoint(x.receiver.transport for x in transceivers)
        await until(lambda: {x.state for x in before} == {"closed"})
        # The old peer learns of it.
        await until(lambda: old.connectionState == "closed")
        await until(lambda: network.sockets("alice") == len(ice_transports(pc)))
        # What has come in its place is an association like any other.
        for offerer, answerer in ((pc, new), (new, pc)):
            await negotiate(offerer, answerer, iceRestart=True)
            await switched(pc, new)
            await flowing(pc, new)


async def test_again_and_again(network: Network) -> None:
    """
    A call may be handed on from peer to peer.
    """
    async with contextlib.AsyncExitStack() as stack:
        pc, first = await stack.enter_async_context(peers(network))
        channel = pc.createDataChannel("ours")
        agreed = pc.createDataChannel("agreed", negotiated=True, id=100)
        await negotiate(pc, first)
        await until(lambda: channel.readyState == "open")
        for number in range(6):
            new = await stack.enter_async_context(third(network))
            messages = Messages(new)
            messages.add(new.createDataChannel("agreed", negotiated=True, id=100))
            await replace(pc, new, number % 2 == 1)
            await connected(pc, new)
            channel.send("hello")
            agreed.send("hello")
            await until(lambda x=messages: len(x) == 2)  # type: ignore[misc]
            assert {*messages} == {"ours: hello", "agreed: hello"}
        await until(lambda: network.sockets("alice") == 1)


@pytest.mark.parametrize("offers", [False, True], ids=["answer", "offer"])
async def test_carried_until_then(network: Network, offers: bool) -> None:
    """
    The call goes on with the old peer for as long as the new one does not connect.
    """
    async with peers(network) as (pc, old), third(network) as new:
        messages = Messages(old)
        add_media(pc, old)
        channel = pc.createDataChannel("ours")
        await negotiate(pc, old)
        await until(lambda: channel.readyState == "open")
        await flowing(pc, old)
        # Otherwise it would be told that nothing is to be received.
        add_media(new)
        if offers:
            new.createDataChannel("new")
        description = (
            await offered(new)
            if offers
            else await answered(new, await offered(pc, iceRestart=True))
        )
        # Where the new peer says that it is, nobody answers, nor does anybody ask.
        await new.close()
        nowhere = edited(description, r"^(a=candidate:.* )10\.0\.\S+", r"\g<1>10.0.7.7")
        await pc.setRemoteDescription(nowhere)
        if offers:
            await pc.setLocalDescription()
        assert pc.connectionState in ("new", "connecting")
        for number in range(3):
            channel.send(str(number))
            await until(lambda x=number: f"ours: {x}" in messages)  # type: ignore[misc]
            await flowing(pc, old)
            await asyncio.sleep(1)
        # As any first connection, when all pairs have failed.
        await until(lambda: pc.connectionState == "failed", timeout=120)
        await flowing(pc, old)


async def test_rolled_back(network: Network) -> None:
    """
    What another peer has offered is rolled back, and the call goes on with the one that
    there is.
    """
    async with peers(network) as (pc, old), third(network) as new:
        messages = Messages(old)
        add_media(pc, old, new)
        channel = pc.createDataChannel("ours")
        await negotiate(pc, old)
        await until(lambda: channel.readyState == "open")
        new.createDataChannel("new")
        await pc.setRemoteDescription(await offered(new))
        await pc.setRemoteDescription(ROLLBACK)
        channel.send("still here")
        await until(lambda: messages == ["ours: still here"])
        await flowing(pc, old)
        await until(lambda: network.sockets("alice") == 1)
        assert pc.connectionState == "connected"
        await negotiate(old, pc, iceRestart=True)
        await switched(pc, old)
        await flowing(pc, old)


async def test_provisional_answer(network: Network) -> None:
    """
    The peer that has answered for the time being is the one that answers.
    """
    async with peers(network) as (pc, old), third(network) as new:
        messages = Messages(new)
        channel = pc.createDataChannel("ours")
        await negotiate(pc, old)
        await until(lambda: channel.readyState == "open")
        offer = await offered(pc, iceRestart=True)
        answer = await answered(new, offer)
        await pc.setRemoteDescription(provisional(answer))
        await connected(pc, new)
        wrong = edited(answer, "^(a=fingerprint:.*):..:..\r\n", "\\1:00:00\r\n")
        with nothing_changes(pc), pytest.raises(ValueError, match="another peer"):
            await pc.setRemoteDescription(wrong)
        await pc.setRemoteDescription(answer)
        channel.send("hello")
        await until(lambda: messages == ["ours: hello"])


@pytest.mark.parametrize("type", ["offer", "answer"])
async def test_without_restart(network: Network, type: str) -> None:
    """
    Another peer has to restart ICE: otherwise what it says is refused, and the call
    goes on.
    """
    async with peers(network) as (pc, other):
        channel = pc.createDataChannel("ours")
        await negotiate(pc, other)
        await until(lambda: channel.readyState == "open")
        if type == "offer":
            good = await offered(other)
        else:
            good = await answered(other, await offered(pc))
        bad = edited(good, "^(a=fingerprint:.*):..:..\r\n", "\\1:00:00\r\n")
        with nothing_changes(pc), pytest.raises(ValueError, match="Another peer"):
            await pc.setRemoteDescription(bad)
        await pc.setRemoteDescription(good)
        assert channel.readyState == "open"


async def test_answer_restarts_by_itself(network: Network) -> None:
    """
    Another peer which answers a plain offer with new credentials is refused.
    """
    async with peers(network) as (pc, old), third(network) as new:
        channel = pc.createDataChannel("ours")
        await negotiate(pc, old)
        await until(lambda: channel.readyState == "open")
        answer = await answered(new, await offered(pc))
        with nothing_changes(pc), pytest.raises(ValueError):
            await pc.setRemoteDescription(answer)
        await pc.setLocalDescription(ROLLBACK)
        assert channel.readyState == "open"


@pytest.mark.parametrize("first", [True, False], ids=["offerer", "answerer"])
async def test_bundled_later(network: Network, first: bool) -> None:
    """
    What sections carry goes on when they join a bundle, with another transport: on the
    old ones until that has been answered, however long the answer is on its way.
    """
    async with peers(network, Unbundled) as both:
        add_media(*both)
        channel = both[0].createDataChannel("ours")
        messages = Messages(both[1])
        await negotiate(*both)
        await connected(*both)
        await flowing(*both)
        assert len({*ice_transports(both[0])}) == 3
        offerer, answerer = both if first else both[::-1]
        offer = await offerer.createOffer()
        mids = [x.rtp.muxId for x in sections(offer)]
        group = f"a=group:BUNDLE {' '.join(mids)}"
        await offerer.setLocalDescription(
            edited(offer, "^t=0 0\r\n", f"t=0 0\r\n{group}\r\n")
        )
        await answerer.setRemoteDescription(offerer.localDescription)
        channel.send("offered")
        await until(lambda: messages == ["ours: offered"])
        await flowing(*both)
        await answerer.setLocalDescription()
        await asyncio.sleep(2)
        await offerer.setRemoteDescription(answerer.localDescription)
        await connected(*both)
        await flowing(*both)
        assert [len({*ice_transports(x)}) for x in both] == [1, 1]
        channel.send("answered")
        await until(lambda: messages == ["ours: offered", "ours: answered"])
        await until(lambda: network.sockets("alice") == network.sockets("bob") == 1)


async def test_bundle_rolled_back(network: Network) -> None:
    """
    A bundle that was only offered leaves the transports of the sections as they were.
    """
    async with peers(network, Unbundled) as (offerer, answerer):
        add_media(offerer, answerer)
        channel = offerer.createDataChannel("ours")
        messages = Messages(answerer)
        await negotiate(offerer, answerer)
        await connected(offerer, answerer)
        offer = await offerer.createOffer()
        mids = " ".join(x.rtp.muxId for x in sections(offer))
        bundled = edited(offer, "^t=0 0\r\n", f"t=0 0\r\na=group:BUNDLE {mids}\r\n")
        await offerer.setLocalDescription(bundled)
        await answerer.setRemoteDescription(offerer.localDescription)
        await offerer.setLocalDescription(ROLLBACK)
        await answerer.setRemoteDescription(ROLLBACK)
        await flowing(offerer, answerer)
        channel.send("hello")
        await until(lambda: messages == ["ours: hello"])
        assert network.sockets("alice") == 3


async def test_channels_of_before(network: Network) -> None:
    """
    What was about to be sent on a channel that is being closed, or has been opened by
    the peer that is gone, does not turn up on another one, and both can be closed.
    """
    async with peers(network) as (pc, old), third(network) as new:
        closing = pc.createDataChannel("closing")
        await negotiate(pc, old)
        await until(lambda: closing.readyState == "open")
        theirs = Messages(pc)
        old.createDataChannel("theirs")
        await until(lambda: len(theirs.channels) == 1)
        await until(lambda: theirs.channels[0].readyState == "open")
        network.cut("alice", "bob")
        for number in range(300):
            closing.send(f"{number}" * 1000)
        closing.close()
        later = pc.createDataChannel("later")
        await asyncio.sleep(1)
        messages = Messages(new)
        answer = await answered(new, await offered(pc, iceRestart=True))
        network.heal()
        await pc.setRemoteDescription(answer)
        await connected(pc, new)
        later.send("hello")
        await until(lambda: bool(messages))
        assert messages == ["later: hello"]
        assert messages.labels == ["later"]
        assert closing.readyState == "closed"
        (channel,) = theirs.channels
        assert pc.sctp is not None
        channel.send("to nobody")
        channel.close()
        assert channel.readyState == "closed"
        queue = [x[0] for x in pc.sctp._data_channel_queue]
        assert channel not in queue


async def test_nobody_is_left(network: Network) -> None:
    """
    Where the new peer never connects, and the old one has gone, the connection closes
    after its time.
    """
    async with peers(network) as (pc, old), third(network) as new:
        add_media(pc, old, new)
        channel = pc.createDataChannel("ours")
        await negotiate(pc, old)
        await until(lambda: channel.readyState == "open")
        answer = await answered(new, await offered(pc, iceRestart=True))
        await new.close()
        await pc.setRemoteDescription(answer)
        await old.close()
        await until(lambda: pc.connectionState == "failed", timeout=120)
        await until(lambda: pc.connectionState == "closed", timeout=120)
        assert channel.readyState == "closed"


@pytest.mark.parametrize("what", ["transceiver", "channel"])
async def test_not_negotiated_yet(network: Network, what: str) -> None:
    """
    What waits for its negotiation, and shares the transport of the old peer, is offered
    to the new one. The old peer learns that it has been replaced, and its end does not
    end the call.
    """
    configuration = RTCConfiguration(
        iceServers=[], bundlePolicy=aiortc.RTCBundlePolicy.MAX_BUNDLE
    )
    async with (
        peers(network, configuration=configuration) as (pc, old),
        third(network) as new,
    ):
        pc.addTransceiver("audio")
        await negotiate(pc, old)
        await connected(pc, old)
        if what == "transceiver":
            pc.addTransceiver("audio")
        else:
            pc.createDataChannel("ours")
        new.addTransceiver("audio")
        await negotiate(new, pc)
        await connected(pc, new)
        await until(lambda: old.connectionState == "closed", timeout=60)
        offer = await pc.createOffer()
        assert len(sections(offer)) == 2
        assert len({*credentials(offer)}) == 1
        # Longer than a path that has failed is waited for.
        await asyncio.sleep(200)
        assert pc.connectionState == "connected"


async def test_begun_anew_meanwhile(network: Network) -> None:
    """
    An association which the old peer begins anew, while another transport is on its
    way, leaves that on its way.
    """
    async with peers(network) as (pc, old), third(network) as new:
        messages = Messages(new)
        channel = pc.createDataChannel("ours")
        await negotiate(pc, old)
        await until(lambda: channel.readyState == "open")
        answer = await answered(new, await offered(pc, iceRestart=True))
        await pc.setRemoteDescription(answer)
        for sctp in (pc.sctp, old.sctp):
            assert isinstance(sctp, OurSctpTransport)
            assert sctp._remote_port is not None
        assert isinstance(old.sctp, OurSctpTransport)
        before = pc.sctp.next_transport  # type: ignore[union-attr]
        assert before is not None
        old.sctp._begin_anew(other_peer=False)
        old.sctp.transport._unregister_data_receiver(old.sctp)
        await old.sctp.start(None, 5000)
        await connected(pc, new)
        await until(lambda: pc.sctp is not None and pc.sctp.transport is before)
        channel.send("hello")
        await until(lambda: messages == ["ours: hello"])


async def test_role_and_configuration(network: Network) -> None:
    """
    One side is in control, whoever was in the call before, and the configuration is
    that of the connection.
    """
    async with peers(network) as (old, pc), third(network) as new:
        old.createDataChannel("theirs")
        await negotiate(old, pc)
        await connected(old, pc)
        assert [x.role for x in ice_transports(pc)] == ["controlled"]
        await replace(pc, new, other_offers=False)
        await connected(pc, new)
        roles = {x.role for y in (pc, new) for x in ice_transports(y)}
        assert roles == {"controlled", "controlling"}
        before = credentials(pc.localDescription)
        pc.setConfiguration(
            RTCConfiguration(iceServers=[RTCIceServer("stun:10.0.9.1:3478")])
        )
        assert {*before}.isdisjoint(credentials(await pc.createOffer()))


async def test_aborted_and_rolled_back(network: Network) -> None:
    """
    The end of an SCTP association, while another transport is on offer, is an end if
    that is rolled back.
    """
    async with peers(network) as (pc, old), third(network) as new:
        channel = pc.createDataChannel("ours")
        await negotiate(pc, old)
        await until(lambda: channel.readyState == "open")
        new.createDataChannel("new")
        await pc.setRemoteDescription(await offered(new))
        assert old.sctp is not None
        await old.sctp.stop()
        await asyncio.sleep(1)
        assert channel.readyState == "open"
        await pc.setRemoteDescription(ROLLBACK)
        await until(lambda: channel.readyState == "closed")


@pytest.mark.parametrize("offers", [False, True], ids=["answer", "offer"])
async def test_other_codec(network: Network, offers: bool) -> None:
    """
    Nothing of what the old peer has sent is mixed with what the new one sends, with
    another codec, and the time of the pictures goes on.
    """
    async with peers(network) as (pc, old), third(network) as new:
        for x in (pc, old, new):
            x.addTrack(Pictures())
        (transceiver,) = new.getTransceivers()
        capabilities = RTCRtpSender.getCapabilities("video")
        assert capabilities is not None
        transceiver.setCodecPreferences(
            [x for x in capabilities.codecs if x.name == "H264"][:1]
        )
        await negotiate(pc, old)
        await connected(pc, old)
        receiver = pc.getReceivers()[0]
        times = [(await receiver.track.recv()).pts or 0 for _ in range(5)]
        assert any(x.name == "VP8" for x in codecs(receiver))
        await replace(pc, new, offers)
        await connected(pc, new)
        await until(lambda: {x.name for x in codecs(receiver)} == {"H264"})
        await flowing(pc, new)
        times += [(await receiver.track.recv()).pts or 0 for _ in range(5)]
        assert times == sorted({*times})
        # In units of its clock: no jump of a random timestamp.
        assert times[-1] - times[0] < 3600 * 90000
        # What the new peer reports of our pictures is heard.
        asked: list[int] = []
        pc.getSenders()[0]._send_keyframe = lambda: asked.append(1)  # type: ignore[method-assign]
        their_receiver = new.getReceivers()[0]
        assert isinstance(their_receiver, OurReceiver)
        await their_receiver.request_keyframe()
        await until(lambda: asked == [1])
        assert len(receiver._RTCRtpReceiver__remote_streams) == 1  # type: ignore[attr-defined]


def codecs(receiver: aiortc.RTCRtpReceiver) -> list[aiortc.RTCRtpCodecParameters]:
    """
    Return what a receiver can decode.
    """
    return [*receiver._RTCRtpReceiver__codecs.values()]  # type: ignore[attr-defined]
