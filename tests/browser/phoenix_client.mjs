// The unmodified npm client against a real server. Talks to its test in JSON lines: what happens goes to stdout, and
// each line on stdin is a command: {"do": "leave"} or {"do": "disconnect"}.
import { createInterface } from "node:readline";
import { Socket } from "phoenix";
import WebSocket from "ws";

const { url, token, topic, heartbeatMs, authToken } = JSON.parse(process.argv[2]);
const tell = (what, detail = {}) => process.stdout.write(JSON.stringify({ what, ...detail }) + "\n");

const socket = new Socket(url, {
  transport: WebSocket,
  params: token ? { token } : {},
  authToken,
  heartbeatIntervalMs: heartbeatMs,
  reconnectAfterMs: () => 100,
  rejoinAfterMs: () => 100,
});
const heartbeats = new Set();
socket.onOpen(() => tell("open"));
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
channel
  .join()
  .receive("ok", (response) => tell("joined", { response }))
  .receive("error", (response) => tell("join_refused", { response }))
  .receive("timeout", () => tell("join_timeout"));

createInterface({ input: process.stdin })
  .on("line", (line) => {
    const { do: command } = JSON.parse(line);
    if (command === "leave") channel.leave().receive("ok", () => tell("left"));
    if (command === "disconnect") socket.disconnect(() => process.exit(0), 1000, "done");
  })
  .on("close", () => process.exit(0));
