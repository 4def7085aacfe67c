import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import react from '@vitejs/plugin-react';
import { type Plugin, defineConfig } from 'vite';

const FIRST_LOAD = 250 * 1024;

/** Writes each text file compressed beside itself, and fails where the first load of scripts is too large. */
function compressed(): Plugin {
  return {
    name: 'compressed',
    apply: 'build',
    writeBundle({ dir = '' }, bundle) {
      const sizes = new Map<string, number>();
      for (const file of Object.keys(bundle)) {
        if (!/\.(js|css|svg)$/.test(file)) continue;
        const packed = gzipSync(readFileSync(join(dir, file)), { level: 9 });
        writeFileSync(join(dir, `${file}.gz`), packed);
        sizes.set(file, packed.length);
      }
      const first = new Set<string>();
      const add = (file: string) => {
        const chunk = bundle[file];
        if (first.has(file) || chunk?.type !== 'chunk') return;
        first.add(file);
        chunk.imports.forEach(add);
      };
      for (const chunk of Object.values(bundle)) if (chunk.type === 'chunk' && chunk.isEntry) add(chunk.fileName);
      const total = [...first].reduce((sum, file) => sum + (sizes.get(file) ?? 0), 0);
      const text = `The first load is ${(total / 1024).toFixed(0)} KiB of compressed JavaScript`;
      if (total > FIRST_LOAD) this.error(`${text}; it may be ${FIRST_LOAD / 1024}.`);
      console.log(`${text}.`);
    },
  };
}

const SERVER = process.env['BRANCHLINE_URL'] ?? 'http://127.0.0.1:8000';

export default defineConfig({
  base: '/ui/',
  // The server puts BASE_PATH before the addresses in the page; those in scripts and styles are relative.
  experimental: { renderBuiltUrl: (_, { hostType }) => (hostType === 'html' ? undefined : { relative: true }) },
  worker: { format: 'es' },
  plugins: [react(), compressed()],
  build: {
    outDir: '../../static',
    emptyOutDir: true,
    assetsInlineLimit: 0,
    target: 'es2023',
    cssTarget: ['chrome123', 'firefox121', 'safari17.5'],
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
    chunkSizeWarningLimit: 1000,
  },
  server: { proxy: { '/api': SERVER, '/static': SERVER } },
});
