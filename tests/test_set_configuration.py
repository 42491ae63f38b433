"""
setConfiguration() and getConfiguration() (webrtc-pc #set-the-configuration).
"""

import asyncio
import dataclasses
import re
from collections.abc import Callable
from typing import Any

import aiortc
import pytest

from aiortc_restart import (
    InvalidAccessError,
    InvalidModificationError,
    InvalidStateError,
    RTCBundlePolicy,
    RTCConfiguration,
    RTCIceServer,
    RTCIceTransportPolicy,
    RTCPeerConnection,
)

from .calls import (
    ROLLBACK,
    SETTLING,
    answered,
    ice_transport,
    offered,
    path,
    paths,
    peers,
    restart,
    switched,
    ufrag_of,
)
from .network import Network
from .probes import is_request, stun_server
from .utils import (
    Pair,
    candidates,
    connected_pair,
    credentials,
    negotiate,
    sdp_edit,
    states,
    until,
)

SERVER = "10.0.9.1"
OTHER = "10.0.9.2"


def served(*addresses: str, **options: Any) -> RTCConfiguration:
    """
    Return a configuration with STUN servers.
    """
    servers = [RTCIceServer(f"stun:{x}:3478") for x in addresses]
    return RTCConfiguration(iceServers=servers, **options)


def asked(network: Network, since: float = 0) -> set[str]:
    """
    Return the addresses of the servers which have been asked.
    """
    return {
        x.destination[0]
        for x in network.log
        if x.destination[1] == 3478 and x.time >= since and is_request(x)
    }


# Values


def test_get_configuration() -> None:
    """
    What is returned is equal to what was given, and has nothing in common with it.
    """
    given = RTCConfiguration(
        iceServers=[RTCIceServer(["stun:a", "turn:b"], "user", "secret")],
        bundlePolicy=RTCBundlePolicy.MAX_COMPAT,
        iceRestartTimeout=5,
        iceFailedTimeout=None,
    )
    pc = RTCPeerConnection(given)
    kept = dataclasses.replace(
        given, iceServers=[RTCIceServer(["stun:a", "turn:b"], "user", "secret")]
    )
    for configuration in (given, pc.getConfiguration()):
        assert pc.getConfiguration() == kept
        assert configuration.iceServers is not None
        assert isinstance(configuration.iceServers[0].urls, list)
        configuration.iceServers[0].urls.append("stun:c")
        configuration.iceServers[0].username = "other"
        configuration.iceServers.append(RTCIceServer("stun:d"))
        configuration.iceFailedTimeout = 1
    assert pc.getConfiguration() == kept


def test_get_default() -> None:
    """
    Without a configuration it is the default one.
    """
    assert RTCPeerConnection().getConfiguration() == RTCConfiguration()


def test_base_configuration() -> None:
    """
    aiortc's own configuration is accepted; what it lacks has its default.
    """
    servers = [RTCIceServer("stun:a")]
    base = aiortc.RTCConfiguration(iceServers=servers)
    pc = RTCPeerConnection(base)
    assert pc.getConfiguration() == RTCConfiguration(iceServers=servers)
    pc = RTCPeerConnection(RTCConfiguration(iceServers=[], iceFailedTimeout=5))
    pc.setConfiguration(base)
    assert pc.getConfiguration() == RTCConfiguration(iceServers=servers)


def test_set_copies() -> None:
    """
    What is set is copied.
    """
    pc = RTCPeerConnection()
    given = served(SERVER)
    pc.setConfiguration(given)
    assert given.iceServers is not None
    given.iceServers.clear()
    assert pc.getConfiguration() == served(SERVER)


MALFORMED = ["", "stun", "http:a", "stun:", "turn:a:b", "stun:a:70000", "stun:a:0"]
MALFORMED += ["stun:a?transport=udp", "stuns:a b?c", "turn:a:1:2"]


