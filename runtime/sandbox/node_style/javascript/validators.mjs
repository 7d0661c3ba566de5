// Does this value fit what was promised? Convex's `v`, and its format as JSON.

import { isPlain, shown, typeOf } from "./values.mjs";

/** This value does not fit its validator; the message says where and why. */
export class Mismatch extends Error {}

function mismatch(path, value, expected) {
  return new Mismatch(`${path} must be ${expected}, got ${typeOf(value)} ${shown(value)}`);
}

class Validator {
  isOptional = false;

  constructor(words, json, check) {
    this.words = words;
    this.json = json;
    this.check = check;
  }
}

function simple(name, words, fits) {
  return new Validator(words, { type: name }, (value, path) => {
    if (!fits(value)) throw mismatch(path, value, words);
    return value;
  });
}

function required(validator, where) {
  if (!(validator instanceof Validator)) {
    throw new TypeError(`${where} needs a validator like v.string(), not ${typeOf(validator)}`);
  }
  if (validator.isOptional) throw new TypeError(`${where} cannot be optional: only a field of an object can be missing`);
  return validator;
}

const ANY = new Validator("any value", { type: "any" }, (value) => value);
const NULL = simple("null", "null", (value) => value === null);
const NUMBER = simple("number", "a number", (value) => typeof value === "number");
const INT64 = simple("bigint", "a bigint", (value) => typeof value === "bigint");
const BOOLEAN = simple("boolean", "a boolean", (value) => typeof value === "boolean");
const STRING = simple("string", "a string", (value) => typeof value === "string");
const BYTES = simple("bytes", "bytes (an ArrayBuffer)", (value) => value instanceof ArrayBuffer || ArrayBuffer.isView(value));

function id(table) {
  if (typeof table !== "string" || !table) throw new TypeError("v.id needs the name of its table");
  const words = `an id of table '${table}'`;
  return new Validator(words, { type: "id", tableName: table }, (value, path) => {
    if (typeof value !== "string") throw mismatch(path, value, words);
    return value;
  });
}

function literal(wanted) {
  if (!["string", "number", "boolean", "bigint"].includes(typeof wanted)) {
    throw new TypeError(`a literal is a string, number, bigint or boolean, not ${typeOf(wanted)}`);
  }
  let json = wanted;
  if (typeof wanted === "bigint") {
    const bytes = Buffer.alloc(8);
    bytes.writeBigInt64LE(wanted);
    json = { $integer: bytes.toString("base64") };
  }
  return new Validator(shown(wanted), { type: "literal", value: json }, (value, path) => {
    if (value !== wanted) throw mismatch(path, value, shown(wanted));
    return value;
  });
}

function array(item) {
  required(item, "the item of v.array");
  const words = `an array of ${item.words}`;
  return new Validator(words, { type: "array", value: item.json }, (value, path) => {
    if (!Array.isArray(value)) throw mismatch(path, value, words);
    return value.map((one, index) => item.check(one, `${path}[${index}]`));
  });
}

function object(fields) {
  if (!isPlain(fields)) throw new TypeError("v.object needs an object of validators");
  const json = {};
  for (const [name, field] of Object.entries(fields)) {
    if (!(field instanceof Validator)) {
      throw new TypeError(`field '${name}' needs a validator like v.string(), not ${typeOf(field)}`);
    }
    json[name] = { fieldType: field.json, optional: field.isOptional };
  }
  const names = Object.keys(fields);
  const words = names.length ? `an object with ${names.join(", ")}` : "an empty object";
  return new Validator(words, { type: "object", value: json }, (value, path) => checkFields(fields, names, value, path));
}

function checkFields(fields, names, value, path) {
  if (!isPlain(value)) throw mismatch(path, value, "an object");
  const checked = {};
  for (const name of names) {
    const given = Object.hasOwn(value, name) ? value[name] : undefined;
    if (given !== undefined) checked[name] = fields[name].check(given, `${path}.${name}`);
    else if (!fields[name].isOptional) {
      throw new Mismatch(`${path}.${name} is missing: it must be ${fields[name].words}`);
    }
  }
  for (const [name, given] of Object.entries(value)) {
    if (!Object.hasOwn(fields, name) && given !== undefined) {
      throw new Mismatch(`${path}.${name} is not expected: the fields are ${names.join(", ") || "none"}`);
    }
  }
  return checked;
}

function record(key, item) {
  required(key, "the key of v.record");
  required(item, "the value of v.record");
  const words = `an object of ${item.words}`;
  const json = { type: "record", keys: key.json, values: { fieldType: item.json, optional: false } };
  return new Validator(words, json, (value, path) => {
    if (!isPlain(value)) throw mismatch(path, value, words);
    const entries = Object.entries(value).filter(([, one]) => one !== undefined);
    return Object.fromEntries(
      entries.map(([name, one]) => [key.check(name, `the key '${name}' of ${path}`), item.check(one, `${path}.${name}`)]),
    );
  });
}

function union(...members) {
  for (const member of members) required(member, "a member of v.union");
  const words = members.map((member) => member.words).join(" or ") || "nothing";
  const json = { type: "union", value: members.map((member) => member.json) };
  return new Validator(words, json, (value, path) => {
    let near;
    for (const member of members) {
      try {
        return member.check(value, path);
      } catch (error) {
        if (!(error instanceof Mismatch)) throw error;
        // A member that fits but for something inside tells more than "none of these".
        if (!error.message.startsWith(`${path} must be`)) near ??= error;
      }
    }
    throw near ?? mismatch(path, value, words);
  });
}

function optional(inner) {
  const wanted = inner instanceof Validator && inner.isOptional ? inner : required(inner, "the field of v.optional");
  const made = new Validator(wanted.words, wanted.json, wanted.check);
  made.isOptional = true;
  return made;
}

export const v = Object.freeze({
  id,
  null: () => NULL,
  number: () => NUMBER,
  float64: () => NUMBER,
  int64: () => INT64,
  bigint: () => INT64,
  boolean: () => BOOLEAN,
  string: () => STRING,
  bytes: () => BYTES,
  any: () => ANY,
  literal,
  array,
  object,
  record,
  union,
  optional,
  nullable: (inner) => union(required(inner, "v.nullable"), NULL),
});

/** What was given as `args` or `returns`: a validator, an object of validators, or nothing. */
export function validatorOf(given, what) {
  if (given === undefined || given === null) return null;
  if (given instanceof Validator) return required(given, what);
  return object(given);
}
