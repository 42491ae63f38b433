// The page's own picture and sound.

/** Open camera and microphone, or make something up where there are none. */
export async function openCamera(say) {
  try {
    return await navigator.mediaDevices.getUserMedia({
      audio: { echoCancellation: true },
      video: { width: 480, height: 360, frameRate: { ideal: 15, max: 15 } },
    });
  } catch (error) {
    const reason = navigator.mediaDevices ? error.name : "this page is not secure (HTTPS)";
    say(`No camera or microphone (${reason}): a drawn picture is sent instead.`);
    return new MediaStream([...drawnPicture(), ...quietTone()]);
  }
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

function quietTone() {
  const context = new AudioContext();
  const [tone, volume] = [context.createOscillator(), context.createGain()];
  const target = context.createMediaStreamDestination();
  volume.gain.value = 0.05;
  tone.connect(volume).connect(target);
  tone.start();
  return target.stream.getTracks();
}