@pytest.mark.parametrize("url", MALFORMED)
@pytest.mark.parametrize("several", [False, True])
def test_malformed_url(url: str, several: bool) -> None:
    """
    A URL which is none of an ICE server is shown in the error, whenever it is given.
    """
    # webrtc-pc #dfn-validate-an-ice-server-url
    server = RTCIceServer(["stun:a", url] if several else url)
    configuration = RTCConfiguration(iceServers=[RTCIceServer("stun:b"), server])
    with pytest.raises(ValueError, match="is no URL of an ICE server") as caught:
        RTCPeerConnection(configuration)
    assert f'"{url}"' in str(caught.value)
    pc = RTCPeerConnection()
    with pytest.raises(ValueError, match="is no URL of an ICE server"):
        pc.setConfiguration(configuration)
    assert pc.getConfiguration() == RTCConfiguration()


INVALID: list[tuple[type[Exception], str, dict[str, Any]]] = [
    (InvalidModificationError, "bundlePolicy", {"bundlePolicy": "max-bundle"}),
    (
        InvalidModificationError,
        "alwaysNegotiateDataChannels",
        {"alwaysNegotiateDataChannels": True},
    ),
    (ValueError, "iceTransportPolicy", {"iceTransportPolicy": "relay"}),
    (ValueError, "iceRestartTimeout", {"iceRestartTimeout": -1}),
    (ValueError, "iceFailedTimeout", {"iceFailedTimeout": "5"}),
    (ValueError, "iceDisconnectedTimeout", {"iceDisconnectedTimeout": 0.3}),
    (ValueError, "iceConsentInterval", {"iceConsentInterval": 4}),
    (ValueError, "iceConsentTimeout", {"iceConsentTimeout": 5}),
    (ValueError, "RTCIceServer", {"iceServers": ["stun:a"]}),
    (ValueError, "must be a list", {"iceServers": [RTCIceServer(None)]}),  # type: ignore[arg-type]
    (ValueError, "needs a URL", {"iceServers": [RTCIceServer([])]}),
    (ValueError, '"5"', {"iceServers": [RTCIceServer([5])]}),  # type: ignore[list-item]
    (
        ValueError,
        "must be udp or tcp",
        {"iceServers": [RTCIceServer("turn:a?transport=sctp", "a", "b")]},
    ),
]
# webrtc-pc #set-the-configuration
INVALID += [
    (
        InvalidAccessError,
        f'"{url}"',
        {"iceServers": [RTCIceServer(["stun:x", url], *x)]},
    )
    for url in ("turn:a", "turns:a", "turn:a?transport=tcp")
    for x in ((), ("user",), (None, "secret"))
]


@pytest.mark.parametrize(("error", "text", "changes"), INVALID)
def test_invalid(error: type[Exception], text: str, changes: dict[str, Any]) -> None:
    """
    Whatever is wrong is named in the error, and nothing has changed.
    """
    pc = RTCPeerConnection(served(SERVER))
    configuration = served(OTHER, iceRestartTimeout=1)
    # As an application may, whatever the types say.
    vars(configuration).update(changes)
    with pytest.raises(error, match=re.escape(text)):
        pc.setConfiguration(configuration)
    assert pc.getConfiguration() == served(SERVER)


@pytest.mark.parametrize("value", [None, {}, "stun:a"])
def test_no_configuration(value: Any) -> None:
    """
    What is no configuration is refused.
    """
    with pytest.raises(ValueError, match="must be an RTCConfiguration"):
        RTCPeerConnection().setConfiguration(value)


@dataclasses.dataclass
class Extended(RTCConfiguration):
    """
    What an application may add of the W3C's members.
    """

    certificates: list[aiortc.RTCCertificate] | None = None
    rtcpMuxPolicy: str = "require"


