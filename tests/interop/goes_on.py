"""
What is left of a call when some of it has been rejected.
"""

from .call import Call, Snapshot


async def goes_on(call: Call, only_to: str | None = None) -> None:
    """
    Wait until pictures and messages which come from now on have arrived at both ends.

    :param only_to: To which end pictures come, if not to both, `"local"` or `"remote"`.
    """
    before = await call.snapshot()

    def has_arrived(now: Snapshot) -> bool:
        # A browser counts anew when it receives through new objects.
        decoded = now.remote["framesDecoded"]
        counted = {
            "local": now.local_frames["video"] >= before.local_frames["video"] + 3,
            "remote": decoded not in range(before.remote["framesDecoded"] + 3),
        }
        return (
            all(y for x, y in counted.items() if only_to in (None, x))
            and now.local_received >= before.local_received + 10
            and now.remote["received"] >= before.remote["received"] + 10
        )

    await call.until(has_arrived)
