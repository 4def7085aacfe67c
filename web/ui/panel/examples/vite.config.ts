import { join } from 'node:path';
import { defineConfig } from 'vite';

const page = (name: string) => join(import.meta.dirname, name);

/** The pages beside the panel itself; that in plain HTML is in `public`, and is served as it is written. */
export default defineConfig({
  base: './',
  build: {
    outDir: '../../../static/panel/examples',
    emptyOutDir: true,
    target: 'es2023',
    cssTarget: ['chrome123', 'firefox121', 'safari17.5'],
    modulePreload: false,
    reportCompressedSize: false,
    rolldownOptions: { input: [page('index.html'), page('react.html'), page('vue.html')] },
  },
});
