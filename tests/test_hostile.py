"""
What a peer, or a handler of the application's own, cannot break.
"""

import asyncio
import dataclasses

import pytest

from aiortc_restart import InvalidStateError, RTCIceCandidate, RTCSessionDescription

from .calls import answered, edited, ice_transport, offered, peers, restart
from .network import Network
from .utils import candidates, connected_pair, until

CANDIDATE = RTCIceCandidate(
    component=1,
    foundation="0",
    ip="10.0.2.1",
    port=5000,
    priority=1,
    protocol="udp",
    type="host",
    sdpMid="0",
)


@pytest.mark.parametrize(
    "event",
    ["iceconnectionstatechange", "negotiationneeded", "signalingstatechange"],
)
async def test_handler_raises(network: Network, event: str) -> None:
    """
    What a handler raises goes to the loop's exception handler, and the call goes on.
    """
    loop = asyncio.get_running_loop()
    reported: list[object] = []
    async with connected_pair(network) as pair:
        handler = loop.get_exception_handler()
        loop.set_exception_handler(
            lambda _, context: reported.append(context.get("exception"))
        )
        error = RuntimeError("a fault of the application's")

        def on_event() -> None:
            raise error

        pair.offerer.on(event, on_event)
        pair.offerer.restartIce()
        await asyncio.sleep(0.1)
        await restart(pair.offerer, pair.answerer)
        await pair.exchange()
        pair.offerer.remove_listener(event, on_event)
        loop.set_exception_handler(handler)
        assert error in reported


async def test_close_cancelled(network: Network) -> None:
    """
    A connection whose close() was cancelled is closed all the same.
    """
    async with connected_pair(network) as pair:
        for turns in range(4):
            closing = asyncio.create_task(pair.offerer.close())
            for _ in range(turns):
                await asyncio.sleep(0)
            closing.cancel()
        await pair.offerer.close()
        assert pair.offerer.signalingState == "closed"


async def test_closed_for_good(network: Network) -> None:
    """
    A step which is under way when the connection is closed does not open it again.
    """
    for turns in range(12):
        async with connected_pair(network) as pair:
            offer = await offered(pair.offerer, iceRestart=True)
            step = asyncio.create_task(answered(pair.answerer, offer))
            for _ in range(turns):
                await asyncio.sleep(0)
            await pair.answerer.close()
            await asyncio.gather(step, return_exceptions=True)
            assert pair.answerer.signalingState == "closed"
            with pytest.raises(InvalidStateError):
                await pair.answerer.createOffer()


@pytest.mark.parametrize("port", [-1, 0, 65536, 70000])
async def test_port_out_of_range(network: Network, port: int) -> None:
    """
    A candidate with a port that does not exist is passed over.
    """
    async with connected_pair(network) as pair:
        await pair.offerer.addIceCandidate(dataclasses.replace(CANDIDATE, port=port))
        remote = ice_transport(pair.offerer).getRemoteCandidates()
        assert port not in [x.port for x in remote]
        await restart(pair.offerer, pair.answerer)
        await pair.exchange()


async def test_flood_of_candidates(network: Network) -> None:
    """
    Neither the transport nor the remote description takes more than a hundred.
    """
    async with connected_pair(network) as pair:
        for port in range(5000, 5500):
            await pair.offerer.addIceCandidate(
                dataclasses.replace(CANDIDATE, port=port)
            )
        assert len(ice_transport(pair.offerer).getRemoteCandidates()) <= 100
        assert pair.offerer.remoteDescription.sdp.count("a=candidate:") <= 100


