from typing import TYPE_CHECKING, Any

import aiortc

if TYPE_CHECKING:

    class _End:
        """
        What is below in a class that is made with :class:`MovingEnd`.
        """

        transport: Any

        async def getStats(self) -> aiortc.RTCStatsReport: ...

        def setTransport(self, transport: aiortc.RTCDtlsTransport) -> None: ...

else:
    _End = object


class MovingEnd(_End):
    """
    The part of a sender or receiver which, once it runs, stays with its transport until
    the next one is connected.
    """

    described = True
    "Whether no rollback has taken away the description that had it."

    next_transport: aiortc.RTCDtlsTransport | None = None
    "What has been negotiated, while it is not connected, and another one is used."

    _parameters: Any = None
    "What it runs with, if it does."

    _registered = True
    "Whether its transport hands it what the peer sends, if it runs."

    @property
    def transport(self) -> aiortc.RTCDtlsTransport | None:
        """
        The :class:`RTCDtlsTransport` over which media is sent or received, or `None`
        after a rollback of the description that had it (webrtc-pc
        #dom-rtcrtpsender-transport, #dom-rtcrtpreceiver-transport).
        """
        # aiortc's tasks ask for it for as long as they run.
        used = self.described or self._parameters is not None
        return self.used_transport if used else None

    @property
    def used_transport(self) -> aiortc.RTCDtlsTransport:
        """
        The same, also after a rollback.
        """
        transport: aiortc.RTCDtlsTransport = super().transport
        return transport

    async def getStats(self) -> aiortc.RTCStatsReport:
        """
        Return statistics: nothing if there is no transport.

        :rtype: :class:`RTCStatsReport`
        """
        if self.transport is None:
            return aiortc.RTCStatsReport()
        return await super().getStats()

    def setTransport(self, transport: aiortc.RTCDtlsTransport) -> None:
        """
        Use another transport, as soon as it is connected.
        """
        self.next_transport = None
        if self._parameters is None:
            super().setTransport(transport)
        elif transport is not self.used_transport:
            self.next_transport = transport

    def _move(self) -> bool:
        """
        Use the transport that has been negotiated, and tell whether there is one.
        """
        new, self.next_transport = self.next_transport, None
        if new is None or self._parameters is None:
            return False
        super().setTransport(new)
        self._registered = False
        return True
