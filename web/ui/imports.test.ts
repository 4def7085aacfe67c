/**
 * What may import what: the client knows neither React nor the app, a package uses only what its
 * package.json names, and no imports go round in a circle.
 */
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import ts from 'typescript';
import { describe, expect, test } from 'vitest';

const PACKAGES = ['client', 'app', 'panel'];
const CLIENT = '@branchline/client/';
/** Types that are generated from the API's document; tests run without them too. */
const GENERATED = 'client/src/api/schema.d.ts';

type Imports = ReadonlyMap<string, readonly string[]>;

function sourcesOf(name: string): string[] {
  const files = readdirSync(join(import.meta.dirname, name, 'src'), { recursive: true, encoding: 'utf8' });
  return files.filter((file) => /\.tsx?$/.test(file)).map((file) => join(name, 'src', file));
}

/** The specifiers that a file imports; styles are left out. */
function specifiersOf(file: string): string[] {
  const { importedFiles } = ts.preProcessFile(readFileSync(join(import.meta.dirname, file), 'utf8'));
  return importedFiles.map(({ fileName }) => fileName).filter((name) => !/\.css(\?inline)?$/.test(name));
}

/** The file of ours that a specifier names; null where it names a package of others. */
function resolve(importer: string, specifier: string): string | null {
  if (!specifier.startsWith('.') && !specifier.startsWith(CLIENT)) return null;
  const path = specifier.startsWith('.') ? normalize(join(dirname(importer), specifier)) : join('client/src', specifier.slice(CLIENT.length));
  if (`${path}.d.ts` === GENERATED) return GENERATED;
  const file = ['.ts', '.tsx'].map((ending) => path + ending).find((name) => existsSync(join(import.meta.dirname, name)));
  if (!file) throw new Error(`${importer} imports ${specifier}, which is no file`);
  return file;
}

const sources = PACKAGES.flatMap(sourcesOf).filter((file) => file !== GENERATED);
const modules: Imports = new Map(
  sources.map((file) => [file, specifiersOf(file).flatMap((name) => resolve(file, name) ?? []).filter((target) => target !== GENERATED)]),
);

/** The same for folders. */
function foldersOf(imports: Imports): Imports {
  const folders = new Map<string, string[]>();
  for (const [file, targets] of imports) {
    const folder = dirname(file);
    const others = targets.map(dirname).filter((target) => target !== folder);
    folders.set(folder, [...(folders.get(folder) ?? []), ...others]);
  }
  return folders;
}

/** Some circle of imports, from its first member to the same again; empty if there is none. */
function circleIn(imports: Imports): string[] {
  const done = new Set<string>();
  const search = (at: string, path: readonly string[]): string[] => {
    if (path.includes(at)) return [...path.slice(path.indexOf(at)), at];
    if (done.has(at)) return [];
    for (const next of imports.get(at) ?? []) {
      const found = search(next, [...path, at]);
      if (found.length) return found;
    }
    done.add(at);
    return [];
  };
  return [...imports.keys()].map((start) => search(start, [])).find((circle) => circle.length) ?? [];
}

/** The package that a specifier names: `react` of `react/jsx-runtime`. */
function packageOf(specifier: string): string {
  return specifier.split('/').slice(0, specifier.startsWith('@') ? 2 : 1).join('/');
}

describe.each(PACKAGES)('%s', (name) => {
  const files = sourcesOf(name).filter((file) => file !== GENERATED && !file.includes('.test.'));

  test('imports only packages that its package.json names', () => {
    const { dependencies, peerDependencies = {} } = JSON.parse(readFileSync(join(import.meta.dirname, name, 'package.json'), 'utf8')) as Record<string, object>;
    const named = { ...dependencies, ...peerDependencies };
    const unnamed = files.flatMap((file) =>
      specifiersOf(file)
        .filter((specifier) => !specifier.startsWith('.') && !(packageOf(specifier) in named))
        .map((specifier) => `${file} imports ${specifier}`),
    );
    expect(unnamed).toEqual([]);
  });

  test('leaves its folder by no relative import', () => {
    const left = files.flatMap((file) =>
      specifiersOf(file)
        .filter((specifier) => specifier.startsWith('.') && !resolve(file, specifier)?.startsWith(`${name}/`))
        .map((specifier) => `${file} imports ${specifier}`),
    );
    expect(left).toEqual([]);
  });
});

test('the client knows no React', () => {
  const files = sourcesOf('client').filter((file) => file !== GENERATED);
  expect(files.filter((file) => file.endsWith('.tsx'))).toEqual([]);
  // zustand's main entry is bound to React; its vanilla store is not.
  const forbidden = /^(react|zustand$|zustand\/(?!vanilla))/;
  expect(files.flatMap((file) => specifiersOf(file).filter((specifier) => forbidden.test(specifier)))).toEqual([]);
});

test('no modules import each other in a circle', () => {
  expect(circleIn(modules)).toEqual([]);
});

test('no folders import each other in a circle', () => {
  expect(circleIn(foldersOf(modules))).toEqual([]);
});
