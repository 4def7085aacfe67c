import { defineConfig } from 'vite';
import { compressed } from '../compressed.ts';

/** Bytes that a page loads of the panel at first, compressed: all but React and what renders Markdown. */
const LARGEST = 40_000;

export default defineConfig({
  base: './',
  plugins: [compressed('The panel', LARGEST)],
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
