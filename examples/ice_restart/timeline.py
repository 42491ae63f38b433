"""
The picture of a call.
"""

from pathlib import Path

from matplotlib.figure import Figure

from .call import Record


def draw_timeline(record: Record, path: Path) -> None:
    """
    Draw the bytes which each peer received over time, with the restarts marked.

    :param record: The :class:`Record` of the call.
    :param path:   Where to write the PNG file.
    """
    # A figure of its own, not pyplot's, needs neither a display nor global state.
    figure = Figure(figsize=(10, 5), layout="constrained")
    plots = figure.subplots(len(record.timelines), 1, sharex=True, squeeze=False)
    for plot, (name, timeline) in zip(
        plots[:, 0], record.timelines.items(), strict=True
    ):
        times = [time - record.start for time in timeline.times]
        plot.fill_between(times, timeline.counts, step="mid", alpha=0.6)
        plot.set_ylabel(f"{name}: bytes in 50 ms")
        plot.set_ylim(bottom=0)
        for restart in record.restarts:
            plot.axvline(restart.at - record.start, color="tab:red", linestyle="--")
    for restart in record.restarts:
        plots[0, 0].annotate(
            f" restart by {restart.by}",
            (restart.at - record.start, 1),
            xycoords=("data", "axes fraction"),
            va="bottom",
            ha="center",
            color="tab:red",
        )
    plots[-1, 0].set_xlabel("seconds since the call is up")

    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
