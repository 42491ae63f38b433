"""
Whether the pair in use is alive: what is called silence, and what ends it.
"""

import asyncio
import errno
import itertools
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from aiortc_restart import (
    RTCConfiguration,
    RTCIceServer,
    RTCIceTransport,
    RTCIceTransportPolicy,
    RTCPeerConnection,
)
from aiortc_restart.ice import liveness
from aiortc_restart.rtcconfiguration import MIN_DISCONNECTED_TIMEOUT

from .agents import (
    active,
    chatter,
    connected_transports,
    restart,
    rtp_like,
    socket_address,
    states_of,
)
from .calls import ice_transport
from .calls import restart as restart_call
from .consents import LIFETIME
from .network import Datagram, Network, Transport
from .probes import checks, is_request, is_response
from .turn import turn_server
from .utils import connected_pair, negotiate, states, until

TURN = "turn:10.0.8.1:3478"

TIMEOUT = 5.0
"The default of `iceDisconnectedTimeout`, in seconds."


@contextmanager
def failing(transport: RTCIceTransport, code: int) -> Iterator[None]:
    """
    Have the system refuse what a transport's socket is to send.
    """
    (protocol,) = active(transport).connection._protocols
    socket = protocol.transport
    assert isinstance(socket, Transport)
    socket._error = lambda *_: code  # type: ignore[method-assign]
    yield
    del socket._error


def recoveries(network: Network, transport: RTCIceTransport) -> list[float]:
    times: list[float] = []
    transport.on("recovered", lambda: times.append(network.now))
    return times


# Silence


@pytest.mark.parametrize("seconds", [1.0, 2.5, 5.0, 12.0])
@pytest.mark.parametrize("busy", [True, False])
async def test_disconnected(network: Network, seconds: float, busy: bool) -> None:
    """
    A path on which nothing comes is disconnected after the time set, and at most a
    second later.
    """
    async with connected_transports(network, disconnectedTimeout=seconds) as (
        alice,
        bob,
    ):
        await asyncio.sleep(30.3)
        histories = [states_of(alice), states_of(bob)]
        ours = socket_address(active(alice))
        async with chatter(network, bob, alice) if busy else chatter(network, bob, bob):
            network.cut()
            await until(lambda: alice.state == "disconnected", timeout=20)
        last = max(
            x.time
            for x in network.log
            if x.destination == ours and x.fate == "delivered"
        )
        assert seconds <= network.now - last < seconds + 1
        await asyncio.sleep(3)
        assert histories == [["completed", "disconnected"]] * 2


async def test_never_disconnected(network: Network) -> None:
    """
    Without a timeout the path is lost when consent expires, and not before.
    """
    configuration = RTCConfiguration(iceServers=[], iceDisconnectedTimeout=None)
    async with connected_pair(network, configuration=configuration) as pair:
        history = states(pair.offerer)
        network.cut()
        await until(lambda: history.ice[-1] == "failed", timeout=40)
        assert history.ice == ["completed", "failed"]


@pytest.mark.parametrize("round_trip", [0, 0.3, 1.0, 2.0])
async def test_silent_call(network: Network, round_trip: float) -> None:
    """
    A call in which nobody says anything is never disconnected, on slow paths neither.
    """
    async with connected_pair(network) as pair:
        histories = [states(pair.offerer), states(pair.answerer)]
        recovered = [
            recoveries(network, ice_transport(x)) for x in (pair.offerer, pair.answerer)
        ]
        network.delay(round_trip / 2)
        await asyncio.sleep(20)
        for times in recovered:
            times.clear()
        await asyncio.sleep(1800)
        assert [x.ice for x in histories] == [["completed"]] * 2
        assert recovered == [[], []]


