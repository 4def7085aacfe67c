// How modules are found and loaded: "branchline" is this package wherever the worker is, and TypeScript is
// made JavaScript where Node.js does not do that by itself.
import { readFileSync } from "node:fs";
import * as module from "node:module";
import { fileURLToPath } from "node:url";

import { stripTypes } from "./typescript.js";

const OURS = {
  branchline: new URL("./index.js", import.meta.url).href,
  "branchline/testing": new URL("./testing.js", import.meta.url).href,
};
const TYPESCRIPT = /\.[mc]?ts$/;
const STRIPS = Boolean(process.features.typescript) || process.execArgv.includes("--experimental-strip-types");

/** Have modules that are loaded from now on found so. */
export function findBranchline() {
  if (module.registerHooks) module.registerHooks(STRIPS ? { resolve } : { resolve, load });
  else module.register(import.meta.url);
}

export function resolve(specifier, context, next) {
  const url = OURS[specifier];
  return url ? { url, format: "module", shortCircuit: true } : next(specifier, context);
}

export function load(url, context, next) {
  if (STRIPS || !TYPESCRIPT.test(url)) return next(url, context);
  const path = fileURLToPath(url);
  const source = stripTypes(readFileSync(path, "utf8"), path);
  return { format: "module", source, shortCircuit: true };
}
