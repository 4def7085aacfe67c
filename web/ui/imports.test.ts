/**
 * What may import what: the client knows neither React nor the app, and a package uses only what its
 * package.json names.
 */
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import ts from 'typescript';
import { describe, expect, test } from 'vitest';

const PACKAGES = ['client', 'app'];
const CLIENT = '@branchline/client/';
/** Types that are generated from the API's document; tests run without them too. */
const GENERATED = 'client/src/api/schema.d.ts';

function sourcesOf(name: string): string[] {
  const files = readdirSync(join(import.meta.dirname, name, 'src'), { recursive: true, encoding: 'utf8' });
  return files.filter((file) => /\.tsx?$/.test(file)).map((file) => join(name, 'src', file));
}

/** The specifiers that a file imports; styles are left out. */
function specifiersOf(file: string): string[] {
  const { importedFiles } = ts.preProcessFile(readFileSync(join(import.meta.dirname, file), 'utf8'));
  return importedFiles.map(({ fileName }) => fileName).filter((name) => !name.endsWith('.css'));
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

/** The package that a specifier names: `react` of `react/jsx-runtime`. */
function packageOf(specifier: string): string {
  return specifier.split('/').slice(0, specifier.startsWith('@') ? 2 : 1).join('/');
}

describe.each(PACKAGES)('%s', (name) => {
  const files = sourcesOf(name).filter((file) => file !== GENERATED && !file.includes('.test.'));

  test('imports only packages that its package.json names', () => {
    const { dependencies } = JSON.parse(readFileSync(join(import.meta.dirname, name, 'package.json'), 'utf8')) as { dependencies: object };
    const unnamed = files.flatMap((file) =>
      specifiersOf(file)
        .filter((specifier) => !specifier.startsWith('.') && !(packageOf(specifier) in dependencies))
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
