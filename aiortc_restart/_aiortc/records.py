"""
What of a DTLS handshake is given to OpenSSL, which ends the handshake for whatever it
cannot make sense of. No record is authentic before the keys are there, so a record that
no peer would send is discarded instead (RFC 6347 section 4.1.2.7).
"""

import struct

ALERT = 21
CLIENT_HELLO = 1
CHANGE_CIPHER_SPEC = 20
HANDSHAKE = 22

RECORD_HEADER = struct.Struct("!BHHIHH")
"Type, version, epoch, sequence number (48 bits), length (RFC 6347 section 4.1)."

MESSAGE_HEADER_LENGTH = 12
"That of a handshake message (RFC 6347 section 4.2.2)."

LONGEST_MESSAGE = 0x4000
"More than any chain of certificates in a call needs, in bytes."

# The messages that each side sends before the keys change (RFC 6347 section 4.2.4, RFC
# 5246 section 7.4).
CLIENT_MESSAGES = frozenset({1, 11, 15, 16})
SERVER_MESSAGES = frozenset({0, 2, 3, 4, 11, 12, 13, 14, 22})


def acceptable(data: bytes, is_server: bool) -> tuple[bytes, bool]:
    """
    Return the records of a datagram which may be part of a handshake, and whether an
    alert was among the others.

    :param is_server: Whether this is the server's side.
    """
    accepted, alerted, pos = b"", False, 0
    while pos + RECORD_HEADER.size <= len(data):
        kind, version, epoch, _, _, length = RECORD_HEADER.unpack_from(data, pos)
        begin = pos + RECORD_HEADER.size
        body = data[begin : begin + length]
        if version >> 8 != 0xFE or len(body) != length:
            break
        if epoch > 0 or (
            (kind == CHANGE_CIPHER_SPEC and body == b"\x01")
            or (
                kind == HANDSHAKE
                and _is_message(body, CLIENT_MESSAGES if is_server else SERVER_MESSAGES)
            )
        ):
            # OpenSSL authenticates what is of a later epoch.
            accepted += data[pos : begin + length]
        alerted |= epoch == 0 and kind == ALERT
        pos = begin + length
    return accepted, alerted


def renumbered(data: bytes, number: int) -> tuple[bytes, int]:
    """
    Number the records which nobody has signed in the order in which they are given to
    OpenSSL, and return the next number, too. A forged one with a high number would make
    OpenSSL take all that follow for old ones.

    :param data: Acceptable records.
    :param number: The number of the first one.
    """
    result, pos = b"", 0
    while pos < len(data):
        end = (
            pos + RECORD_HEADER.size + int.from_bytes(data[pos + 11 : pos + 13], "big")
        )
        record = data[pos:end]
        if record[3:5] == b"\x00\x00":
            record = record[:5] + number.to_bytes(6, "big") + record[11:]
            number += 1
        result += record
        pos = end
    return result, number


def client_random(data: bytes) -> bytes | None:
    """
    Return the random bytes of the ClientHello with which a datagram begins, or `None`
    (RFC 6347 section 4.2.1).
    """
    begin = RECORD_HEADER.size + MESSAGE_HEADER_LENGTH + 2
    is_hello = (
        len(data) >= begin + 32
        and data[0] == HANDSHAKE
        and data[3:5] == b"\x00\x00"
        and data[RECORD_HEADER.size] == CLIENT_HELLO
        # Later fragments of it have other bytes there.
        and data[RECORD_HEADER.size + 6 : RECORD_HEADER.size + 9] == bytes(3)
    )
    return data[begin : begin + 32] if is_hello else None


def _is_message(body: bytes, kinds: frozenset[int]) -> bool:
    """
    Tell whether a record consists of fragments of handshake messages.
    """
    pos = 0
    while pos < len(body):
        header = body[pos : pos + MESSAGE_HEADER_LENGTH]
        if len(header) != MESSAGE_HEADER_LENGTH or header[0] not in kinds:
            return False
        length = int.from_bytes(header[1:4], "big")
        offset = int.from_bytes(header[6:9], "big")
        fragment = int.from_bytes(header[9:12], "big")
        if length > LONGEST_MESSAGE or offset + fragment > length:
            return False
        pos += MESSAGE_HEADER_LENGTH + fragment
    return pos == len(body) and pos > 0
