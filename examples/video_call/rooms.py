"""
Who is where.
"""

from dataclasses import dataclass, field

from .messages import BadMessageError
from .participant import KINDS, Participant
from .seats import Seat

MAX_PARTICIPANTS = 4
MAX_ROOMS = 16


class Room:
    """
    Participants who see and hear each other.
    """

    def __init__(self) -> None:
        self.participants: dict[str, Participant] = {}
        "By their identities."

        self._seats: dict[tuple[Participant, Participant], Seat] = {}
        "Where the first sees the second."

    def add(self, participant: Participant) -> None:
        self.participants[participant.join.identity] = participant
        participant.on_ready = lambda: self._introduce(participant)
        participant.chat.on_text = lambda text: self._say(participant, text)

    def remove(self, participant: Participant) -> None:
        if self.participants.get(participant.join.identity) is participant:
            del self.participants[participant.join.identity]
        for viewer, shown in list(self._seats):
            if participant is viewer or participant is shown:
                seat = self._seats.pop((viewer, shown))
                viewer.seats.free(seat)
                viewer.seats.tell(viewer.send)

    def _introduce(self, newcomer: Participant) -> None:
        for other in self.participants.values():
            if other is not newcomer and other.ready:
                self._show(newcomer, other)
                self._show(other, newcomer)

    def _say(self, speaker: Participant, text: str) -> None:
        message = {"chat": {"from": speaker.join.name, "text": text}}
        for participant in self.participants.values():
            if not participant.chat.tell(message):
                name = participant.join.name
                speaker.chat.refuse(f"{name} has too much to read, and misses that.")

    def _show(self, viewer: Participant, shown: Participant) -> None:
        seat = viewer.seats.take(shown.join.name)
        self._seats[viewer, shown] = seat
        for kind, track in zip(KINDS, seat.tracks, strict=True):
            track.show(shown.relay(kind))
        viewer.seats.tell(viewer.send)


@dataclass
class Rooms:
    """
    All rooms. One exists for as long as somebody is in it.
    """

    rooms: dict[str, Room] = field(default_factory=dict)

    def enter(self, participant: Participant) -> Participant | None:
        """
        Let somebody in.

        :return: Who was there with the same identity, and is not any more.
        :raises BadMessageError: if there is no place.
        """
        join = participant.join
        room = self.rooms.get(join.room)
        if room is None:
            if len(self.rooms) >= MAX_ROOMS:
                raise BadMessageError("no-room", "There are too many rooms already.")
            room = self.rooms[join.room] = Room()
        previous = room.participants.get(join.identity)
        if previous is not None:
            room.remove(previous)
        elif len(room.participants) >= MAX_PARTICIPANTS:
            raise BadMessageError(
                "full", f"Room {join.room} is full: {MAX_PARTICIPANTS} are in it."
            )
        room.add(participant)
        return previous

    def leave(self, participant: Participant) -> None:
        """
        Let somebody out, who may have been replaced already.
        """
        room = self.rooms.get(participant.join.room)
        if room is not None:
            room.remove(participant)
            if not room.participants:
                del self.rooms[participant.join.room]
