"""
Bad descriptions and calls get a clear error. After each the call runs on over its old
pair, and a restart by either side still works: `unharmed()` sees to that.
"""

from collections.abc import Awaitable, Callable

import aiortc
import pytest
from aiortc import RTCSessionDescription
from aiortc.exceptions import InvalidStateError

from aiortc_restart import RTCPeerConnection

from .calls import (
    Unbundled,
    answered,
    edited,
    ice_transport,
    ice_transports,
    offered,
    paths,
    restart,
    switched,
    ufrag_of,
    unharmed,
)
from .network import Network
from .utils import (
    connected_pair,
    credentials,
    negotiate,
    sdp_edit,
    states,
)

OTHER = {"ufrag": "otherufrag", "pwd": "otherpasswordotherpassword"}

WITHOUT_MUX = ("^a=rtcp-mux\r\n", "")


def add_media(offerer: RTCPeerConnection, answerer: RTCPeerConnection) -> None:
    offerer.addTransceiver("audio")
    answerer.addTransceiver("audio")


def with_credentials(
    description: RTCSessionDescription, source: RTCSessionDescription
) -> RTCSessionDescription:
    """
    Return a copy of a description with the credentials of another.
    """
    (ufrag, pwd), *_ = credentials(source)
    return sdp_edit(description, ufrag=ufrag, pwd=pwd)


async def test_answer_unchanged(network: Network) -> None:
    """
    An answer with the old credentials is no answer to a restart.
    """
    # RFC 9429 section 5.10
    async with (
        connected_pair(network, prepare=add_media) as pair,
        unharmed(network, pair),
    ):
        old = pair.answerer.localDescription
        history = states(pair.offerer)
        said = pair.offerer.remoteDescription
        offer = await offered(pair.offerer, iceRestart=True)
        answer = with_credentials(await answered(pair.answerer, offer), old)
        with pytest.raises(ValueError, match="The answer does not restart ICE"):
            await pair.offerer.setRemoteDescription(answer)
        # Nothing has changed: another answer, or another offer, may come.
        assert history.signaling == ["stable", "have-local-offer"]
        assert pair.offerer.localDescription == offer
        assert pair.offerer.remoteDescription == said


async def test_answer_unchanged_then_right(network: Network) -> None:
    """
    After an answer which was refused the right one is taken.
    """
    async with connected_pair(network) as pair:
        old = pair.answerer.localDescription
        offer = await offered(pair.offerer, iceRestart=True)
        answer = await answered(pair.answerer, offer)
        with pytest.raises(ValueError, match="does not restart ICE"):
            await pair.offerer.setRemoteDescription(with_credentials(answer, old))
        await pair.offerer.setRemoteDescription(answer)
        await switched(pair.offerer, pair.answerer)
        assert paths(pair.offerer) == [(ufrag_of(offer), ufrag_of(answer))]


async def test_answer_of_stock_peer(network: Network) -> None:
    """
    A peer which cannot restart ICE is told by the error, and the call with it goes on.
    """
    # aiortc as it is keeps its credentials whatever the offer says.
    async with connected_pair(network, answerer=aiortc.RTCPeerConnection) as pair:
        before = paths(pair.offerer)
        plain = await pair.offerer.createOffer()
        with pytest.raises(ValueError, match="The call goes on without a restart"):
            await negotiate(pair.offerer, pair.answerer, iceRestart=True)
        await pair.exchange()
        # A plain offer brings both sides back into step.
        await pair.offerer.setLocalDescription(plain)
        answer = await answered(pair.answerer, pair.offerer.localDescription)
        await pair.offerer.setRemoteDescription(answer)
        assert pair.offerer.signalingState == "stable"
        assert paths(pair.offerer) == before
        await pair.exchange()


@pytest.mark.parametrize("names", [["ufrag"], ["pwd"], ["ufrag", "pwd"]], ids="+".join)
async def test_answer_changed(network: Network, names: list[str]) -> None:
    """
    An answer with other credentials cannot restart what the offer did not.
    """
    # RFC 9429 section 5.10
    async with (
        connected_pair(network, prepare=add_media) as pair,
        unharmed(network, pair),
    ):
        history = states(pair.offerer)
        answer = sdp_edit(
            await answered(pair.answerer, await offered(pair.offerer)),
            **{x: OTHER[x] for x in names},
        )
        with pytest.raises(ValueError, match="restarts ICE, though the offer did not"):
            await pair.offerer.setRemoteDescription(answer)
        assert history.signaling == ["stable", "have-local-offer"]


