import asyncio
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import aiortc
import aiortc.sdp
from aiortc import RTCSctpTransport

from .connection import RTCPeerConnection
from .media import (
    Endpoint,
    dtls_of,
    follow_transport,
    is_stopping,
    left_by,
    show_transceiver,
    use_transport,
)
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

    @property
    def local(self) -> list[aiortc.sdp.SessionDescription]:
        """
        Our descriptions, the pending one first.
        """
        return [x for x in (self.pending_local, self.current_local) if x is not None]

    @property
    def remote(self) -> list[aiortc.sdp.SessionDescription]:
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
        self.emit = connection.emit
        self.endpoints = connection._endpoints
        self.make_data = connection._make_data
        self.make_transceiver = connection._make_transceiver
        self.transport_for = connection._transport_for

    @property
    def closed(self) -> bool:
        return self._connection.__isClosed is not None

    @property
    def cname(self) -> str:
        return self._connection.__cname

    @property
    def configuration(self) -> aiortc.RTCConfiguration:
        return self._connection.__configuration

    @configuration.setter
    def configuration(self, value: aiortc.RTCConfiguration) -> None:
        self._connection.__configuration = value

    @property
    def data(self) -> aiortc.RTCSctpTransport | None:
        return self._connection.__sctp

    @property
    def descriptions(self) -> Descriptions:
        connection = self._connection
        return Descriptions(
            connection.__currentLocalDescription,
            connection.__currentRemoteDescription,
            connection.__pendingLocalDescription,
            connection.__pendingRemoteDescription,
        )

    @descriptions.setter
    def descriptions(self, value: Descriptions) -> None:
        connection = self._connection
        connection.__currentLocalDescription = value.current_local
        connection.__currentRemoteDescription = value.current_remote
        connection.__pendingLocalDescription = value.pending_local
        connection.__pendingRemoteDescription = value.pending_remote

    @property
    def dtls_transports(self) -> set[aiortc.RTCDtlsTransport]:
        return self._connection.__dtlsTransports

    @property
    def gathering_state(self) -> str:
        return self._connection.__iceGatheringState

    @gathering_state.setter
    def gathering_state(self, state: str) -> None:
        self._connection.__iceGatheringState = state

    @property
    def legacy_data(self) -> bool:
        """
        Whether data channels are offered in the way of older browsers.
        """
        return self._connection._sctpLegacySdp

    @property
    def signaling_state(self) -> str:
        return self._connection.__signalingState

    @signaling_state.setter
    def signaling_state(self, state: str) -> None:
        if not self.closed:
            self._connection.__signalingState = state

    @property
    def transceivers(self) -> list[aiortc.RTCRtpTransceiver]:
        return self._connection.__transceivers

    def close_later(self) -> None:
        """
        Close the connection, unless this is being done.
        """
        connection = self._connection
        if not self.closed and connection.__closeTask is None:
            connection.__closeTask = asyncio.ensure_future(connection.close())

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
        sections = agreement.by_endpoint()
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
        for section in agreement:
            ice, dtls = agreement.remote_ice(section), agreement.remote_dtls(section)
            if section.endpoint is not None and ice is not None and dtls is not None:
                connection.__remoteIce[section.endpoint] = ice
                connection.__remoteDtls[section.endpoint] = dtls
        connection.__seenMids = {*agreement.mids}
        for transport, terms in agreement.terms.items():
            # Only a new association has new roles (RFC 8842 section 5.5).
            if transport.state == "new":
                transport._set_role(terms.role)

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
            endpoint._bundled = dtls_of(endpoint) in owners
            owners.add(dtls_of(endpoint))

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
            if isinstance(transceiver.receiver, RTCRtpReceiver):
                transceiver.receiver.end_if_disconnected()

    async def start_media(
        self, dtls: aiortc.RTCDtlsTransport, answered: "Agreement"
    ) -> bool:
        """
        Start what a connected DTLS transport carries and has not been started yet, and
        tell whether something has come to it from another one.

        :param answered: What has been agreed, and not only offered.
        """
        moved = False
        connection, sections = self._connection, answered.by_endpoint()
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
            moved |= follow_transport(transceiver)
            if transceiver.currentDirection in ["sendonly", "sendrecv"]:
                await transceiver.sender.send(connection.__localRtp(transceiver))
            if transceiver.currentDirection in ["recvonly", "sendrecv"]:
                await transceiver.receiver.receive(connection.__remoteRtp(transceiver))
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
        section = agreement.by_endpoint().get(data) if data is not None else None
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
                data.setTransport(origins[data])
            return
        connection.__sctp_mline_index = agreement.sections.index(section)
        data.mid = section.mid
        if section.transport is not None:
            data.setTransport(section.transport)

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
