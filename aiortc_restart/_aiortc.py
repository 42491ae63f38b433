"""
The door to aiortc's and aioice's private names: no other file knows them.

The classes below carry the names of the base's, so that the base's name mangling
applies to them too: properties re-publish its slots and hooks its steps, under names
with a single underscore.
"""

import asyncio
import functools
import importlib.metadata
import re
import types
from collections.abc import Callable, Collection, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import aioice
import aioice.candidate
import aioice.ice
import aioice.stun
import aioice.utils
import aiortc
import aiortc.codecs
import aiortc.exceptions
import aiortc.rtcicetransport
import aiortc.rtcpeerconnection
import aiortc.rtcrtpparameters
import aiortc.rtcrtpreceiver
import aiortc.rtcrtpsender
import aiortc.rtcrtptransceiver
import aiortc.rtcsctptransport
import aiortc.rtp
import aiortc.sdp
import OpenSSL.SSL
from pyee.asyncio import AsyncIOEventEmitter

REQUIREMENTS = {"aiortc": ((1, 16), (1, 17)), "aioice": ((0, 13), (0, 14))}

# What this file uses of each class: methods by their names, and the slots which the
# constructor fills.
PRIVATE_NAMES: list[tuple[type, list[str]]] = [
    (
        aioice.ice.Connection,
        "_closing _early_checks _nominated _nominating _protocols _query_consent_task "
        "_remote_candidates _remote_candidates_resolving _tie_breaker build_request "
        "check_complete check_incoming close connect data_received gather_candidates "
        "protocol_lost query_consent request_received switch_role".split(),
    ),
    (aioice.stun.Transaction, ["_Transaction__future", "response_received"]),
    (
        aiortc.RTCIceGatherer,
        ["_RTCIceGatherer__setState", "_RTCIceGatherer__state", "_connection"],
    ),
    (
        aiortc.RTCIceTransport,
        "_RTCIceTransport__setState _RTCIceTransport__state _connection _recv "
        "_role_set _send".split(),
    ),
    (aiortc.RTCDtlsTransport, ["_role", "_set_role"]),
    (
        aiortc.rtcrtptransceiver.RTCRtpTransceiver,
        "_bundled _codecs _get_mline_index _headerExtensions _offerDirection "
        "_preferred_codecs _setCurrentDirection _set_mline_index".split(),
    ),
    (aiortc.RTCRtpSender, ["_send_keyframe"]),
    (aiortc.RTCRtpReceiver, ["_handle_rtcp_packet"]),
    (
        aiortc.RTCSctpTransport,
        "_bundled _cwnd _flight_size_decrease _maybe_abandon _sent_queue "
        "_t3_cancel _transmit _update_advanced_peer_ack_point".split(),
    ),
    (
        aiortc.RTCPeerConnection,
        [
            "_RTCPeerConnection__" + name
            for name in (
                "assertNotClosed certificates closeTask configuration connect "
                "createDtlsTransport createTransceiver currentLocalDescription "
                "currentRemoteDescription dtlsTransports gather iceConnectionState "
                "iceTransports isClosed localRtp pendingLocalDescription "
                "pendingRemoteDescription remoteDtls remoteIce remoteRtp sctp "
                "sctpRemoteCaps sctpRemotePort sctp_mline_index setSignalingState "
                "transceivers updateConnectionState "
                "updateIceConnectionState updateIceGatheringState "
                "validate_description"
            ).split()
        ],
    ),
]


def missing_names(names: list[tuple[type, list[str]]] = PRIVATE_NAMES) -> list[str]:
    """
    Return the names which the installed aiortc and aioice lack.
    """
    missing = []
    for cls, wanted in names:
        slots = cls.__init__.__code__.co_names  # type: ignore[misc]
        missing += [
            f"{cls.__module__}.{cls.__name__}.{name}"
            for name in wanted
            if not hasattr(cls, name) and name not in slots
        ]
    return missing