async def test_own_answer_changed(network: Network) -> None:
    """
    Neither may our own answer restart what the offer did not.
    """
    async with (
        connected_pair(network, prepare=add_media) as pair,
        unharmed(network, pair),
    ):
        history = states(pair.answerer)
        await pair.answerer.setRemoteDescription(await offered(pair.offerer))
        answer = await pair.answerer.createAnswer()
        with pytest.raises(ValueError, match="Cannot change the ICE credentials"):
            await pair.answerer.setLocalDescription(sdp_edit(answer, **OTHER))
        assert history.signaling == ["stable", "have-remote-offer"]
        assert history.gathering == ["complete"]


@pytest.mark.parametrize("mids", [["0"], ["1"]], ids=["audio", "data"])
async def test_answer_partly_unchanged(network: Network, mids: list[str]) -> None:
    """
    An answer has to restart each section which the offer restarts.
    """
    async with (
        connected_pair(network, offerer=Unbundled, prepare=add_media) as pair,
        unharmed(network, pair),
    ):
        (ufrag, pwd), *_ = credentials(pair.answerer.localDescription)
        offer = await offered(pair.offerer, iceRestart=True)
        answer = sdp_edit(
            await answered(pair.answerer, offer), ufrag=ufrag, pwd=pwd, mids=mids
        )
        with pytest.raises(ValueError, match=f'"{mids[0]}" are the old ones'):
            await pair.offerer.setRemoteDescription(answer)
        assert [len(x.generations) for x in ice_transports(pair.offerer)] == [2, 2]


async def test_answer_partly_changed(network: Network) -> None:
    """
    An answer must not restart a section which the offer does not.
    """
    async with (
        connected_pair(network, offerer=Unbundled, prepare=add_media) as pair,
        unharmed(network, pair),
    ):
        plain = await pair.offerer.createOffer()
        await pair.offerer.setLocalDescription(sdp_edit(plain, **OTHER, mids=["0"]))
        answer = await answered(pair.answerer, pair.offerer.localDescription)
        with pytest.raises(ValueError, match='section "1" is another'):
            await pair.offerer.setRemoteDescription(
                sdp_edit(answer, **OTHER, mids=["1"])
            )
        assert [len(x.generations) for x in ice_transports(pair.offerer)] == [2, 1]


# RFC 8839 section 5.4
OUTSIDE_OF_THE_GRAMMAR = [
    {"ufrag": "abc"},
    {"ufrag": 257 * "a"},
    {"ufrag": "abc!defg"},
    {"ufrag": "abcd efgh"},
    {"ufrag": "abcdéfgh"},
    {"pwd": 21 * "a"},
    {"pwd": 257 * "a"},
    {"pwd": 22 * "a" + "!"},
    {"pwd": 22 * "a" + "²"},
]
OURS_ONLY = [{"ufrag": "abc-defg"}, {"pwd": 22 * "a" + "="}]
"What browsers take all the same."

Apply = Callable[[RTCSessionDescription], Awaitable[None]]

FIELDS = {"ufrag": "username fragment", "pwd": "password"}


@pytest.mark.parametrize("kind", ["local", "remote"])
@pytest.mark.parametrize("type", ["offer", "answer"])
async def test_grammar(network: Network, kind: str, type: str) -> None:
    """
    A description with credentials outside of the grammar is refused and not applied.
    """
    async with connected_pair(network) as pair, unharmed(network, pair):
        description = await pair.offerer.createOffer(iceRestart=True)
        pc: RTCPeerConnection = pair.offerer
        apply: Apply = pair.offerer.setLocalDescription
        if (kind, type) != ("local", "offer"):
            await pair.offerer.setLocalDescription(description)
            description = pair.offerer.localDescription
            pc, apply = pair.answerer, pair.answerer.setRemoteDescription
        if type == "answer":
            await pair.answerer.setRemoteDescription(description)
            description = await pair.answerer.createAnswer()
            apply = pair.answerer.setLocalDescription
        if (kind, type) == ("remote", "answer"):
            pc, apply = pair.offerer, pair.offerer.setRemoteDescription
        history = states(pc)
        generations = ice_transport(pc).generations
        refused = OUTSIDE_OF_THE_GRAMMAR + (OURS_ONLY if kind == "local" else [])
        for values in refused:
            for name in values:
                with pytest.raises(
                    ValueError, match=f'ICE {FIELDS[name]} of media section "0" must'
                ):
                    await apply(sdp_edit(description, **values))
        assert len(history.signaling) == 1
        assert ice_transport(pc).generations == generations


async def test_grammar_limits(network: Network) -> None:
    """
    The shortest and the longest credentials which the grammar allows are allowed.
    """
    async with connected_pair(network) as pair:
        for ufrag, pwd in (("ab+/", 22 * "a"), (256 * "b", 256 * "c")):
            offer = await pair.offerer.createOffer()
            await pair.offerer.setLocalDescription(
                sdp_edit(offer, ufrag=ufrag, pwd=pwd)
            )
            answer = await answered(pair.answerer, pair.offerer.localDescription)
            await pair.offerer.setRemoteDescription(answer)
            await switched(pair.offerer, pair.answerer)
            await pair.exchange()


