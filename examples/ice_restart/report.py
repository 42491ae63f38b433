"""
What is told at the end of a call.
"""

from .call import Record


def print_report(record: Record) -> None:
    """
    Print what the restarts did, and what became of the traffic.

    :param record: The :class:`Record` of the call.
    """
    print()
    print_table(
        [
            "restart by",
            "peer",
            "ufrag before",
            "after",
            "pair before",
            "after",
            "switch ms",
            "longest gap ms",
        ],
        [
            [
                restart.by,
                switch.peer,
                switch.before.ufrag,
                switch.after.ufrag,
                switch.before.pair,
                switch.after.pair,
                f"{(switch.after.since - restart.at) * 1000:.1f}",
                f"{switch.longest_gap * 1000:.1f}",
            ]
            for restart in record.restarts
            for switch in restart.switches
        ],
    )
    print()
    print_table(
        [
            "from",
            "messages sent",
            "received",
            "lost",
            "RTP packets sent",
            "lost",
            "datagrams sent",
            "lost",
            "longest gap ms",
        ],
        [
            [
                x.sender,
                str(x.messages_sent),
                str(x.messages_received),
                str(x.messages_sent - x.messages_received),
                str(x.rtp_sent),
                str(x.rtp_lost),
                str(x.datagrams_sent),
                str(x.datagrams_sent - x.datagrams_received),
                f"{x.longest_gap * 1000:.1f}",
            ]
            for x in record.traffic
        ],
    )
    print()


def print_table(header: list[str], rows: list[list[str]]) -> None:
    """
    Print rows below a header, in columns as wide as their widest cell.

    :param header: The titles of the columns.
    :param rows:   The cells, row by row.
    """
    widths = [
        max(len(cell) for cell in column) for column in zip(header, *rows, strict=True)
    ]
    for row in [header, ["-" * width for width in widths], *rows]:
        line = "  ".join(
            cell.ljust(width) for cell, width in zip(row, widths, strict=True)
        )
        print(line.rstrip())