def check_requirements(
    version: Callable[[str], str] = importlib.metadata.version,
    names: list[tuple[type, list[str]]] = PRIVATE_NAMES,
) -> None:
    """
    Check that the base is one which this package can stand on.

    :raises ImportError: says which version is needed and which names are missing.
    """
    missing = missing_names(names)
    for package, (lowest, limit) in REQUIREMENTS.items():
        installed = version(package)
        numbers = tuple(int(x) for x in re.findall(r"\d+", installed)[:2])
        lacking = [name for name in missing if name.startswith(package + ".")]
        if not lowest <= numbers < limit or lacking:
            needed = ">={}.{},<{}.{}".format(*lowest, *limit)
            raise ImportError(
                f"aiortc_restart needs {package}{needed}, but {package} {installed} "
                "is installed"
                + (f", which lacks {', '.join(lacking)}" if lacking else "")
                + f". Run: pip install '{package}{needed}'"
            )


check_requirements()


USERDATA_MAX_LENGTH = aiortc.rtcsctptransport.USERDATA_MAX_LENGTH

# "Arbitrarily high" (RFC 9260 section 7.2.1); the base takes the peer's first window.
INITIAL_SSTHRESH = 1024 * 1024


class Connection(aioice.Connection):
    """
    The base's connection, with its slots open to subclasses.
    """

    @property
    def _is_closing(self) -> bool:
        return self._closing

    @property
    def _early(self) -> Collection[object]:
        return self._early_checks

    @property
    def _known_remotes(self) -> list[tuple[str, int]]:
        return [(x._network_host, x.port) for x in self._remote_candidates]

    @property
    def _remotes_expected(self) -> int:
        # Those whose names are being resolved count, too.
        return len(self._remote_candidates) + self._remote_candidates_resolving

    @property
    def _nominated_pairs(self) -> dict[int, aioice.ice.CandidatePair]:
        return self._nominated

    @property
    def _nominating_components(self) -> set[int]:
        return self._nominating

    @property
    def tie_breaker(self) -> int:
        """
        The number which decides role conflicts (RFC 8445 section 6.1.1).
        """
        return self._tie_breaker

    @tie_breaker.setter
    def tie_breaker(self, value: int) -> None:
        self._tie_breaker = value

    def _forget_consent_task(self) -> None:
        # Otherwise the base's close() cancels the task which runs it.
        self._query_consent_task = None

    def abort_gathering(self) -> None:
        """
        Ask no server any more, as the sockets are about to close.
        """
        self.stun_server = self.turn_server = None
        for protocol in self._protocols:
            protocol.request = _refuse_request  # type: ignore[method-assign]
            for transaction in list(protocol.transactions.values()):
                future = getattr(transaction, "_Transaction__future")  # noqa: B009
                if not future.done():
                    future.set_exception(aioice.stun.TransactionTimeout())


async def _refuse_request(*args: object, **kwargs: object) -> NoReturn:
    raise aioice.stun.TransactionTimeout


def random_ice_string(length: int) -> str:
    return aioice.utils.random_string(length)


class Emitter(AsyncIOEventEmitter):
    """
    An emitter whose handlers cannot break what emits.
    """

    def emit(self, event: str, *args: Any, **kwargs: Any) -> bool:
        """
        Call the handlers of an event. What they raise goes to the event loop's
        exception handler, as it must not end the step which emits the event.
        """
        try:
            return super().emit(event, *args, **kwargs)
        except Exception as exc:
            if event == "error":
                # It comes from a handler of another event.
                raise
            asyncio.get_running_loop().call_exception_handler(
                {"message": f'Exception in a handler of "{event}"', "exception": exc}
            )
            return True


class RTCIceGatherer(Emitter, aiortc.RTCIceGatherer):
    """
    The base's gatherer, with its connection and state open to subclasses.
    """

    def __init__(
        self,
        iceServers: list[aiortc.RTCIceServer] | None,
        iceTransportPolicy: aiortc.RTCIceTransportPolicy,
    ) -> None:
        super().__init__(iceServers, iceTransportPolicy)
        self._ice_servers = iceServers
        self._ice_transport_policy = iceTransportPolicy

    def _connection_options(self) -> dict[str, Any]:
        """
        Return what the base's constructor makes of its parameters.
        """
        servers = self._ice_servers
        if servers is None:
            servers = self.getDefaultIceServers()
        module = aiortc.rtcicetransport
        policy = module.ICE_TRANSPORT_POLICIES[self._ice_transport_policy]
        return {"transport_policy": policy, **module.connection_kwargs(servers)}

    def _set_state(self, state: str) -> None:
        if state != self.state:
            self.__setState(state)


