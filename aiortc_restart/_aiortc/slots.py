import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import aiortc
import aiortc.sdp
from aiortc import RTCSctpTransport

from .connection import RTCPeerConnection
from .endpoints import (
    Endpoint,
    dtls_of,
    follow_transport,
    is_stopping,
    left_by,
    show_transceiver,
    use_transport,
)
from .media import RTCRtpTransceiver
from .receiver import RTCRtpReceiver

if TYPE_CHECKING:
    from ..negotiation.agreement import Agreement


@dataclass(frozen=True)
class Descriptions:
    """
    The four descriptions of webrtc-pc, parsed.
    """

    current_local: aiortc.sdp.SessionDescription | None = None
    current_remote: aiortc.sdp.SessionDescription | None = None
    pending_local: aiortc.sdp.SessionDescription | None = None
    pending_remote: aiortc.sdp.SessionDescription | None = None

    @cached_property
    def local(self) -> Sequence[aiortc.sdp.SessionDescription]:
        """
        Our descriptions, the pending one first.
        """
        return [x for x in (self.pending_local, self.current_local) if x is not None]

    @cached_property
    def remote(self) -> Sequence[aiortc.sdp.SessionDescription]:
        """
        The peer's descriptions, the pending one first.
        """
        return [x for x in (self.pending_remote, self.current_remote) if x is not None]

    def stable(self) -> "Descriptions":
        """
        Return what is left when the pending ones are rolled back.
        """
        return Descriptions(self.current_local, self.current_remote)

    def with_description(
        self, side: str, description: aiortc.sdp.SessionDescription
    ) -> "Descriptions":
        """
        Return the same after another description (webrtc-pc
        #set-the-session-description).
        """
        local, remote = self.pending_local, self.pending_remote
        if side == "local":
            local = description
        else:
            remote = description
        if description.type == "answer":
            return Descriptions(local, remote)
        return replace(self, pending_local=local, pending_remote=remote)


