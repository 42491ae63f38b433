"""
Calls in which ICE is restarted again and again.
"""

import itertools
from pathlib import Path

import aiortc

from aiortc_restart import RTCConfiguration, RTCIceCandidate, RTCIceTransport

from .call import Call, Snapshot, calling
from .descriptions import assert_numbers_kept
from .local import LocalPeer, parse_candidate
from .media import Clip
from .post import Disorder
from .remote import remote_peer

MISSES = 20
"How many messages, which are 0.1 s of them, may be lost at a restart of Firefox."

ROUNDS = 10


async def assert_restarts(
    connection: type[aiortc.RTCPeerConnection],
    other: str,
    first: str,
    restarters: list[str],
    movie: Path,
    clip: Clip,
    misses: int = 0,
    disorder: Disorder | None = None,
) -> Call:
    """
    Assert that a call survives restarts, and return it when it has ended.

    :param first: Which end offers first.
    :param restarters: Which ends restart, in turns.
    :param misses: How many messages either end may miss.
    :param disorder: In which candidates travel, if our end is to trickle.
    """
    # Where only the other end restarts, ours is a program for the base as it stands.
    only_answers = restarters == ["remote"]
    local = LocalPeer(
        connection,
        movie,
        parse=parse_candidate if only_answers else RTCIceCandidate.fromJSON,
        configuration=RTCConfiguration(iceServers=[], iceTrickle=disorder is not None),
    )
    async with (
        remote_peer(other) as remote,
        calling(local, remote, first, clip, disorder) as call,
    ):
        await call.negotiate_when_needed()
        transport = local.transport.transport
        fingerprints = [call.described(end)[-1].fingerprints for end in restarters]

        for restarter, _ in zip(itertools.cycle(restarters), range(ROUNDS)):
            await restart(call, restarter)
        await call.arrived()
        await call.flowing()
        assert has_switched(call, await call.snapshot())
        call.assert_intact(await call.drain(), misses)

        assert local.transport.transport is transport
        assert fingerprints == [
            call.described(end)[-1].fingerprints for end in restarters
        ]

    offers = [d.sender for d in call.descriptions if d.type == "offer"]
    assert offers == [first, *itertools.islice(itertools.cycle(restarters), ROUNDS)]
    assert_numbers_kept(call.descriptions)
    for end in ("local", "remote"):
        ufrags = {d.ufrag for d in call.described(end)}
        assert len(ufrags) == 1 + ROUNDS
    return call


async def restart(call: Call, restarter: str) -> None:
    """
    Restart ICE and wait until media and data flow over the new pair at both ends.
    """
    count = len(call.descriptions)
    former = {call.described(end)[-1].ufrag for end in ("local", "remote")}
    if restarter == "local":
        call.pc.restartIce()  # type: ignore[attr-defined]
    else:
        await call.remote.call("restartIce")
    await call.negotiated(count + 2)
    # Those which are late find the restart under way, or even the next one.
    call.send_again(former)
    await call.until(lambda now: has_switched(call, now))
    await call.flowing()
    assert has_switched(call, await call.snapshot())


def has_switched(call: Call, now: Snapshot) -> bool:
    """
    Whether both ends have selected a pair of the latest generation.
    """
    transport = call.local.transport.transport
    assert isinstance(transport, RTCIceTransport)
    local_ports, remote_ports = call.ports("local"), call.ports("remote")
    remote_ufrag = call.described("remote")[-1].ufrag
    ours, theirs = transport.getSelectedCandidatePair(), now.remote["pair"]
    return (
        ours is not None
        and ours.local.port in local_ports
        and ours.remote.port in remote_ports
        and theirs is not None
        and theirs["ufrag"] == remote_ufrag
        and theirs["remotePort"] in local_ports
    )