class RTCIceTransport(Emitter, aiortc.RTCIceTransport):
    """
    The base's transport, with its state open to subclasses.
    """

    def _set_state(self, state: str) -> None:
        self.__setState(state)


class RTCRtpReceiver(aiortc.RTCRtpReceiver):
    """
    The base's receiver, whose track outlives an RTCP BYE.
    """

    async def _handle_rtcp_packet(self, packet: aiortc.rtp.AnyRtcpPacket) -> None:
        # libwebrtc sends a BYE when it makes a stream anew, for instance in a plain
        # re-offer, and then goes on with the same SSRC. To the W3C a BYE mutes a track
        # (webrtc-pc, #mediastreamtrack-network-use), it does not end it. The end of
        # the DTLS transport does.
        if not isinstance(packet, aiortc.rtp.RtcpByePacket):
            await super()._handle_rtcp_packet(packet)


class RTCCertificate(aiortc.RTCCertificate):
    """
    The base's certificate, which computes its fingerprints once: each description asks
    for them several times.
    """

    @functools.cached_property
    def _fingerprints(self) -> list[aiortc.RTCDtlsFingerprint]:
        return super().getFingerprints()

    def getFingerprints(self) -> list[aiortc.RTCDtlsFingerprint]:
        return list(self._fingerprints)


