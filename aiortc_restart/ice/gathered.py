import asyncio
import logging
from collections.abc import Callable

import aioice
import aiortc
from aiortc import RTCIceParameters

from .._aiortc import GatheringOptions
from .candidate import (
    RTCIceCandidate,
    RTCPeerConnectionIceErrorEvent,
    candidate_from_aioice,
    end_of_candidates,
)
from .connection import Connection

logger = logging.getLogger(__name__)


class GatheringGeneration:
    """
    The part of :class:`IceGeneration` that looks after its own candidates.

    :param connection: The connection, which nobody else drives.
    :param options: Returns what the connection is to gather with.
    :param trickle: Whether checks begin before all candidates have been gathered.
    """

    def __init__(
        self,
        connection: Connection,
        options: Callable[[], GatheringOptions],
        trickle: bool,
    ) -> None:
        self.closed = False
        "Whether its sockets have been given back."
        self.connection = connection
        self.local = RTCIceParameters(
            usernameFragment=connection.local_username,
            password=connection.local_password,
        )
        "Our credentials."
        self.trickle = trickle
        self.trickle_settled = False
        "Whether a description has said so."
        self._gathered = False
        self._gathering: asyncio.Task[None] | None = None
        self._options = options
        self._options_used: GatheringOptions | None = None
        self._ready = asyncio.Event()
        self._superseded = False

    def __repr__(self) -> str:
        return f"IceGeneration({self.connection.local_username})"

    @property
    def gathered(self) -> bool:
        return self._gathered

    @property
    def gathering(self) -> bool:
        """
        Whether gathering has begun. It may have ended.
        """
        return self._gathering is not None

    @property
    def hides_addresses(self) -> bool:
        """
        Whether nothing but relayed addresses is gathered, as the policy "relay" has it.
        """
        return self.connection.hides_addresses

    @property
    def local_candidates(self) -> list[aiortc.RTCIceCandidate]:
        return [
            candidate_from_aioice(x, self.local)
            for x in self.connection.local_candidates
        ]

    @property
    def outdated(self) -> bool:
        """
        Whether it gathers, or has gathered, with other servers or another policy than
        are to be used now, or has gathered nothing, so that it cannot get a path.
        """
        if self._options_used not in (None, self._options()):
            return True
        return (
            self._gathered and not self.closed and not self.connection.local_candidates
        )

    @property
    def ready(self) -> bool:
        """
        Whether its checks may begin.
        """
        return self._ready.is_set() if self.trickle else self._gathered

    @property
    def unfinished(self) -> bool:
        """
        Whether candidates are being gathered that somebody wants.
        """
        return (
            self._gathering is not None
            and not self._gathered
            and not self._superseded
            and not self.closed
        )

    def use_options(self, options: Callable[[], GatheringOptions]) -> None:
        """
        Have another gatherer say what is to be gathered with.
        """
        self._options = options

    def begin_gathering(self) -> None:
        """
        Gather candidates, unless that has begun.
        """
        if self._gathering is None and not self.closed:
            # The configuration may have changed since the connection was made.
            self._options_used = self._options()
            self.connection.use_servers(*self._options_used)
            self._gathering = asyncio.create_task(
                self._gather(), name=f"{self!r} gather"
            )

    def choose_policy(self) -> None:
        """
        Take the policy over before candidates are gathered: with "relay", names are not
        resolved over multicast DNS, as that would show an address of this host.
        """
        if self._options_used is None and not self.closed:
            self.connection.use_servers(*self._options())

    async def gather(self) -> None:
        """
        Gather candidates, once, and wait until they are complete.
        """
        self.begin_gathering()
        if self._gathering is not None:
            # Who waits may be cancelled; the gathering is shared.
            await asyncio.shield(self._gathering)

    def supersede(self) -> None:
        """
        Gather no more, as another one has taken its place. It may still send.
        """
        self._superseded = True
        self.connection.abort_gathering()

    # ConnectionObserver

    def candidate_found(self, candidate: aioice.Candidate) -> None:
        self._tell_found(candidate_from_aioice(candidate, self.local))

    def server_failed(self, event: RTCPeerConnectionIceErrorEvent) -> None:
        if not self._superseded:
            self._tell_failed(event)

    def sockets_opened(self) -> None:
        self._ready.set()
        if self.trickle:
            self._settle()

    # Private

    async def _gather(self) -> None:
        try:
            await self.connection.gather_candidates()
        except Exception:
            # The description is in force, and says that there is no candidate. Without
            # any, the checks end at their deadline.
            logger.exception("%r cannot gather candidates", self)
            self._ready.set()
        self._gathered = True
        if not self.closed:
            self._tell_found(end_of_candidates(self.local))
            self._settle()

    def _settle(self) -> None:
        """
        Hook: it may begin its checks, or knows all of its candidates.
        """
        raise NotImplementedError

    def _tell_failed(self, event: RTCPeerConnectionIceErrorEvent) -> None:
        """
        Hook: a server has given it no candidate.
        """
        raise NotImplementedError

    def _tell_found(self, candidate: RTCIceCandidate) -> None:
        """
        Hook: it has gathered another candidate, or the last one if that is empty.
        """
        raise NotImplementedError
