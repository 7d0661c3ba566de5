// What is `ctx.storage` of an action? Files of the deployment, their contents included.
//
// A content goes and comes in pieces, each waited for; a content that is got is a Blob, whole and in memory.

import { BODY_CHUNK } from "./limits.mjs";
import { typeOf } from "./values.mjs";

export class Storage {
  #call;

  constructor(call) {
    this.#call = call;
  }

  async getUrl(id) {
    return this.#call.syscall("storage.get_url", checked(id));
  }

  async getMetadata(id) {
    return this.#call.syscall("storage.get_metadata", checked(id));
  }

  async generateUploadUrl() {
    return this.#call.syscall("storage.generate_upload_url");
  }

  async delete(id) {
    await this.#call.syscall("storage.delete", checked(id));
  }

  /** Store a Blob (or bytes) and return its id; `sha256` is what it must have, in base64 or hexadecimal. */
  async store(blob, { sha256 = null } = {}) {
    const bytes = await bytesOf(blob);
    const type = blob instanceof Blob && blob.type !== "" ? blob.type : null;
    let at = BODY_CHUNK;
    let [number, id] = await this.#call.syscall("storage.store", type, sha256, bytes.subarray(0, at), at >= bytes.length);
    try {
      while (id === null) {
        const piece = bytes.subarray(at, at + BODY_CHUNK);
        at += BODY_CHUNK;
        id = await this.#call.syscall("storage.write", number, piece, at >= bytes.length);
      }
    } catch (error) {
      await this.#giveUp(number);
      throw error;
    }
    return id;
  }

  /** The file as a Blob, or null when there is none. */
  async get(id) {
    const found = await this.#call.syscall("storage.get", checked(id));
    if (found === null) return null;
    let [number, type, , piece, last] = found;
    const pieces = [piece];
    try {
      while (!last) {
        [piece, last] = await this.#call.syscall("storage.read", number);
        pieces.push(piece);
      }
    } catch (error) {
      await this.#giveUp(number);
      throw error;
    }
    return new Blob(pieces, { type: type ?? "" });
  }

  // When the call has ended, the host has ended all of it by itself.
  async #giveUp(number) {
    await this.#call.syscall("storage.close", number).catch(() => undefined);
  }
}

function checked(id) {
  if (typeof id !== "string") throw new TypeError(`a stored file is named by its id, not by ${typeOf(id)}`);
  return id;
}

async function bytesOf(blob) {
  if (blob instanceof Blob) return new Uint8Array(await blob.arrayBuffer());
  if (blob instanceof ArrayBuffer) return new Uint8Array(blob);
  if (ArrayBuffer.isView(blob)) return new Uint8Array(blob.buffer, blob.byteOffset, blob.byteLength);
  throw new TypeError(`a file is stored from a Blob or bytes, not from ${typeOf(blob)}`);
}
