import react from '@vitejs/plugin-react';
import { defineConfig } from 'vite';
import { compressed } from '../compressed.ts';

const FIRST_LOAD = 250 * 1024;

const SERVER = process.env['BRANCHLINE_URL'] ?? 'http://127.0.0.1:8000';

export default defineConfig({
  base: '/ui/',
  // The server puts BASE_PATH before the addresses in the page; those in scripts and styles are relative.
  experimental: { renderBuiltUrl: (_, { hostType }) => (hostType === 'html' ? undefined : { relative: true }) },
  worker: { format: 'es' },
  plugins: [react(), compressed('The first load', FIRST_LOAD)],
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