class RTCPeerConnection(Emitter, aiortc.RTCPeerConnection):
    """
    The base's connection: its slots as properties, its steps as hooks.
    """

    _unoffered: tuple[aiortc.RTCRtpTransceiver, ...] = ()

    def __init__(self, configuration: aiortc.RTCConfiguration | None) -> None:
        super().__init__(configuration)
        for certificate in self.__certificates:
            certificate.__class__ = RTCCertificate

    # Slots

    @property
    def _configuration(self) -> aiortc.RTCConfiguration:
        return self.__configuration

    @property
    def _dtls_transports(self) -> set[aiortc.RTCDtlsTransport]:
        return self.__dtlsTransports

    @property
    def _ice_transports(self) -> set[aiortc.RTCIceTransport]:
        return self.__iceTransports

    @property
    def _is_closed(self) -> bool:
        return self.__isClosed is not None

    @property
    def _remote_dtls(
        self,
    ) -> "dict[Endpoint, aiortc.RTCDtlsParameters]":
        return self.__remoteDtls

    @property
    def _remote_ice(
        self,
    ) -> "dict[Endpoint, aiortc.RTCIceParameters]":
        return self.__remoteIce

    @property
    def _sctp_mline_index(self) -> int | None:
        return self.__sctp_mline_index

    @_sctp_mline_index.setter
    def _sctp_mline_index(self, value: int | None) -> None:
        self.__sctp_mline_index = value

    # The four slots of webrtc-pc, parsed

    @property
    def _current_local(self) -> aiortc.sdp.SessionDescription | None:
        return self.__currentLocalDescription

    @property
    def _current_remote(self) -> aiortc.sdp.SessionDescription | None:
        return self.__currentRemoteDescription

    @property
    def _pending_local(self) -> aiortc.sdp.SessionDescription | None:
        return self.__pendingLocalDescription

    @_pending_local.setter
    def _pending_local(self, value: aiortc.sdp.SessionDescription | None) -> None:
        self.__pendingLocalDescription = value

    @property
    def _pending_remote(self) -> aiortc.sdp.SessionDescription | None:
        return self.__pendingRemoteDescription

    def _promote_pending_descriptions(self) -> None:
        # The base leaves the offer pending when the answer has been applied.
        if self.__pendingLocalDescription is not None:
            self.__currentLocalDescription = self.__pendingLocalDescription
            self.__pendingLocalDescription = None
        if self.__pendingRemoteDescription is not None:
            self.__currentRemoteDescription = self.__pendingRemoteDescription
            self.__pendingRemoteDescription = None

    @contextmanager
    def _offer_undone(
        self,
    ) -> Iterator["dict[aiortc.RTCRtpTransceiver, NegotiatedMedia]"]:
        """
        Undo what the base's createOffer() does to transceivers, and take the m-line
        indices back: they belong to a description once it is set.

        :return: What had been negotiated for each transceiver before.
        """
        index = self.__sctp_mline_index
        before = [
            (x, x._codecs, x._headerExtensions, x._get_mline_index())
            for x in self.__transceivers
        ]
        try:
            yield {x: (codecs, extensions) for x, codecs, extensions, _ in before}
        finally:
            self.__sctp_mline_index = index
            for transceiver, codecs, extensions, mline_index in before:
                transceiver._codecs = codecs
                transceiver._headerExtensions = extensions
                set_mline_index(transceiver, mline_index)

    def _hide_unoffered(self) -> None:
        """
        Let the base answer an offer which does not know all transceivers: it takes each
        of them for offered. :meth:`_show_unoffered` undoes it.
        """
        self._unoffered = tuple(
            x for x in self.__transceivers if x._offerDirection is None
        )
        for transceiver in self._unoffered:
            transceiver._offerDirection = "inactive"

    def _show_unoffered(self) -> None:
        for transceiver in self._unoffered:
            transceiver._offerDirection = None
            if transceiver.mid is None:
                # webrtc-pc #dom-rtcrtptransceiver-currentdirection
                transceiver._setCurrentDirection(None)  # type: ignore[arg-type]
        self._unoffered = ()

    # Steps

    async def _create_answer_description(self) -> aiortc.sdp.SessionDescription:
        return await _create_answer_description(self)

    async def _create_offer_description(self) -> aiortc.sdp.SessionDescription:
        return await _create_offer_description(self)

    def _assert_not_closed(self) -> None:
        self.__assertNotClosed()

    def _close_later(self) -> None:
        """
        Close the connection, unless this is being done.
        """
        if not self.__isClosed and self.__closeTask is None:
            self.__closeTask = asyncio.ensure_future(self.close())

    def _create_ice_transport(self) -> aiortc.RTCIceTransport:
        raise NotImplementedError

    def _start_transports(self) -> None:
        raise NotImplementedError

    async def _gather(self) -> None:
        await super().__gather()

    def _set_ice_connection_state(self, state: str) -> None:
        if state != self.__iceConnectionState:
            self.__iceConnectionState = state
            self.emit("iceconnectionstatechange")

    def _update_connection_state(self) -> None:
        super().__updateConnectionState()

    def _update_ice_connection_state(self) -> None:
        raise NotImplementedError

    def _validate_description(
        self, description: aiortc.sdp.SessionDescription, is_local: bool
    ) -> None:
        super().__validate_description(description, is_local)

    async def _start_media(self, dtls: aiortc.RTCDtlsTransport) -> None:
        """
        Start what a connected DTLS transport carries and has not been started yet.
        """
        for transceiver in list(self.__transceivers):
            if transceiver.receiver.transport is not dtls or self.__isClosed:
                continue
            if transceiver not in self.__remoteIce:
                continue
            if transceiver.currentDirection in ["sendonly", "sendrecv"]:
                await transceiver.sender.send(self.__localRtp(transceiver))
            if transceiver.currentDirection in ["recvonly", "sendrecv"]:
                await transceiver.receiver.receive(self.__remoteRtp(transceiver))
        sctp = self.__sctp
        if self.__isClosed or sctp is None or sctp.transport is not dtls:
            return
        if sctp in self.__remoteIce:
            assert self.__sctpRemotePort is not None
            await sctp.start(self.__sctpRemoteCaps, self.__sctpRemotePort)

    # The base calls these by its own names.

    async def __connect(self) -> None:
        if not self.__isClosed:
            self._start_transports()

    def __createDtlsTransport(self) -> aiortc.RTCDtlsTransport:
        iceTransport = self._create_ice_transport()
        self.__iceTransports.add(iceTransport)
        iceTransport.iceGatherer.on("statechange", self.__updateIceGatheringState)
        iceTransport.on("statechange", self.__updateIceConnectionState)
        iceTransport.on("statechange", self.__updateConnectionState)

        dtlsTransport = aiortc.RTCDtlsTransport(iceTransport, self.__certificates)
        dtlsTransport.on("statechange", self.__updateConnectionState)
        self.__dtlsTransports.add(dtlsTransport)

        self.__updateIceGatheringState()
        self.__updateIceConnectionState()
        self.__updateConnectionState()
        return dtlsTransport

    async def __gather(self) -> None:
        self._show_unoffered()
        await self._gather()

    def __createTransceiver(
        self,
        direction: str,
        kind: str,
        sender_track: aiortc.MediaStreamTrack | None = None,
    ) -> aiortc.RTCRtpTransceiver:
        transceiver = super().__createTransceiver(direction, kind, sender_track)
        # The base names its class itself; ours differs in one method and no slot.
        transceiver.receiver.__class__ = RTCRtpReceiver
        return transceiver

    def __setSignalingState(self, state: str) -> None:
        # A step which was under way when the connection was closed.
        if state == "closed" or not self.__isClosed:
            super().__setSignalingState(state)

    def __updateConnectionState(self) -> None:
        self._update_connection_state()

    def __updateIceConnectionState(self) -> None:
        self._update_ice_connection_state()

    def __validate_description(
        self, description: aiortc.sdp.SessionDescription, is_local: bool
    ) -> None:
        self._validate_description(description, is_local)


