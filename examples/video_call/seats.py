"""
The places for others in a participant's call.
"""

from dataclasses import dataclass, field

from aiortc_restart import RTCPeerConnection, RTCRtpTransceiver

from .media import SeatTrack
from .messages import Message
from .negotiation import Send


@dataclass
class Seat:
    """
    A place for one other participant, who may change.
    """

    transceivers: list[RTCRtpTransceiver]
    tracks: list[SeatTrack]
    name: str | None = None
    "Who is in it."


@dataclass
class Seats:
    """
    The seats which a connection has; they are kept when somebody leaves.

    :param pc: Who sees and hears what is in them.
    """

    pc: RTCPeerConnection
    seats: list[Seat] = field(default_factory=list)

    def close(self) -> None:
        for seat in self.seats:
            for track in seat.tracks:
                track.stop()

    def free(self, seat: Seat) -> None:
        """
        Take note that somebody has left.
        """
        seat.name = None
        for track in seat.tracks:
            track.show(None)

    def take(self, name: str) -> Seat:
        """
        Give somebody a seat: a free one, or a new one, which has to be negotiated.
        """
        for seat in self.seats:
            if seat.name is None:
                break
        else:
            tracks = [SeatTrack("audio"), SeatTrack("video")]
            transceivers = [self.pc.addTransceiver(x, "sendonly") for x in tracks]
            seat = Seat(transceivers, tracks)
            self.seats.append(seat)
        seat.name = name
        return seat

    def tell(self, send: Send) -> None:
        """
        Tell the page who is in which of its m-sections.
        """
        message: Message = {
            str(transceiver.mid): seat.name
            for seat in self.seats
            for transceiver in seat.transceivers
            if transceiver.mid is not None
        }
        send({"seats": message})
