"""What the browser gets: one page without a framework, and a small speaker of the sync protocol."""

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Chat</title>
<style>
  body { font: 16px/1.5 system-ui, sans-serif; max-width: 40rem; margin: 2rem auto; padding: 0 1rem }
  #messages { list-style: none; padding: 0; min-height: 12rem }
  #messages b { margin-right: .5rem }
  form { display: flex; gap: .5rem } input { font: inherit; padding: .3rem } #body { flex: 1 }
  #state { color: #777 }
</style>
<h1>Chat</h1>
<p><label>Room <input id="room" value="lobby"></label> <label>Name <input id="author" value="Somebody"></label>
   <span id="state" role="status"></span></p>
<ul id="messages" aria-live="polite"></ul>
<form id="say"><input id="body" aria-label="Message" autocomplete="off" autofocus><button>Say</button></form>
<script type="module">
import { Live } from "/live.js";

const at = (id) => document.getElementById(id);
const live = new Live("CLOUD_URL", (state) => { at("state").textContent = state; });

function show(messages) {
  at("messages").replaceChildren(...messages.map(({ author, body }) => {
    const line = document.createElement("li"), name = document.createElement("b");
    name.textContent = author;
    line.append(name, body);
    return line;
  }));
}

let leave = live.subscribe("chat:messages", { room: at("room").value }, show);
at("room").addEventListener("change", () => {
  leave();
  leave = live.subscribe("chat:messages", { room: at("room").value }, show);
});
at("say").addEventListener("submit", async (event) => {
  event.preventDefault();
  const body = at("body").value;
  if (!body.trim()) return;
  at("body").value = "";
  await live.mutation("chat:say", { room: at("room").value, author: at("author").value, body });
});
</script>
"""

LIVE = """// Subscriptions and mutations over the sync protocol: enough for a small page. A program of some size takes
// the npm package `convex`, which works with this server as it is.
export class Live {
  #url; #tell; #socket; #session = crypto.randomUUID(); #connections = 0; #version = 0;
  #next = 0; #queries = new Map(); #waiting = new Map(); #closed = false;

  constructor(cloudUrl, tell = () => {}) {
    this.#url = cloudUrl.replace(/^http/, "ws") + "/api/sync";
    this.#tell = tell;
    this.#open();
  }

  // Calls `show` with the result, now and whenever it changes; returns how to stop.
  subscribe(path, args, show) {
    const id = this.#next++;
    this.#queries.set(id, { path, args, show });
    this.#modify([this.#add(id)]);
    return () => { this.#queries.delete(id); this.#modify([{ type: "Remove", queryId: id }]); };
  }

  // Resolves with the result; sent again after a lost connection, and still run once.
  mutation(path, args) {
    const requestId = this.#next++;
    return new Promise((resolve, reject) => {
      const message = { type: "Mutation", requestId, udfPath: path, args: [args] };
      this.#waiting.set(requestId, { message, resolve, reject });
      this.#send(message);
    });
  }

  close() { this.#closed = true; this.#socket.close(); }

  #open() {
    this.#socket = new WebSocket(this.#url);
    this.#socket.onopen = () => {
      this.#tell("");
      this.#version = 0;
      const connectionCount = this.#connections++;
      this.#send({ type: "Connect", sessionId: this.#session, connectionCount, lastCloseReason: null });
      this.#modify([...this.#queries.keys()].map((id) => this.#add(id)));
      for (const { message } of this.#waiting.values()) this.#send(message);
    };
    this.#socket.onmessage = ({ data }) => this.#take(JSON.parse(data));
    this.#socket.onclose = () => {
      if (this.#closed) return;
      this.#tell("connecting…");
      setTimeout(() => this.#open(), 1000);
    };
  }

  #take(message) {
    if (message.type === "Ping") this.#send({ type: "Event", eventType: "Pong", event: null });
    if (message.type === "Transition") {
      for (const change of message.modifications) {
        if (change.type === "QueryUpdated") this.#queries.get(change.queryId)?.show(change.value);
        if (change.type === "QueryFailed") this.#tell(change.errorMessage);
      }
    }
    if (message.type === "MutationResponse") {
      const call = this.#waiting.get(message.requestId);
      this.#waiting.delete(message.requestId);
      if (message.success) call?.resolve(message.result);
      else call?.reject(Object.assign(new Error(message.result), { data: message.errorData }));
    }
  }

  #add(id) {
    const { path, args } = this.#queries.get(id);
    return { type: "Add", queryId: id, udfPath: path, args: [args] };
  }

  #modify(modifications) {
    if (this.#socket.readyState !== 1) return;
    this.#send({ type: "ModifyQuerySet", baseVersion: this.#version, newVersion: ++this.#version, modifications });
  }

  #send(message) { if (this.#socket.readyState === 1) this.#socket.send(JSON.stringify(message)); }
}
"""
