// How is one call of an action carried through, from the host's word to the last word?
//
// Whatever the tenant's code does, a call ends with one last word, and nothing is said in it afterwards. The limits that
// the host enforces by killing are enforced here first, by an error that names them.

import { cutLine, ownLine, RUNNING } from "./console.mjs";
import { frame, Raw } from "./msgpack.mjs";
import { LOG_LINES, SYSCALLS_AT_ONCE, SYSCALLS_PER_CALL } from "./limits.mjs";
import { ApplicationError, FunctionError, functionPath, InvalidToken, LimitExceeded, REGISTERED } from "./sdk.mjs";
import { Storage } from "./storage.mjs";
import { failureOf } from "./tracebacks.mjs";
import { Mismatch } from "./validators.mjs";
import { decode, encode, InvalidValue, isPlain, measured, shown, typeOf } from "./values.mjs";

const [SYSCALL, RETURNED, FAILED, LINE] = [4, 5, 6, 10];
const RAISED = { ValueError: RangeError, TypeError, FunctionError, LimitExceeded, InvalidToken };

/** The call that this work belongs to has ended. Nobody has to hear of it when nobody waits for it. */
export class Ended extends Error {
  name = "RuntimeError";
}

export const calls = new Map();

/** One invocation, seen from inside. */
export class Call {
  ended = false;
  #lines = 0;
  #sid = 0;
  #open = new Map();
  #queue = [];

  constructor(send, deployment, [cid, path, kind, args, requestId]) {
    this.send = send;
    this.deployment = deployment;
    this.cid = cid;
    this.path = path;
    this.kind = kind;
    this.args = args;
    this.requestId = requestId;
    calls.set(cid, this);
  }

  /** Check the arguments, call the function, check and send its result. */
  run(functions) {
    return RUNNING.run(this, async () => {
      try {
        const found = functions.get(this.path);
        if (!found || this.kind !== "action") {
          return this.fail(["unknown", "LookupError", `there is no ${this.kind} '${this.path}'`, [], null]);
        }
        const checked = this.#check(found.args, this.args, "args", ["arguments", "ArgumentValidationError"]);
        if (this.ended) return;
        this.#returned(found, await found.handler(new ActionCtx(this), checked));
      } catch (error) {
        this.fail(failureOf(error));
      }
    });
  }