@pytest.mark.parametrize("round_trip", [0, 0.05, 0.2])
async def test_shortest_timeout(network: Network, round_trip: float) -> None:
    """
    With the shortest timeout a silent call is not disconnected either, and a dead one
    is.
    """
    configuration = RTCConfiguration(
        iceServers=[], iceDisconnectedTimeout=MIN_DISCONNECTED_TIMEOUT
    )
    async with connected_pair(network, configuration=configuration) as pair:
        network.delay(round_trip / 2)
        await asyncio.sleep(5)
        histories = [states(pair.offerer), states(pair.answerer)]
        await asyncio.sleep(600)
        assert [x.ice for x in histories] == [["completed"]] * 2
        network.cut()
        await until(lambda: histories[0].ice[-1] == "disconnected", timeout=1)


async def test_few_probes_where_all_is_well(network: Network) -> None:
    """
    A silent pair is probed only when silence is about to be too long, a busy one never.
    """
    async with connected_transports(network) as (alice, bob):
        network.log.clear()
        await asyncio.sleep(600)
        # Two consent requests in five seconds, and few besides.
        assert sum(map(is_request, network.log)) < 600 / 5 * 2 * 1.5
        async with chatter(network, bob, alice), chatter(network, alice, bob):
            network.log.clear()
            await asyncio.sleep(60)
            assert sum(map(is_request, network.log)) <= 2 * 60 / 4 + 2


@pytest.mark.parametrize(("lost", "outages"), [(1, 0), (3, 0), (6, 1)])
async def test_few_losses_are_no_outage(
    network: Network, lost: int, outages: int
) -> None:
    """
    While data comes, it takes several requests in a row without a response to have an
    outage.
    """

    def passes(datagram: Datagram) -> bool:
        if datagram.source != ours or not is_request(datagram):
            return True
        sent.append(datagram)
        return len(sent) > lost

    async with connected_transports(network) as (alice, bob):
        recovered = recoveries(network, alice)
        ours = socket_address(active(alice))
        async with chatter(network, bob, alice), chatter(network, alice, bob):
            await asyncio.sleep(1)
            sent: list[Datagram] = []
            network.filter = passes
            await asyncio.sleep(30)
        assert len(sent) > lost
        assert len(recovered) == outages


async def test_losses_are_no_outage(network: Network) -> None:
    """
    A path which loses one datagram in five is never disconnected, and hardly ever taken
    for one that has come back.
    """
    async with connected_transports(network) as (alice, bob):
        histories = [states_of(alice), states_of(bob)]
        recovered = recoveries(network, alice), recoveries(network, bob)
        network.loss(0.2)
        async with chatter(network, bob, alice), chatter(network, alice, bob):
            await asyncio.sleep(600)
        assert histories == [["completed"]] * 2
        # Of more than 200 requests some 80 are lost. Enough in a row are about 1 time
        # in 10 minutes, and 15 times once in a thousand million runs.
        assert sum(map(len, recovered)) < 15


async def test_wrapped_socket(network: Network) -> None:
    """
    Who stands between a socket and the call stays there, and may cut it.
    """

    def receive(data: bytes, addr: tuple[str, int]) -> None:
        if not cut:
            type(protocol).datagram_received(protocol, data, addr)

    cut = False
    async with connected_transports(network) as (alice, bob):
        (protocol,) = active(alice).connection._protocols
        protocol.datagram_received = receive  # type: ignore[method-assign, assignment]
        history = states_of(alice)
        async with chatter(network, bob, alice):
            await asyncio.sleep(3)
            cut = True
            await until(lambda: alice.state == "disconnected", timeout=7)
            cut = False
            await until(lambda: alice.state == "completed", timeout=1)
        assert history == ["completed", "disconnected", "completed"]


# What ends it


