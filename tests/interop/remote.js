// The other end of a call. The same code runs in a page and in Node, since the
// interface is the same; what differs (where media comes from and how it is counted)
// is handed in as `platform`.
"use strict";

(function (scope) {
  const MESSAGES_PER_SECOND = 200;

  /** The value of `a=<name>:` in the first m-section, or in the session part. */
  function attribute(description, name) {
    const match =
      description && description.sdp.match(new RegExp(`^a=${name}:(.*)$`, "m"));
    return match ? match[1].trim() : null;
  }

  function text(error) {
    return error && error.message ? `${error.name}: ${error.message}` : String(error);
  }

  class RemoteEnd {
    /**
     * @param platform what this end is made of: see `peer.js` and `page.html`.
     * @param emit called with each message for the test.
     */
    constructor(platform, emit) {
      this.platform = platform;
      this.emit = emit;
      this.errors = [];
      this.history = [];
      this.ports = {};
      this.ends = false;
      this.held = null;
      this.sent = 0;
      this.received = new Set();
      this.duplicates = 0;
      this.channel = null;
      this.timer = null;
      this.ended = [];
      this.tracks = {};
    }

    /**
     * Make the connection.
     *
     * @param channel says whether this end opens the data channel.
     * @param clip is what it sends if it cannot encode.
     * @param ends says whether it tells when it has no more candidates.
     * @param media says whether it sends any.
     */
    async open({ channel, clip, ends = false, media = true }) {
      this.ends = ends;
      const pc = new this.platform.RTCPeerConnection({ iceServers: [] });
      this.pc = pc;
      pc.onicecandidate = ({ candidate }) => this.onCandidate(candidate);
      pc.oniceconnectionstatechange = () => this.history.push(pc.iceConnectionState);
      pc.ondatachannel = (event) => this.useChannel(event.channel);
      pc.ontrack = (event) => {
        event.track.onended = () => this.ended.push(event.track.kind);
        this.platform.receive(event);
      };
      if (media) {
        await this.platform.send(pc, clip);
      }
      if (channel) {
        this.useChannel(
          pc.createDataChannel("numbers", { ordered: false, maxRetransmits: 0 }),
        );
      }
    }

    async close() {
      this.stopSending();
      if (this.pc) {
        this.pc.close();
      }
      await this.platform.close();
    }

    /** Describe this end, offering or answering as the state of things asks for. */
    async describe() {
      const pc = this.pc;
      const description =
        pc.signalingState === "have-remote-offer"
          ? await pc.createAnswer()
          : await pc.createOffer();
      // Gathering may begin before setLocalDescription() is done, yet a candidate is
      // of no use to a peer which does not have the description it belongs to.
      this.held = [];
      try {
        await pc.setLocalDescription(description);
        const { type, sdp } = pc.localDescription;
        this.emit({ event: "description", type, sdp });
      } finally {
        const held = this.held;
        this.held = null;
        held.forEach((message) => this.emit(message));
      }
    }

    async accept({ type, sdp }) {
      await this.pc.setRemoteDescription({ type, sdp });
    }

    async addCandidate({ candidate }) {
      await this.pc.addIceCandidate(candidate);
    }

    /** From now on, offer when this end finds that negotiation is needed. */
    async negotiateWhenNeeded() {
      if (!this.platform.mistakesNeeds) {
        this.pc.onnegotiationneeded = () =>
          this.describe().catch((error) => this.fail(error));
      }
    }

    async restartIce() {
      this.pc.restartIce();
      if (this.platform.mistakesNeeds) {
        await this.describe();
      }
    }

    /** Add a transceiver, with the track of one which has been stopped, if there is. */
    async addTransceiver({ kind }) {
      this.pc.addTransceiver(this.tracks[kind] || kind);
    }

    /** Stop the transceiver of an m-section. */
    async stopTransceiver({ mid }) {
      const transceiver = this.pc.getTransceivers().find((x) => x.mid === mid);
      this.tracks[transceiver.receiver.track.kind] = transceiver.sender.track;
      transceiver.stop();
    }

    startSending() {
      const start = performance.now();
      const first = this.sent;
      this.timer = setInterval(() => {
        const due = ((performance.now() - start) * MESSAGES_PER_SECOND) / 1000;
        while (this.sent - first < due) {
          this.channel.send(String(this.sent));
          this.sent += 1;
        }
      }, 1000 / MESSAGES_PER_SECOND);
    }

    stopSending() {
      clearInterval(this.timer);
      this.timer = null;
    }

    async report() {
      const pc = this.pc;
      const media = await this.platform.stats(pc);
      return {
        errors: this.errors,
        ended: this.ended,
        history: this.history,
        signalingState: pc.signalingState,
        iceConnectionState: pc.iceConnectionState,
        connectionState: pc.connectionState,
        localUfrag: attribute(pc.localDescription, "ice-ufrag"),
        remoteUfrag: attribute(pc.remoteDescription, "ice-ufrag"),
        channelState: this.channel ? this.channel.readyState : null,
        sent: this.sent,
        received: this.received.size,
        duplicates: this.duplicates,
        ...media,
        pair: media.pair && {
          ...media.pair,
          ufrag: this.ports[media.pair.localPort] || null,
        },
      };
    }

    /** Run one operation of the test's, by its name. */
    async call(method, args) {
      return this[method](args || {});
    }

    onCandidate(candidate) {
      // An empty candidate and none both say that there are no more.
      if (!candidate || !candidate.candidate) {
        if (this.ends) {
          this.tell({
            event: "candidate",
            candidate: candidate
              ? {
                  candidate: "",
                  sdpMid: candidate.sdpMid,
                  sdpMLineIndex: candidate.sdpMLineIndex,
                  usernameFragment: candidate.usernameFragment,
                }
              : null,
          });
        }
        return;
      }
      const fields = candidate.candidate.split(" ");
      const named = fields.indexOf("ufrag");
      const usernameFragment =
        candidate.usernameFragment || (named > 0 ? fields[named + 1] : null);
      this.ports[Number(fields[5])] =
        usernameFragment || attribute(this.pc.localDescription, "ice-ufrag");
      this.tell({
        event: "candidate",
        candidate: {
          candidate: candidate.candidate,
          sdpMid: candidate.sdpMid,
          sdpMLineIndex: candidate.sdpMLineIndex,
          usernameFragment,
        },
      });
    }

    /** Send a message, but none before the description which is being set. */
    tell(message) {
      if (this.held) {
        this.held.push(message);
      } else {
        this.emit(message);
      }
    }

    fail(error) {
      this.errors.push(text(error));
    }

    useChannel(channel) {
      this.channel = channel;
      channel.onerror = (event) => this.fail(event.error || "data channel error");
      channel.onmessage = ({ data }) => {
        const number = Number(data);
        this.duplicates += this.received.has(number) ? 1 : 0;
        this.received.add(number);
      };
    }
  }

  /** What libwebrtc's getStats() says, in the form that a report has. */
  async function standardStats(pc) {
    const stats = new Map();
    (await pc.getStats()).forEach((value, key) => stats.set(key, value));
    const all = [...stats.values()];
    const inbound = (kind) =>
      all.find((s) => s.type === "inbound-rtp" && (s.kind || s.mediaType) === kind) ||
      {};
    const transport = all.find((s) => s.type === "transport") || {};
    const pair = stats.get(transport.selectedCandidatePairId);
    const local = pair && stats.get(pair.localCandidateId);
    const remote = pair && stats.get(pair.remoteCandidateId);
    const video = inbound("video");
    const audio = inbound("audio");
    return {
      framesDecoded: video.framesDecoded || 0,
      videoPackets: video.packetsReceived || 0,
      videoLost: video.packetsLost || 0,
      audioPackets: audio.packetsReceived || 0,
      audioLost: audio.packetsLost || 0,
      dtlsState: transport.dtlsState || null,
      pair: local && remote
        ? { localPort: local.port, remotePort: remote.port }
        : null,
    };
  }

  scope.RemoteEnd = RemoteEnd;
  scope.standardStats = standardStats;
  scope.errorText = text;
})(typeof module === "undefined" ? window : module.exports);
