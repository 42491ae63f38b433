"""
What a page may say: each message is a JSON object with one member, which names it.
"""

import json
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aiortc_restart import RTCIceCandidate, RTCSessionDescription

from .picture import FILTERS

Message = dict[str, Any]

MAX_FEEDBACK = 2000
"Pairs of codec and feedback, of which few lines make many. Chromium's has 115."

MAX_LENGTH = 32 * 1024
"Bytes of a message. Chromium's longest has 10,505 with two others in its room."

MAX_LINES = 2000
"Lines of a description. Chromium's has 329 when there are two others in its room."

MAX_SECTIONS = 12
"M-sections of a description. A full room has 9."

MAX_OUTAGE = 60.0
"Seconds."

ROOM = re.compile(r"[a-z0-9-]{1,32}")
IDENTITY = re.compile(r"[A-Za-z0-9-]{8,64}")


class BadMessageError(Exception):
    """
    A message that is not taken. It says what is wrong, in words for the page.

    :param code: A short name of it.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Join:
    room: str
    identity: str = field(repr=False)
    "Known to one browser only."

    name: str
    "Shown to the others."


@dataclass(frozen=True)
class Candidate:
    candidate: RTCIceCandidate | None


@dataclass(frozen=True)
class Restart:
    """A wish for a restart of ICE by the server."""


@dataclass(frozen=True)
class Cut:
    seconds: float


@dataclass(frozen=True)
class Filter:
    name: str


Request = Join | RTCSessionDescription | Candidate | Restart | Cut | Filter


def parse(text: str) -> Request:
    """
    Read a message.

    :raises BadMessageError: if it is none.
    """
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        raise BadMessageError("bad-json", "A message must be JSON.") from None
    if not isinstance(message, dict) or len(message) != 1:
        raise BadMessageError(
            "bad-message", "A message must be an object with one member."
        )
    [(name, value)] = message.items()
    readers: dict[str, Callable[[Any], Request]] = {
        "candidate": _candidate,
        "cut": _cut,
        "description": _description,
        "filter": _filter,
        "join": _join,
        "restart": lambda _: Restart(),
    }
    if name not in readers:
        raise BadMessageError("bad-message", "There is no message of that name.")
    return readers[name](value)


def _candidate(value: Any) -> Candidate:
    try:
        return Candidate(RTCIceCandidate.fromJSON(value))
    except ValueError as exc:
        raise BadMessageError("bad-candidate", str(exc)) from None


def _cut(value: Any) -> Cut:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 < value <= MAX_OUTAGE:
        raise BadMessageError(
            "bad-cut", f"The network is cut for more than 0 and up to {MAX_OUTAGE} s."
        )
    return Cut(float(value))


def _description(value: Any) -> RTCSessionDescription:
    kind, sdp = _members(value, "type", "sdp")
    if kind not in ("offer", "answer"):
        raise BadMessageError(
            "bad-description", "A description must be an offer or an answer."
        )
    if not sdp.startswith("v=0"):
        raise BadMessageError("bad-description", "A description must be SDP.")
    if len(re.findall(r"^m=", sdp, re.MULTILINE)) > MAX_SECTIONS:
        raise BadMessageError(
            "bad-description", f"A description has at most {MAX_SECTIONS} m-sections."
        )
    if len(sdp.splitlines()) > MAX_LINES:
        raise BadMessageError(
            "bad-description", f"A description has at most {MAX_LINES} lines."
        )
    if _feedback(sdp) > MAX_FEEDBACK:
        raise BadMessageError(
            "bad-description", f"Codecs have at most {MAX_FEEDBACK} kinds of feedback."
        )
    return RTCSessionDescription(sdp=sdp, type=kind)


def _feedback(sdp: str) -> int:
    """
    Count the pairs of codec and feedback, which few lines can make many of.
    """
    total = 0
    for section in re.split(r"^m=", sdp, flags=re.MULTILINE):
        codecs = Counter(re.findall(r"^a=rtpmap:(\d+)", section, re.MULTILINE))
        for which in re.findall(r"^a=rtcp-fb:(\S+)", section, re.MULTILINE):
            total += codecs.total() if which == "*" else codecs[which]
    return total


def _filter(value: Any) -> Filter:
    if value not in FILTERS:
        raise BadMessageError("bad-filter", f"A filter is one of {FILTERS}.")
    return Filter(value)


def _join(value: Any) -> Join:
    room, identity, name = _members(value, "room", "identity", "name")
    if not ROOM.fullmatch(room):
        raise BadMessageError(
            "bad-room",
            "There is no such room: a name has up to 32 of a-z, 0-9 and the hyphen.",
        )
    if not IDENTITY.fullmatch(identity):
        raise BadMessageError(
            "bad-identity", "An identity has 8 to 64 letters, digits or hyphens."
        )
    if not 0 < len(name) <= 24 or not name.isprintable():
        raise BadMessageError("bad-name", "A name has 1 to 24 visible characters.")
    return Join(room, identity, name)


def _members(value: Any, *names: str) -> list[str]:
    found = [value.get(x) for x in names] if isinstance(value, dict) else []
    if not found or not all(isinstance(x, str) for x in found):
        raise BadMessageError(
            "bad-message", f"These members must be strings: {', '.join(names)}."
        )
    return [str(x) for x in found]