@pytest.mark.parametrize("name", ["ice-ufrag", "ice-pwd"])
async def test_missing(network: Network, name: str) -> None:
    """
    A description without credentials is refused.
    """
    async with connected_pair(network) as pair, unharmed(network, pair):
        offer = await offered(pair.offerer, iceRestart=True)
        with pytest.raises(
            ValueError, match="username fragment or password is missing"
        ):
            await pair.answerer.setRemoteDescription(
                edited(offer, rf"^a={name}:[^\n]*\n", "")
            )
        assert pair.answerer.signalingState == "stable"


@pytest.mark.parametrize("told", [False, True], ids=["unsent", "sent"])
@pytest.mark.parametrize("role", ["offerer", "answerer"])
async def test_offers_without_answer(network: Network, told: bool, role: str) -> None:
    """
    A hundred restart offers without an answer hold what one holds.
    """
    async with connected_pair(network) as pair, unharmed(network, pair):
        pc = getattr(pair, role)
        other = pair.answerer if role == "offerer" else pair.offerer
        for _ in range(100):
            offer = await offered(pc, iceRestart=True)
            if told:
                await other.setRemoteDescription(offer)
            assert len(ice_transport(pc).generations) == 2
            assert len(ice_transport(other).generations) == (2 if told else 1)
            assert network.sockets("alice") + network.sockets("bob") <= 4
        await pair.exchange()


async def test_offers_received(network: Network) -> None:
    """
    A hundred restart offers of the peer, before the answer, gather and send nothing.
    """
    async with connected_pair(network) as pair, unharmed(network, pair):
        plain = await pair.offerer.createOffer()
        sent = len(network.log)
        for number in range(100):
            await pair.answerer.setRemoteDescription(
                sdp_edit(plain, ufrag=f"ufrag{number}", pwd=f"{number}{30 * 'p'}")
            )
            assert len(ice_transport(pair.answerer).generations) == 2
        assert network.sockets("bob") == 1
        assert len(network.log) == sent


async def test_offer_half_applied(network: Network) -> None:
    """
    A restart offer which cannot be applied begins no restart.
    """
    async with (
        connected_pair(network, prepare=add_media) as pair,
        unharmed(network, pair),
    ):
        old = credentials(pair.answerer.localDescription)
        offer = await offered(pair.offerer, iceRestart=True)
        with pytest.raises(ValueError, match="RTCP mux"):
            await pair.answerer.setRemoteDescription(edited(offer, *WITHOUT_MUX))
        assert pair.answerer.signalingState == "stable"
        assert not ice_transport(pair.answerer).restarting
        assert credentials(await pair.answerer.createOffer()) == old


@pytest.mark.parametrize("restarts", [True, False], ids=["restart", "plain"])
async def test_offer_half_applied_while_pending(
    network: Network, restarts: bool
) -> None:
    """
    An offer which cannot be applied leaves the restart offered before it as it was.
    """
    async with connected_pair(network, prepare=add_media) as pair:
        plain = await pair.offerer.createOffer()
        first = await offered(pair.offerer, iceRestart=True)
        await pair.answerer.setRemoteDescription(first)
        second = edited(plain, *WITHOUT_MUX)
        with pytest.raises(ValueError, match="RTCP mux"):
            await pair.answerer.setRemoteDescription(
                sdp_edit(second, **OTHER) if restarts else second
            )
        assert pair.answerer.signalingState == "have-remote-offer"
        await pair.answerer.setLocalDescription()
        await pair.offerer.setRemoteDescription(pair.answerer.localDescription)
        await switched(pair.offerer, pair.answerer)
        assert paths(pair.offerer)[0][0] == ufrag_of(first)
        await pair.exchange()
        await restart(pair.answerer, pair.offerer)


async def test_offer_in_wrong_state(network: Network) -> None:
    """
    An offer which the signaling state forbids restarts nothing.
    """
    async with connected_pair(network) as pair:
        offer = await pair.answerer.createOffer(iceRestart=True)
        await pair.answerer.setRemoteDescription(await offered(pair.offerer))
        generations = ice_transport(pair.answerer).generations
        with pytest.raises(InvalidStateError, match="Cannot handle offer in signaling"):
            await pair.answerer.setLocalDescription(offer)
        assert ice_transport(pair.answerer).generations == generations
        assert pair.answerer.pendingLocalDescription is None
        await pair.exchange()


async def test_answer_in_wrong_state(network: Network) -> None:
    """
    An answer which nobody has asked for restarts nothing.
    """
    async with connected_pair(network) as pair, unharmed(network, pair):
        answer = sdp_edit(pair.answerer.localDescription, **OTHER)
        with pytest.raises(InvalidStateError):
            await pair.offerer.setRemoteDescription(answer)
        assert len(ice_transport(pair.offerer).generations) == 1
