// The other end of a perfect negotiation. Its handlers follow the example of webrtc-pc
// (#perfect-negotiation-example), without a word of what is known about our end.
"use strict";

(function (scope) {
  class PerfectEnd {
    /** @param emit called with each message for the test. */
    constructor(emit) {
      this.emit = emit;
      this.channels = [];
      this.errors = [];
      this.received = [];
      this.tracks = [];
    }

    /** Make the connection. */
    async open({ polite }) {
      const pc = new RTCPeerConnection({ iceServers: [] });
      const media = { audio: true, video: { width: 320, height: 240, frameRate: 15 } };
      this.pc = pc;
      this.stream = await navigator.mediaDevices.getUserMedia(media);
      pc.ondatachannel = ({ channel }) => this.useChannel(channel);
      pc.ontrack = ({ track }) => this.tracks.push(track.kind);

      let makingOffer = false;
      let ignoreOffer = false;
      let isSettingRemoteAnswerPending = false;

      const send = (message) => {
        // Only what is in an object of its own survives the way to the test.
        this.emit({ event: "signal", ...JSON.parse(JSON.stringify(message)) });
      };

      pc.onicecandidate = ({ candidate }) => send({ candidate });

      pc.onnegotiationneeded = async () => {
        try {
          makingOffer = true;
          await pc.setLocalDescription();
          send({ description: pc.localDescription });
        } catch (error) {
          this.fail(error);
        } finally {
          makingOffer = false;
        }
      };

      this.onmessage = async ({ description, candidate }) => {
        try {
          if (description) {
            const readyForOffer =
              !makingOffer &&
              (pc.signalingState === "stable" || isSettingRemoteAnswerPending);
            const offerCollision = description.type === "offer" && !readyForOffer;

            ignoreOffer = !polite && offerCollision;
            if (ignoreOffer) {
              return;
            }
            isSettingRemoteAnswerPending = description.type === "answer";
            await pc.setRemoteDescription(description);
            isSettingRemoteAnswerPending = false;
            if (description.type === "offer") {
              await pc.setLocalDescription();
              send({ description: pc.localDescription });
            }
          } else if (candidate) {
            try {
              await pc.addIceCandidate(candidate);
            } catch (error) {
              if (!ignoreOffer) {
                throw error;
              }
            }
          }
        } catch (error) {
          this.fail(error);
        }
      };
    }

    async close() {
      this.stream.getTracks().forEach((track) => track.stop());
      this.pc.close();
    }

    /** Take a message from our end. One does not wait for what the last one led to. */
    async receive(message) {
      this.onmessage(message);
    }

    /** Do things which need a negotiation, all at once. */
    async want({ tracks, channel, restart }) {
      for (const track of this.stream.getTracks()) {
        if (tracks.includes(track.kind)) {
          this.pc.addTrack(track, this.stream);
        }
      }
      if (channel) {
        this.useChannel(this.pc.createDataChannel("chat"));
      }
      if (restart) {
        this.pc.restartIce();
      }
    }

    /** Send a text on each of the channels. */
    async say({ text }) {
      this.channels.forEach((channel) => channel.send(text));
    }

    async report() {
      const { pc } = this;
      const attribute = (description, name) =>
        description?.sdp.match(new RegExp(`^a=${name}:(\\S+)`, "m"))?.[1] ?? null;
      return {
        errors: this.errors,
        signalingState: pc.signalingState,
        iceConnectionState: pc.iceConnectionState,
        localUfrag: attribute(pc.currentLocalDescription, "ice-ufrag"),
        remoteUfrag: attribute(pc.currentRemoteDescription, "ice-ufrag"),
        mids: pc.getTransceivers().map((transceiver) => transceiver.mid),
        tracks: this.tracks,
        channels: this.channels.map((channel) => channel.readyState),
        received: this.received,
      };
    }

    /** Run one operation of the test's, by its name. */
    async call(method, args) {
      return this[method](args || {});
    }

    fail(error) {
      this.errors.push(scope.errorText(error));
    }

    useChannel(channel) {
      this.channels.push(channel);
      channel.onerror = (event) => this.fail(event.error || "data channel error");
      channel.onmessage = ({ data }) => this.received.push(data);
    }
  }

  scope.PerfectEnd = PerfectEnd;
})(window);
