"""
Whether negotiation is needed, by what the descriptions say (webrtc-pc
#dfn-check-if-negotiation-is-needed).
"""

import dataclasses

import pytest

from aiortc_restart.negotiation.needed import (
    Described,
    Medium,
    intersect,
    is_needed,
    reverse,
)

DIRECTIONS = ["sendrecv", "sendonly", "recvonly", "inactive"]

# What each side does with the media of the other: whether it sends, and receives.
DOES = {
    "sendrecv": (True, True),
    "sendonly": (True, False),
    "recvonly": (False, True),
    "inactive": (False, False),
}


def needed(
    *media: Medium,
    local: Described | None = None,
    remote: Described | None = None,
    replace_credentials: bool = False,
    data_channels: bool = False,
) -> bool:
    return is_needed(
        replace_credentials=replace_credentials,
        data_channels=data_channels,
        media=media,
        local=local,
        remote=remote,
    )


def said(type: str, data: bool = False, **directions: str) -> Described:
    """
    Return a description of m-sections, whose mids begin with a letter here.
    """
    return Described(type=type, directions=directions, data=data)


def test_nothing() -> None:
    """
    Who has nothing needs nothing, before a negotiation and after.
    """
    assert not needed()
    assert not needed(local=said("offer"), remote=said("answer"))
    assert not needed(local=said("offer", a="inactive"), remote=said("answer"))


@pytest.mark.parametrize("type", ["offer", "answer"])
def test_replace_credentials(type: str) -> None:
    """
    Credentials which are to be replaced are enough, whatever else is agreed.
    """
    assert needed(replace_credentials=True)
    assert needed(
        Medium("a", "sendrecv"),
        local=said(type, a="sendrecv"),
        remote=said("answer" if type == "offer" else "offer", a="sendrecv"),
        replace_credentials=True,
    )


def test_data_channels() -> None:
    """
    A data channel needs an m-section for data in the current local description.
    """
    assert needed(data_channels=True)
    assert needed(data_channels=True, local=said("offer", a="sendrecv"))
    assert needed(data_channels=True, local=said("answer", a="sendrecv"))
    # The peer's alone is not enough.
    assert needed(data_channels=True, local=said("offer"), remote=said("answer", True))
    assert not needed(data_channels=True, local=said("offer", data=True))
    assert not needed(data_channels=True, local=said("answer", data=True))
    # Nor is anything needed to be rid of one.
    assert not needed(data_channels=False, local=said("offer", data=True))


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_unassociated(direction: str) -> None:
    """
    A transceiver without an m-section needs one, unless it is stopped.
    """
    local, remote = said("offer", a="sendrecv"), said("answer", a="sendrecv")
    assert needed(Medium(None, direction))
    assert needed(Medium(None, direction), local=local, remote=remote)
    # Its mid comes from an offer which has not been answered.
    assert needed(Medium("b", direction))
    assert needed(Medium("b", direction), local=local, remote=remote)
    assert not needed(Medium(None, direction, stopped=True))
    assert not needed(Medium("b", direction, stopped=True), local=local, remote=remote)


@pytest.mark.parametrize("type", ["offer", "answer"])
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_stopped(type: str, direction: str) -> None:
    """
    A stopped transceiver needs a negotiation until its m-section is rejected, by either
    side, even if it was inactive.
    """
    other = "answer" if type == "offer" else "offer"
    stopped = Medium("a", direction, stopped=True)
    for agreed in DIRECTIONS:
        local, remote = said(type, a=agreed), said(other, a=reverse(agreed))
        assert needed(stopped, local=local)
        assert needed(stopped, local=local, remote=remote)
        # What is rejected elsewhere does not count.
        elsewhere = dataclasses.replace(local, rejected={"b"})
        assert needed(stopped, local=elsewhere, remote=remote)
        rejected = [dataclasses.replace(x, rejected={"a"}) for x in (local, remote)]
        assert not needed(stopped, local=rejected[0], remote=remote)
        assert not needed(stopped, local=local, remote=rejected[1])


@pytest.mark.parametrize("wanted", DIRECTIONS)
@pytest.mark.parametrize("offered", DIRECTIONS)
@pytest.mark.parametrize("answered", DIRECTIONS)
def test_offered(wanted: str, offered: str, answered: str) -> None:
    """
    An offerer's direction is either what it has offered or what the peer has answered.
    """
    agreed = wanted in (offered, reverse(answered))
    assert agreed != needed(
        Medium("a", wanted),
        local=said("offer", a=offered),
        remote=said("answer", a=answered),
    )


@pytest.mark.parametrize("wanted", DIRECTIONS)
@pytest.mark.parametrize("offered", DIRECTIONS)
@pytest.mark.parametrize("answered", DIRECTIONS)
def test_answered(wanted: str, offered: str, answered: str) -> None:
    """
    An answerer has answered its direction, as far as the offer went along.
    """
    we, peer = DOES[wanted], DOES[offered]
    agreed = DOES[answered] == (we[0] and peer[1], we[1] and peer[0])
    assert agreed != needed(
        Medium("a", wanted),
        local=said("answer", a=answered),
        remote=said("offer", a=offered),
    )


def test_any_of_several() -> None:
    """
    One transceiver whose direction has changed is enough.
    """
    local = said("offer", a="sendrecv", b="sendrecv", c="recvonly")
    remote = said("answer", a="sendrecv", b="recvonly", c="sendonly")
    media = [Medium("a", "sendrecv"), Medium("b", "sendonly"), Medium("c", "recvonly")]
    assert not needed(*media, local=local, remote=remote)
    for i in range(3):
        changed = [*media]
        changed[i] = Medium(media[i].mid, "inactive")
        assert needed(*changed, local=local, remote=remote)


def test_peer_says_nothing() -> None:
    """
    A section which the remote description lacks is one that the peer does not use.
    """
    local = said("offer", a="sendonly")
    assert not needed(Medium("a", "sendonly"), local=local)
    assert needed(Medium("a", "recvonly"), local=local)
    local = said("answer", a="inactive")
    assert not needed(Medium("a", "sendonly"), local=local)
    assert needed(Medium("a", "sendonly"), local=said("answer", a="sendonly"))


@pytest.mark.parametrize("a", DIRECTIONS)
@pytest.mark.parametrize("b", DIRECTIONS)
def test_intersect(a: str, b: str) -> None:
    """
    Both are needed for a direction, in whichever order.
    """
    sends, receives = (x and y for x, y in zip(DOES[a], DOES[b], strict=True))
    assert DOES[intersect(a, b)] == (sends, receives)
    assert intersect(a, b) == intersect(b, a)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_reverse(direction: str) -> None:
    """
    What one side sends the other receives.
    """
    assert DOES[reverse(direction)] == DOES[direction][::-1]
