// What is a value? The model of runtime/protocol/values.py, as JavaScript spells it.
//
// null, boolean, number, bigint (64 bits), string, ArrayBuffer (typed arrays and Buffers are taken for their bytes),
// array, plain object. A field that is undefined is left out, as Convex does.

import { inspect } from "node:util";
import { read, Writer } from "./msgpack.mjs";
import { VALUE_BYTES, VALUE_DEPTH, VALUE_ITEMS } from "./limits.mjs";

/** This is not a value; the message names the path. */
export class InvalidValue extends TypeError {
  name = "TypeError";
}

/** Check that this is a value, and encode it. */
export function encode(value, path = "value") {
  const state = { writer: new Writer(), items: 0 };
  put(state, value, path, VALUE_DEPTH);
  const bytes = state.writer.finish();
  if (state.items > VALUE_ITEMS) {
    throw new InvalidValue(`${path} holds more than ${VALUE_ITEMS} items (limit VALUE_ITEMS): use smaller parts`);
  }
  return bytes;
}

/** Decode what the host says. */
export function decode(bytes) {
  return read(Buffer.from(bytes));
}

/** Refuse what is larger than a value may be. */
export function measured(bytes, what, Refusal) {
  if (bytes.length > VALUE_BYTES) {
    throw new Refusal(`${what} of ${bytes.length} bytes, limit ${VALUE_BYTES} bytes`);
  }
  return bytes;
}

/** The name of a value's type, for error messages. */
export function typeOf(value) {
  if (value === null) return "null";
  if (Array.isArray(value)) return "array";
  if (typeof value !== "object") return typeof value;
  if (isPlain(value)) return "object";
  return value.constructor?.name || "object";
}

export function isPlain(value) {
  if (value === null || typeof value !== "object") return false;
  const prototype = Object.getPrototypeOf(value);
  // An object of another realm (node:vm, structuredClone in a worker) is as plain as one of ours.
  return prototype === null || prototype === Object.prototype || Object.getPrototypeOf(prototype) === null;
}

/** A value in one short line. */
export function shown(value) {
  const text = inspect(value, { breakLength: Infinity, depth: 2, maxArrayLength: 10, maxStringLength: 80 });
  return text.length > 80 ? `${text.slice(0, 80)}…` : text;
}

function put(state, value, path, depth) {
  const { writer } = state;
  // Counted before anything is walked: what is too much is not looked at to its end.
  if (++state.items > 2 * VALUE_ITEMS) {
    throw new InvalidValue(`${path} is one of too many items (limit VALUE_ITEMS, ${VALUE_ITEMS}): use smaller parts`);
  }
  switch (typeof value) {
    case "boolean":
      return writer.boolean(value);
    case "number":
      return writer.number(value);
    case "bigint":
      if (BigInt.asIntN(64, value) !== value) throw new InvalidValue(`${path} is ${shown(value)}: an Int64 has 64 bits`);
      return writer.bigint(value);
    case "string":
      if (!value.isWellFormed()) throw new InvalidValue(`${path} holds a lone surrogate`);
      return writer.string(value);
    case "object":
      if (value === null) return writer.nil();
      return putObject(state, value, path, depth);
    default:
      throw noValue(value, path);
  }
}

function putObject(state, value, path, depth) {
  if (value instanceof ArrayBuffer) return state.writer.bytes(new Uint8Array(value));
  if (ArrayBuffer.isView(value)) {
    return state.writer.bytes(new Uint8Array(value.buffer, value.byteOffset, value.byteLength));
  }
  if (depth <= 0) throw new InvalidValue(`${path} is nested deeper than ${VALUE_DEPTH} levels`);
  if (Array.isArray(value)) {
    state.writer.array(value.length);
    for (let index = 0; index < value.length; index++) put(state, value[index], `${path}[${index}]`, depth - 1);
    return;
  }
  if (!isPlain(value)) throw noValue(value, path);
  const fields = Object.entries(value).filter(([, item]) => item !== undefined);
  state.writer.map(fields.length);
  for (const [key, item] of fields) {
    checkKey(key, path);
    state.items += 1;
    state.writer.string(key);
    put(state, item, `${path}.${key}`, depth - 1);
  }
}

function checkKey(key, path) {
  if (!/^[\x20-\x7e]{1,1024}$/.test(key) || key[0] === "$") {
    const rule = "keys are 1 to 1024 printable ASCII characters, not beginning with '$'";
    throw new InvalidValue(`${path} has the key ${shown(key.slice(0, 40))}: ${rule}`);
  }
}

function noValue(value, path) {
  const model = "null, boolean, number, bigint, string, ArrayBuffer, array or plain object";
  return new InvalidValue(`${path} is of type ${typeOf(value)}: a value is ${model}`);
}
