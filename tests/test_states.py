"""
The states of a connection: how they follow from its transports', and their events.
"""

import asyncio

import pytest

from aiortc_restart import RTCConfiguration, RTCPeerConnection
from aiortc_restart.session.states import connection_state, ice_connection_state

from .calls import (
    ROLLBACK,
    Unbundled,
    edited,
    ice_transport,
    ice_transports,
    offered,
    peers,
    restart,
)
from .network import Network
from .utils import connected_pair, negotiate, states, until

# The rules (webrtc-pc #dom-rtciceconnectionstate, #dom-rtcpeerconnectionstate)


@pytest.mark.parametrize(
    ("transports", "expected"),
    [
        ("", "new"),
        ("new", "new"),
        ("new closed", "new"),
        ("checking", "checking"),
        ("new checking", "checking"),
        ("new completed", "new"),
        ("checking connected completed", "checking"),
        ("completed", "completed"),
        ("completed closed", "completed"),
        ("connected", "connected"),
        ("connected completed closed", "connected"),
        ("disconnected", "disconnected"),
        ("disconnected new checking connected completed", "disconnected"),
        ("failed", "failed"),
        ("failed disconnected new checking connected completed closed", "failed"),
    ],
)
def test_ice_connection_state(transports: str, expected: str) -> None:
    """
    The state of ICE is that of the worst transport.
    """
    assert ice_connection_state(set(transports.split())) == expected


@pytest.mark.parametrize(
    ("ice", "dtls", "expected"),
    [
        ("", "", "new"),
        ("new", "new", "new"),
        ("new closed", "new closed", "new"),
        ("checking", "new", "connecting"),
        ("completed", "new", "connecting"),
        ("completed", "connecting", "connecting"),
        ("completed checking", "connected", "connecting"),
        ("completed new", "connected", "connecting"),
        ("completed", "connected", "connected"),
        ("connected completed closed", "connected closed", "connected"),
        ("completed", "closed", "connected"),
        ("disconnected", "connected", "disconnected"),
        ("disconnected checking", "connecting connected", "disconnected"),
        ("failed", "connected", "failed"),
        ("failed disconnected", "connected", "failed"),
        ("completed", "failed", "failed"),
        ("disconnected", "failed", "failed"),
    ],
)
def test_connection_state(ice: str, dtls: str, expected: str) -> None:
    """
    The state of the connection is that of the worst ICE or DTLS transport.
    """
    assert connection_state(set(ice.split()), set(dtls.split())) == expected


# Several transports


async def test_worst_transport(network: Network) -> None:
    """
    Of two transports of which one is silent, lost or restarted, that one counts.
    """
    configuration = RTCConfiguration(iceServers=[], iceFailedTimeout=None)
    async with connected_pair(
        network,
        offerer=Unbundled,
        configuration=configuration,
        prepare=lambda offerer, _: offerer.addTransceiver("audio"),
    ) as pair:
        history = states(pair.offerer)
        audio, data = ice_transports(pair.offerer)
        selected = audio.getSelectedCandidatePair()
        assert selected is not None
        port = selected.local.port
        network.filter = lambda x: port not in (x.source[1], x.destination[1])
        await until(lambda: audio.state == "disconnected", timeout=7)
        assert (data.state, history.ice[-1]) == ("completed", "disconnected")
        await until(lambda: audio.state == "failed", timeout=40)
        assert (data.state, history.ice[-1]) == ("completed", "failed")
        await pair.exchange()
        network.filter = None
        await restart(pair.offerer, pair.answerer)
        assert history.ice[:4] == ["completed", "disconnected", "failed", "checking"]
        assert history.ice[-1] == "completed"
        assert history.connection == [
            *("connected", "disconnected", "failed", "connecting", "connected")
        ]


@pytest.mark.parametrize("kind", ["audio", "video"])
async def test_added_section(network: Network, kind: str) -> None:
    """
    A section which is not bundled yet has a transport that counts, as in aiortc, whose
    own suite wants to see it so. It is `new`, and never `checking`.
    """
    async with connected_pair(network) as pair:
        histories = [states(pair.offerer), states(pair.answerer)]
        pair.offerer.addTransceiver(kind)
        assert {x.state for x in ice_transports(pair.offerer)} == {"new", "completed"}
        await pair.offerer.setLocalDescription()
        await asyncio.sleep(1)
        await pair.answerer.setRemoteDescription(pair.offerer.localDescription)
        await pair.answerer.setLocalDescription()
        await pair.offerer.setRemoteDescription(pair.answerer.localDescription)
        await asyncio.sleep(1)
        assert {x.state for x in ice_transports(pair.offerer)} == {"completed"}
        for history in histories:
            assert history.ice == ["completed", "new", "completed"]
            assert history.connection == ["connected", "connecting", "connected"]


async def test_added_section_which_fails(network: Network) -> None:
    """
    The transport of a section which could not be added is never shown, not even by the
    next description.
    """
    async with connected_pair(network) as pair:
        history = states(pair.answerer)
        pair.offerer.addTransceiver("audio")
        offer = await offered(pair.offerer)
        with pytest.raises(ValueError, match="RTCP mux"):
            await pair.answerer.setRemoteDescription(
                edited(offer, "^a=rtcp-mux\r\n", "")
            )
        await pair.offerer.setLocalDescription(ROLLBACK)
        await negotiate(pair.answerer, pair.offerer)
        assert history.ice == ["completed"]
        assert history.connection == ["connected"]