def test_extended() -> None:
    """
    Certificates and the RTCP multiplexing policy cannot change either.
    """
    certificate = aiortc.RTCCertificate.generateCertificate()
    for pc in (RTCPeerConnection(), RTCPeerConnection(Extended())):
        pc.setConfiguration(Extended(iceServers=[], certificates=[]))
        with pytest.raises(InvalidModificationError, match="certificates"):
            pc.setConfiguration(Extended(certificates=[certificate]))
        with pytest.raises(InvalidModificationError, match="rtcpMuxPolicy"):
            pc.setConfiguration(Extended(rtcpMuxPolicy="negotiate"))
    pc = RTCPeerConnection(Extended(certificates=[certificate]))
    pc.setConfiguration(Extended(certificates=[certificate]))
    assert getattr(pc.getConfiguration(), "certificates", None) == [certificate]


@pytest.mark.parametrize("rolled_back", [False, True])
async def test_pool_size(network: Network, rolled_back: bool) -> None:
    """
    The size of the pool may be changed before the first local description only.
    """
    # webrtc-pc #set-the-configuration
    async with peers(network) as (pc, other):
        pc.createDataChannel("test")
        for size in (3, 5):
            configuration = pc.getConfiguration()
            configuration.iceCandidatePoolSize = size
            pc.setConfiguration(configuration)
        await offered(pc)
        if rolled_back:
            await pc.setLocalDescription(ROLLBACK)
        pc.setConfiguration(configuration)
        configuration.iceCandidatePoolSize = 4
        with pytest.raises(InvalidModificationError, match="iceCandidatePoolSize"):
            pc.setConfiguration(configuration)
        assert pc.getConfiguration().iceCandidatePoolSize == 5
        # Setting a remote description does not count.
        other.createDataChannel("other")
        if rolled_back:
            await other.setRemoteDescription(await offered(pc))
        configuration = other.getConfiguration()
        configuration.iceCandidatePoolSize = 4
        other.setConfiguration(configuration)


def test_constructor_accepts_what_the_base_accepts() -> None:
    """
    A TURN server without credentials, which aiortc accepts, is no error there.
    """
    servers = [
        RTCIceServer("turn:a"),
        RTCIceServer("turn:a?transport=x"),
        RTCIceServer([]),
    ]
    configuration = RTCConfiguration(iceServers=servers)
    assert RTCPeerConnection(configuration).getConfiguration() == configuration


async def test_closed(network: Network) -> None:
    """
    The configuration of a closed connection cannot change, but be read.
    """
    pc = RTCPeerConnection(served(SERVER))
    await pc.close()
    with pytest.raises(InvalidStateError, match="RTCPeerConnection is closed"):
        pc.setConfiguration(served(OTHER))
    assert pc.getConfiguration() == served(SERVER)


# When servers take effect (RFC 9429 section 4.1.18)


@pytest.mark.parametrize("added", ["before", "after"])
async def test_before_the_first_offer(network: Network, added: str) -> None:
    """
    Nothing has been gathered before the first offer: it is gathered with the new
    servers, under the credentials that there are.
    """
    server = await stun_server(network, 0.1)
    async with peers(network) as (offerer, answerer):
        if added == "before":
            offerer.createDataChannel("test")
        offerer.setConfiguration(served(SERVER))
        if added == "after":
            offerer.createDataChannel("test")
        before = ice_transport(offerer).local_parameters
        offer = await offered(offerer)
        assert [x.type for x in candidates(offer)] == ["host", "srflx"]
        assert ufrag_of(offer) == before.usernameFragment
        await offerer.setRemoteDescription(await answered(answerer, offer))
        await switched(offerer, answerer)
        assert credentials(await offerer.createOffer()) == credentials(offer)
    server.close()


async def test_before_the_first_answer(network: Network) -> None:
    """
    So is an answer, and the peer's candidates which have come before are used.
    """
    server = await stun_server(network, 0.1)
    async with peers(network) as (offerer, answerer):
        offerer.createDataChannel("test")
        await answerer.setRemoteDescription(await offered(offerer))
        answerer.setConfiguration(served(SERVER))
        await answerer.setLocalDescription()
        answer = answerer.localDescription
        assert [x.type for x in candidates(answer)] == ["host", "srflx"]
        # The answer without candidates: the answerer has to check those of the offer.
        (found,) = candidates(offerer.localDescription)
        remotes = ice_transport(answerer).getRemoteCandidates()
        assert [x.port for x in remotes] == [found.port]
        await offerer.setRemoteDescription(answer)
        await switched(offerer, answerer)
        assert credentials(await answerer.createOffer()) == credentials(answer)
    server.close()


