import aiortc
import pytest

import aiortc_restart

REPLACED = {
    "RTCConfiguration",
    "RTCIceCandidate",
    "RTCIceGatherer",
    "RTCIceTransport",
    "RTCPeerConnection",
    "RTCTransportStats",
}


def test_all() -> None:
    """
    All that aiortc exports is exported, and what is exported is there.
    """
    assert set(aiortc.__all__) <= set(aiortc_restart.__all__)
    for name in aiortc_restart.__all__:
        assert hasattr(aiortc_restart, name)


@pytest.mark.parametrize("name", sorted(set(aiortc.__all__) - REPLACED))
def test_same(name: str) -> None:
    """
    What is not replaced is aiortc's own object.
    """
    assert getattr(aiortc_restart, name) is getattr(aiortc, name)


@pytest.mark.parametrize("name", sorted(REPLACED))
def test_replaced(name: str) -> None:
    """
    A class which replaces one of aiortc's carries its name and is a subclass of it.
    """
    replacement, base = getattr(aiortc_restart, name), getattr(aiortc, name)
    assert replacement is not base
    assert issubclass(replacement, base)
    assert replacement.__name__ == name


def test_star_import() -> None:
    """
    `from aiortc_restart import *` is what one changed import line may be.
    """
    names: dict[str, object] = {}
    exec("from aiortc_restart import *", names)
    assert names["RTCPeerConnection"] is aiortc_restart.RTCPeerConnection
    assert set(aiortc.__all__) <= set(names)
