import base64
import secrets
from collections.abc import Callable

import aiortc
from aiortc import RTCIceParameters

from .._aiortc import RTCIceGatherer as BaseIceGatherer
from .._consent import ConsentTimes
from .candidate import candidate_from_aioice
from .connection import Connection
from .generation import IceGeneration
from .inbox import Inbox
from .pacing import Pacing

# At least 24 and 128 bits of randomness (RFC 8445 section 5.3). The base's username
# fragments have 23.8.
USERNAME_BYTES = 6
PASSWORD_BYTES = 18


def create_credentials() -> aiortc.RTCIceParameters:
    """
    Return a username fragment and a password which have not been used before.
    """
    # The characters of Base64 are those of ICE (RFC 8839 section 5.4).
    username, password = (
        base64.b64encode(secrets.token_bytes(x)).decode()
        for x in (USERNAME_BYTES, PASSWORD_BYTES)
    )
    return RTCIceParameters(usernameFragment=username, password=password)


class RTCIceGatherer(BaseIceGatherer):
    """
    The :class:`RTCIceGatherer` interface gathers local host, server reflexive
    and relay candidates, as well as enabling the retrieval of local
    Interactive Connectivity Establishment (ICE) parameters which can be
    exchanged in signaling.

    It shows one generation at a time: the one which the next description describes.

    :param trickle: Whether checks begin before all candidates have been gathered (RFC
                    8838).
    :param pacing: Bounds the checks, together with those of other transports.
    """

    def __init__(
        self,
        iceServers: list[aiortc.RTCIceServer] | None = None,
        iceTransportPolicy: aiortc.RTCIceTransportPolicy = (
            aiortc.RTCIceTransportPolicy.ALL
        ),
        local_username: str | None = None,
        local_password: str | None = None,
        trickle: bool = False,
        pacing: Pacing | None = None,
    ) -> None:
        super().__init__(iceServers, iceTransportPolicy)
        self.consent = ConsentTimes()
        "How often consent is asked for, and how long it lasts."
        self.inbox = Inbox()
        "What has been received and not been read, by whichever generation."
        self.others: Callable[[], list[IceGeneration]] = list
        "Returns the generations which are alive, too."
        self.pacing = pacing or Pacing()
        "Bounds the checks of all generations."
        self.trickle = trickle
        "Whether checks begin before all candidates have been gathered."
        fresh = create_credentials()
        connection = self._create_connection(
            local_username or str(fresh.usernameFragment),
            local_password or str(fresh.password),
            ice_controlling=False,
        )
        self.generation = IceGeneration(
            connection, False, lambda: self._options, trickle
        )
        "The generation which the next description describes."
        self._connection = connection

    def configure(
        self,
        iceServers: list[aiortc.RTCIceServer] | None,
        iceTransportPolicy: aiortc.RTCIceTransportPolicy,
        trickle: bool = False,
    ) -> None:
        """
        Use other servers, or another policy, whenever gathering begins from now on, and
        trickle, or do not.
        """
        self.trickle = trickle
        self._set_options(iceServers, iceTransportPolicy)

    def create_generation(
        self,
        parameters: aiortc.RTCIceParameters,
        ice_controlling: bool,
        restart: bool = True,
    ) -> IceGeneration:
        """
        Make a generation with the given local credentials, and show it from now on.

        :param restart: Whether there has been another one before it.

        :raises ValueError: if the credentials do not satisfy RFC 8839 section 5.4.
        """
        connection = self._create_connection(
            str(parameters.usernameFragment), str(parameters.password), ice_controlling
        )
        generation = IceGeneration(
            connection, restart, lambda: self._options, self.trickle
        )
        self.show(generation)
        return generation

    def take(self, generation: IceGeneration) -> None:
        """
        Show a generation which another gatherer has made.
        """
        generation.use_options(lambda: self._options)
        generation.connection.belong_to(self.inbox, self.consent)
        self.show(generation)

    def begin_gathering(self) -> None:
        """
        Gather ICE candidates, unless that has been done or has begun.
        """
        self.settle_trickle()
        self.generation.begin_gathering()
        self.update_state()

    def settle_trickle(self) -> None:
        """
        Trickle, or do not, as is configured now, unless that has been settled.
        """
        generation = self.generation
        # Whether the peer's candidates end the checks depends on it.
        if not (
            generation.trickle_settled
            or generation.gathering
            or generation.remote_candidates_end
        ):
            generation.trickle = self.trickle
        generation.trickle_settled = True

    async def gather(self) -> None:
        """
        Gather ICE candidates, and wait until all have been found.

        A restart which replaces another generation meanwhile is waited for instead.
        """
        while True:
            self.begin_gathering()
            generation = self.generation
            await generation.gather()
            if generation is self.generation:
                self.update_state()
                break
            if not (self.generation.restart or self.generation.gathering):
                # A rollback has brought it, and nothing asks for its candidates yet.
                break

    def getLocalCandidates(self) -> list[aiortc.RTCIceCandidate]:
        """
        Retrieve the list of valid local candidates associated with the ICE
        gatherer.
        """
        return [
            candidate_from_aioice(x, self.generation.local)
            for x in self._connection.local_candidates
        ]

    def show(self, generation: IceGeneration) -> None:
        """
        Describe the given generation from now on.
        """
        self.generation = generation
        self._connection = generation.connection
        self.update_state()

    def update_state(self) -> None:
        """
        Compute the state: candidates of all generations count (webrtc-pc
        #dom-rtcicegatheringstate).
        """
        shown = self.generation
        if shown.unfinished or any(x.unfinished for x in self.others()):
            self._set_state("gathering")
        elif shown.gathered or shown.closed:
            self._set_state("completed")
        elif not shown.restart:
            self._set_state("new")
        elif self.state == "gathering":
            # The generation before the restart has all its candidates, and the restart
            # gathers none before it is answered.
            self._set_state("completed")

    def _create_connection(
        self, username: str, password: str, ice_controlling: bool
    ) -> Connection:
        return Connection(
            self.inbox,
            self.consent,
            self.pacing,
            ice_controlling=ice_controlling,
            local_username=username,
            local_password=password,
        )
