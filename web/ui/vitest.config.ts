import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: { environment: 'node', include: ['*.test.ts', '{client,app,panel}/src/**/*.test.ts'] },
});
