"""
The picture of a call.
"""

from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from .accounts import Timeline
from .call import Record


@dataclass
class Mark:
    """
    A moment to be shown.
    """

    at: float
    "In seconds of the event loop's clock."

    text: str


def draw_timeline(record: Record, path: Path) -> None:
    """
    Draw the bytes which each peer received over time, with the restarts marked.

    :param record: The :class:`Record` of the call.
    :param path:   Where to write the PNG file.
    """
    marks = [Mark(x.at, f"restart by {x.by}") for x in record.restarts]
    draw(record.timelines, marks, record.start, path)


def draw(
    timelines: dict[str, Timeline], marks: list[Mark], start: float, path: Path
) -> None:
    """
    Draw the bytes which each peer received over time.

    :param timelines: What they received, by name.
    :param marks:     What happened, and when.
    :param start:     When the call was up, on the event loop's clock.
    :param path:      Where to write the PNG file.
    """
    # A figure of its own, not pyplot's, needs neither a display nor global state.
    figure = Figure(figsize=(10, 5), layout="constrained")
    plots = figure.subplots(len(timelines), 1, sharex=True, squeeze=False)
    for plot, (name, timeline) in zip(plots[:, 0], timelines.items(), strict=True):
        times = [time - start for time in timeline.times]
        plot.fill_between(times, timeline.counts, step="mid", alpha=0.6)
        plot.set_ylabel(f"{name}: bytes in 50 ms")
        plot.set_ylim(bottom=0)
        for mark in marks:
            plot.axvline(mark.at - start, color="tab:red", linestyle="--")
    for mark in marks:
        plots[0, 0].annotate(
            f" {mark.text}",
            (mark.at - start, 1),
            xycoords=("data", "axes fraction"),
            va="bottom",
            ha="center",
            color="tab:red",
        )
    plots[-1, 0].set_xlabel("seconds since the call is up")

    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
