"""
The base's tests pass with our classes in place of the base's.
"""

import pytest

from .known_differences import KNOWN_DIFFERENCES
from .runner import FILES, Report, Result, Suite

#: As many as aiortc 1.16.0 has in these files.
FEWEST = 162

#: The classes which a file is there to test, as far as we replace them.
TESTED = {
    "test_ortc.py": {"RTCIceGatherer", "RTCIceTransport"},
    "test_rtcicetransport.py": {"RTCIceGatherer", "RTCIceTransport"},
    "test_rtcpeerconnection.py": {"RTCConfiguration", "RTCPeerConnection"},
}

pytestmark = pytest.mark.upstream


def test_accidents(report: Report) -> None:
    """
    No process which runs the base's tests crashes or hangs, not even at its end.
    """
    assert report.accidents == []


def test_known_differences_exist(suite: Suite) -> None:
    """
    Each known difference names a test which exists, and has a reason.
    """
    assert set(KNOWN_DIFFERENCES) <= set(suite.ids)
    assert all(reason.strip() for reason in KNOWN_DIFFERENCES.values())


def test_substitution(report: Report, suite: Suite) -> None:
    """
    The files test our classes, and no object of a class which we replace is made.
    """
    files = {test_id.partition("::")[0] for test_id in report.results}
    for name in files & set(TESTED):
        assert report.replaced.get(name, set()) >= TESTED[name]
    for name in ("RTCIceGatherer", "RTCIceTransport", "RTCPeerConnection"):
        assert report.made[name, "stock"] == 0
        # A selection of tests may make none at all.
        if report.results.keys() == set(suite.ids):
            assert report.made[name, "ours"] > 0


def test_suite_is_complete(suite: Suite) -> None:
    """
    No file and no test of the base's is missing.
    """
    assert len(set(suite.ids)) == len(suite.ids) >= FEWEST
    assert {test_id.partition("::")[0] for test_id in suite.ids} == set(FILES)


def test_upstream(report: Report, upstream_id: str) -> None:
    """
    A test of the base's passes, or fails as a known difference.
    """
    judge(report.results[upstream_id], KNOWN_DIFFERENCES.get(upstream_id))


def judge(result: Result, reason: str | None) -> None:
    """
    End the running test of ours as a test of the base's should have ended.

    :param result: How the test of the base's ended.
    :param reason: Why it is meant to fail, or `None`.
    """
    if result.outcome == "failed" and reason is not None:
        pytest.xfail(reason)
    if result.outcome != "passed":
        pytest.fail(f"{result.outcome}: {result.text}", pytrace=False)
    if reason is not None:
        pytest.fail(f"passes, but is a known difference: {reason}", pytrace=False)


@pytest.mark.parametrize(
    "outcome, reason, wanted",
    [
        ("failed", "differs", pytest.xfail.Exception),
        ("failed", None, pytest.fail.Exception),
        ("passed", "differs", pytest.fail.Exception),
        ("skipped", "differs", pytest.fail.Exception),
        ("skipped", None, pytest.fail.Exception),
    ],
)
def test_judge(outcome: str, reason: str | None, wanted: type[BaseException]) -> None:
    """
    Nothing but a pass, or the failure of a known difference, is accepted.
    """
    # A known difference raises what is a subclass of a failure.
    with pytest.raises(wanted) as caught:
        judge(Result(outcome), reason)
    assert caught.type is wanted