async def test_policy_before_the_first_offer(network: Network) -> None:
    """
    With the policy "relay" set, no host candidate is gathered.
    """
    async with peers(network) as (offerer, _):
        offerer.createDataChannel("test")
        offerer.setConfiguration(
            RTCConfiguration(
                iceServers=[], iceTransportPolicy=RTCIceTransportPolicy.RELAY
            )
        )
        assert candidates(await offered(offerer)) == []
        assert network.sockets("alice") == 0


@pytest.mark.parametrize("implicit", [False, True])
async def test_next_offer_restarts(network: Network, implicit: bool) -> None:
    """
    When candidates have been gathered, nothing happens before the next offer, which
    restarts ICE without being asked to; the ones after it do not.
    """
    server = await stun_server(network, 0.1)
    async with connected_pair(network) as pair:
        histories = [states(pair.offerer), states(pair.answerer)]
        before = paths(pair.offerer)
        pair.offerer.setConfiguration(served(SERVER))
        await asyncio.sleep(60)
        assert asked(network) == set()
        assert paths(pair.offerer) == before

        if implicit:
            await pair.offerer.setLocalDescription()
        else:
            await offered(pair.offerer)
        offer = pair.offerer.localDescription
        assert asked(network) == {SERVER}
        assert [x.type for x in candidates(offer)] == ["host", "srflx"]
        answer = await answered(pair.answerer, offer)
        await pair.offerer.setRemoteDescription(answer)
        await switched(pair.offerer, pair.answerer)
        assert set(before[0]).isdisjoint(paths(pair.offerer)[0])
        assert credentials(await pair.offerer.createOffer()) == credentials(offer)
        await pair.exchange()
        # It is the application that decides when to negotiate.
        assert [x.negotiationneeded for x in histories] == [0, 0]
    server.close()


async def test_policy_restarts(network: Network) -> None:
    """
    Another policy restarts ICE as other servers do.
    """
    async with connected_pair(network) as pair:
        said = credentials(pair.offerer.localDescription)
        configuration = pair.offerer.getConfiguration()
        configuration.iceTransportPolicy = RTCIceTransportPolicy.RELAY
        pair.offerer.setConfiguration(configuration)
        assert credentials(await pair.offerer.createOffer()) != said
        await pair.exchange()


def same(pc: RTCPeerConnection) -> None:
    pc.setConfiguration(served(SERVER))


def other_and_back(pc: RTCPeerConnection) -> None:
    pc.setConfiguration(served(OTHER))
    same(pc)


def other_times(pc: RTCPeerConnection) -> None:
    pc.setConfiguration(served(SERVER, iceRestartTimeout=5, iceFailedTimeout=5))


@pytest.mark.parametrize("change", [same, other_and_back, other_times])
async def test_no_change(
    network: Network, change: Callable[[RTCPeerConnection], None]
) -> None:
    """
    What is gathered in the same way is no change, and restarts nothing.
    """
    server = await stun_server(network, 0.1, 0.1)
    async with connected_pair(network, configuration=served(SERVER)) as pair:
        said = credentials(pair.offerer.localDescription)
        change(pair.offerer)
        assert credentials(await pair.offerer.createOffer()) == said
    server.close()


async def test_changed_in_place(network: Network) -> None:
    """
    A change of the object which was given once has no effect until it is set.
    """
    configuration = RTCConfiguration(iceServers=[])
    async with connected_pair(network, configuration=configuration) as pair:
        said = credentials(pair.offerer.localDescription)
        configuration.iceServers = [RTCIceServer(f"stun:{SERVER}")]
        assert credentials(await pair.offerer.createOffer()) == said
        pair.offerer.setConfiguration(configuration)
        assert credentials(await pair.offerer.createOffer()) != said


