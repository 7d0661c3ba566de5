// How did the tenant's code fail, told so that the host can believe the form and the tenant the content?
//
// An exception is hostile: whatever looking at it does, a failure comes out. Only frames of the bundle are shown.

import { fileURLToPath, pathToFileURL } from "node:url";
import { wellFormed } from "./msgpack.mjs";
import { ApplicationError } from "./sdk.mjs";
import { encode, shown } from "./values.mjs";

const FRAMES = 64;
const MESSAGE = 16384;
const NAME = 200;
const STEP = /^\s*at (?:async )?(?:(.*?) \()?(file:\/\/[^\s()]+?):(\d+):\d+\)?$/;

// Where the bundle's files are, and their lines; filled when it is loaded.
export const bundle = { root: "", lines: new Map() };

/** Cut a text and make it encodable. */
export function clean(text, limit) {
  const whole = wellFormed(String(text));
  return whole.length > limit ? `${wellFormed(whole.slice(0, limit))}… (${whole.length - limit} more characters)` : whole;
}

/** What ended a call: [reason, exception, message, frames, data]. */
export function failureOf(error) {
  try {
    const data = error instanceof ApplicationError ? encode(error.data, "data") : null;
    const reason = data === null ? "raised" : "application";
    return [reason, nameOf(error), messageOf(error), framesOf(error), data];
  } catch {
    return ["raised", "Error", "the error cannot be shown: describing it failed", [], null];
  }
}

/** The error in one line: `Name: message`. */
export function describe(error) {
  try {
    const message = messageOf(error);
    return message ? `${nameOf(error)}: ${message}` : nameOf(error);
  } catch {
    return "an error that cannot be shown";
  }
}

/** The bundle's own frames of an error, outermost first. */
export function framesOf(error) {
  const stack = typeof error?.stack === "string" ? error.stack : "";
  const frames = [];
  for (const line of stack.slice(0, 65536).split("\n")) {
    const step = STEP.exec(line);
    const path = step && pathOf(step[2]);
    if (path) frames.push([path, Number(step[3]), clean(step[1] ?? "<anonymous>", NAME), textAt(path, Number(step[3]))]);
    if (frames.length === FRAMES) break;
  }
  return frames.reverse();
}

/** The path in the bundle of a file's URL, if it is one of its files. */
export function pathOf(url) {
  const root = bundle.root && `${pathToFileURL(bundle.root)}/`;
  if (!root || !url.startsWith(root)) return null;
  return fileURLToPath(url).slice(bundle.root.length + 1).split("?")[0];
}

export function textAt(path, line) {
  return clean((bundle.lines.get(path)?.[line - 1] ?? "").trim(), 500);
}

function nameOf(error) {
  if (!(error instanceof Error)) return "Error";
  return clean(error.name || error.constructor?.name || "Error", NAME);
}

function messageOf(error) {
  if (!(error instanceof Error)) return clean(`${shown(error)} was thrown`, MESSAGE);
  const inner = error instanceof AggregateError ? error.errors.slice(0, 5).map((one) => messageOf(one)) : [];
  const cause = error.cause instanceof Error ? [`caused by ${nameOf(error.cause)}: ${error.cause.message}`] : [];
  return clean([error.message, ...inner, ...cause].filter(Boolean).join("; "), MESSAGE);
}
