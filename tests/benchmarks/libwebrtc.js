// An end of a call of libwebrtc's with itself, which notes when things happen. It is
// called as `../interop/lines.js` tells.
"use strict";

const { serve, write } = require("../interop/lines.js");
const { wrtcPlatform } = require("../interop/peer.js");
const { RemoteEnd } = require("../interop/remote.js");

const SIZE = 100;

/** The time in seconds, on the clock which all processes of the machine share. */
function now() {
  return Number(process.hrtime.bigint()) / 1e9;
}

class TimedEnd extends RemoteEnd {
  constructor(emit) {
    super(
      wrtcPlatform(() => this.frames.push(now())),
      emit,
    );
    this.frames = [];
    this.messages = [];
  }

  /** Make the connection; `media` says whether it has sound and pictures. */
  async open({ channel, media }) {
    if (!media) {
      this.platform.send = async () => {};
    }
    await super.open({ channel: false });
    if (channel) {
      this.useChannel(this.pc.createDataChannel("numbers"));
    }
  }

  useChannel(channel) {
    super.useChannel(channel);
    const count = channel.onmessage;
    channel.onmessage = (event) => {
      this.messages.push(now());
      count(event);
    };
  }

  /** Send so many messages a second, until `stopSending()`. */
  async talk({ rate }) {
    const start = now();
    const first = this.sent;
    this.timer = setInterval(() => {
      while (this.sent - first < (now() - start) * rate) {
        this.channel.send(String(this.sent).padEnd(SIZE));
        this.sent += 1;
      }
    }, 1000 / rate);
  }

  /** What has happened, and when. */
  async noted() {
    return {
      channelState: this.channel ? this.channel.readyState : null,
      errors: this.errors,
      frames: this.frames,
      iceConnectionState: this.pc.iceConnectionState,
      messages: this.messages,
      sent: this.sent,
    };
  }
}

const end = new TimedEnd(write);
process.on("uncaughtException", (error) => end.fail(error));
process.on("unhandledRejection", (error) => end.fail(error));
serve((method, args) => end.call(method, args));
