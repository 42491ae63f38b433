// The WebSocket to the server: one JSON object with one member a message, both ways.

export class Signaler {
  /** Called with descriptions and candidates. */
  onmessage = null;

  /**
   * @param handlers what to do with the other messages, by their names.
   * @param closed called with the reason when the server is gone.
   */
  constructor(handlers, closed) {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    this.socket = new WebSocket(`${scheme}://${location.host}/socket`);
    this.opened = new Promise((resolve) => (this.socket.onopen = resolve));
    this.socket.onclose = ({ reason }) => closed(reason || "The server is not there.");
    this.socket.onmessage = ({ data }) => {
      const message = JSON.parse(data);
      const [name, value] = Object.entries(message)[0];
      if (name in handlers) {
        handlers[name](value);
      } else {
        this.onmessage?.(message);
      }
    };
  }

  close() {
    this.socket.close();
  }

  send(message) {
    if (this.socket.readyState === WebSocket.OPEN) {
      this.socket.send(JSON.stringify(message));
    }
  }
}
