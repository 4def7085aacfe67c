import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { defineConfig, type Plugin } from 'vite';

/** The panel as a package for npm, which brings along all that it is made of, but React. */
export default defineConfig({
  plugins: [licences()],
  publicDir: false,
  build: {
    target: 'es2023',
    cssTarget: ['chrome123', 'firefox121', 'safari17.5'],
    modulePreload: false,
    reportCompressedSize: false,
    lib: {
      entry: { index: 'src/index.ts', element: 'src/element.ts', react: 'src/react.tsx', service: 'src/service.ts' },
      formats: ['es'],
    },
    rolldownOptions: {
      external: ['react', 'react/jsx-runtime'],
      output: { chunkFileNames: 'parts/[name]-[hash].js' },
    },
  },
});

/** Writes the licences of the packages that are within. Fails where one has none. */
function licences(): Plugin {
  return {
    name: 'licences',
    generateBundle(_options, bundle) {
      const folders = new Set<string>();
      for (const chunk of Object.values(bundle)) {
        for (const id of chunk.type === 'chunk' ? chunk.moduleIds : []) {
          const folder = /^(.*\/node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(id)?.[1];
          if (folder) folders.add(folder);
        }
      }
      this.emitFile({ type: 'asset', fileName: 'THIRD-PARTY-LICENSES.txt', source: [...folders].sort().map(licenceOf).join('\n\n') });
    },
  };
}

function licenceOf(folder: string): string {
  const { name, version, license } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as Record<string, string>;
  const file = ['LICENSE', 'LICENSE.md', 'LICENSE.txt', 'license', 'LICENCE'].map((one) => join(folder, one)).find(existsSync);
  if (!file) throw new Error(`${name} has no licence.`);
  return `${name} ${version} (${license})\n\n${readFileSync(file, 'utf8')}`;
}