def has_preferred_codecs(transceiver: aiortc.RTCRtpTransceiver) -> bool:
    return bool(transceiver._preferred_codecs)


def _without_text(
    method: Callable[..., Coroutine[Any, Any, aiortc.RTCSessionDescription]],
) -> Callable[..., Coroutine[Any, Any, aiortc.sdp.SessionDescription]]:
    """
    Return one of the base's methods, but for its last step, which turns a description
    into text: parsing that again would be a fifth of the work of a restart.
    """
    assert isinstance(method, types.FunctionType)
    names = {**method.__globals__, "wrap_session_description": lambda x: x}
    return types.FunctionType(method.__code__, names, method.__name__)


_create_answer_description = _without_text(aiortc.RTCPeerConnection.createAnswer)
_create_offer_description = _without_text(aiortc.RTCPeerConnection.createOffer)


def is_bundled(endpoint: "Endpoint") -> bool:
    """
    Whether an endpoint uses the transport of another one.
    """
    return endpoint._bundled


def mline_index(transceiver: aiortc.RTCRtpTransceiver) -> int | None:
    return transceiver._get_mline_index()


def set_mline_index(transceiver: aiortc.RTCRtpTransceiver, index: int | None) -> None:
    transceiver._set_mline_index(index)  # type: ignore[arg-type]


@contextmanager
def role_kept(transports: set[aiortc.RTCDtlsTransport]) -> Iterator[None]:
    """
    Keep the roles of DTLS associations which exist, whatever is negotiated: only a new
    association has new roles (RFC 8842 section 5.5).
    """
    roles = [(x, x._role) for x in transports if x.state != "new"]
    try:
        yield
    finally:
        for transport, role in roles:
            transport._set_role(role)


def expect_overtaking(sctp: aiortc.RTCSctpTransport) -> None:
    """
    Do not take what is in flight on the old path for lost because packets on the new
    one overtake it: a message which may not be sent again would be abandoned. Real
    losses are found by the timer.
    """
    for chunk in sctp._sent_queue:
        chunk._misses = -(10**6)


async def retransmit_now(sctp: aiortc.RTCSctpTransport) -> None:
    """
    Send again what was lost with the path, without waiting for the timer, which has
    been backed off meanwhile, and without taking the outage for congestion.
    """
    if not sctp._sent_queue:
        return
    for chunk in sctp._sent_queue:
        if not sctp._maybe_abandon(chunk):
            chunk._retransmit = True
        sctp._flight_size_decrease(chunk)
    sctp._update_advanced_peer_ack_point()
    sctp._t3_cancel()
    # A new path begins with slow start, from its initial window (RFC 9260 section
    # 7.2.1), not from the window that the outage has collapsed.
    sctp._cwnd = max(sctp._cwnd, 3 * USERDATA_MAX_LENGTH)
    sctp._ssthresh = max(sctp._ssthresh, INITIAL_SSTHRESH)
    try:
        await sctp._transmit()
    except (ConnectionError, OpenSSL.SSL.Error):
        # DTLS was closed meanwhile, by either side.
        pass


def send_keyframe(sender: aiortc.RTCRtpSender) -> None:
    sender._send_keyframe()


NegotiatedMedia = tuple[
    list[aiortc.RTCRtpCodecParameters], list[aiortc.RTCRtpHeaderExtensionParameters]
]

Endpoint = aiortc.RTCRtpTransceiver | aiortc.RTCSctpTransport
"What an m-section describes."
