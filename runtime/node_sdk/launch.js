#!/usr/bin/env node
// Executes one run of a worker: node launch.js FILE. What the pool starts, and `branchline-worker`.
//
// A file that exports a function is a worker of this package: it is loaded, and its function called with
// the run. Any other is a program that speaks the protocol by itself, and is executed as `node FILE` does.
//
// With BRANCHLINE_AHEAD=1 the process is started before there is a run: its environment comes as a line
// before that of the run. A worker of this package is loaded meanwhile, so that nobody waits for it.
// With BRANCHLINE_CHECK=1 it is loaded only, and stdout has a line that says whether it could be.
import { readFileSync, readSync } from "node:fs";
import Module from "node:module";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";

import { findBranchline } from "./hooks.js";

/** What a worker of this package has, and a program has no use for. */
const EXPORTS = /^\s*export\s+(default\b|(async\s+)?function\b\s*\*?\s*run\b|(const|let|var)\s+run\b|\{)/m;
const TYPESCRIPT = /\.[mc]?ts$/;
/** What may lead to this package: itself, or another file of the worker. */
const IMPORTS = /branchline|\b(from|import|require)\b\s*\(?\s*["'`]\./;

const isAhead = process.env.BRANCHLINE_AHEAD === "1";
const isCheck = process.env.BRANCHLINE_CHECK === "1";
delete process.env.BRANCHLINE_AHEAD;
delete process.env.BRANCHLINE_CHECK;
const file = process.argv[2];
if (file === undefined) {
  process.stderr.write("Which worker? Give its file: branchline-worker FILE\n");
  process.exit(2);
}
const path = resolve(file);
process.argv.splice(1, 2, path);

const source = readFileSync(path, "utf8");
// Without registerHooks (Node.js 22.15) it takes a thread, which makes a start twice as long.
if (Module.registerHooks || TYPESCRIPT.test(path) || IMPORTS.test(source)) findBranchline();
if (EXPORTS.test(source)) {
  const { check, serve } = await import("./serve.js");
  const url = pathToFileURL(path).href;
  await (isCheck ? check(url) : serve(url, isAhead));
} else if (isCheck) {
  process.stdout.write('{"type":"loaded"}\n'); // a program begins with its run, and not before
} else {
  if (isAhead) takeEnvironment();
  if (TYPESCRIPT.test(path)) await import(pathToFileURL(path).href);
  else Module.runMain(path);
}

/** Wait for the line with the environment of the run, and leave what follows it to the program. */
function takeEnvironment() {
  const line = [];
  const byte = Buffer.alloc(1);
  while (readSync(0, byte) === 1 && byte[0] !== 10) line.push(byte[0]);
  if (!line.length) process.exit(0); // the pool needs it no more
  Object.assign(process.env, JSON.parse(Buffer.from(line).toString()).environ);
}
