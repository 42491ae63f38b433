import asyncio

import aioice.stun

from .stun import Address

PACING = 0.02
"How far apart checks begin, in seconds: as in aioice (RFC 8445 section 14.2)."

TRANSMISSIONS = 1 + aioice.stun.RETRY_MAX
"How often a check is sent at most (RFC 8445 section 14.3)."

HOST_TRANSMISSIONS = 100 * TRANSMISSIONS
"How often the ports of one IP address that has never answered are checked in a minute."

BUDGET_TIME = 60.0
"How long, in seconds, what was sent to an address counts."

MAX_ADDRESSES = 4096
"How many addresses are remembered: four restarts with all their pairs fit in easily."

Key = tuple[str, Address] | str


class Pacing:
    """
    Bounds the connectivity checks of a connection: of all its transports, generations
    and candidate pairs together, because the peer chooses whom they are sent to (RFC
    8445 section 19.5.1).
    """

    def __init__(self) -> None:
        self._answered: dict[Address, None] = {}
        self._forgot = self._last = float("-inf")
        self._sent: dict[Key, tuple[float, int]] = {}
        self._turns = asyncio.Lock()

    @property
    def ready(self) -> bool:
        """
        Whether a check may begin now.
        """
        now = asyncio.get_running_loop().time()
        return not self._turns.locked() and now >= self._last + PACING

    def allows(self, base: str, address: Address) -> bool:
        """
        Take note that a check is to be sent, and tell whether it may be: an address
        that has never answered gets no more than the transmissions of one check a
        minute from each of ours, however many pairs and restarts there are.

        :param base: The address, without the port, from which it is sent.
        :param address: The address to which it is sent.
        """
        if address in self._answered:
            return True
        now = asyncio.get_running_loop().time()
        if len(self._sent) >= MAX_ADDRESSES and now >= self._forgot + 1.0:
            self._forget(now)
        budgets: list[tuple[Key, int]] = [
            ((base, address), TRANSMISSIONS),
            (address[0], HOST_TRANSMISSIONS),
        ]
        counts = []
        for key, limit in budgets:
            began, count = self._sent.get(key, (now, 0))
            if now >= began + BUDGET_TIME:
                began, count = now, 0
            if count >= limit or (
                key not in self._sent and len(self._sent) >= MAX_ADDRESSES
            ):
                return False
            counts.append((key, (began, count + 1)))
        self._sent.update(counts)
        return True

    def answered(self, address: Address) -> None:
        """
        Take note that an authentic response has come from an address.
        """
        self._answered[address] = None
        if len(self._answered) > MAX_ADDRESSES:
            del self._answered[next(iter(self._answered))]

    async def turn(self) -> None:
        """
        Wait until a check may begin.
        """
        loop = asyncio.get_running_loop()
        async with self._turns:
            delay = self._last + PACING - loop.time()
            if delay > 0:
                await asyncio.sleep(delay)
            self._last = loop.time()

    def _forget(self, now: float) -> None:
        self._forgot = now
        self._sent = {
            key: (began, count)
            for key, (began, count) in self._sent.items()
            if now < began + BUDGET_TIME
        }
