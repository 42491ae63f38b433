"""
How big a description may be. It is measured before anything parses it, as aiortc's
parser takes a time that is quadratic in some of its parts, and repeats parts of the
session in each m-section.

Browsers and SFUs stay far below each limit: an offer of Chromium's has about 250 lines
and 50 codecs for a video m-section, and an SFU may send some hundred m-sections.
"""

from collections import Counter
from dataclasses import dataclass
from itertools import pairwise

MAX_BYTES = 4 * 1024 * 1024
"How many bytes a description may have, as UTF-8."

MAX_CANDIDATES = 500
"How many candidates an m-section may have. A transport uses a hundred of them."

MAX_FEEDBACK = 200_000
"""
How many feedback messages a description may give to its codecs. An `a=rtcp-fb:*` line
gives one to each codec of its m-section.
"""

MAX_FINGERPRINTS = 32
"How many `a=fingerprint` lines the session part, or an m-section, may have."

MAX_LINE_LENGTH = 65_536
"""
How many characters a line may have. The longest legitimate ones name all m-sections
(`a=group:BUNDLE`) or all streams (`a=msid-semantic`).
"""

MAX_LINES = 5000
"How many lines the session part, or an m-section, may have."

MAX_LINES_TOGETHER = 200_000
"How many lines a description may have."

MAX_LOOKUPS = 2_000_000
"""
How often aiortc's parser may have to compare a payload type, or an SSRC, with the ones
before: the `a=rtpmap` lines of an m-section times its `a=rtcp-fb` and `a=fmtp` lines,
and its SSRCs times its `a=ssrc` lines, summed over the m-sections. An `a=rtcp-fb:*`
line that an m-section repeats counts once, and is parsed once.
"""

MAX_REPEATED = 8 * 1024 * 1024
"""
How many characters aiortc may have to repeat when it shows the description: those of
the session part's `a=fingerprint` and `a=ice-options` lines for each m-section, and
those of an `a=rtcp-fb:*` line for each codec.
"""

MAX_SECTIONS = 2000
"How many m-sections a description may have."

SMALL = 10_000
"""
How many bytes a description may have so that it costs little, whatever it says. Nothing
is measured then but what each connection keeps: fingerprints and candidates.
"""

FOR_ALL = "a=rtcp-fb:* "
"The beginning of a line which says what feedback all codecs of an m-section have."


@dataclass
class _Size:
    """
    What the parts of a description cost together.
    """

    feedback: int = 0
    lookups: int = 0
    repeated: int = 0

    def add(self, what: str, lines: list[str]) -> None:
        """
        Measure the session part, or an m-section.

        :param what: How a message is to call the part.

        :raises ValueError: if there is more of anything than the part may have.
        """
        _check(what, "lines", len(lines), MAX_LINES)
        _check("a line", "characters", max(map(len, lines), default=0), MAX_LINE_LENGTH)
        counts = Counter(x.partition(":")[0] for x in lines)
        codecs, ssrcs = counts["a=rtpmap"], counts["a=ssrc"]
        _check(what, "candidates", counts["a=candidate"], MAX_CANDIDATES)
        _check(what, "fingerprints", counts["a=fingerprint"], MAX_FINGERPRINTS)
        self.lookups += codecs * counts["a=fmtp"]
        if counts["a=rtcp-fb"]:
            self._add_feedback(lines, codecs)
        if ssrcs:
            sources = {x.partition(" ")[0] for x in lines if x.startswith("a=ssrc:")}
            self.lookups += ssrcs * len(sources)

    def check(self) -> None:
        """
        :raises ValueError: if all parts together cost more than allowed.
        """
        _check(
            "a description",
            "comparisons of payload types (rtpmap times rtcp-fb lines) or SSRCs",
            self.lookups,
            MAX_LOOKUPS,
        )
        _check(
            "a description",
            "feedback messages (rtpmap lines times rtcp-fb lines)",
            self.feedback,
            MAX_FEEDBACK,
        )
        _check(
            "a description",
            "characters which are repeated for each m-section or codec",
            self.repeated,
            MAX_REPEATED,
        )

    def _add_feedback(self, lines: list[str], codecs: int) -> None:
        """
        Count what aiortc's parser makes of the feedback which an m-section has for its
        codecs, of which several may have one payload type.
        """
        known = Counter(_payload_type(x) for x in lines if x.startswith("a=rtpmap:"))
        seen = set()
        for line in lines:
            if line.startswith(FOR_ALL) and line not in seen:
                seen.add(line)
                copies = codecs
            elif line.startswith("a=rtcp-fb:") and not line.startswith(FOR_ALL):
                copies = known[_payload_type(line)]
            else:
                continue
            self.lookups += codecs
            self.feedback += copies
            self.repeated += max(copies - 1, 0) * len(line)


def check_description(sdp: str) -> None:
    """
    Check the size of a description, in a time that is linear in it.

    :raises ValueError: if it is over a limit, or is no text that can be sent.
    """
    if not isinstance(sdp, str):
        raise ValueError(f"A description must be text, not {type(sdp).__name__}")
    # What can be counted without making a copy comes first.
    _check("a description", "bytes", len(sdp), MAX_BYTES)
    _check("a description", "lines", sdp.count("\n"), MAX_LINES_TOGETHER)
    _check("a description", "m-sections", sdp.count("\nm="), MAX_SECTIONS)
    try:
        size_in_bytes = len(sdp.encode())
    except UnicodeEncodeError:
        # The codec's message would repeat the whole description.
        raise ValueError("A description has half of a surrogate pair") from None
    _check("a description", "bytes", size_in_bytes, MAX_BYTES)
    if (
        size_in_bytes <= SMALL
        and sdp.count("a=fingerprint") <= MAX_FINGERPRINTS
        and sdp.count("a=candidate") <= MAX_CANDIDATES
    ):
        return
    # aiortc's parser splits lines in this way, which is not only at line feeds.
    lines = sdp.splitlines()
    _check("a description", "lines", len(lines), MAX_LINES_TOGETHER)
    starts = [i for i, line in enumerate(lines) if line.startswith("m=")]
    _check("a description", "m-sections", len(starts), MAX_SECTIONS)

    session = lines[: starts[0]] if starts else lines
    size = _Size()
    size.add("the session part", session)
    for start, end in pairwise([*starts, len(lines)]):
        size.add("an m-section", lines[start:end])
    inherited = ("a=fingerprint:", "a=ice-options:")
    size.repeated += len(starts) * sum(
        len(x) for x in session if x.startswith(inherited)
    )
    size.check()


def _payload_type(line: str) -> str:
    """
    Return the payload type which a line begins with, as aiortc's parser compares it.
    """
    number = line.partition(":")[2].partition(" ")[0]
    try:
        return str(int(number))
    except ValueError:
        return number


def _check(what: str, unit: str, number: int, limit: int) -> None:
    if number > limit:
        raise ValueError(f"There are {number} {unit} in {what}, of at most {limit}")
