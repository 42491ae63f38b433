"""
What ten restarts do to a call with sound, picture and 200 messages a second.
"""

import contextlib
import io
import statistics
import tempfile
from pathlib import Path

from examples.ice_restart.accounts import Traffic
from examples.ice_restart.call import hold_call
from examples.ice_restart.media import write_video

from .harness import Row

LIMIT = 30.0
"Milliseconds by which the longest gap may exceed that of a call without restarts."

PAUSE = 0.3
"Seconds before and after each restart."

RESTARTS = 10


async def run(quick: bool) -> list[Row]:
    """
    Hold calls with restarts and calls without, in turn.

    :param quick: Whether fewer rounds shall do.
    :rtype: list[Row]
    """
    plain, restarted = [], []
    with tempfile.TemporaryDirectory() as directory:
        video = Path(directory) / "video.webm"
        write_video(video, seconds=(RESTARTS + 1) * PAUSE + 10)
        for _ in range(2 if quick else 5):
            # The restarts themselves take some 10 ms each.
            plain.append(await hold(video, 0, (RESTARTS + 1) * PAUSE + 0.1))
            restarted.append(await hold(video, RESTARTS, PAUSE))

    messages = sum(x.messages_sent - x.messages_received for y in restarted for x in y)
    packets = sum(x.rtp_lost for y in restarted for x in y)
    datagrams = sum(
        x.datagrams_sent - x.datagrams_received for y in restarted for x in y
    )
    sent = sum(x.messages_sent for y in restarted for x in y)
    rtp_sent = sum(x.rtp_sent for y in restarted for x in y)
    gaps = [gap(x) for x in restarted]
    usual = [gap(x) for x in plain]
    more = statistics.median(gaps) - statistics.median(usual)
    what = f"{RESTARTS} restarts a call, {len(gaps)} calls: "
    return [
        Row(f"{what}messages lost of {sent}", str(messages), "0", not messages),
        Row(f"{what}RTP packets lost of {rtp_sent}", str(packets), "0", not packets),
        Row(f"{what}datagrams lost", str(datagrams), "0", not datagrams),
        Row(
            f"{what}longest gap, ms (without restarts {statistics.median(usual):.1f})",
            f"{statistics.median(gaps):.1f} (worst {max(gaps):.1f})",
            f"+{LIMIT:.0f}",
            more <= LIMIT,
        ),
    ]


def gap(call: list[Traffic]) -> float:
    """
    Find the longest time without a message, in either direction.

    :param call: The :class:`Traffic` of both directions.
    :return: The time in milliseconds.
    :rtype: float
    """
    return max(traffic.longest_gap for traffic in call) * 1000


async def hold(video: Path, restarts: int, seconds: float) -> list[Traffic]:
    """
    Hold a call without a word.

    :param video:    The file which both peers send.
    :param restarts: How often to restart ICE.
    :param seconds:  How long to wait before the first restart and after each.
    :rtype: list[Traffic]
    """
    with contextlib.redirect_stdout(io.StringIO()):
        record = await hold_call(video, restarts, seconds)
    return record.traffic
