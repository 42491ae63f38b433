"""
What a peer connection holds, to the last detail, and what it says of its changes.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import aiortc

from aiortc_restart import RTCIceTransport, RTCPeerConnection
from aiortc_restart._aiortc import dtls_of, used_by

from .calls import ice_transports, slot

EVENTS = (
    "connectionstatechange",
    "datachannel",
    "icegatheringstatechange",
    "iceconnectionstatechange",
    "negotiationneeded",
    "signalingstatechange",
    "track",
)

SLOTS = (
    "currentLocalDescription",
    "currentRemoteDescription",
    "pendingLocalDescription",
    "pendingRemoteDescription",
)

# Which slots are filled in each state, whatever had been negotiated before.
PENDING: dict[str, tuple[str | None, str | None]] = {
    "stable": (None, None),
    "have-local-offer": ("offer", None),
    "have-remote-offer": (None, "offer"),
    "have-local-pranswer": ("pranswer", "offer"),
    "have-remote-pranswer": ("offer", "pranswer"),
}


def events_of(pc: RTCPeerConnection) -> list[str]:
    """
    Record the names of the events which are fired from now on.
    """
    events: list[str] = []

    def listener(name: str) -> Callable[..., None]:
        return lambda *_: events.append(name)

    for name in EVENTS:
        pc.on(name, listener(name))
    return events


def slots(pc: RTCPeerConnection) -> list[str | None]:
    """
    Return the types of the four descriptions: current and pending, local and remote.
    """
    descriptions = [getattr(pc, name) for name in SLOTS]
    return [x.type if x is not None else None for x in descriptions]


def check_slots(pc: RTCPeerConnection) -> None:
    """
    Assert that the descriptions are those which the signaling state says there are.
    """
    if pc.signalingState == "closed":
        return
    pending = pc.pendingLocalDescription, pc.pendingRemoteDescription
    current = pc.currentLocalDescription, pc.currentRemoteDescription
    types = tuple(x.type if x is not None else None for x in pending)
    assert types == PENDING[pc.signalingState], pc.signalingState
    assert sorted(x.type for x in current if x) in ([], ["answer", "offer"])
    assert pc.localDescription == (pending[0] or current[0])
    assert pc.remoteDescription == (pending[1] or current[1])


def watch_slots(*pcs: RTCPeerConnection) -> None:
    """
    Have :func:`check_slots` called in the handlers of all events.
    """

    def listener(pc: RTCPeerConnection) -> Callable[..., None]:
        return lambda *_: check_slots(pc)

    for pc in pcs:
        for name in EVENTS:
            pc.on(name, listener(pc))


def snapshot(pc: RTCPeerConnection) -> dict[str, Any]:
    """
    Return all that a description may change. Objects are told apart by their identity.
    """
    internals: dict[str, Any] = {
        name: slot(pc, name)
        for name in ("remoteDtls", "remoteIce", "seenMids", "sctpRemotePort")
    }
    return {
        "signaling": pc.signalingState,
        "ice": pc.iceConnectionState,
        "connection": pc.connectionState,
        "gathering": pc.iceGatheringState,
        "slots": [getattr(pc, name) for name in SLOTS],
        "transceivers": [_transceiver(x) for x in pc.getTransceivers()],
        "sctp": _sctp(pc),
        "transports": [_transport(x) for x in _ordered(pc)],
        "codecs": dict(pc._session.agreement.numbers._codecs),
        "extensions": dict(pc._session.agreement.numbers._extensions),
        "credentials to replace": set(pc._session.credentials_to_replace),
        "remote DTLS": {id(k): repr(v) for k, v in internals["remoteDtls"].items()},
        "remote ICE": {id(k): repr(v) for k, v in internals["remoteIce"].items()},
        "mids": set(internals["seenMids"]),
        "SCTP port": internals["sctpRemotePort"],
        "last stable state": id(pc._session.stable)
        if pc._session.stable is not None
        else None,
        "made": {id(x) for x in pc._transports.made},
    }


@contextmanager
def nothing_changes(pc: RTCPeerConnection) -> Iterator[None]:
    """
    Assert that what happens within changes nothing and fires nothing.
    """
    before = snapshot(pc)
    events = events_of(pc)
    yield
    # What differs is shown by itself.
    for key, value in snapshot(pc).items():
        assert value == before[key], key
    assert not events, events


def size(pc: RTCPeerConnection) -> tuple[int, ...]:
    """
    Return how much of each kind a connection holds, none of which may grow.
    """
    return (
        len(pc._transports.made),
        len(pc._transports.origins),
        len(pc._session.own),
        len(pc.getTransceivers()),
        len(pc._session.agreement.numbers._codecs),
        len(pc._session.agreement.numbers._extensions),
        len({x.transport for x in pc._slots.dtls_transports}),
        len(pc._tasks),
        len(snapshot(pc)["mids"]),
        sum(len(x.generations) for x in ice_transports(pc)),
    )


def _ordered(pc: RTCPeerConnection) -> list[aiortc.RTCDtlsTransport]:
    # One which was stopped may have none any more.
    transports = pc._slots.dtls_transports
    used = [dtls_of(x) for x in pc.getTransceivers() if dtls_of(x) in transports]
    if pc.sctp is not None:
        used.append(pc.sctp.transport)
    assert {*used} == pc._slots.dtls_transports
    assert {x.transport for x in used} == {
        x.transport for x in pc._slots.dtls_transports
    }
    return list(dict.fromkeys(used))


def _sctp(pc: RTCPeerConnection) -> dict[str, Any] | None:
    sctp = pc.sctp
    if sctp is None:
        return None
    return {
        "id": id(sctp),
        "mid": sctp.mid,
        "index": slot(pc, "sctp_mline_index"),
        "bundled": sctp._bundled,
        "transport": id(sctp.transport),
    }


def _transceiver(transceiver: aiortc.RTCRtpTransceiver) -> dict[str, Any]:
    sender, receiver = transceiver.sender, transceiver.receiver
    return {
        "id": id(transceiver),
        "mid": transceiver.mid,
        "index": transceiver._get_mline_index(),
        "directions": (
            transceiver.direction,
            transceiver.currentDirection,
            transceiver._offerDirection,
        ),
        "stopped": transceiver.stopped,
        "bundled": transceiver._bundled,
        "codecs": list(transceiver._codecs),
        "extensions": list(transceiver._headerExtensions),
        "tracks": (id(sender.track), id(receiver.track)),
        "enabled": (sender._enabled, receiver._enabled),
        "transports": (id(used_by(sender)), id(used_by(receiver))),
    }


def _transport(dtls: aiortc.RTCDtlsTransport) -> dict[str, Any]:
    transport = dtls.transport
    assert isinstance(transport, RTCIceTransport)
    gatherer = transport.iceGatherer
    return {
        "id": (id(dtls), id(transport)),
        "DTLS": (dtls.state, dtls._role),
        "role": (transport.role, transport._role_set),
        "states": (transport.state, gatherer.state),
        "generations": [
            (
                id(x),
                x.closed,
                x.local,
                x.remote,
                x.started,
                list(x.connection.remote_candidates),
                x.remote_candidates_end,
            )
            for x in transport.generations
        ],
        "restarting": transport.restarting,
        "shown": (gatherer.getLocalParameters(), gatherer.getLocalCandidates()),
        "negotiated": (transport.local_parameters, transport.remote_parameters),
        "path": transport.getSelectedCandidatePair(),
    }
