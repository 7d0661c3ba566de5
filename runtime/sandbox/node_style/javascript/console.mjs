// Where does a line go that is written in this process? To the log of the call that wrote it, with its request id.

import { AsyncLocalStorage } from "node:async_hooks";
import { Console } from "node:console";
import { Writable } from "node:stream";
import { format } from "node:util";
import { frame, wellFormed } from "./msgpack.mjs";
import { LOG_LINES, LOG_LINE_BYTES } from "./limits.mjs";

/** The call that the code now running belongs to. */
export const RUNNING = new AsyncLocalStorage();

const LINE = 10;
let say = () => {};
let ownLines = 0;

/** Write a line that belongs to no call: import time, or work that outlived its call. */
export function ownLine(level, text) {
  ownLines += 1;
  if (ownLines <= LOG_LINES) say(frame([LINE, 0, level, cutLine(text)]));
}

/** Make a log line what the host accepts. */
export function cutLine(text) {
  const whole = wellFormed(String(text));
  const size = Buffer.byteLength(whole);
  if (size <= LOG_LINE_BYTES) return whole;
  // A character that was cut in two is dropped.
  const kept = Buffer.from(whole).subarray(0, LOG_LINE_BYTES).toString().replace(/\ufffd$/, "");
  return `${kept}… (${size - LOG_LINE_BYTES} more bytes)`;
}

function log(level, text) {
  const call = RUNNING.getStore();
  if (call) call.log(level, text);
  else ownLine(level, text);
}

function stream(level) {
  return new Writable({
    decodeStrings: false,
    write(chunk, encoding, done) {
      log(level, String(chunk).replace(/\n$/, ""));
      done();
    },
  });
}

/** Send everything that is written here to the log; `send` takes frames. */
export function install(send) {
  say = send;
  const out = stream("info");
  const err = stream("warn");
  // For what it can do beside lines: tables, groups, counters, timers.
  globalThis.console = new Console({ stdout: out, stderr: err, colorMode: false });
  const levels = { debug: "debug", log: "info", info: "info", warn: "warn", error: "error" };
  for (const [name, level] of Object.entries(levels)) {
    console[name] = (...values) => log(level, format(...values));
  }
  for (const [real, ours] of [[process.stdout, out], [process.stderr, err]]) {
    real.write = (chunk, encoding, done) => ours.write(chunk, typeof encoding === "string" ? encoding : undefined, done);
  }
  process.removeAllListeners("warning");
  process.on("warning", () => {});
}