@pytest.mark.parametrize("seconds", [3.0, 8.0, 20.0])
async def test_blip(network: Network, seconds: float) -> None:
    """
    A path which heals by itself is what it was, without any action, within a second.
    """
    async with connected_pair(network) as pair:
        network.delay(0.01)
        await asyncio.sleep(10.3)
        await pair.exchange()
        peers = (pair.offerer, pair.answerer)
        histories = [states(x) for x in peers]
        network.cut()
        await asyncio.sleep(seconds)
        network.heal()
        await asyncio.sleep(0.6)
        shown = ["completed", "disconnected", "completed"] if seconds > 6 else None
        for history in histories:
            assert history.ice == (shown or ["completed"])
            assert history.connection == (
                ["connected", "disconnected", "connected"] if shown else ["connected"]
            )
        await pair.exchange()
        await asyncio.sleep(60)
        assert histories[0].ice[-1] == histories[1].ice[-1] == "completed"
        assert [x.negotiationneeded for x in histories] == [0, 0]


async def test_flapping(network: Network) -> None:
    """
    A path which comes and goes ends as it should each time, and loses nothing.
    """
    async with connected_pair(network) as pair:
        received: list[object] = []
        pair.remote_channel.on("message", received.append)
        histories = [states(pair.offerer), states(pair.answerer)]
        sent = 0
        for up, down in itertools.product((0.6, 3.0, 9.0), (0.3, 4.0, 7.0, 22.0)):
            network.cut()
            for _ in range(10):
                pair.channel.send(str(sent))
                sent += 1
                await asyncio.sleep(down / 10)
            network.heal()
            await asyncio.sleep(up)
        await until(lambda: len(received) == sent)
        assert received == [str(x) for x in range(sent)]
        for history in histories:
            assert set(history.ice) == {"completed", "disconnected"}
            assert history.ice[-1] == "completed"


@pytest.mark.parametrize("kind", ["data", "request", "response"])
async def test_any_sign_of_life(network: Network, kind: str) -> None:
    """
    Data, a check, and a response to a probe: each gives the state back at once.
    """

    def passes(datagram: Datagram) -> bool:
        if datagram.destination != ours:
            return True
        return kind == (
            "response"
            if is_response(datagram)
            else "request"
            if is_request(datagram)
            else "data"
        )

    async with connected_transports(network) as (alice, bob):
        history = states_of(alice)
        ours = socket_address(active(alice))
        network.cut()
        await until(lambda: alice.state == "disconnected", timeout=7)
        network.heal()
        network.filter = passes
        if kind == "data":
            await bob._send(rtp_like("data"))
            healed = network.now
            await until(lambda: alice.state == "completed", timeout=0.01)
        else:
            await until(lambda: alice.state == "completed", timeout=7)
            healed = min(
                x.time
                for x in network.log
                if x.destination == ours and x.fate == "delivered" and x.time > 5
            )
        assert network.now - healed < 0.05
        assert history == ["completed", "disconnected", "completed"]


@pytest.mark.parametrize("kind", ["other path", "unsigned"])
async def test_no_sign_of_life(network: Network, kind: str) -> None:
    """
    A check which is not the peer's, or comes on another path, is no sign of life.
    """
    network.add_host("mallory", "10.0.6.6")
    async with connected_transports(network) as (alice, bob):
        ours, theirs = socket_address(active(alice)), socket_address(active(bob))
        network.cut("alice", "bob")
        template = next(
            x for x in network.log if is_request(x) and x.destination == ours
        )
        data, message = template.data, template.message
        if kind == "unsigned" and message is not None:
            del message.attributes["MESSAGE-INTEGRITY"]
            del message.attributes["FINGERPRINT"]
            data = bytes(message)
        source = theirs if kind == "unsigned" else ("10.0.6.6", 5000)
        network.heal()
        forging = False
        network.filter = lambda x: ours not in (x.source, x.destination) or forging
        history = states_of(alice)
        for _ in range(60):
            forging = True
            network.send(source, ours, data)
            forging = False
            await asyncio.sleep(0.1)
        assert history == ["completed", "disconnected"]


