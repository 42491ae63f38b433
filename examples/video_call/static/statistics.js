// What getStats() tells of the page's end.

import { showPath } from "./panels.js";

/** Counts what has come since the last time. */
export class Statistics {
  constructor(pc) {
    this.pc = pc;
    this.bytes = 0;
    this.lost = 0;
    this.time = performance.now();
  }

  /** @return bits per second, and packets lost since the last call and in all. */
  async measure() {
    const report = [...(await this.pc.getStats()).values()];
    const streams = report.filter(({ type }) => type === "inbound-rtp");
    const sum = (name) => streams.reduce((total, stream) => total + (stream[name] ?? 0), 0);
    const [bytes, lost, time] = [sum("bytesReceived"), sum("packetsLost"), performance.now()];
    const rate = (8000 * Math.max(bytes - this.bytes, 0)) / (time - this.time);
    // What was late and not lost is taken back.
    const more = Math.max(lost - this.lost, 0);
    Object.assign(this, { bytes, lost, time });
    this.showPath(report);
    return { rate, lost: more, total: lost };
  }

  showPath(report) {
    const byId = new Map(report.map((stats) => [stats.id, stats]));
    const transport = report.find(({ type }) => type === "transport");
    const pair =
      byId.get(transport?.selectedCandidatePairId) ??
      // Firefox has no statistics of transports.
      report.find(({ type, selected }) => type === "candidate-pair" && selected);
    const local = byId.get(pair?.localCandidateId);
    const remote = byId.get(pair?.remoteCandidateId);
    if (local === undefined || remote === undefined) {
      return;
    }
    const ufrag = (description) => description?.sdp.match(/^a=ice-ufrag:(\S+)/m)?.[1];
    const host = (address) => (/^[^[].*:/.test(address) ? `[${address}]` : (address ?? "?"));
    const address = ({ address, port }) => `${host(address)}:${port}`;
    const described = ufrag(this.pc.currentLocalDescription);
    const here = local.usernameFragment ?? described;
    if (here !== described) {
      return; // The restart has been negotiated, and has not switched yet.
    }
    showPath({
      here,
      server: ufrag(this.pc.currentRemoteDescription),
      pair: `${address(local)} → ${address(remote)}`,
    });
  }
}

/** Shows over a picture for how long it has stood still. */
export class Stall {
  constructor(receiver, video, label) {
    this.label = label;
    this.receiver = receiver;
    this.video = video;
    this.frames = 0;
    this.since = performance.now();
  }

  async look() {
    const report = [...(await this.receiver.getStats()).values()];
    const frames = report.find(({ type }) => type === "inbound-rtp")?.framesDecoded ?? 0;
    if (frames !== this.frames) {
      this.frames = this.video.dataset.frames = frames;
      this.since = performance.now();
    }
    const seconds = (performance.now() - this.since) / 1000;
    this.label.hidden = frames === 0 || seconds < 1;
    this.label.querySelector("b").textContent = seconds.toFixed(1);
  }
}
