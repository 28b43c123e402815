// The unmodified npm client against a real server. Talks to its test in JSON lines: what happens goes to stdout, and
// each line on stdin is a command: {"do": "leave"}, {"do": "disconnect"}, {"do": "state"} or {"do": "push", "payload": …},
// a payload of text standing for its bytes.
import { createInterface } from "node:readline";
import WebSocket from "ws";

const options = JSON.parse(process.argv[2]);
const { url, token, topic, heartbeatMs, authToken, transport = "websocket", phoenix = "phoenix" } = options;
// What the 1.7 client finds in every browser: it does not know fetch.
globalThis.self = globalThis;
if (phoenix !== "phoenix")
  globalThis.XMLHttpRequest = class {
    headers = {};
    aborter = new AbortController();
    open(method, address) {
      Object.assign(this, { method, address });
    }
    setRequestHeader(name, value) {
      this.headers[name] = value;
    }
    send(body) {
      fetch(this.address, { method: this.method, headers: this.headers, body, signal: this.aborter.signal })
        .then((answer) => answer.text())
        .then(
          (text) => {
            Object.assign(this, { readyState: 4, responseText: text });
            this.onreadystatechange();
          },
          (error) => error.name === "AbortError" || this.onerror(),
        );
    }
    abort() {
      this.aborter.abort();
    }
  };
const { LongPoll, Presence, Socket } = await import(phoenix);
const tell = (what, detail = {}) => process.stdout.write(JSON.stringify({ what, ...detail }) + "\n");

// As behind a proxy that lets no upgrade through.
class Unreachable extends WebSocket {
  constructor(address, protocols) {
    super(address.replace("/websocket", "/nothing"), protocols);
  }
}

const socket = new Socket(url, {
  transport: { websocket: WebSocket, longpoll: LongPoll, fallback: Unreachable }[transport],
  longPollFallbackMs: transport === "fallback" ? 1000 : undefined,
  sessionStorage: { getItem: () => null, setItem: () => {}, removeItem: () => {} },
  params: token ? { token } : {},
  authToken,
  heartbeatIntervalMs: heartbeatMs,
  reconnectAfterMs: () => 100,
  rejoinAfterMs: () => 100,
});
const heartbeats = new Set();
socket.onOpen(() => tell("open", { polls: socket.conn instanceof LongPoll }));
socket.onClose((event) => tell("close", { code: event?.code }));
socket.onError(() => tell("error"));
socket.onMessage(({ topic: on, event, payload, ref }) => {
  if (on === "phoenix" && event === "phx_reply" && !heartbeats.has(ref)) {
    heartbeats.add(ref);
    tell("heartbeat", { status: payload.status });
  }
});
socket.connect();

const channel = socket.channel(topic, {});
channel.onClose(() => tell("channel_closed"));
channel.onError((reason) => tell("channel_error", { reason }));
channel.on("new_transaction", (payload) => tell("new_transaction", { payload }));
const presence = new Presence(channel);
const refs = ({ metas }) => metas.map((meta) => meta.phx_ref);
presence.onJoin((key, _, came) => tell("present", { key, refs: refs(came) }));
presence.onLeave((key, left, gone) => tell("absent", { key, refs: refs(gone), remain: refs(left) }));
presence.onSync(() => tell("presences", { present: Object.fromEntries(presence.list((key, held) => [key, refs(held)])) }));
channel
  .join()
  .receive("ok", (response) => tell("joined", { response }))
  .receive("error", (response) => tell("join_refused", { response }))
  .receive("timeout", () => tell("join_timeout"));

const shown = (response) => (response instanceof ArrayBuffer ? new TextDecoder().decode(response) : response);

createInterface({ input: process.stdin })
  .on("line", (line) => {
    const { do: command, payload } = JSON.parse(line);
    if (command === "leave") channel.leave().receive("ok", () => tell("left"));
    if (command === "push")
      channel
        .push("work", typeof payload === "string" ? new TextEncoder().encode(payload).buffer : payload)
        .receive("ok", (response) => tell("replied", { status: "ok", response: shown(response) }))
        .receive("error", (response) => tell("replied", { status: "error", response }));
    if (command === "join again") {
      // Another channel of the same topic on the same socket, which replaces the first at the server.
      const second = socket.channel(topic, {});
      second.on("new_transaction", (payload) => tell("second_new_transaction", { payload }));
      second.join().receive("ok", () => tell("second_joined"));
    }
    if (command === "state") tell("state", { state: channel.state });
    if (command === "disconnect") socket.disconnect(() => process.exit(0), 1000, "done");
  })
  .on("close", () => process.exit(0));
