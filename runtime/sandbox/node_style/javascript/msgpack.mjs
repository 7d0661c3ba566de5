// How do JavaScript's values become MessagePack, and MessagePack values?
//
// Knows what runtime/protocol/values.py says: a whole number within ±2^53 is an integer, every other number a double,
// a BigInt is extension 1 (eight bytes, little-endian). Checks nothing: `values.mjs` does.

const INT64 = 1;
const SAFE = 2 ** 53;
const utf8 = new TextDecoder("utf-8", { fatal: true });

/** Bytes that are MessagePack already. */
export class Raw {
  constructor(bytes) {
    this.bytes = bytes;
  }
}

/** Writes MessagePack into a buffer that grows. */
export class Writer {
  #buffer = Buffer.allocUnsafe(1024);
  #at = 0;

  get size() {
    return this.#at;
  }

  finish() {
    return this.#buffer.subarray(0, this.#at);
  }

  #room(size) {
    const at = this.#at;
    if (at + size > this.#buffer.length) {
      const larger = Buffer.allocUnsafe(Math.max(2 * this.#buffer.length, at + size));
      this.#buffer.copy(larger, 0, 0, at);
      this.#buffer = larger;
    }
    this.#at = at + size;
    return at;
  }

  #head(tag, width, size) {
    const at = this.#room(1 + width);
    this.#buffer[at] = tag;
    if (width === 1) this.#buffer[at + 1] = size;
    else if (width === 2) this.#buffer.writeUInt16BE(size, at + 1);
    else if (width === 4) this.#buffer.writeUInt32BE(size, at + 1);
  }

  nil() {
    this.#head(0xc0, 0);
  }

  boolean(value) {
    this.#head(value ? 0xc3 : 0xc2, 0);
  }

  number(value) {
    if (!Number.isInteger(value) || Object.is(value, -0) || Math.abs(value) > SAFE) {
      const at = this.#room(9);
      this.#buffer[at] = 0xcb;
      this.#buffer.writeDoubleBE(value, at + 1);
    } else if (value >= 0 && value < 0x80) {
      this.#head(value, 0);
    } else if (value < 0 && value >= -0x20) {
      this.#head(0x100 + value, 0);
    } else {
      const at = this.#room(9);
      this.#buffer[at] = 0xd3;
      this.#buffer.writeBigInt64BE(BigInt(value), at + 1);
    }
  }

  bigint(value) {
    const at = this.#room(10);
    this.#buffer[at] = 0xd7;
    this.#buffer[at + 1] = INT64;
    this.#buffer.writeBigInt64LE(value, at + 2);
  }

  string(value) {
    const size = Buffer.byteLength(value);
    if (size < 32) this.#head(0xa0 | size, 0);
    else if (size < 0x100) this.#head(0xd9, 1, size);
    else if (size < 0x10000) this.#head(0xda, 2, size);
    else this.#head(0xdb, 4, size);
    const at = this.#room(size);
    this.#buffer.write(value, at, "utf8");
  }

  bytes(value) {
    const size = value.length;
    if (size < 0x100) this.#head(0xc4, 1, size);
    else if (size < 0x10000) this.#head(0xc5, 2, size);
    else this.#head(0xc6, 4, size);
    this.raw(value);
  }

  raw(bytes) {
    const at = this.#room(bytes.length);
    this.#buffer.set(bytes, at);
  }

  array(size) {
    if (size < 16) this.#head(0x90 | size, 0);
    else if (size < 0x10000) this.#head(0xdc, 2, size);
    else this.#head(0xdd, 4, size);
  }

  map(size) {
    if (size < 16) this.#head(0x80 | size, 0);
    else if (size < 0x10000) this.#head(0xde, 2, size);
    else this.#head(0xdf, 4, size);
  }
}

/** Write what this guest says itself: arrays, plain objects, text, numbers, bytes and `Raw`. */
export function write(writer, value) {
  if (value === null || value === undefined) writer.nil();
  else if (typeof value === "boolean") writer.boolean(value);
  else if (typeof value === "number") writer.number(value);
  else if (typeof value === "bigint") writer.bigint(value);
  else if (typeof value === "string") writer.string(wellFormed(value));
  else if (value instanceof Raw) writer.raw(value.bytes);
  else if (value instanceof Uint8Array) writer.bytes(value);
  else if (Array.isArray(value)) {
    writer.array(value.length);
    for (const item of value) write(writer, item);
  } else {
    const entries = Object.entries(value);
    writer.map(entries.length);
    for (const [key, item] of entries) {
      writer.string(key);
      write(writer, item);
    }
  }
}

/** The text without halves of characters. A Node.js that cannot do that is told to be too old, in words. */
export function wellFormed(text) {
  return text.toWellFormed?.() ?? text;
}

