// The page's own picture and sound.

const AUDIO = Object.freeze({ echoCancellation: true });
const VIDEO = Object.freeze({ width: 480, height: 360, frameRate: { ideal: 15, max: 15 } });

/** Open camera and microphone, and make up what there is not. */
export async function openCamera(say) {
  let reason = "this page is not secure (HTTPS)";
  const open = async (media) => {
    try {
      return await navigator.mediaDevices.getUserMedia(media);
    } catch (error) {
      reason = navigator.mediaDevices ? error.name : reason;
      return null;
    }
  };
  // Without a microphone the two fail together.
  const both = await open({ audio: AUDIO, video: VIDEO });
  if (both !== null) {
    return both;
  }
  const camera = await open({ video: VIDEO });
  if (camera !== null) {
    say("No microphone: silence is sent instead.", 10);
    return new MediaStream([...camera.getTracks(), ...tone(0)]);
  }
  say(`No camera or microphone (${reason}): a drawn picture is sent instead.`);
  return new MediaStream([...drawnPicture(), ...tone(0.05)]);
}

function drawnPicture() {
  const canvas = Object.assign(document.createElement("canvas"), { width: 480, height: 360 });
  const context = canvas.getContext("2d");
  const draw = () => {
    const now = performance.now() / 1000;
    context.fillStyle = `hsl(${(now * 20) % 360} 60% 40%)`;
    context.fillRect(0, 0, 480, 360);
    context.fillStyle = "white";
    context.beginPath();
    context.arc(240 + 160 * Math.cos(now), 180 + 110 * Math.sin(2 * now), 40, 0, 7);
    context.fill();
    context.font = "32px sans-serif";
    context.fillText(new Date().toLocaleTimeString(), 20, 340);
  };
  draw();
  setInterval(draw, 1000 / 15);
  return canvas.captureStream(15).getTracks();
}

function tone(loudness) {
  const context = new AudioContext();
  const [source, volume] = [context.createOscillator(), context.createGain()];
  const target = context.createMediaStreamDestination();
  volume.gain.value = loudness;
  source.connect(volume).connect(target);
  source.start();
  // Browsers have a page make no sound until somebody has clicked on it.
  document.addEventListener("click", () => context.resume(), { once: true });
  return target.stream.getTracks();
}
