/** What both builds do with the files that pages load. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import type { Plugin } from 'vite';

/**
 * Writes each text file compressed beside itself, and fails where the scripts that are loaded at first (those of
 * all entries, without what they load later) have more than so many bytes, compressed.
 */
export function compressed(name: string, largest: number): Plugin {
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
      const text = `${name} is ${(total / 1000).toFixed(1)} KB of compressed JavaScript`;
      if (total > largest) this.error(`${text}; it may be ${largest / 1000}.`);
      console.log(`${text}.`);
    },
  };
}
