// What is in the Node-style modules of this bundle, and do they import?
//
// The bundle's files are written into a scratch folder; bare names are looked up in the bundle's packages, and
// "warren" beside them. Modules that begin with "use node" are imported; the others when one of those imports them.

import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, realpathSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { register } from "./calls.mjs";
import { REGISTERED } from "./sdk.mjs";
import { bundle, describe, framesOf } from "./tracebacks.mjs";

// As runtime/protocol/node_style.py says it.
const DIRECTIVE = /^\ufeff?(?:#![^\r\n]*)?(?:\s|\/\/[^\r\n]*|\/\*(?:[^*]|\*(?!\/))*\*\/)*(["'])use node\1[ \t\f]*(?:;|\/\/|\/\*|[\r\n]|$)/;
const PATH = /^(?:[A-Za-z_][A-Za-z0-9_]*\/)*[A-Za-z_][A-Za-z0-9_]*\.m?js$/;
const FAILED_AT = /^\S+?:(\d+)$/m;
const CHECKED = 20;
const SDK = fileURLToPath(new URL("sdk.mjs", import.meta.url));

/** The bundle cannot be loaded, for these reasons. */
export class Refused extends Error {
  constructor(diagnostics) {
    super(`${diagnostics.length} reasons`);
    this.diagnostics = diagnostics;
  }
}

/** Import a bundle; give what it declares and what can be called. */
export async function load(files, packages) {
  const root = unpack(files, packages);
  bundle.root = root;
  const ours = Object.keys(files).filter((path) => /\.m?js$/.test(path) && DIRECTIVE.test(files[path].toString())).sort();
  for (const path of Object.keys(files)) {
    if (/\.[cm]?js$/.test(path)) bundle.lines.set(path, files[path].toString().split("\n"));
  }
  const wrong = [];
  const declared = new Map();
  const functions = new Map();
  for (const path of ours) {
    if (!PATH.test(path)) {
      const rule = "the name of a module is made of letters, digits and underscores";
      wrong.push({ file: path, line: 1, message: `${path} is not imported: ${rule}` });
      continue;
    }
    try {
      const module = await import(pathToFileURL(join(root, path)).href);
      declare(path, module, declared, functions, wrong);
    } catch (error) {
      wrong.push(importFailure(error, path));
    }
  }
  if (wrong.length) throw new Refused(wrong);
  return { declaration: { functions: [...declared.values()], node_style: ours }, functions };
}

function unpack(files, packages) {
  // Its real name, as it is in stack traces.
  const scratch = realpathSync(mkdtempSync(join(tmpdir(), "bundle-")));
  const root = join(scratch, "bundle");
  for (const [path, content] of Object.entries({ ...files, "package.json": packageFile(files["package.json"]) })) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), content);
  }
  if (packages) symlinkSync(packages, join(root, "node_modules"));
  const shim = join(scratch, "node_modules", "warren");
  mkdirSync(shim, { recursive: true });
  writeFileSync(join(shim, "package.json"), JSON.stringify({ name: "warren", type: "module", exports: "./index.mjs" }));
  writeFileSync(join(shim, "index.mjs"), `export * from ${JSON.stringify(pathToFileURL(SDK).href)};\n`);
  return root;
}

// A `.js` file is a module, as everywhere in Convex, unless the bundle itself says something else.
function packageFile(given) {
  let fields = {};
  try {
    fields = given === undefined ? {} : JSON.parse(given.toString());
  } catch {
    fields = {};
  }
  return JSON.stringify({ type: "module", ...fields });
}

function declare(path, module, declared, functions, wrong) {
  const name = path.replace(/\.m?js$/, "");
  for (const [exported, value] of Object.entries(module)) {
    if (typeof value !== "function" || value[REGISTERED] === undefined || exported.startsWith("_")) continue;
    const called = `${name}:${exported}`;
    const line = lineOf(path, exported);
    if (functions.has(called)) {
      wrong.push({ file: path, line, message: `${called} is declared in two files: rename one of them` });
      continue;
    }
    const found = register(called, value);
    functions.set(called, found);
    declared.set(called, {
      path: called,
      kind: "action",
      visibility: found.visibility,
      file: path,
      line,
      args: found.args?.json ?? null,
      returns: found.returns?.json ?? null,
      engine: "node",
    });
  }
}

function lineOf(path, exported) {
  const lines = bundle.lines.get(path) ?? [];
  const found = lines.findIndex((line) => /\bexport\b/.test(line) && line.split(/[^\w$]+/).includes(exported));
  return found + 1 || 1;
}

function importFailure(error, path) {
  const frame = framesOf(error).at(-1);
  const [file, line] = frame ?? (error instanceof SyntaxError ? syntaxErrorIn(path) : undefined) ?? [];
  const message = describe(error).replaceAll(`${bundle.root}/`, "").replaceAll("file://", "");
  return { file: file ?? path, line: line ?? 1, message };
}

// Node tells the place of a syntax error to its standard error and to nobody else.
function syntaxErrorIn(path) {
  const others = [...bundle.lines.keys()].filter((other) => other !== path);
  for (const candidate of [path, ...others].slice(0, CHECKED)) {
    const checked = spawnSync(process.execPath, ["--check", join(bundle.root, candidate)], { encoding: "utf8" });
    const place = FAILED_AT.exec(checked.stderr ?? "");
    if (checked.status === 1 && place) return [candidate, Number(place[1])];
  }
  return undefined;
}
