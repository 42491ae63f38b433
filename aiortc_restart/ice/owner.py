from typing import TYPE_CHECKING, Protocol

from .candidate import RTCIceCandidate, RTCPeerConnectionIceErrorEvent

if TYPE_CHECKING:
    from .generation import IceGeneration


class GenerationOwner(Protocol):
    """
    Who decides which generation carries the call.
    """

    def generation_changed(self, generation: "IceGeneration") -> None:
        """It has a nominated pair, another one, or may now be switched to."""

    def generation_found_dead(self, generation: "IceGeneration") -> None:
        """Its path, which has been left, did not work any more."""

    def generation_lost(self, generation: "IceGeneration") -> None:
        """It was connected, and cannot send any more."""

    def generation_failed(self, generation: "IceGeneration") -> None:
        """Its checks have failed, or its deadline has passed."""

    def generation_found(
        self, generation: "IceGeneration", candidate: RTCIceCandidate
    ) -> None:
        """It has gathered another candidate, or the last one if that is empty."""

    def generation_recovered(self, generation: "IceGeneration") -> None:
        """Its path works again, after it did not."""

    def generation_silence_changed(self, generation: "IceGeneration") -> None:
        """Its path has fallen silent, or is silent no more."""

    def generation_role_switched(
        self, generation: "IceGeneration", ice_controlling: bool
    ) -> None:
        """It took the other role."""

    def generation_server_failed(
        self, generation: "IceGeneration", event: RTCPeerConnectionIceErrorEvent
    ) -> None:
        """A server has given it no candidate."""

    def generation_settled(self, generation: "IceGeneration") -> None:
        """It may begin its checks, or has done them, or knows all candidates."""

    def path_in_doubt(self) -> bool:
        """Whether there is no path that is known to work."""
