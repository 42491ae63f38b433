// The page: puts camera, connection and panels together.

import { openCamera } from "./camera.js";
import { Chart } from "./chart.js";
import { negotiate, recover } from "./negotiation.js";
import { $, Seats, enableControls, notice, showPath, showState, showText } from "./panels.js";
import { Signaler } from "./signaler.js";
import { Stall, Statistics } from "./statistics.js";

const STATES = ["connectionState", "iceConnectionState", "signalingState"];
const INTERVAL = 500;

const now = () => performance.now() / 1000;

/** Who this is: the same in all tabs of a browser, except with `?as=`. */
function whoAmI() {
  const query = new URLSearchParams(location.search);
  const key = `identity${query.get("as") ?? ""}`;
  let identity = localStorage.getItem(key);
  if (identity === null) {
    // There is no crypto.randomUUID() in a page which is not secure.
    const bytes = crypto.getRandomValues(new Uint8Array(16));
    identity = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
    localStorage.setItem(key, identity);
  }
  const name = query.get("name") ?? `guest ${identity.slice(0, 4)}`;
  return { room: query.get("room") ?? "lobby", identity, name };
}

class Call {
  constructor(who, stream, signaler) {
    this.who = who;
    this.stream = stream;
    this.signaler = signaler;
    this.chart = new Chart($("#chart"));
    this.server = null; // what it has told last
    this.lost = 0; // there, since the chart was drawn last
  }

  /** Make the connection; what is needed is negotiated by itself. */
  open({ iceServers }) {
    const pc = new RTCPeerConnection({ iceServers });
    this.pc = pc;
    this.seats = new Seats(pc);
    this.statistics = new Statistics(pc);
    negotiate(pc, this.signaler, ({ name, message }) => {
      // What fails because the call has ended does not take the place of the reason.
      if (pc.signalingState !== "closed") {
        notice(`${name}: ${message}`);
      }
    });
    recover(pc, () => this.restart("by itself", "self"));
    for (const name of STATES) {
      const show = () => showState("here", name, pc[name]);
      pc.addEventListener(`${name.toLowerCase()}change`, show);
      show();
    }
    pc.addEventListener("iceconnectionstatechange", () => {
      const down = ["disconnected", "failed"].includes(pc.iceConnectionState);
      this.chart.span(now(), "down", down);
    });
    pc.addEventListener("signalingstatechange", () => this.seats.show());
    for (const track of this.stream.getTracks()) {
      const { receiver } = pc.addTransceiver(track, { streams: [this.stream] });
      this.echo(receiver.track);
      if (track.kind === "video") {
        this.stall = new Stall(receiver, $("#processed"), $(".stall"));
      }
    }
    this.channel = pc.createDataChannel("chat");
    this.channel.onmessage = ({ data }) => this.hear(JSON.parse(data));
    this.timer = setInterval(() => this.tick(), INTERVAL);
    enableControls(true);
  }

  close() {
    clearInterval(this.timer);
    this.pc?.close();
    this.stream.getTracks().forEach((track) => track.stop());
    enableControls(false);
  }

  /** Play what Python makes of the page's own track. */
  echo(track) {
    const player = $("#processed");
    player.srcObject ??= new MediaStream();
    player.srcObject.addTrack(track);
  }

  hear({ chat, statistics }) {
    if (chat) {
      showText(chat);
    } else if (statistics) {
      // Several come at once after an outage, so the server's clock counts.
      const { bytesReceived: bytes, packetsLost, time } = statistics;
      this.lost += Math.max(packetsLost - Number($("#server-lost").textContent), 0);
      const before = this.server ?? { bytes, time: time - 1 };
      const rate = (8 * (bytes - before.bytes)) / (time - before.time);
      this.server = { bytes, time, rate, heard: now() };
      $("#server-lost").textContent = packetsLost;
    }
  }

  restart(label, kind) {
    if (this.pc.signalingState === "closed") {
      return; // It was lost, and has ended before it was time to.
    }
    this.chart.mark(now(), label, kind);
    this.pc.restartIce();
  }

  async tick() {
    const { rate, lost, total } = await this.statistics.measure();
    const server = now() - this.server?.heard < 1.5 ? this.server.rate : 0;
    this.chart.add({ time: now(), rate, server, lost: lost + this.lost });
    this.lost = 0;
    this.stall?.look();
    $("#rate").textContent = Math.round(rate / 1000);
    $("#server-rate").textContent = Math.round(server / 1000);
    $("#lost").textContent = total;
  }
}

async function main() {
  const who = whoAmI();
  $("#room").textContent = who.room;
  $("#name").textContent = who.name;
  $("#second").href = `?${new URLSearchParams({ room: who.room, as: "2", name: "second" })}`;
  const stream = await openCamera(notice);
  $("#own").srcObject = stream;

  let ends = 0;
  let ended = false;
  const end = (reason) => {
    if (!ended) {
      ended = true;
      notice(reason);
      call.close();
      signaler.close();
    }
  };
  const handlers = {
    welcome: (welcome) => call.open(welcome),
    // Before the call it says why there will be none.
    error: ({ message }) => (call.pc ? notice(message, 10) : end(message)),
    seats: (names) => call.seats.show(names),
    state: (states) => {
      Object.entries(states).forEach(([name, value]) => showState("server", name, value));
    },
    path: ({ local, remote, localUfrag, remoteUfrag }) =>
      showPath({ here: remoteUfrag, server: localUfrag, pair: `${remote} → ${local}` }),
    cut: ({ active, seconds }) => {
      call.chart.span(now(), "outage", active);
      ends = active ? now() + seconds : 0;
    },
  };
  const signaler = new Signaler(handlers, (reason) => {
    end(`${reason} Reload the page to join again.`);
  });
  const call = new Call(who, stream, signaler);

  $("#restart-here").onclick = () => call.restart("here", "here");
  $("#restart-server").onclick = () => {
    call.chart.mark(now(), "server", "server");
    signaler.send({ restart: true });
  };
  $("#cut").onclick = () => signaler.send({ cut: Number($("#seconds").value) });
  $("#filter").onchange = ({ target }) => signaler.send({ filter: target.value });
  $("#listen").onclick = ({ target }) => {
    $("#processed").muted = !$("#processed").muted;
    target.setAttribute("aria-pressed", !$("#processed").muted);
  };
  $("#say").onsubmit = (event) => {
    event.preventDefault();
    const input = $("#text");
    if (input.value && call.channel?.readyState === "open") {
      call.channel.send(input.value);
      input.value = "";
    }
  };
  setInterval(() => {
    const left = Math.ceil(ends - now());
    $("#countdown").textContent = left > 0 ? `The network is gone for ${left} s` : "";
  }, 200);

  await signaler.opened;
  signaler.send({ join: who });
}

main();