async def test_added_section_which_is_not_bundled(network: Network) -> None:
    """
    A section with a transport of its own takes part to the end.
    """

    async with connected_pair(network, offerer=Unbundled) as pair:
        histories = [states(pair.offerer), states(pair.answerer)]
        pair.offerer.addTransceiver("audio")
        await negotiate(pair.offerer, pair.answerer)
        await until(lambda: all(x.connection[-1] == "connected" for x in histories))
        await until(lambda: all(x.ice[-1] == "completed" for x in histories))
        for history in histories:
            assert history.ice == ["completed", "new", "checking", "completed"]
            assert history.connection == ["connected", "connecting", "connected"]


async def test_call_which_never_came_up(network: Network) -> None:
    """
    A call whose first connection fails is not disconnected before.
    """
    offerer = network.at("alice", RTCPeerConnection)(RTCConfiguration(iceServers=[]))
    answerer = network.at("bob", RTCPeerConnection)(RTCConfiguration(iceServers=[]))
    history = states(offerer)
    offerer.createDataChannel("test")
    network.cut()
    await negotiate(offerer, answerer)
    await until(lambda: history.ice[-1] == "failed", timeout=70)
    assert history.ice == ["new", "checking", "failed"]
    assert history.connection == ["new", "connecting", "failed"]
    await asyncio.gather(offerer.close(), answerer.close())


# Events


def record(pc: RTCPeerConnection) -> list[tuple[str, str, str, str]]:
    """
    Record the events of a connection and its transport, with what handlers see then.
    """
    events: list[tuple[str, str, str, str]] = []
    transport = ice_transport(pc)

    def listen(name: str) -> None:
        events.append(
            (name, transport.state, pc.iceConnectionState, pc.connectionState)
        )

    for emitter, name in (
        (transport, "selectedcandidatepairchange"),
        (transport, "statechange"),
        (pc, "iceconnectionstatechange"),
        (pc, "connectionstatechange"),
    ):
        emitter.on(name, lambda name=name: listen(name))
    return events


async def test_order_of_events(network: Network) -> None:
    """
    The transport's events come first, then that of ICE, then that of the connection,
    and all states have changed when the first of them comes.
    """
    # webrtc-pc #dom-rtcicetransport-onstatechange
    configuration = RTCConfiguration(iceServers=[], iceFailedTimeout=None)
    async with connected_pair(network, configuration=configuration) as pair:
        events = record(pair.offerer)
        network.cut()
        await until(lambda: pair.offerer.connectionState == "failed", timeout=40)
        network.heal()
        await restart(pair.offerer, pair.answerer)
        names = [*("statechange", "iceconnectionstatechange", "connectionstatechange")]
        expected = [
            (name, *shown)
            for shown in (
                ("disconnected", "disconnected", "disconnected"),
                ("failed", "failed", "failed"),
                ("checking", "checking", "connecting"),
                ("completed", "completed", "connected"),
            )
            for name in names
        ]
        switch = "selectedcandidatepairchange", "completed", "completed", "connected"
        assert events == [*expected[:9], switch, *expected[9:]]


async def test_order_of_events_of_a_first_connection(network: Network) -> None:
    """
    So it is when the first pair is selected, in both peers.
    """
    # webrtc-pc #dom-rtcicetransport-onstatechange
    async with peers(network) as (offerer, answerer):
        offerer.createDataChannel("test")
        await offerer.setLocalDescription(await offerer.createOffer())
        await answerer.setRemoteDescription(offerer.localDescription)
        events = [record(offerer), record(answerer)]
        await answerer.setLocalDescription(await answerer.createAnswer())
        await offerer.setRemoteDescription(answerer.localDescription)
        await until(
            lambda: offerer.connectionState == answerer.connectionState == "connected"
        )
        for seen in events:
            index = next(i for i, x in enumerate(seen) if x[0].startswith("selected"))
            assert seen[index:] == [
                (name, "completed", "completed", "connecting")
                for name in (
                    *("selectedcandidatepairchange", "statechange"),
                    "iceconnectionstatechange",
                )
            ] + [("connectionstatechange", "completed", "completed", "connected")]


async def test_events_of_a_switch_in_one_task(network: Network) -> None:
    """
    When the selected pair changes, so does the state, without a turn of the loop
    between them.
    """
    async with connected_pair(network) as pair:
        loop = asyncio.get_running_loop()
        seen: list[str] = []
        transport = ice_transport(pair.offerer)

        def selected() -> None:
            seen.append("selectedcandidatepairchange")
            loop.call_soon(seen.append, "next turn")

        transport.on("selectedcandidatepairchange", selected)
        transport.on("statechange", lambda: seen.append(transport.state))
        await restart(pair.offerer, pair.answerer)
        assert seen == [
            *("connected", "selectedcandidatepairchange", "completed", "next turn")
        ]
