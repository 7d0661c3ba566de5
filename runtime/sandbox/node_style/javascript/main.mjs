// Who answers the host from a process with Node.js?
//
// The main of a Node-style process: it speaks on descriptor 3 what isolates speak (runtime/protocol/messages.py), loads
// the JavaScript modules of one bundle and serves calls of their actions until the host closes the channel. Its argument
// is the folder of the bundle's packages, where it has any.
//
// Rules
// 1. An error that nobody waits for fails the call that it belongs to, and the host replaces the process.
// 2. What the host says is trusted, and must still be a message: a guest that cannot read its host ends.

import { Socket } from "node:net";
import { load, Refused } from "./bundle.mjs";
import { Call, calls, Ended } from "./calls.mjs";
import { install, ownLine, RUNNING } from "./console.mjs";
import { replaceEnvironment } from "./environment.mjs";
import { DIAGNOSTICS, HOST_FRAME } from "./limits.mjs";
import { frame, read, Splitter } from "./msgpack.mjs";
import { describe, failureOf } from "./tracebacks.mjs";

const CHANNEL = 3;
const [READY, LOADED, LOAD_REFUSED, PONG] = [1, 2, 3, 11];
const LOAD = 1;
const OLDEST = 20;
const exit = process.reallyExit.bind(process);

const channel = new Socket({ fd: CHANNEL, readable: true, writable: true });
const splitter = new Splitter(HOST_FRAME);
let deployment = "";
let functions = new Map();

function send(bytes) {
  channel.write(bytes);
}

const serve = {
  [LOAD]: loadBundle,
  2: ([environment]) => replaceEnvironment(environment),
  3: (message) => new Call(send, deployment, message).run(functions),
  7: ([cid, sid, value]) => calls.get(cid)?.answered(sid, value),
  8: ([cid, ...refusal]) => calls.get(cid)?.refused(...refusal),
  10: ([cid]) => calls.get(cid)?.stop(),
  11: ([number]) => send(frame([PONG, number])),
};

async function loadBundle([files, environment, name]) {
  if (Number.parseInt(process.versions.node, 10) < OLDEST) {
    const message = `this worker has Node.js ${process.versions.node}: ${OLDEST} or later is needed`;
    send(frame([LOAD_REFUSED, [{ file: "", line: 0, message }]]));
    return;
  }
  deployment = name;
  replaceEnvironment(environment);
  try {
    const loaded = await load(files, process.argv[2]);
    functions = loaded.functions;
    send(frame([LOADED, loaded.declaration]));
  } catch (error) {
    const reasons = error instanceof Refused ? error.diagnostics : [{ file: "", line: 0, message: describe(error) }];
    send(frame([LOAD_REFUSED, reasons.slice(0, DIAGNOSTICS)]));
  }
}

function receive(bytes) {
  try {
    for (const payload of splitter.feed(bytes)) {
      // The files of a bundle stay where they are; the bytes in a value are the tenant's own.
      const [tag, ...message] = read(payload, payload[1] === LOAD ? (view) => view : undefined);
      serve[tag](message);
    }
  } catch {
    exit(70);
  }
}

// --- what nobody waits for ----------------------------------------------------------------------------------------------

function crash(what, error) {
  const call = RUNNING.getStore();
  if (error instanceof Ended) return;
  const [, exception, message, frames] = failureOf(error);
  if (call && !call.ended) {
    call.fail(["crashed", exception, `${what}: ${message}`, frames, null]);
    return;
  }
  ownLine("error", `${what}: ${describe(error)}`);
  // An uncaught exception of nobody's may have broken anything.
  if (!call && what === "uncaught exception") exit(1);
}

process.on("unhandledRejection", (error) => crash("nobody handled a rejection", error));
process.on("uncaughtException", (error) => crash("uncaught exception", error));

/** `process.exit` ends the call that it is called from; the host replaces the process when the others have ended. */
function leave(code) {
  const call = RUNNING.getStore();
  const error = new Ended(`process.exit(${code ?? process.exitCode ?? 0}) was called`);
  if (!call) exit(code ?? process.exitCode ?? 0);
  if (!call.ended) {
    const [, , , frames] = failureOf(error);
    call.fail(["crashed", "ProcessExit", error.message, frames, null]);
  }
  throw error;
}

process.exit = leave;
process.reallyExit = leave;
process.abort = () => leave(134);

install(send);
channel.on("data", receive);
channel.on("close", () => exit(0));
channel.on("error", () => exit(0));
send(frame([READY, []]));
