"""
How a connection's states follow from those of its transports (webrtc-pc
#dom-rtciceconnectionstate, #dom-rtcpeerconnectionstate, #dom-rtcicegatheringstate).

Each rule is tried in turn; "closed" is the connection's own business.
"""

import asyncio
import functools
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager
from typing import TYPE_CHECKING

import aiortc
from aiortc import RTCBundlePolicy

from .._aiortc import Slots
from ..negotiation.agreement import Agreement
from ..negotiation.signaling import OFFERED

if TYPE_CHECKING:
    from .session import Session

CLOSED_PATIENCE = 12.0
"""
How long, in seconds, a connection whose offer has not been answered waits for the
answer when all its DTLS associations have been closed. The peer may gather candidates
for it from a server that does not answer, which takes five, before it sends it.
"""


class States:
    """
    The three states of a connection, which it computes from those of its transports,
    and tells of when all has changed.
    """

    def __init__(self, session: "Session", slots: Slots) -> None:
        self._closed_timer: asyncio.TimerHandle | None = None
        self._failed_time: float | None = None
        self._failed_timeout: float | None = None
        self._failed_timer: asyncio.TimerHandle | None = None
        self._has_been_up = False
        self._quiet = False
        self._session = session
        self._slots = slots

    def configure(self, failed_timeout: float | None) -> None:
        """
        Set after how many seconds a connection which has failed is closed. `None` for
        never.
        """
        self._failed_timeout = failed_timeout
        self._set_failed_timer()

    def derive(self) -> Callable[[], None]:
        """
        Compute the states, and return what fires their events.
        """
        if self._quiet:
            return lambda: None
        ice = {x.transport.state for x in self._transports}
        dtls = {x.state for x in self._transports}
        states = ice_connection_state(ice), connection_state(ice, dtls)
        if self._slots.closed:
            states = "closed", "closed"
        return functools.partial(self._tell, self._slots.set_states(*states))

    @contextmanager
    def quiet(self, gathers: bool = False, later: bool = False) -> Iterator[None]:
        """
        Compute the states, and tell of them, when all has changed.

        :param gathers: Whether gathering begins next, so that none is complete yet.
        :param later: Whether the gathering state is told of later.
        """
        self._quiet = True
        try:
            yield
        finally:
            self._quiet = False
        if not later:
            self.update_gathering(gathers)
        self.derive()()

    def show_new(self, before: Agreement) -> None:
        """
        Show for a moment that a transport was new, if a description has brought
        something that shares the transport of a bundle: in aiortc it has one of its own
        until it is bundled, and the states show that.

        :param before: What had been agreed.
        """
        policy = self._session.transports.configuration.bundlePolicy
        agreement, kinds = self._session.agreement, {x.kind for x in before}
        if policy == RTCBundlePolicy.MAX_BUNDLE or not any(
            x.endpoint in agreement.made
            and x.transport in before.negotiated
            and x.mid not in before.mids
            and (policy != RTCBundlePolicy.BALANCED or x.kind not in kinds)
            for x in agreement
        ):
            return
        gatherers = {x.transport.iceGatherer.state for x in self._transports}
        self._show_gathering(ice_gathering_state(gatherers | {"new"}))
        ice = {x.transport.state for x in self._transports} | {"new"}
        dtls = {x.state for x in self._transports} | {"new"}
        states = ice_connection_state(ice), connection_state(ice, dtls)
        self._tell(self._slots.set_states(*states))
        self.update()

    def update(self) -> None:
        """
        Compute the states, and tell of them.
        """
        self.update_gathering()
        self.derive()()

    def update_gathering(self, gathers: bool = False) -> None:
        """
        Compute the gathering state, and tell of it.

        :param gathers: Whether gathering begins next, so that none is complete yet.
        """
        if self._quiet:
            return
        gatherers = {x.transport.iceGatherer.state for x in self._transports}
        state = ice_gathering_state(gatherers)
        if not (gathers and state == "complete"):
            self._show_gathering(state)

    @property
    def _transports(self) -> Set[aiortc.RTCDtlsTransport]:
        # What no description has does not matter to those which are described.
        return self._session.agreement.transports or self._slots.dtls_transports

    def _close_if_over(self) -> None:
        self._closed_timer = None
        if {x.state for x in self._slots.dtls_transports} == {"closed"}:
            self._slots.close_later()

    def _set_failed_timer(self) -> None:
        if self._failed_timer is not None:
            self._failed_timer.cancel()
            self._failed_timer = None
        if self._failed_time is not None and self._failed_timeout is not None:
            self._failed_timer = asyncio.get_running_loop().call_at(
                self._failed_time + self._failed_timeout, self._slots.close_later
            )

    def _show_gathering(self, state: str) -> None:
        before = self._slots.gathering_state
        if state == before:
            return
        self._slots.show_gathering_state(state)
        self._slots.emit("icegatheringstatechange")
        if (before, state) == ("gathering", "complete") and not self._slots.closed:
            self._slots.emit("icecandidate", None)

    def _tell(self, events: list[str]) -> None:
        for event in events:
            self._slots.emit(event)
        self._watch()
        self._session.transports.start_connected()

    def _watch(self) -> None:
        """
        Close the connection some time after its path was lost, as nothing else does if
        the peer is gone, or when the peer has closed it.
        """
        transports = self._slots.dtls_transports
        states = {x.state for x in transports}
        # Another peer may have come in the place of the one that it was up with.
        self._has_been_up |= "connected" in states
        failed = self._has_been_up and "failed" in {
            x.transport.state for x in transports
        }
        if failed != (self._failed_time is not None):
            self._failed_time = asyncio.get_running_loop().time() if failed else None
            self._set_failed_timer()
        over = states == {"closed"} and not self._slots.closed
        if self._closed_timer is not None and not over:
            self._closed_timer.cancel()
            self._closed_timer = None
        if over and self._slots.signaling_state not in OFFERED:
            self._slots.close_later()
        elif over and self._closed_timer is None:
            # An answer which is on its way may reject what the transport was for.
            self._closed_timer = asyncio.get_running_loop().call_later(
                CLOSED_PATIENCE, self._close_if_over
            )


def connection_state(ice: Set[str], dtls: Set[str]) -> str:
    """
    Return the `connectionState`.

    :param ice: The states of the ICE transports.
    :param dtls: The states of the DTLS transports.
    """
    if "failed" in ice | dtls:
        return "failed"
    if "disconnected" in ice:
        return "disconnected"
    if ice | dtls <= {"new", "closed"}:
        return "new"
    if ice & {"new", "checking"} or dtls & {"new", "connecting"}:
        return "connecting"
    return "connected"


def ice_connection_state(ice: Set[str]) -> str:
    """
    Return the `iceConnectionState`.

    :param ice: The states of the ICE transports.
    """
    if "failed" in ice:
        return "failed"
    if "disconnected" in ice:
        return "disconnected"
    if "checking" in ice:
        return "checking"
    # The W3C's is "checking" if others are not new. In aiortc a section that is added
    # has a transport until it is bundled, and its own suite wants to see "new" then.
    if "new" in ice or ice <= {"closed"}:
        return "new"
    if ice <= {"completed", "closed"}:
        return "completed"
    return "connected"


def ice_gathering_state(gatherers: Set[str]) -> str:
    """
    Return the `iceGatheringState`.

    :param gatherers: The states of the ICE gatherers.
    """
    if gatherers == {"completed"}:
        return "complete"
    return "gathering" if "gathering" in gatherers else "new"