/** One message with its length in front. */
export function frame(message) {
  const writer = new Writer();
  writer.raw(new Uint8Array(4));
  write(writer, message);
  const bytes = writer.finish();
  bytes.writeUInt32LE(bytes.length - 4, 0);
  return bytes;
}

/** Read one thing. Bytes become what `bytes` makes of them: an ArrayBuffer, unless it is given. */
export function read(buffer, bytes = copied) {
  const reader = new Reader(buffer, bytes);
  const value = reader.next();
  if (reader.at !== buffer.length) throw new RangeError("bytes after the end of a message");
  return value;
}

function copied(view) {
  return view.buffer.slice(view.byteOffset, view.byteOffset + view.length);
}

class Reader {
  constructor(buffer, bytes) {
    this.buffer = buffer;
    this.bytes = bytes;
    this.at = 0;
  }

  #take(size) {
    const at = this.at;
    if (at + size > this.buffer.length) throw new RangeError("a message ends before its end");
    this.at = at + size;
    return at;
  }

  #size(width) {
    const at = this.#take(width);
    return this.buffer.readUIntBE(at, width);
  }

  next() {
    const tag = this.buffer[this.#take(1)];
    if (tag < 0x80) return tag;
    if (tag < 0x90) return this.#map(tag & 15);
    if (tag < 0xa0) return this.#array(tag & 15);
    if (tag < 0xc0) return this.#string(tag & 31);
    if (tag >= 0xe0) return tag - 0x100;
    const { buffer } = this;
    switch (tag) {
      case 0xc0: return null;
      case 0xc2: return false;
      case 0xc3: return true;
      case 0xc4: return this.#bytes(this.#size(1));
      case 0xc5: return this.#bytes(this.#size(2));
      case 0xc6: return this.#bytes(this.#size(4));
      case 0xca: return buffer.readFloatBE(this.#take(4));
      case 0xcb: return buffer.readDoubleBE(this.#take(8));
      case 0xcc: return this.#size(1);
      case 0xcd: return this.#size(2);
      case 0xce: return this.#size(4);
      case 0xcf: return Number(buffer.readBigUInt64BE(this.#take(8)));
      case 0xd0: return buffer.readInt8(this.#take(1));
      case 0xd1: return buffer.readInt16BE(this.#take(2));
      case 0xd2: return buffer.readInt32BE(this.#take(4));
      case 0xd3: return Number(buffer.readBigInt64BE(this.#take(8)));
      case 0xd7: return this.#int64();
      case 0xd9: return this.#string(this.#size(1));
      case 0xda: return this.#string(this.#size(2));
      case 0xdb: return this.#string(this.#size(4));
      case 0xdc: return this.#array(this.#size(2));
      case 0xdd: return this.#array(this.#size(4));
      case 0xde: return this.#map(this.#size(2));
      case 0xdf: return this.#map(this.#size(4));
      default: throw new RangeError(`a message holds the unknown tag ${tag}`);
    }
  }

  #int64() {
    const at = this.#take(9);
    if (this.buffer[at] !== INT64) throw new RangeError("a message holds an unknown extension");
    return this.buffer.readBigInt64LE(at + 1);
  }

  #string(size) {
    const at = this.#take(size);
    return utf8.decode(this.buffer.subarray(at, at + size));
  }

  #bytes(size) {
    const at = this.#take(size);
    return this.bytes(this.buffer.subarray(at, at + size));
  }

  #array(size) {
    const items = [];
    for (let left = size; left > 0; left--) items.push(this.next());
    return items;
  }

  #map(size) {
    const object = {};
    for (let left = size; left > 0; left--) {
      const key = this.next();
      const value = this.next();
      if (key === "__proto__") {
        Object.defineProperty(object, key, { value, writable: true, enumerable: true, configurable: true });
      } else {
        object[key] = value;
      }
    }
    return object;
  }
}

/** Cuts a stream of bytes into messages. */
export class Splitter {
  #pieces = [];
  #held = 0;
  #wanted = 4;

  constructor(maxFrame) {
    this.maxFrame = maxFrame;
  }

  *feed(piece) {
    this.#pieces.push(piece);
    this.#held += piece.length;
    if (this.#held < this.#wanted) return;
    const bytes = this.#pieces.length === 1 ? piece : Buffer.concat(this.#pieces);
    let at = 0;
    this.#wanted = 4;
    while (bytes.length - at >= 4) {
      const length = bytes.readUInt32LE(at);
      if (length === 0 || length > this.maxFrame) throw new RangeError(`a frame of ${length} bytes`);
      if (at + 4 + length > bytes.length) {
        this.#wanted = 4 + length;
        break;
      }
      yield bytes.subarray(at + 4, at + 4 + length);
      at += 4 + length;
    }
    this.#pieces = at < bytes.length ? [bytes.subarray(at)] : [];
    this.#held = bytes.length - at;
  }
}