@pytest.mark.parametrize("place", ["other host", "other port", "other socket"])
@pytest.mark.parametrize("when", ["always", "once"])
@pytest.mark.parametrize(
    "data",
    [b"\x80" + b"\x6f" * 40, b"\x17\xfe\xfd" + bytes(40), b"\xff", b"garbage"],
    ids=["RTP", "DTLS", "short", "long"],
)
async def test_data_of_strangers(
    network: Network, place: str, when: str, data: bytes
) -> None:
    """
    Data which comes from elsewhere than the peer, or to another socket than that of the
    pair, is no sign of life, neither in time nor when the path is silent already.
    """
    network.add_host("mallory", "10.0.6.6")
    network.readdress("alice", "10.0.1.1", "10.0.3.1")
    async with connected_transports(network) as (alice, _):
        pair = active(alice).connection.selected_pair
        assert pair is not None
        source, destination = pair.remote_addr, pair.local_addr
        if place == "other socket":
            (destination,) = (
                (x.host, x.port)
                for x in active(alice).connection.local_candidates
                if (x.host, x.port) != pair.local_addr
            )
        elif place == "other port":
            source = source[0], source[1] + 1
        else:
            source = "10.0.6.6", source[1]
        history = states_of(alice)
        forged: list[Datagram] = []
        forging = False
        network.filter = lambda _: forging

        async def forge() -> None:
            nonlocal forging
            forging = True
            network.send(source, destination, data)
            forging = False
            forged.append(network.log[-1])
            await asyncio.sleep(0.001)
            assert alice.drops.counts.total() == len(forged)

        if when == "once":
            await until(lambda: alice.state == "disconnected", timeout=7)
            await forge()
            await asyncio.sleep(10)
        else:
            for _ in range(150):
                await forge()
                await asyncio.sleep(0.1)
        assert {x.fate for x in forged} == {"delivered"}
        assert history == ["completed", "disconnected"]


async def test_data_through_a_relay(network: Network) -> None:
    """
    What the peer sends to our relayed address is a sign of life of a relayed pair.
    """
    server = await turn_server(network, 0.0)
    configuration = RTCConfiguration(
        iceServers=[RTCIceServer(urls=TURN, username="u", credential="p")],
        iceTransportPolicy=RTCIceTransportPolicy.RELAY,
    )
    pc = network.at("alice", RTCPeerConnection)(configuration)
    peer = network.at("bob", RTCPeerConnection)(RTCConfiguration(iceServers=[]))
    channel = pc.createDataChannel("test")
    await negotiate(pc, peer)
    await until(lambda: channel.readyState == "open")
    transport, history = ice_transport(pc), states(pc)
    pair = active(transport).connection.selected_pair
    assert pair is not None
    assert pair.local_candidate.type == "relay"
    assert pair.remote_candidate.host == "10.0.2.1"
    relay, theirs = pair.local_addr, pair.remote_addr
    # Data of the peer comes in and nothing else does.
    network.filter = lambda x: (
        x.destination != relay or not (is_request(x) or is_response(x))
    )
    since = network.now
    while network.now < since + 15:
        network.send(theirs, relay, rtp_like("data"))
        await asyncio.sleep(0.1)
    assert history.ice == ["completed"]
    await until(lambda: history.ice[-1] == "disconnected", timeout=7)
    network.send(theirs, relay, rtp_like("data"))
    await until(lambda: history.ice[-1] == "completed", timeout=0.01)
    network.filter = None
    await asyncio.gather(pc.close(), peer.close())
    server.close()


async def test_one_way(network: Network) -> None:
    """
    If only the way there is lost, the peer is told by the silence; consent expires for
    who goes on to hear it.
    """
    async with connected_transports(network) as (alice, bob):
        histories = [states_of(alice), states_of(bob)]
        theirs = socket_address(active(bob))
        async with chatter(network, bob, alice), chatter(network, alice, bob):
            network.filter = lambda x: x.destination != theirs
            await asyncio.sleep(10)
            assert histories == [["completed"], ["completed", "disconnected"]]
            await until(lambda: alice.state == bob.state == "failed", timeout=30)
        assert histories[0] == ["completed", "failed"]
        assert histories[1] == ["completed", "disconnected", "failed"]