@pytest.mark.parametrize("known", [True, False])
async def test_flood_of_pairs(network: Network, known: bool) -> None:
    """
    Limiting the Size of the Checklist Set: not more than a hundred pairs are checked,
    those of the highest priority, and that on which the peer checks.
    """
    # RFC 8445 section 6.1.2.5
    network.readdress("bob", *(f"10.0.2.{i}" for i in range(1, 11)))
    async with peers(network) as (offerer, answerer):
        channel = offerer.createDataChannel("test")
        offer = await offered(offerer)
        network.cut("alice")
        await answerer.setRemoteDescription(
            edited(offer, "a=(candidate|end-of-candidates)[^\n]*\n", "")
        )
        # Either below or above what the peer's own can have.
        lowest = 0 if known else 2**31 - 100
        for i in range(99):
            await answerer.addIceCandidate(
                dataclasses.replace(
                    CANDIDATE, ip="10.0.9.9", port=5000 + i, priority=lowest + i
                )
            )
        if known:
            await answerer.addIceCandidate(candidates(offer)[0])
        await answerer.setLocalDescription()
        await asyncio.sleep(0.1)
        connection = ice_transport(answerer).generations[-1].connection
        assert len(connection._check_list) == 100
        if known:
            kept = {x.remote_addr[1] for x in connection._check_list}
            assert kept == {candidates(offer)[0].port, *range(5090, 5099)}
        network.heal()
        await offerer.setRemoteDescription(answerer.localDescription)
        await until(lambda: channel.readyState == "open")
        assert connection.selected_pair in connection._check_list


@pytest.mark.parametrize("how", ["described", "trickled"])
async def test_other_component(network: Network, how: str) -> None:
    """
    A candidate of the component which RTCP would have is passed over, and a check from
    its address connects the call.
    """
    async with peers(network) as (offerer, answerer):
        channel = offerer.createDataChannel("test")
        offer = await offered(offerer)
        other = edited(offer, r"(a=candidate:\S+) 1 ", r"\1 2 ")
        if how == "described":
            await answerer.setRemoteDescription(other)
        else:
            await answerer.setRemoteDescription(
                edited(offer, "a=(candidate|end-of-candidates)[^\n]*\n", "")
            )
            for candidate in candidates(other):
                await answerer.addIceCandidate(candidate)
            assert "a=candidate" not in answerer.remoteDescription.sdp
        assert ice_transport(answerer).getRemoteCandidates() == []
        await answerer.setLocalDescription()
        await offerer.setRemoteDescription(answerer.localDescription)
        await until(lambda: channel.readyState == "open", timeout=5)
        assert answerer.iceConnectionState == "completed"


async def test_name_which_takes_long(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Nothing waits for the resolution of a candidate's name.
    """
    async with connected_pair(network) as pair:
        transport = ice_transport(pair.offerer)
        add_remote_candidate = transport.addRemoteCandidate
        resolved = asyncio.Event()

        async def resolve(candidate: RTCIceCandidate | None) -> None:
            if candidate is not None and candidate.port == CANDIDATE.port:
                await resolved.wait()
            await add_remote_candidate(candidate)

        monkeypatch.setattr(transport, "addRemoteCandidate", resolve)
        adding = asyncio.create_task(pair.offerer.addIceCandidate(CANDIDATE))
        await restart(pair.offerer, pair.answerer)
        assert not adding.done()
        resolved.set()
        await adding


async def test_offer_without_fingerprint(network: Network) -> None:
    """
    An offer without a DTLS fingerprint is refused.
    """
    async with connected_pair(network) as pair:
        offer = await offered(pair.offerer)
        lines = offer.sdp.splitlines(keepends=True)
        sdp = "".join(x for x in lines if not x.startswith("a=fingerprint"))
        with pytest.raises(ValueError, match="fingerprint"):
            await pair.answerer.setRemoteDescription(
                RTCSessionDescription(sdp=sdp, type="offer")
            )
        await pair.exchange()


async def test_unknown_bundle_tag(network: Network) -> None:
    """
    A BUNDLE-tag that names no section does not end the call.
    """
    async with connected_pair(network) as pair:
        offer = await offered(pair.offerer, iceRestart=True)
        sdp = offer.sdp.replace("a=group:BUNDLE ", "a=group:BUNDLE nope ")
        assert sdp != offer.sdp
        answer = await answered(
            pair.answerer, RTCSessionDescription(sdp=sdp, type="offer")
        )
        await pair.offerer.setRemoteDescription(answer)
        await until(lambda: pair.offerer.iceConnectionState == "completed")
        await pair.exchange()
