// What a module that begins with "use node" imports: `import { action, api, v } from "warren"`.

import { typeOf, encode } from "./values.mjs";
import { v, validatorOf } from "./validators.mjs";
import { environment } from "./environment.mjs";

export { v };

/** An error meant for the caller: `data` reaches it even where error details are hidden. */
export class ApplicationError extends Error {
  name = "ApplicationError";

  constructor(data = null) {
    encode(data, "data");
    super(typeof data === "string" ? data : JSON.stringify(data, (_, item) => (typeof item === "bigint" ? `${item}n` : item)));
    this.data = data;
  }
}

/** As Convex calls it. */
export const ConvexError = ApplicationError;

/** A function that was called with `ctx.run…` failed; the message is the one it failed with. */
export class FunctionError extends Error {
  name = "FunctionError";
}

/** A limit was passed; the message names it, its value and what was observed. */
export class LimitExceeded extends Error {
  name = "LimitExceeded";
}

/** The token of the end user proves nothing; the message says why. */
export class InvalidToken extends Error {
  name = "InvalidToken";
}

export const REGISTERED = Symbol("a registered function");

function builder(name, visibility) {
  return (definition) => {
    const given = typeof definition === "function" ? { handler: definition } : definition;
    if (typeof given?.handler !== "function") {
      throw new TypeError(`${name} takes a function, or {args, returns, handler}`);
    }
    const { handler } = given;
    // It can still be called like the function it was: helpers and tests do.
    const registered = (ctx, args) => handler(ctx, args);
    registered[REGISTERED] = {
      handler,
      visibility,
      args: validatorOf(given.args, "args"),
      returns: validatorOf(given.returns, "returns"),
      path: "",
    };
    return registered;
  };
}

export const action = builder("action", "public");
export const internalAction = builder("internalAction", "internal");

function refused(name) {
  return () => {
    throw new TypeError(`${name} cannot be used in JavaScript: modules that begin with "use node" hold actions only`);
  };
}

export const query = refused("query");
export const mutation = refused("mutation");
export const internalQuery = refused("internalQuery");
export const internalMutation = refused("internalMutation");
export const httpAction = refused("httpAction");

// --- references -------------------------------------------------------------------------------------------------------

const PARTS = Symbol("the parts of a reference");

function reference(parts) {
  return new Proxy(() => {}, {
    get(_, part) {
      if (part === PARTS) return parts;
      if (typeof part === "symbol" || part === "then") return undefined;
      return reference([...parts, part]);
    },
    apply() {
      throw new TypeError(`${parts.join(".")} is a name: call it with ctx.runQuery, ctx.runMutation or ctx.runAction`);
    },
  });
}

export const api = reference(["api"]);
export const internal = reference(["internal"]);

/** The path of what was passed as a function. */
export function functionPath(ref) {
  if (typeof ref === "string") return ref;
  const registered = ref?.[REGISTERED];
  if (typeof ref === "function" && ref[PARTS] === undefined && registered !== undefined) {
    if (!registered.path) throw new RangeError("this function has no path: export it from its module");
    return registered.path;
  }
  const parts = typeof ref === "function" ? ref[PARTS] : undefined;
  if (parts === undefined) {
    throw new TypeError(`a function is named by api.module.name, internal.module.name or "module:name", not by ${typeOf(ref)}`);
  }
  if (parts.length < 3) throw new RangeError(`${parts.join(".")} names no function: write ${parts[0]}.module.name`);
  return `${parts.slice(1, -1).join("/")}:${parts.at(-1)}`;
}

// --- environment ------------------------------------------------------------------------------------------------------

/** The deployment's environment variables, to be read and not written. */
export const env = new Proxy(Object.create(null), {
  get: (_, name) => environment.variables[name],
  has: (_, name) => Object.hasOwn(environment.variables, name),
  ownKeys: () => Object.keys(environment.variables),
  getOwnPropertyDescriptor: (_, name) =>
    Object.hasOwn(environment.variables, name)
      ? { value: environment.variables[name], enumerable: true, configurable: true, writable: false }
      : undefined,
  set: () => {
    throw new TypeError("env can only be read: set variables with `warren env set`");
  },
  deleteProperty: () => {
    throw new TypeError("env can only be read: remove variables with `warren env remove`");
  },
});
