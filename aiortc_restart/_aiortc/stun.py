import aioice.stun
import aioice.turn


class StunMessage(aioice.stun.Message):
    """
    aioice's message, with what was signed of it, and the attributes that it has beyond
    those which aioice knows.

    :param signed: What the MESSAGE-INTEGRITY attribute covers, or `None` without one.
    :param unknown: The types of the comprehension-required attributes that aioice does
                    not know (RFC 8489 section 14).
    """

    def __init__(
        self,
        message_method: aioice.stun.Method,
        message_class: aioice.stun.Class,
        transaction_id: bytes,
        attributes: dict[str, object],
        signed: bytes | None,
        unknown: tuple[int, ...],
    ) -> None:
        super().__init__(message_method, message_class, transaction_id, attributes)
        self._integrity_data = signed
        self.unknown = unknown
