// TypeScript as JavaScript, by a package that the worker has installed.
import { createRequire } from "node:module";

/** Package → how it makes JavaScript of a source. The pool looks for the same (runtime/registry/node.py). */
const COMPILERS = {
  amaro: (amaro, source) => amaro.transformSync(source, { mode: "strip-only" }).code,
  esbuild: (esbuild, source, path) =>
    esbuild.transformSync(source, { loader: "ts", format: "esm", sourcefile: path, sourcemap: "inline" }).code,
  sucrase: (sucrase, source, path) =>
    sucrase.transform(source, { transforms: ["typescript"], disableESTransforms: true, filePath: path }).code,
  typescript: (typescript, source) =>
    typescript.transpileModule(source, {
      compilerOptions: { module: typescript.ModuleKind.ESNext, target: typescript.ScriptTarget.ES2022, inlineSourceMap: true },
    }).outputText,
};

export function stripTypes(source, path) {
  const require = createRequire(path);
  for (const [name, compile] of Object.entries(COMPILERS)) {
    let compiler;
    try {
      compiler = require(name);
    } catch (error) {
      if (error.code !== "MODULE_NOT_FOUND") throw error;
      continue;
    }
    return compile(compiler, source, path);
  }
  throw new Error(
    `Node.js ${process.versions.node} does not execute TypeScript. Use 22.18 or newer, ` +
      `or install one of ${Object.keys(COMPILERS).join(", ")} in the worker's folder.`,
  );
}