  #check(validator, value, name, [reason, exception]) {
    try {
      return validator === null ? value : validator.check(value, name);
    } catch (error) {
      if (!(error instanceof Mismatch)) throw error;
      this.fail([reason, exception, `${this.path}: ${error.message}`, [], null]);
    }
  }

  #returned(found, result) {
    try {
      const checked = this.#check(found.returns, result ?? null, "result", ["returns", "ReturnsValidationError"]);
      if (this.ended) return;
      const encoded = measured(encode(checked, "result"), "result", LimitExceeded);
      this.#end(frame([RETURNED, this.cid, new Raw(encoded)]));
    } catch (error) {
      if (!(error instanceof InvalidValue || error instanceof LimitExceeded)) throw error;
      this.fail(["returns", error.name, `${this.path}: ${error.message}`, [], null]);
    }
  }

  /** Ask the host and return its decoded answer; `args` are encoded already or plain. */
  async syscall(name, ...args) {
    while (this.#open.size >= SYSCALLS_AT_ONCE && !this.ended) await new Promise((turn) => this.#queue.push(turn));
    if (this.ended) throw new Ended(`${name}: the call that this work belongs to has ended`);
    if (this.#sid >= SYSCALLS_PER_CALL) {
      throw new LimitExceeded(`more than ${SYSCALLS_PER_CALL} calls of ctx in one invocation`);
    }
    const sid = this.#sid++;
    // An error that comes back shows where it was asked for, and not where the answer was read.
    const place = {};
    Error.captureStackTrace(place);
    return new Promise((resolve, reject) => {
      this.#open.set(sid, { resolve, reject, place });
      this.send(frame([SYSCALL, this.cid, sid, name, args]));
    });
  }

  answered(sid, value) {
    this.#asked(sid)?.resolve(value);
  }

  refused(sid, exception, message, data) {
    const asked = this.#asked(sid);
    const error =
      exception === "ApplicationError" && data ? new ApplicationError(decode(data)) : new (RAISED[exception] ?? Error)(message);
    if (asked) {
      error.stack = `${error.name}: ${error.message}\n${asked.place.stack.split("\n").slice(1).join("\n")}`;
      asked.reject(error);
    }
  }

  #asked(sid) {
    const asked = this.#open.get(sid);
    this.#open.delete(sid);
    this.#queue.shift()?.();
    return asked;
  }

  /** Keep a line; past the limit lines are only counted. */
  log(level, text) {
    if (this.ended) return ownLine(level, text);
    this.#lines += 1;
    if (this.#lines <= LOG_LINES) this.send(frame([LINE, this.cid, level, cutLine(text)]));
  }

  /** End the call with this failure. */
  fail(failure) {
    this.#end(frame([FAILED, this.cid, failure]));
  }

  /** The deadline passed. What still runs cannot be stopped from here, and can ask nothing of the host any more. */
  stop() {
    this.fail(["time", "TimeLimit", "the call did not end in time", [], null]);
  }

  #end(lastWord) {
    if (this.ended) return;
    if (this.#lines > LOG_LINES) {
      const notice = `${this.#lines - LOG_LINES} more lines dropped, limit ${LOG_LINES} lines of one call`;
      this.send(frame([LINE, this.cid, "warn", notice]));
    }
    this.send(lastWord);
    this.ended = true;
    calls.delete(this.cid);
    for (const { reject } of this.#open.values()) reject(new Ended("the call that this work belongs to has ended"));
    this.#open.clear();
    for (const turn of this.#queue.splice(0)) turn();
  }
}

function encodedArgs(args) {
  if (!isPlain(args)) throw new TypeError(`the arguments of a function are an object, not ${typeOf(args)}`);
  return new Raw(measured(encode(args, "args"), "arguments", LimitExceeded));
}

function milliseconds(given, what) {
  const number = given instanceof Date ? given.getTime() : given;
  if (typeof number !== "number" || !Number.isFinite(number)) throw new TypeError(`${what}, not ${shown(given)}`);
  return number;
}

function terms(retry) {
  if (retry === undefined) return null;
  const { maxAttempts, backoff = 1000, maxBackoff = 3600000, jitter = 0.5 } = retry;
  const rule = "is {maxAttempts, backoff, maxBackoff, jitter}: a whole number from 1 to 100, milliseconds, milliseconds, 0 to 1";
  const times = [backoff, maxBackoff].every((time) => typeof time === "number" && time >= 0 && time <= 604800000);
  const part = typeof jitter === "number" && jitter >= 0 && jitter <= 1;
  if (!Number.isInteger(maxAttempts) || maxAttempts < 1 || maxAttempts > 100 || !times || !part) {
    throw new RangeError(`retry ${rule}; it is ${shown(retry)}`);
  }
  return [maxAttempts, backoff, maxBackoff, jitter];
}

/** What runs later. Times are milliseconds, as everywhere in JavaScript. */
class Scheduler {
  #call;

  constructor(call) {
    this.#call = call;
  }

  async runAfter(delay, ref, args = {}, { retry } = {}) {
    const after = milliseconds(delay, "the delay of runAfter is a number of milliseconds");
    if (after < 0) throw new RangeError(`the delay of runAfter is 0 or more milliseconds, not ${after}`);
    return this.#call.syscall("scheduler.schedule", functionPath(ref), encodedArgs(args), "after", after, terms(retry));
  }

  async runAt(time, ref, args = {}, { retry } = {}) {
    const at = milliseconds(time, "runAt takes a Date or milliseconds since 1970");
    return this.#call.syscall("scheduler.schedule", functionPath(ref), encodedArgs(args), "at", at, terms(retry));
  }

  async cancel(id) {
    if (typeof id !== "string") throw new TypeError(`a scheduled function is named by its id, not by ${typeOf(id)}`);
    await this.#call.syscall("scheduler.cancel", id);
  }
}

/** What an action can do: call the others, and the world outside. */
class ActionCtx {
  #call;

  constructor(call) {
    this.#call = call;
  }

  get requestId() {
    return this.#call.requestId;
  }

  get deployment() {
    return this.#call.deployment;
  }

  get auth() {
    return { getUserIdentity: () => this.#call.syscall("auth.identity") };
  }

  get scheduler() {
    return new Scheduler(this.#call);
  }

  get storage() {
    return new Storage(this.#call);
  }

  get db() {
    throw new TypeError("an action has no ctx.db: call a query or mutation with ctx.runQuery or ctx.runMutation");
  }

  async runQuery(ref, args = {}) {
    return this.#call.syscall("run.query", functionPath(ref), encodedArgs(args));
  }

  async runMutation(ref, args = {}) {
    return this.#call.syscall("run.mutation", functionPath(ref), encodedArgs(args));
  }

  async runAction(ref, args = {}) {
    return this.#call.syscall("run.action", functionPath(ref), encodedArgs(args));
  }
}

/** Let the function of a module be called by this path. */
export function register(path, exported) {
  const found = exported[REGISTERED];
  found.path ||= path;
  return found;
}
