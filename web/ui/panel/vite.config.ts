import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { type Plugin, defineConfig } from 'vite';

/** Bytes that a page loads of the panel at first, compressed: all but React and what renders Markdown. */
const LARGEST = 40_000;

/** Writes each script compressed beside itself, and fails where the panel is too large. */
function measured(): Plugin {
  return {
    name: 'measured',
    apply: 'build',
    writeBundle({ dir = '' }, bundle) {
      const sizes = new Map<string, number>();
      for (const file of Object.keys(bundle)) {
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
      add('agent-chat-panel.js');
      add('react.js');
      const total = [...first].reduce((sum, file) => sum + (sizes.get(file) ?? 0), 0);
      const text = `The panel is ${(total / 1000).toFixed(1)} KB of compressed JavaScript`;
      if (total > LARGEST) this.error(`${text}; it may be ${LARGEST / 1000}.`);
      console.log(`${text}.`);
    },
  };
}

export default defineConfig({
  base: './',
  plugins: [measured()],
  build: {
    outDir: '../../static/panel',
    emptyOutDir: true,
    target: 'es2023',
    cssTarget: ['chrome123', 'firefox121', 'safari17.5'],
    modulePreload: false,
    reportCompressedSize: false,
    lib: { entry: { 'agent-chat-panel': 'src/index.ts', react: 'src/react.tsx' }, formats: ['es'] },
    rolldownOptions: {
      external: ['react', 'react/jsx-runtime'],
      output: { chunkFileNames: 'assets/[name]-[hash].js', minify: true },
    },
  },
});