@pytest.mark.parametrize("lost", ["there", "back"])
async def test_recovered_one_way(network: Network, lost: str) -> None:
    """
    An outage of one way is noticed, and its end too, by who asks in vain.
    """
    async with connected_transports(network) as (alice, bob):
        network.delay(0.01)
        await asyncio.sleep(11)
        recovered = recoveries(network, alice)
        gone = socket_address(active(bob if lost == "there" else alice))
        async with chatter(network, bob, alice), chatter(network, alice, bob):
            network.filter = lambda x: x.destination != gone
            await asyncio.sleep(9)
            assert recovered == []
            network.filter = None
            healed = network.now
            await asyncio.sleep(5)
        assert [x - healed < 0.6 for x in recovered] == [True]


async def test_recovered_when_both_ways_work(network: Network) -> None:
    """
    The first packet heard asks whether the other way works, too.
    """
    async with connected_transports(network) as (alice, bob):
        network.delay(0.1)
        await asyncio.sleep(11)
        recovered = recoveries(network, alice)
        async with chatter(network, bob, alice):
            network.cut()
            await asyncio.sleep(8)
            network.heal()
            healed = network.now
            await asyncio.sleep(5)
        # The first packet takes 100 ms, and the question 200; or a probe was earlier.
        assert [0.19 < x - healed < 0.35 for x in recovered] == [True]


async def test_probes_renew_consent(network: Network) -> None:
    """
    A path which heals shortly before consent expires does not fail then.
    """
    # RFC 7675 section 5.1: any valid response
    async with connected_transports(network) as (alice, bob):
        histories = [states_of(alice), states_of(bob)]
        await asyncio.sleep(20)
        network.cut()
        await asyncio.sleep(LIFETIME - 6.5)
        network.heal()
        await asyncio.sleep(120)
        assert histories == [["completed", "disconnected", "completed"]] * 2


async def test_probes_are_paced(network: Network) -> None:
    """
    A path in doubt is probed each half second, with new transactions, until it fails.
    """
    # RFC 8445 section 14.3
    async with connected_transports(network) as (alice, bob):
        await asyncio.sleep(7)
        async with chatter(network, bob, alice):
            network.cut()
            began = network.now
            await until(lambda: alice.state == "failed", timeout=40)
        probes = checks(network, active(alice), since=began)
        assert 40 < len(probes) < 70
        messages = [x.message for x in probes]
        assert len({x.transaction_id for x in messages if x}) == len(probes)
        assert not any("USE-CANDIDATE" in x.attributes for x in messages if x)
        await asyncio.sleep(10)
        assert checks(network, active(alice), since=began) == probes


