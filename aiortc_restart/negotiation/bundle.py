from collections.abc import Callable, Iterable

from aiortc.sdp import GroupDescription, SessionDescription

# What a transport is made of, and what the BUNDLE-tag section therefore decides.
TRANSPORT_ATTRIBUTES = ("ice", "ice_candidates", "ice_candidates_complete")


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


def share_tag_section(
    description: SessionDescription, owners: Iterable[str] = ()
) -> Callable[[], None]:
    """
    Give all sections of the BUNDLE group the transport of the BUNDLE-tag section.

    Candidates elsewhere lead to sockets that die with the answer (Firefox), or are
    missing (libwebrtc), and credentials may be missing there too (RFC 9429 section
    3.5.1).

    :param owners: The mids whose transport is shared already, of which the base expects
                   one to be the BUNDLE-tag.
    :return: A function which has the description say again what it said.
    """
    sections = {media.rtp.muxId: media for media in description.media}
    # The base would take an unknown BUNDLE-tag for a transport, and have none.
    mids = [x for x in bundled_mids(description) if x in sections]
    if not mids:
        return lambda: None
    tag = sections[mids[0]]
    groups = description.group
    said = []
    for mid in mids[1:]:
        media = sections[mid]
        said.append((media, {x: getattr(media, x) for x in TRANSPORT_ATTRIBUTES}))
        for name in TRANSPORT_ATTRIBUTES:
            setattr(media, name, getattr(tag, name))
    set_bundled_mids(description, sorted(mids, key=lambda x: x not in set(owners)))

    def restore() -> None:
        description.group = groups
        for media, attributes in said:
            for name, value in attributes.items():
                setattr(media, name, value)

    return restore