class _RTCPeerConnection:
    """
    The slots of a connection under names that have no underscores, for those to whom
    aiortc's are private. Its own name is that of aiortc's class, whose slots it reads.
    """

    def __init__(self, connection: RTCPeerConnection) -> None:
        self._connection = connection
        self._legacy_is_said = False
        self.assert_open = connection._assert_open
        self.cname: str = connection.__cname
        self.descriptions = Descriptions()
        self.dtls_transports = connection.__dtlsTransports
        self.emit = connection.emit
        self.endpoints = connection._endpoints
        self.gathering_state: str = connection.__iceGatheringState
        self.make_data = connection._make_data
        self.make_transceiver = connection._make_transceiver
        # aiortc changes the list in place, and so do applications.
        self.transceivers = connection.__transceivers
        self.transport_for = connection._transport_for

    @property
    def closed(self) -> bool:
        return self._connection.__isClosed is not None

    @property
    def closing(self) -> bool:
        """
        Whether the connection is closed, or is being closed.
        """
        return self._connection._closing is not None

    @property
    def data(self) -> aiortc.RTCSctpTransport | None:
        return self._connection.__sctp

    @property
    def legacy_data(self) -> bool:
        """
        Whether data channels are offered in the way of older browsers.
        """
        return self._connection._sctpLegacySdp

    @property
    def signaling_state(self) -> str:
        return self._connection.__signalingState

    def close_later(self) -> None:
        """
        Close the connection, unless this is being done.
        """
        connection = self._connection
        if not self.closed and connection.__closeTask is None:
            connection.__closeTask = asyncio.ensure_future(connection.close())

    def configure(self, configuration: aiortc.RTCConfiguration) -> None:
        self._connection.__configuration = configuration

    def create_transport(self) -> aiortc.RTCDtlsTransport:
        return self._connection.__createDtlsTransport()

    def set_states(self, ice: str, connection: str) -> list[str]:
        """
        Change the connection's states, and return the events to be fired.
        """
        events = []
        if ice != self._connection.__iceConnectionState:
            self._connection.__iceConnectionState = ice
            events.append("iceconnectionstatechange")
        if connection != self._connection.__connectionState:
            self._connection.__connectionState = connection
            events.append("connectionstatechange")
        return events

    def show(
        self,
        agreement: "Agreement",
        dropped: Collection[Endpoint],
        origins: Mapping[Endpoint, aiortc.RTCDtlsTransport],
    ) -> None:
        """
        Have aiortc's objects say what has been agreed: nothing else writes to them.

        :param dropped: What has gone with the agreement before.
        :param origins: The transports of what no description has.
        """
        sections = agreement.by_endpoint
        places = {x.endpoint: index for index, x in enumerate(agreement)}
        self._show_endpoints(sections, dropped)
        for transceiver in self.transceivers:
            section = sections.get(transceiver)
            show_transceiver(transceiver, places.get(transceiver), section)
            if section is None and transceiver in origins:
                use_transport(transceiver, origins[transceiver])
        self._show_data(agreement, origins)
        connection = self._connection
        connection.__remoteIce.clear()
        connection.__remoteDtls.clear()
        for endpoint, section in sections.items():
            if section.transport is None or not section.described:
                continue
            said = agreement.terms.get(section.transport)
            if said is not None and said.remote_ice and said.remote_dtls:
                connection.__remoteIce[endpoint] = said.remote_ice
                connection.__remoteDtls[endpoint] = said.remote_dtls
        connection.__seenMids = {*agreement.mids}
        for transport, terms in agreement.terms.items():
            # Only a new association has new roles (RFC 8842 section 5.5).
            if transport.state == "new":
                transport._set_role(terms.role)

    def show_descriptions(self, descriptions: Descriptions, state: str) -> None:
        """
        Have aiortc's slots hold other descriptions, and the signaling state to which
        they lead.
        """
        self.descriptions, connection = descriptions, self._connection
        connection.__currentLocalDescription = descriptions.current_local
        connection.__currentRemoteDescription = descriptions.current_remote
        connection.__pendingLocalDescription = descriptions.pending_local
        connection.__pendingRemoteDescription = descriptions.pending_remote
        if not self.closed:
            connection.__signalingState = state

    def show_gathering_state(self, state: str) -> None:
        self.gathering_state = self._connection.__iceGatheringState = state

    def use_transports(self, transports: Iterable[aiortc.RTCDtlsTransport]) -> None:
        """
        Take some transports for those of the connection.
        """
        connection = self._connection
        connection.__dtlsTransports.clear()
        connection.__dtlsTransports.update(transports)
        connection.__iceTransports.clear()
        connection.__iceTransports.update(
            x.transport for x in connection.__dtlsTransports
        )
        owners: set[aiortc.RTCDtlsTransport] = set()
        for endpoint in self.endpoints():
            dtls = dtls_of(endpoint)
            endpoint._bundled = dtls in owners
            owners.add(dtls)

    def carrying(self) -> set[aiortc.RTCDtlsTransport]:
        """
        Return the transports with which something runs that is to have another one.
        """
        return {x for endpoint in self.endpoints() for x in left_by(endpoint)}

    def end_disconnected(self) -> None:
        """
        End the tracks of transports which the peer has ended while an answer might have
        brought other ones.
        """
        for transceiver in self.transceivers:
            receiver = transceiver.receiver
            if isinstance(receiver, RTCRtpReceiver) and receiver._disconnected:
                receiver.end_unless_replaced()

    async def start_media(
        self, dtls: aiortc.RTCDtlsTransport, answered: "Agreement"
    ) -> bool:
        """
        Start what a connected DTLS transport carries and has not been started yet, and
        tell whether something has come to it from another one.

        :param answered: What has been agreed, and not only offered.
        """
        moved = False
        connection, sections = self._connection, answered.by_endpoint
        remote = {x.rtp.muxId: x for y in self.descriptions.remote[:1] for x in y.media}
        for transceiver in list(self.transceivers):
            if dtls_of(transceiver) is not dtls or self.closed:
                continue
            if transceiver not in connection.__remoteIce or is_stopping(transceiver):
                continue
            # What is only offered is not used yet.
            section = sections.get(transceiver)
            if section is None or section.codecs != transceiver._codecs:
                continue
            if section.transport is not dtls:
                continue
            # Most restarts change nothing of what is sent and received.
            sources = remote[section.mid].ssrc if section.mid in remote else []
            codecs, extensions = section.codecs, section.extensions
            begun = dtls, section.current_direction, codecs, extensions, sources
            if begun == getattr(transceiver, "_begun", None):
                continue
            moved |= follow_transport(transceiver)
            if transceiver.currentDirection in ["sendonly", "sendrecv"]:
                await transceiver.sender.send(connection.__localRtp(transceiver))
            if transceiver.currentDirection in ["recvonly", "sendrecv"]:
                await transceiver.receiver.receive(connection.__remoteRtp(transceiver))
            if isinstance(transceiver, RTCRtpTransceiver):
                transceiver._begun = begun
        data = self.data
        if self.closed or data is None or dtls_of(data) is not dtls:
            return moved
        section = sections.get(data)
        if section is None or not section.described or section.transport is not dtls:
            return moved
        if section.data is not None:
            moved |= bool(left_by(data))
            await data.start(section.data.capabilities, section.data.port)
        return moved

    def _show_data(
        self,
        agreement: "Agreement",
        origins: Mapping[Endpoint, aiortc.RTCDtlsTransport],
    ) -> None:
        connection, data = self._connection, self.data
        section = agreement.by_endpoint.get(data) if data is not None else None
        said = section.data if section is not None else None
        connection.__sctpRemoteCaps = said.capabilities if said else None
        connection.__sctpRemotePort = said.port if said else None
        if said is not None or self._legacy_is_said:
            # Otherwise it is the application's.
            connection._sctpLegacySdp = said is not None and said.legacy
        self._legacy_is_said = said is not None
        connection.__sctp_mline_index = None
        if data is None:
            return
        if section is None:
            data.mid = None
            if data in origins:
                use_transport(data, origins[data])
            return
        connection.__sctp_mline_index = agreement.sections.index(section)
        data.mid = section.mid
        if section.transport is not None:
            use_transport(data, section.transport)

    def _show_endpoints(
        self, shown: Iterable[Endpoint], dropped: Collection[Endpoint]
    ) -> None:
        """
        Have the connection's lists hold what an agreement has, and not what is dropped.
        """
        known = {*self.transceivers}
        for endpoint in shown:
            if isinstance(endpoint, RTCSctpTransport):
                self._connection.__sctp = endpoint
            elif endpoint not in known:
                self.transceivers.append(endpoint)
        if dropped:
            self.transceivers[:] = [x for x in self.transceivers if x not in dropped]
            if self.data in dropped:
                self._connection.__sctp = None


Slots = _RTCPeerConnection
