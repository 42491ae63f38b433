"""
What is told at the end.
"""

from ..ice_restart.messages import longest_gap
from ..ice_restart.report import print_table
from .story import Record


def print_report(record: Record) -> bool:
    """
    Print for how long nothing came, and whether everything came in the end, and return
    the latter.
    """
    names = list(record.arrivals)
    ends = [x.at for x in record.marks[1:]]
    ends.append(max(x.times[-1] for x in record.timelines.values()))
    print()
    print_table(
        ["after this", *(f"{x} heard nothing for" for x in names)],
        [
            [
                mark.text,
                *(
                    f"{longest_gap(arrivals, mark.at, end) * 1000:.0f} ms"
                    for arrivals in record.arrivals.values()
                ),
            ]
            for mark, end in zip(record.marks, ends, strict=True)
        ],
    )
    print()
    print_table(
        ["from", "messages sent", "received"],
        [
            [name, str(record.sent[name]), str(record.received[other])]
            for name, other in zip(names, reversed(names), strict=True)
        ],
    )
    print()
    return all(
        record.sent[name] == record.received[other]
        for name, other in zip(names, reversed(names), strict=True)
    )
