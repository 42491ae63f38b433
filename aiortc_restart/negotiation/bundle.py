from collections.abc import Iterable

from aiortc.sdp import GroupDescription, SessionDescription


def bundled_mids(description: SessionDescription | None) -> list[str]:
    """
    Return the identification-tags of the BUNDLE group, of which the first is the
    BUNDLE-tag (RFC 9143 section 7).
    """
    groups = description.group if description is not None else []
    for group in groups:
        if group.semantic == "BUNDLE":
            # A tag that comes twice would make aiortc bundle the section with itself.
            return list(dict.fromkeys(str(x) for x in group.items))
    return []


def set_bundled_mids(description: SessionDescription, mids: Iterable[str]) -> None:
    """
    Replace the BUNDLE group; without any identification-tag, there is none.
    """
    description.group = [x for x in description.group if x.semantic != "BUNDLE"]
    items: list[int | str] = [*mids]
    if items:
        description.group.append(GroupDescription(semantic="BUNDLE", items=items))


def negotiated_mids(
    local: SessionDescription | None, remote: SessionDescription | None
) -> list[str]:
    """
    Return the identification-tags of the BUNDLE group that has been negotiated, of
    which the first is the BUNDLE-tag: the answer has the last word (RFC 9143 section
    7.3).
    """
    if local is None or remote is None:
        return []
    offer, answer = local, remote
    if local.type == "answer":
        offer, answer = remote, local
    offered = {*bundled_mids(offer)}
    return [x for x in bundled_mids(answer) if x in offered]
