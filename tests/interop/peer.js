// Runs the other end of a call in Node: `node peer.js wrtc|werift`. It is called as
// `lines.js` tells.
"use strict";

const { serve, write } = require("./lines.js");
const { RemoteEnd, standardStats } = require("./remote.js");

const WIDTH = 320;
const HEIGHT = 240;
const FRAMES_PER_SECOND = 15;

/** libwebrtc for Node; `onFrame` is called with each picture that has been decoded. */
function wrtcPlatform(onFrame = () => {}) {
  const wrtc = require("@roamhq/wrtc");
  const { RTCAudioSource, RTCVideoSource, RTCAudioSink, RTCVideoSink } =
    wrtc.nonstandard;
  const timers = [];
  const tracks = [];
  const sinks = [];
  let framesDecoded = 0;

  return {
    RTCPeerConnection: wrtc.RTCPeerConnection,

    async send(pc) {
      const video = new RTCVideoSource();
      const audio = new RTCAudioSource();
      const stream = new wrtc.MediaStream();
      for (const source of [audio, video]) {
        const track = source.createTrack();
        tracks.push(track);
        stream.addTrack(track);
        pc.addTrack(track, stream);
      }
      let shade = 0;
      const data = new Uint8ClampedArray((WIDTH * HEIGHT * 3) / 2);
      timers.push(
        setInterval(() => {
          shade = (shade + 3) % 256;
          data.fill(shade, 0, (WIDTH * HEIGHT) / 2);
          video.onFrame({ width: WIDTH, height: HEIGHT, data });
        }, 1000 / FRAMES_PER_SECOND),
        setInterval(() => {
          const samples = Int16Array.from(
            { length: 480 },
            (_, i) => 8000 * Math.sin((2 * Math.PI * 440 * i) / 48000),
          );
          audio.onData({
            samples,
            sampleRate: 48000,
            bitsPerSample: 16,
            channelCount: 1,
            numberOfFrames: 480,
          });
        }, 10),
      );
    },

    receive({ track }) {
      // Frames are decoded only for a track which somebody watches.
      const sink =
        track.kind === "video" ? new RTCVideoSink(track) : new RTCAudioSink(track);
      sink.onframe = () => {
        framesDecoded += 1;
        onFrame();
      };
      sinks.push(sink);
    },

    async stats(pc) {
      // The counters of getStats() begin anew where a re-offer makes libwebrtc receive
      // through new objects; those of a sink do not.
      return { ...(await standardStats(pc)), framesDecoded };
    },

    async close() {
      timers.forEach(clearInterval);
      sinks.forEach((sink) => sink.stop());
      tracks.forEach((track) => track.stop());
    },
  };
}

/** Counts the packets of one kind, and those which are missing between them. */
class PacketCounter {
  constructor() {
    this.frames = 0;
    this.last = null;
    this.numbers = new Set();
  }

  add({ header }) {
    this.last ??= header.sequenceNumber;
    // The way from the highest number so far, as a signed 16-bit distance.
    const ahead = ((header.sequenceNumber - this.last) << 16) >> 16;
    const number = this.last + ahead;
    // What was asked for again may come twice.
    if (!this.numbers.has(number)) {
      this.numbers.add(number);
      this.frames += header.marker ? 1 : 0;
    }
    this.last = Math.max(this.last, number);
  }

  get packets() {
    return this.numbers.size;
  }

  get lost() {
    const first = Math.min(...this.numbers);
    return this.packets === 0 ? 0 : this.last - first + 1 - this.packets;
  }
}

/** werift neither encodes nor decodes: packets of a clip go out, and are counted. */
function weriftPlatform() {
  const werift = require("werift");
  const counters = { audio: new PacketCounter(), video: new PacketCounter() };
  const timers = [];
  const tracks = new Set();

  function selectedPair(pc) {
    const [ice] = pc.iceTransports;
    return ice && ice.connection.nominated;
  }

  function play(pc, track, payloadType, frames, interval, step) {
    let sequenceNumber = 0;
    let timestamp = 0;
    let index = 0;
    timers.push(
      setInterval(() => {
        timestamp = (timestamp + step) >>> 0;
        // What it would drop, such as while it restarts and has no pair, is not numbered:
        // whatever is missing at our end was lost on the way.
        if (!selectedPair(pc) || pc.dtlsTransports[0].state !== "connected") {
          return;
        }
        const payloads = frames[index++ % frames.length];
        payloads.forEach((payload, i) => {
          const header = new werift.RtpHeader({
            payloadType,
            sequenceNumber,
            timestamp,
            marker: i === payloads.length - 1,
          });
          sequenceNumber = (sequenceNumber + 1) & 0xffff;
          track.writeRtp(new werift.RtpPacket(header, payload));
        });
      }, interval),
    );
  }

  return {
    RTCPeerConnection: werift.RTCPeerConnection,
    // It finds negotiation needed while it negotiates, and for no reason afterwards.
    mistakesNeeds: true,

    async send(pc, clip) {
      const decode = (frames) =>
        frames.map((payloads) => payloads.map((p) => Buffer.from(p, "base64")));
      const audio = new werift.MediaStreamTrack({ kind: "audio" });
      const video = new werift.MediaStreamTrack({ kind: "video" });
      pc.addTrack(audio);
      pc.addTrack(video);
      play(pc, audio, 96, decode(clip.audio), 20, 960);
      play(
        pc,
        video,
        97,
        decode(clip.video),
        1000 / FRAMES_PER_SECOND,
        90000 / FRAMES_PER_SECOND,
      );
    },

    receive({ track }) {
      // The same track is announced again with each offer.
      if (tracks.has(track)) {
        return;
      }
      tracks.add(track);
      track.onReceiveRtp.subscribe((packet) => counters[track.kind].add(packet));
    },

    async stats(pc) {
      const { audio, video } = counters;
      const pair = selectedPair(pc);
      return {
        framesDecoded: video.frames,
        videoPackets: video.packets,
        videoLost: video.lost,
        audioPackets: audio.packets,
        audioLost: audio.lost,
        dtlsState: pc.dtlsTransports[0] ? pc.dtlsTransports[0].state : null,
        pair: pair
          ? {
              localPort: pair.localCandidate.port,
              remotePort: pair.remoteCandidate.port,
            }
          : null,
      };
    },

    async close() {
      timers.forEach(clearInterval);
    },
  };
}

function main() {
  const platforms = { wrtc: wrtcPlatform, werift: weriftPlatform };
  const remote = new RemoteEnd(platforms[process.argv[2]](), write);
  process.on("uncaughtException", (error) => remote.fail(error));
  process.on("unhandledRejection", (error) => remote.fail(error));
  serve((method, args) => remote.call(method, args));
}

module.exports = { wrtcPlatform };

if (require.main === module) {
  main();
}
