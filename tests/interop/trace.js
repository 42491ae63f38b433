// Two peers in a page follow a script, and what can be seen of them is told after each
// step. `traces.py` does the same in Python, and tells what the steps are.
"use strict";

(function (scope) {
  const POLL_INTERVAL = 10;

  // Milliseconds for which nothing changes when a step has had all its effects.
  const QUIET = 120;

  // Milliseconds after which a step is taken to have no further effects.
  const LIMIT = 10000;

  const sleep = (delay) => new Promise((resolve) => setTimeout(resolve, delay));

  /** One of the two peers. Its methods are the verbs of the scripts. */
  class Peer {
    constructor(stream, trickles) {
      this.stream = stream;
      this.trickles = trickles;
      this.candidates = [];
      this.events = [];
      this.tracks = [];
      this.created = {};
      this.described = {};
      this.needed = 0;
      this.other = null;
      this.pc = new RTCPeerConnection({ iceServers: [] });
      this.pc.onnegotiationneeded = () => (this.needed += 1);
      this.pc.onicecandidate = ({ candidate }) => this.onCandidate(candidate);
      this.pc.onicegatheringstatechange = () => this.note(this.pc.iceGatheringState);
      this.pc.oniceconnectionstatechange = () => this.note(this.pc.iceConnectionState);
    }

    async addIceCandidates() {
      for (const candidate of this.other.candidates.splice(0)) {
        await this.pc.addIceCandidate(candidate);
      }
    }

    addTrack(kind) {
      const tracks = this.stream.getTracks();
      const track = tracks.find((candidate) => candidate.kind === kind).clone();
      this.tracks.push(track);
      this.pc.addTrack(track);
    }

    addTransceiver(kind, direction = "sendrecv") {
      this.pc.addTransceiver(kind, { direction });
    }

    close() {
      this.pc.close();
    }

    async createAnswer() {
      this.created.answer = await this.pc.createAnswer();
    }

    createDataChannel() {
      this.pc.createDataChannel("script");
    }

    async createOffer(restart) {
      const iceRestart = restart === "restart";
      this.created.offer = await this.pc.createOffer({ iceRestart });
    }

    restartIce() {
      this.pc.restartIce();
    }

    setDirection(index, direction) {
      this.pc.getTransceivers()[index].direction = direction;
    }

    async setLocalDescription(type) {
      if (type === undefined) {
        await this.pc.setLocalDescription();
      } else if (type === "rollback") {
        await this.pc.setLocalDescription({ type });
      } else {
        const { sdp } = this.created[type === "offer" ? "offer" : "answer"];
        await this.pc.setLocalDescription({ type, sdp });
      }
      if (this.trickles) {
        this.note("set");
      } else {
        await this.gathered();
      }
      const description = this.pc.localDescription;
      if (description && type !== "rollback") {
        this.described[description.type] = description;
      }
    }

    async setRemoteDescription(type) {
      const { described } = this.other;
      if (type === "rollback") {
        await this.pc.setRemoteDescription({ type });
      } else {
        const { sdp } = described[type] || described.answer;
        await this.pc.setRemoteDescription({ type, sdp });
      }
    }

    stop(index) {
      this.pc.getTransceivers()[index].stop();
    }

    /** Wait until a description has all its candidates, since none is sent alone. */
    async gathered() {
      // Gathering begins only some time after setLocalDescription() is done, if it does
      // at all.
      const deadline = performance.now() + QUIET;
      while (this.isGathering || (this.lacksCandidates && performance.now() < deadline)) {
        await sleep(POLL_INTERVAL);
      }
    }

    /** Write down an event, and whether the local description has candidates then. */
    note(event) {
      const description = this.pc.localDescription;
      const word = `${event}${description && !this.lacksCandidates ? "+" : "-"}`;
      if (this.events.at(-1) !== word) {
        this.events.push(word);
      }
    }

    onCandidate(candidate) {
      if (candidate) {
        this.candidates.push(candidate);
      }
      this.note(!candidate ? "none" : candidate.candidate ? "candidate" : "end");
    }

    get isGathering() {
      return this.pc.iceGatheringState === "gathering";
    }

    get lacksCandidates() {
      const description = this.pc.localDescription;
      return description !== null && !/^a=candidate:/m.test(description.sdp);
    }

    /** Return what can be seen, and count events anew. */
    tell() {
      const { state } = this;
      this.needed = 0;
      this.events = [];
      return state;
    }

    get state() {
      const { pc } = this;
      const slots = [
        pc.currentLocalDescription,
        pc.pendingLocalDescription,
        pc.currentRemoteDescription,
        pc.pendingRemoteDescription,
      ];
      const transceivers = pc
        .getTransceivers()
        .map((x) => [x.receiver.track.kind, x.mid, x.direction, x.currentDirection]);
      const words = (values) => values.map((value) => value ?? "-").join(" ");
      return {
        signaling: pc.signalingState,
        slots: words(slots.map((slot) => slot && slot.type)),
        needed: String(this.needed),
        gathering: pc.iceGatheringState,
        ice: pc.iceConnectionState,
        transceivers: transceivers.map(words).join(", "),
        ...(this.trickles && { events: this.events.join(" ") }),
      };
    }
  }

  /** A run of a script. */
  class Trace {
    constructor(stream, trickles) {
      const alice = new Peer(stream, trickles);
      const bob = new Peer(stream, trickles);
      // Candidates take more time than states.
      this.quiet = trickles ? 5 * QUIET : QUIET;
      this.trickles = trickles;
      alice.other = bob;
      bob.other = alice;
      this.peers = { alice, bob };
    }

    close() {
      Object.values(this.peers).forEach(({ pc, tracks }) => {
        tracks.forEach((track) => track.stop());
        pc.close();
      });
    }

    async follow(steps) {
      const { alice, bob } = this.peers;
      const rows = [];
      for (const step of steps) {
        // The calls of one step are made at once.
        const calls = step.split(" & ").map((call) => this.take(call));
        const outcome = (await Promise.all(calls)).join(" & ");
        await this.settled();
        rows.push({ step, outcome, alice: alice.tell(), bob: bob.tell() });
      }
      return rows;
    }

    async take(call) {
      const [name, verb, ...words] = call.split(" ");
      const late = sleep(LIMIT).then(() => "pending");
      const run = async () => {
        await this.peers[name][verb](...words);
        return "done";
      };
      try {
        return await Promise.race([run(), late]);
      } catch (error) {
        return error.name;
      }
    }

    /** Wait until nothing is under way, and nothing has changed for a while. */
    async settled() {
      const deadline = performance.now() + LIMIT;
      let last = null;
      let since = 0;
      while (performance.now() < deadline) {
        const now = JSON.stringify(Object.values(this.peers).map((peer) => peer.state));
        if (now !== last || this.isUnderWay) {
          since = performance.now();
        } else if (performance.now() - since >= this.quiet) {
          return;
        }
        last = now;
        await sleep(POLL_INTERVAL);
      }
    }

    get isUnderWay() {
      const peers = Object.values(this.peers);
      if (peers.some((peer) => peer.isGathering)) {
        return true;
      }
      if (this.trickles) {
        return false;
      }
      // Nothing is known of what ICE does before both have heard of each other.
      const agreed = peers.every(
        ({ pc }) => pc.signalingState === "stable" && pc.currentLocalDescription,
      );
      return (
        agreed &&
        peers.some(({ pc }) => !["connected", "completed"].includes(pc.iceConnectionState))
      );
    }
  }

  /** What the test calls. */
  class Tracer {
    constructor() {
      this.errors = [];
    }

    async call(method, args) {
      return this[method](args);
    }

    fail(error) {
      this.errors.push(scope.errorText(error));
    }

    /** Follow scripts, all at once, and return what each step led to. */
    async traces({ scripts }) {
      const media = { audio: true, video: { width: 320, height: 240 } };
      const stream = await navigator.mediaDevices.getUserMedia(media);
      const traces = scripts.map(({ trickles }) => new Trace(stream, trickles));
      const rows = await Promise.all(
        scripts.map(({ steps }, index) => traces[index].follow(steps)),
      );
      traces.forEach((trace) => trace.close());
      stream.getTracks().forEach((track) => track.stop());
      return { errors: this.errors, rows };
    }
  }

  scope.Tracer = Tracer;
})(window);
