// What is shown beside the pictures: states, generations, chat, notices.

export const $ = (selector) => document.querySelector(selector);

const GOOD = ["connected", "completed", "stable"];
const BAD = ["disconnected", "failed", "closed"];
const KEPT = 12;

/** Make an element with a text. */
function make(name, text, className = "") {
  return Object.assign(document.createElement(name), { textContent: text, className });
}

const clock = () => new Date().toLocaleTimeString([], { hour12: false });

/** Show a message to the person, for ever or for some seconds. */
export function notice(text, seconds = Infinity) {
  $("#notice").textContent = text;
  $("#notice").hidden = false;
  if (seconds < Infinity) {
    setTimeout(() => {
      // Another one may have come since.
      $("#notice").hidden ||= $("#notice").textContent === text;
    }, 1000 * seconds);
  }
}

/** Let the person use the controls, or not: without a call there is nothing to control. */
export function enableControls(enabled) {
  for (const control of document.querySelectorAll("button, input, select")) {
    control.disabled = !enabled;
  }
  $("#second").hidden = !enabled;
}

/** Add a state to the history of an end, unless it is the last one there. */
export function showState(end, name, value) {
  const panel = $(`[data-end=${end}]`);
  let list = panel.querySelector(`[data-state=${name}]`);
  if (list === null) {
    list = make("ol", "", "states");
    list.dataset.state = name;
    panel.append(list);
  }
  if (list.lastElementChild?.textContent === value) {
    return;
  }
  const item = make("li", value);
  item.classList.toggle("good", GOOD.includes(value));
  item.classList.toggle("bad", BAD.includes(value));
  item.title = `since ${clock()}`;
  list.append(item);
  // Signaling goes to and fro with each negotiation.
  while (list.childElementCount > KEPT) {
    list.firstElementChild.remove();
  }
}

/** Show a path which the call has taken; a generation may have several, one by one. */
export function showPath({ here, server, pair }) {
  const body = $("#generations tbody");
  let row = body.querySelector(`[data-here="${here}"]`);
  if (row === null) {
    row = make("tr", "");
    row.dataset.here = here;
    row.append(make("td", body.childElementCount + 1), make("td", clock()));
    row.append(make("td", here), make("td", server), make("td", ""));
    body.append(row);
  }
  row.lastElementChild.textContent = pair;
}

export function showText({ from, text }) {
  const item = make("li", ` ${text}`);
  item.prepend(make("b", `${from}:`));
  $("#texts").append(item);
  $("#texts").scrollTop = $("#texts").scrollHeight;
}

/** Show the pictures of the others, and play their sound. */
export class Seats {
  constructor(pc) {
    this.pc = pc;
    this.names = {};
    this.tiles = new Map();
  }

  /** @param names who is in which m-section, if given. */
  show(names = this.names) {
    this.names = names;
    for (const { mid, receiver } of this.pc.getTransceivers()) {
      const name = this.names[mid];
      if (name === undefined) {
        continue;
      }
      const tile = this.tiles.get(mid) ?? this.add(mid, receiver.track);
      tile.hidden = name === null || receiver.track.kind === "audio";
      tile.querySelector("figcaption").textContent = name ?? "";
    }
  }

  add(mid, track) {
    const tile = make("figure", "", "tile");
    const player = document.createElement(track.kind);
    Object.assign(player, { autoplay: true, playsInline: true });
    player.srcObject = new MediaStream([track]);
    tile.append(player, make("figcaption", ""));
    tile.dataset.mid = mid;
    tile.classList.add("other");
    $("#tiles").append(tile);
    this.tiles.set(mid, tile);
    return tile;
  }
}
