import importlib.metadata
import re
from collections.abc import Callable

import aioice.ice
import aioice.stun
import aioice.turn
import aiortc.jitterbuffer
import aiortc.rate
import aiortc.rtcrtpreceiver
import aiortc.rtcrtptransceiver

REQUIREMENTS = {"aiortc": ((1, 16), (1, 17)), "aioice": ((0, 13), (0, 14))}

# What this file uses of each class: methods by their names, and the slots which the
# constructor fills.
PRIVATE_NAMES: list[tuple[type, list[str]]] = [
    (
        aioice.ice.Connection,
        "_add_remote_candidate _check_list _check_periodic _closing _components "
        "_early_checks _early_checks_done _end_remote_candidates "
        "_local_candidates _local_candidates_end _local_password _local_username "
        "_nominated _nominating "
        "_pair_remote_candidate _protocols _prune_components _query_consent_task "
        "_remote_candidates _remote_candidates_end "
        "_remote_candidates_resolving _tie_breaker _transport_policy _valid_username "
        "build_request check_complete check_incoming close connect "
        "data_received gather_candidates get_component_candidates "
        "protocol_lost query_consent request_received sort_check_list "
        "switch_role".split(),
    ),
    (aioice.turn.TurnTransport, ["_connect"]),
    (aioice.stun.Transaction, ["response_received"]),
    (
        aiortc.RTCIceGatherer,
        ["_RTCIceGatherer__setState", "_RTCIceGatherer__state", "_connection"],
    ),
    (
        aiortc.RTCIceTransport,
        "_RTCIceTransport__state _connection _recv _role_set _send".split(),
    ),
    (
        aiortc.RTCDtlsTransport,
        "_RTCDtlsTransport__handshake_done _RTCDtlsTransport__local_certificate "
        "_RTCDtlsTransport__rx_bytes _RTCDtlsTransport__rx_packets "
        "_RTCDtlsTransport__tx_bytes _RTCDtlsTransport__tx_packets _data_receiver "
        "_do_handshake _get_stats _handle_rtcp_data _handle_rtp_data _recv_next _role "
        "_register_data_receiver _register_rtp_receiver _register_rtp_sender "
        "_rtp_router _rx_srtp _send_data _send_rtp _set_role _set_state "
        "_srtp_profiles _ssl _state _stats_id _unregister_data_receiver "
        "_unregister_rtp_receiver _unregister_rtp_sender _write_ssl".split(),
    ),
    (
        aiortc.rtcrtptransceiver.RTCRtpTransceiver,
        "_RTCRtpTransceiver__stopped _bundled _codecs _get_mline_index "
        "_headerExtensions _offerDirection "
        "_preferred_codecs _setCurrentDirection _set_mid _set_mline_index".split(),
    ),
    (
        aiortc.RTCRtpSender,
        "_RTCRtpSender__encoder _RTCRtpSender__loop _RTCRtpSender__packet_count "
        "_RTCRtpSender__rtcp_exited _RTCRtpSender__rtp_header_extensions_map "
        "_RTCRtpSender__rtx_payload_type "
        "_enabled _next_encoded_frame "
        "_run_rtcp _send_keyframe".split(),
    ),
    (
        aiortc.RTCRtpReceiver,
        "_RTCRtpReceiver__active_ssrc _RTCRtpReceiver__codecs "
        "_RTCRtpReceiver__decoder_error _RTCRtpReceiver__decoder_queue "
        "_RTCRtpReceiver__decoder_thread "
        "_RTCRtpReceiver__jitter_buffer _RTCRtpReceiver__lsr _RTCRtpReceiver__lsr_time "
        "_RTCRtpReceiver__nack_generator _RTCRtpReceiver__remote_bitrate_estimator "
        "_RTCRtpReceiver__remote_streams _RTCRtpReceiver__rtcp_exited "
        "_RTCRtpReceiver__rtx_ssrc _RTCRtpReceiver__timestamp_mapper "
        "_enabled "
        "_handle_disconnect _handle_rtcp_packet _handle_rtp_packet "
        "_run_rtcp _send_rtcp _send_rtcp_pli _track".split(),
    ),
    (aiortc.jitterbuffer.JitterBuffer, ["_origin"]),
    (aiortc.rate.RateCounter, ["_origin_ms"]),
    (aiortc.rtcrtpreceiver.RemoteStreamTrack, ["_queue"]),
    (aiortc.rtcrtpreceiver.TimestampMapper, ["_last", "_origin"]),
    (aiortc.RTCDataChannel, ["_setId", "_setReadyState"]),
    (
        aiortc.RTCSctpTransport,
        "_advertised_rwnd _association_state _bundled _cwnd _data_channel_close "
        "_data_channel_closed _data_channel_flush _data_channel_open "
        "_data_channel_queue _data_channel_receive _data_channels "
        "_fast_recovery_exit _flight_size_decrease "
        "_get_inbound_stream _handle_data _inbound_streams _init _last_received_tsn "
        "_local_port _loop _mark_received _maybe_abandon _outbound_queue "
        "_partial_bytes_acked _receive_chunk _receive_data_chunk "
        "_receive_forward_tsn_chunk _reconfig_failures _reconfig_in_progress "
        "_reconfig_request _reconfig_timer_cancel _reconfig_timer_expired "
        "_reconfig_timer_start _remote_max_message_size _remote_port "
        "_remote_verification_tag "
        "_reset_deferred_streams _sack_duplicates _sack_misordered _sack_needed "
        "_send_chunk _send_reconfig_param _send_sack _sent_queue _set_state _t1_cancel "
        "_t1_chunk _t1_expired _t1_failures _t1_handle _t1_start _t2_cancel _t3_cancel "
        "_t3_handle "
        "_t3_start _transmit _update_advanced_peer_ack_point _update_rto".split(),
    ),
    (
        aiortc.RTCPeerConnection,
        [
            "_RTCPeerConnection__" + name
            for name in (
                "certificates closeTask cname configuration connectionState "
                "createDtlsTransport createSctpTransport createTransceiver "
                "currentLocalDescription currentRemoteDescription dtlsTransports "
                "iceConnectionState iceGatheringState iceTransports isClosed localRtp "
                "log_debug pendingLocalDescription pendingRemoteDescription "
                "remoteDtls remoteIce remoteRtp sctp sctpRemoteCaps sctpRemotePort "
                "sctp_mline_index seenMids signalingState stream_id transceivers "
                "updateConnectionState updateIceConnectionState "
                "updateIceGatheringState"
            ).split()
        ],
    ),
]


