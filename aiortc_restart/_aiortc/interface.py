from typing import cast

import aiortc
from aiortc.exceptions import InternalError, InvalidAccessError
from aiortc.rtcpeerconnection import or_direction, wrap_session_description

from . import connection
from .media import RTCRtpSender, is_sender_of, set_track

WITHOUT_SENDING = {
    "inactive": "inactive",
    "recvonly": "recvonly",
    "sendonly": "inactive",
    "sendrecv": "recvonly",
}
"What a direction becomes when there is nothing to send any more."


class RTCPeerConnection(connection.RTCPeerConnection):
    """
    The part of the W3C's interface that negotiates nothing: what the connection is, and
    what it has to send and receive. aiortc's slots have most of it.
    """

    @property
    def connectionState(self) -> str:
        """
        The current connection state.

        Possible values: `"new"`, `"connecting"`, `"connected"`, `"disconnected"`,
        `"failed"`, `"closed"`. A connection which is disconnected may come back by
        itself; one which is failed comes back by an ICE restart.

        When the state changes, the `"connectionstatechange"` event is fired.
        """
        return super().connectionState

    @property
    def currentLocalDescription(self) -> aiortc.RTCSessionDescription | None:
        """
        The local description that was negotiated last, or `None`.
        """
        return wrap_session_description(self.__currentLocalDescription)

    @property
    def currentRemoteDescription(self) -> aiortc.RTCSessionDescription | None:
        """
        The remote description that was negotiated last, or `None`.
        """
        return wrap_session_description(self.__currentRemoteDescription)

    @property
    def iceConnectionState(self) -> str:
        """
        The current ICE connection state.

        Possible values: `"new"`, `"checking"`, `"connected"`, `"completed"`,
        `"disconnected"`, `"failed"`, `"closed"`. It is `"connected"` while a restart
        looks for another path and the old one carries the call.

        When the state changes, the `"iceconnectionstatechange"` event is fired.
        """
        return super().iceConnectionState

    @property
    def pendingLocalDescription(self) -> aiortc.RTCSessionDescription | None:
        """
        The local description that is being negotiated, or `None`.
        """
        return wrap_session_description(self.__pendingLocalDescription)

    @property
    def pendingRemoteDescription(self) -> aiortc.RTCSessionDescription | None:
        """
        The remote description that is being negotiated, or `None`.
        """
        return wrap_session_description(self.__pendingRemoteDescription)

    @property
    def signalingState(self) -> str:
        """
        The current signaling state.

        Possible values: `"stable"`, `"have-local-offer"`, `"have-remote-offer"`,
        `"have-local-pranswer"`, `"have-remote-pranswer"`, `"closed"`.

        When the state changes, the `"signalingstatechange"` event is fired.
        """
        return super().signalingState

    def addTrack(self, track: aiortc.MediaStreamTrack) -> RTCRtpSender:
        """
        Add a :class:`MediaStreamTrack` to the set of media tracks which
        will be transmitted to the remote peer.

        Fires the `"negotiationneeded"` event, if the session has to be negotiated for
        it (webrtc-pc #dom-rtcpeerconnection-addtrack).

        :raises InvalidAccessError: if the track has a sender already.
        :raises InvalidStateError: if the connection is closed.
        :rtype: :class:`RTCRtpSender`
        """
        self._assert_open()
        if track.kind not in ("audio", "video"):
            raise InternalError(f'Invalid track kind "{track.kind}"')
        if track in [x.track for x in self.getSenders()]:
            raise InvalidAccessError("Track already has a sender")
        transceiver = self._use_for(track)
        self._use_endpoint(transceiver)
        return cast(RTCRtpSender, transceiver.sender)

    def addTransceiver(
        self,
        trackOrKind: str | aiortc.MediaStreamTrack,
        direction: str = "sendrecv",
    ) -> aiortc.RTCRtpTransceiver:
        """
        Add a new :class:`RTCRtpTransceiver`.

        Fires the `"negotiationneeded"` event (webrtc-pc
        #dom-rtcpeerconnection-addtransceiver).

        :raises InvalidAccessError: if the track has a sender already.
        :raises InvalidStateError: if the connection is closed.
        :rtype: :class:`RTCRtpTransceiver`
        """
        transceiver = super().addTransceiver(trackOrKind, direction)
        self._use_endpoint(transceiver, added=True)
        return transceiver

    def createDataChannel(
        self,
        label: str,
        maxPacketLifeTime: int | None = None,
        maxRetransmits: int | None = None,
        ordered: bool = True,
        protocol: str = "",
        negotiated: bool = False,
        id: int | None = None,
    ) -> aiortc.RTCDataChannel:
        """
        Create a data channel with the given label.

        The first one fires the `"negotiationneeded"` event (webrtc-pc
        #dom-peerconnection-createdatachannel).

        :raises InvalidStateError: if the connection is closed.
        :rtype: :class:`RTCDataChannel`
        """
        self._assert_open()
        channel = super().createDataChannel(
            label, maxPacketLifeTime, maxRetransmits, ordered, protocol, negotiated, id
        )
        assert self.sctp is not None
        self._use_endpoint(self.sctp)
        return channel

    def getReceivers(self) -> list[aiortc.RTCRtpReceiver]:
        """
        Return the list of :class:`RTCRtpReceiver` objects of the transceivers.

        :rtype: list of :class:`RTCRtpReceiver`
        """
        return [x.receiver for x in self.getTransceivers()]

    def getSenders(self) -> list[aiortc.RTCRtpSender]:
        """
        Return the list of :class:`RTCRtpSender` objects of the transceivers.

        :rtype: list of :class:`RTCRtpSender`
        """
        return [x.sender for x in self.getTransceivers()]

    def removeTrack(self, sender: aiortc.RTCRtpSender) -> None:
        """
        Stop sending the track of a :class:`RTCRtpSender`, which stays for another one.

        Fires the `"negotiationneeded"` event, as the transceiver's direction becomes
        `recvonly` or `inactive`. Without a track, and if the transceiver is stopped,
        there is nothing to do (webrtc-pc #dom-rtcpeerconnection-removetrack).

        :param sender: One that :meth:`addTrack` has returned, or a transceiver's.

        :raises InvalidAccessError: if the sender is not this connection's.
        :raises InvalidStateError: if the connection is closed.
        """
        self._assert_open()
        if not is_sender_of(self, sender):
            raise InvalidAccessError("The sender is not this connection's")
        for transceiver in self.getTransceivers():
            if transceiver.sender is not sender or transceiver.stopped:
                continue
            if sender.track is not None:
                set_track(sender, None)
                transceiver.direction = WITHOUT_SENDING[transceiver.direction]
                self._transceiver_changed()

    # Private

    def _use_for(self, track: aiortc.MediaStreamTrack) -> aiortc.RTCRtpTransceiver:
        """
        Return a transceiver which sends a track from now on.
        """
        for transceiver in self.getTransceivers():
            if (
                transceiver.kind == track.kind
                and transceiver.sender.track is None
                and not transceiver.stopped
            ):
                set_track(transceiver.sender, track)
                transceiver.direction = or_direction(transceiver.direction, "sendonly")
                return transceiver
        return super().addTransceiver(track)