async def test_loop_held_up(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    While the program does not let the event loop run, the peer is not silent.
    """
    async with connected_transports(network) as (alice, bob):
        await asyncio.sleep(20)
        histories = [states_of(alice), states_of(bob)]
        loop = asyncio.get_running_loop()
        for seconds in (3, 7, 20):
            loop.advance(seconds)  # type: ignore[attr-defined]
            await asyncio.sleep(2)
        assert histories == [["completed"]] * 2


# The interface


@pytest.mark.parametrize(
    "code",
    [
        *(errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.ENODEV, errno.EHOSTUNREACH),
        *(errno.ENETDOWN, errno.EINVAL),
    ],
)
async def test_interface_vanishes(network: Network, code: int) -> None:
    """
    An interface which is gone is a disconnection with the next packet; when it is back,
    so is the state.
    """
    async with connected_transports(network) as (alice, bob):
        history = states_of(alice)
        with failing(alice, code):
            await alice._send(rtp_like("data"))
            assert history == ["completed", "disconnected"]
            # What comes in does not change that nothing goes out.
            async with chatter(network, bob, alice):
                await asyncio.sleep(3)
            assert history == ["completed", "disconnected"]
        await until(lambda: alice.state == "completed", timeout=1)
        assert history == ["completed", "disconnected", "completed"]
        await asyncio.sleep(60)
        assert alice.state == bob.state == "completed"


@pytest.mark.parametrize(
    "code", [errno.EMSGSIZE, errno.ENOBUFS, errno.EPERM, errno.ECONNREFUSED]
)
async def test_other_errors(network: Network, code: int) -> None:
    """
    Other errors of sendto() say nothing about the path.
    """
    async with connected_transports(network) as (alice, _):
        history = states_of(alice)
        with failing(alice, code):
            await alice._send(rtp_like("data"))
            await asyncio.sleep(2)
        assert history == ["completed"]


async def test_error_of_another_pair(network: Network) -> None:
    """
    An error which was another address's does not harm the pair in use.
    """
    async with connected_transports(network) as (alice, _):
        history = states_of(alice)
        (protocol,) = active(alice).connection._protocols
        protocol.error_received(OSError(errno.ENETUNREACH, "unreachable"))
        assert history == ["completed"]
        await asyncio.sleep(60)
        assert history == ["completed"]


@pytest.mark.parametrize("busy", [True, False])
async def test_sendto_raises(network: Network, busy: bool) -> None:
    """
    A socket which raises is no more than a path which is gone, whatever was being sent.
    """
    async with connected_transports(network) as (alice, bob):
        histories = [states_of(alice), states_of(bob)]
        (protocol,) = active(alice).connection._protocols
        socket = protocol.transport

        def refuse(data: object, addr: object = None) -> None:
            raise OSError(errno.ENETUNREACH, "unreachable")

        socket.sendto = refuse  # type: ignore[method-assign]
        if busy:
            await alice._send(rtp_like("data"))
            assert alice.state == "disconnected"
        await asyncio.sleep(12)
        assert histories == [["completed", "disconnected"]] * 2
        del socket.sendto
        await until(lambda: alice.state == bob.state == "completed", timeout=1)


# Restarts


@pytest.mark.parametrize("by", ["offerer", "answerer"])
async def test_restart_while_disconnected(network: Network, by: str) -> None:
    """
    A restart of a disconnected call goes through checking to completed.
    """
    # webrtc-pc #dom-rtcicetransportstate
    async with connected_pair(network) as pair:
        peers = [pair.offerer, pair.answerer]
        histories = [states(x) for x in peers]
        network.readdress("bob", "10.0.4.1")
        network.cut("10.0.1.1", "10.0.2.1")
        await asyncio.sleep(7)
        await restart_call(*(peers if by == "offerer" else peers[::-1]))
        await pair.exchange()
        await asyncio.sleep(60)
        for history in histories:
            assert history.ice == [
                *("completed", "disconnected", "checking", "completed")
            ]
            assert history.connection == [
                *("connected", "disconnected", "connecting", "connected")
            ]


async def test_old_pair_is_not_watched(network: Network) -> None:
    """
    After the switch the old pair may die as it likes, and nobody probes it.
    """
    async with connected_transports(network) as (alice, bob):
        old = active(alice)
        history = states_of(alice)
        await restart(alice, bob)
        since = network.now
        await asyncio.sleep(30)
        assert history == ["completed", "connected", "completed"]
        assert len(checks(network, old, since=since)) <= 1
        assert old.connection.listener is None


def test_interval_is_conformant() -> None:
    """
    Probes are as far apart as the repetitions of a check may be.
    """
    # RFC 8445 section 14.3
    assert liveness.SAMPLE_INTERVAL >= 0.5
    assert liveness.SAMPLE_INTERVAL <= MIN_DISCONNECTED_TIMEOUT