def missing_names(names: list[tuple[type, list[str]]] = PRIVATE_NAMES) -> list[str]:
    """
    Return the names which the installed aiortc and aioice lack.
    """
    missing = []
    for cls, wanted in names:
        slots = cls.__init__.__code__.co_names  # type: ignore[misc]
        missing += [
            f"{cls.__module__}.{cls.__name__}.{name}"
            for name in wanted
            if not hasattr(cls, name) and name not in slots
        ]
    return missing


def check_requirements(
    version: Callable[[str], str] = importlib.metadata.version,
    names: list[tuple[type, list[str]]] = PRIVATE_NAMES,
) -> None:
    """
    Check that the base is one which this package can stand on.

    :raises ImportError: says which version is needed and which names are missing.
    """
    missing = missing_names(names)
    for package, (lowest, limit) in REQUIREMENTS.items():
        installed = version(package)
        numbers = tuple(int(x) for x in re.findall(r"\d+", installed)[:2])
        lacking = [name for name in missing if name.startswith(package + ".")]
        if not lowest <= numbers < limit or lacking:
            needed = ">={}.{},<{}.{}".format(*lowest, *limit)
            raise ImportError(
                f"aiortc_restart needs {package}{needed}, but {package} {installed} "
                "is installed"
                + (f", which lacks {', '.join(lacking)}" if lacking else "")
                + f". Run: pip install '{package}{needed}'"
            )