async def test_first_have_local_offer(network: Network) -> None:
    """
    Also an offer which replaces the first one restarts.
    """
    server = await stun_server(network, 0.1)
    async with peers(network) as (offerer, answerer):
        offerer.createDataChannel("test")
        first = await offered(offerer)
        offerer.setConfiguration(served(SERVER))
        second = await offered(offerer)
        assert ufrag_of(first) != ufrag_of(second)
        assert [x.type for x in candidates(second)] == ["host", "srflx"]
        await offerer.setRemoteDescription(await answered(answerer, second))
        await switched(offerer, answerer)
        assert credentials(await offerer.createOffer()) == credentials(second)
    server.close()


async def test_while_gathering(network: Network) -> None:
    """
    Gathering which has begun goes on as it began, and the next offer restarts.
    """
    servers = [
        await stun_server(network, 2.0),
        await stun_server(network, 0.1, address=OTHER),
    ]
    configuration = RTCConfiguration(iceServers=[])
    async with connected_pair(network, configuration=configuration) as pair:
        pair.offerer.setConfiguration(served(SERVER))
        gathering = asyncio.create_task(offered(pair.offerer))
        await asyncio.sleep(1)
        pair.offerer.setConfiguration(served(OTHER))
        first = await gathering
        assert asked(network) == {SERVER}
        assert [x.type for x in candidates(first)] == ["host", "srflx"]
        answer = await answered(pair.answerer, first)
        await pair.offerer.setRemoteDescription(answer)
        await switched(pair.offerer, pair.answerer)

        since = network.now
        await restart_plainly(pair)
        assert asked(network, since) == {OTHER}
    for server in servers:
        server.close()


async def restart_plainly(pair: Pair) -> None:
    before = paths(pair.offerer)
    await negotiate(pair.offerer, pair.answerer)
    await switched(pair.offerer, pair.answerer)
    assert set(before[0]).isdisjoint(paths(pair.offerer)[0])


async def test_restart_by_the_peer(network: Network) -> None:
    """
    A restart which the peer offers gathers with the new servers, and is the one that
    was needed.
    """
    server = await stun_server(network, 0.1)
    async with connected_pair(network) as pair:
        pair.answerer.setConfiguration(served(SERVER))
        await restart(pair.offerer, pair.answerer)
        assert asked(network) == {SERVER}
        said = credentials(pair.answerer.localDescription)
        assert credentials(await pair.answerer.createOffer()) == said
    server.close()


async def test_restart_offered_before(network: Network) -> None:
    """
    So does one which had been offered, and for which nothing had been gathered.
    """
    server = await stun_server(network, 0.1)
    async with connected_pair(network) as pair:
        offer = await offered(pair.offerer, iceRestart=True)
        await pair.answerer.setRemoteDescription(offer)
        pair.answerer.setConfiguration(served(SERVER))
        await pair.answerer.setLocalDescription()
        assert asked(network) == {SERVER}
        await pair.offerer.setRemoteDescription(pair.answerer.localDescription)
        await switched(pair.offerer, pair.answerer)
    server.close()


async def test_plain_negotiation_is_not_enough(network: Network) -> None:
    """
    A negotiation that does not restart leaves it to the next offer.
    """
    async with connected_pair(network) as pair:
        before = paths(pair.offerer)
        plain = await pair.offerer.createOffer()
        pair.offerer.setConfiguration(served(SERVER))
        # An offer made before, and one which the peer makes.
        await pair.offerer.setLocalDescription(plain)
        answer = await answered(pair.answerer, pair.offerer.localDescription)
        await pair.offerer.setRemoteDescription(answer)
        await negotiate(pair.answerer, pair.offerer)
        await asyncio.sleep(SETTLING)
        assert paths(pair.offerer) == before
        said = credentials(pair.offerer.localDescription)
        assert credentials(await pair.offerer.createOffer()) != said


