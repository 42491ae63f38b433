// Perfect negotiation, as webrtc-pc prints it (#perfect-negotiation-example). The page is
// the polite end: when offers meet, it takes back its own.

/**
 * Negotiate whenever it is needed.
 *
 * @param pc the connection.
 * @param signaler has `send(message)`; its `onmessage` is set here.
 * @param fail called with an error.
 */
export function negotiate(pc, signaler, fail) {
  const polite = true;

  // keep track of some negotiation state to prevent races and errors
  let makingOffer = false;
  let ignoreOffer = false;
  let isSettingRemoteAnswerPending = false;

  // send any ice candidates to the other peer
  pc.onicecandidate = ({ candidate }) => signaler.send({ candidate });

  // let the "negotiationneeded" event trigger offer generation
  pc.onnegotiationneeded = async () => {
    try {
      makingOffer = true;
      await pc.setLocalDescription();
      signaler.send({ description: pc.localDescription });
    } catch (error) {
      fail(error);
    } finally {
      makingOffer = false;
    }
  };

  signaler.onmessage = async ({ description, candidate }) => {
    try {
      if (description) {
        // An offer may come in while we are busy processing SRD(answer).
        // In this case, we will be in "stable" by the time the offer is processed
        // so it is safe to chain it on our Operations Chain now.
        const readyForOffer =
          !makingOffer && (pc.signalingState === "stable" || isSettingRemoteAnswerPending);
        const offerCollision = description.type === "offer" && !readyForOffer;

        ignoreOffer = !polite && offerCollision;
        if (ignoreOffer) {
          return;
        }
        isSettingRemoteAnswerPending = description.type === "answer";
        await pc.setRemoteDescription(description); // SRD rolls back as needed
        isSettingRemoteAnswerPending = false;
        if (description.type === "offer") {
          await pc.setLocalDescription();
          signaler.send({ description: pc.localDescription });
        }
      } else if (candidate) {
        try {
          await pc.addIceCandidate(candidate);
        } catch (error) {
          if (!ignoreOffer) {
            throw error; // Suppress ignored offer's candidates
          }
        }
      }
    } catch (error) {
      fail(error);
    }
  };
}

/** Restart ICE when the path is lost: at once on "failed", and after 3 s of "disconnected". */
export function recover(pc, restart) {
  let timer;
  pc.addEventListener("iceconnectionstatechange", () => {
    clearTimeout(timer);
    if (pc.iceConnectionState === "failed") {
      restart();
    } else if (pc.iceConnectionState === "disconnected") {
      timer = setTimeout(restart, 3000);
    }
  });
}