async def test_restart_that_is_given_up_is_not_enough(network: Network) -> None:
    """
    Nor is an offer that another one replaces before it is answered.
    """
    server = await stun_server(network, 0.1, 0.1)
    async with connected_pair(network) as pair:
        said = credentials(pair.offerer.localDescription)
        plain = await pair.offerer.createOffer()
        pair.offerer.setConfiguration(served(SERVER))
        first = await offered(pair.offerer)
        await pair.offerer.setLocalDescription(plain)
        answer = await answered(pair.answerer, pair.offerer.localDescription)
        await pair.offerer.setRemoteDescription(answer)
        second = await pair.offerer.createOffer()
        assert credentials(second) not in (said, credentials(first))
        await restart_plainly(pair)
    server.close()


async def test_munged_credentials(network: Network) -> None:
    """
    The application's own credentials restart with the new servers, too.
    """
    server = await stun_server(network, 0.1)
    async with connected_pair(network) as pair:
        plain = await pair.offerer.createOffer()
        pair.offerer.setConfiguration(served(SERVER))
        munged = sdp_edit(plain, ufrag="otherufrag", pwd=30 * "p")
        await pair.offerer.setLocalDescription(munged)
        assert asked(network) == {SERVER}
    server.close()


async def test_stopped_transceiver(network: Network) -> None:
    """
    A transport of nothing but a stopped transceiver does not restart the others again
    and again.
    """
    server = await stun_server(network, *6 * [0.1])
    async with connected_pair(network) as pair:
        spare = pair.offerer.addTransceiver("audio")
        # All transports gather, though no description has them yet.
        await spare.stop()
        await negotiate(pair.offerer, pair.answerer)
        pair.offerer.setConfiguration(served(SERVER))
        before = path(ice_transport(pair.offerer))
        await negotiate(pair.offerer, pair.answerer)
        await until(lambda: set(path(ice_transport(pair.offerer))).isdisjoint(before))
        said = credentials(pair.offerer.localDescription)
        assert credentials(await pair.offerer.createOffer()) == said
    server.close()


# Times


async def test_restart_timeout(network: Network) -> None:
    """
    A restart that begins afterwards has the new time.
    """
    async with connected_pair(network) as pair:
        pair.offerer.setConfiguration(
            RTCConfiguration(iceServers=[], iceRestartTimeout=5)
        )
        known = {
            x.local for name in ("alice", "bob") for x in network._hosts[name].sockets
        }
        network.filter = lambda datagram: datagram.source in known
        history = states(pair.offerer)
        began = network.now
        await negotiate(pair.offerer, pair.answerer, iceRestart=True)
        await until(lambda: history.ice[-2:] == ["connected", "completed"])
        assert network.now - began == pytest.approx(5, abs=0.2)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [(60.0, 10.0, 10.0), (10.0, 60.0, 60.0), (None, 10.0, 10.0), (10.0, None, None)],
)
@pytest.mark.parametrize("moment", ["connected", "failed"])
async def test_failed_timeout(
    network: Network,
    before: float | None,
    after: float | None,
    expected: float | None,
    moment: str,
) -> None:
    """
    A connection whose path is lost, or has been, closes itself after the new time.
    """
    configuration = RTCConfiguration(iceServers=[], iceFailedTimeout=before)
    async with connected_pair(network, configuration=configuration) as pair:
        history = states(pair.offerer)
        configuration.iceFailedTimeout = after
        if moment == "connected":
            pair.offerer.setConfiguration(configuration)
        network.cut()
        await until(lambda: history.connection[-1] == "failed", timeout=45)
        failed = network.now
        if moment == "failed":
            await asyncio.sleep(5)
            pair.offerer.setConfiguration(configuration)
        if expected is None:
            await asyncio.sleep(600)
            assert pair.offerer.connectionState == "failed"
        else:
            await until(lambda: history.connection[-1] == "closed", timeout=100)
            assert network.now - failed == pytest.approx(expected, abs=0.1)
