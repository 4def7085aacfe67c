/** Syntax highlighting; each language is loaded when it is first needed. */
import type { HLJSApi, LanguageFn } from 'highlight.js';
import { create } from 'zustand';
import { escapeHtml } from '@branchline/client/markdown/escapeHtml';

type Load = () => Promise<{ default: LanguageFn }>;

const LANGUAGES: Record<string, Load> = {
  bash: () => import('highlight.js/lib/languages/bash'),
  c: () => import('highlight.js/lib/languages/c'),
  cpp: () => import('highlight.js/lib/languages/cpp'),
  csharp: () => import('highlight.js/lib/languages/csharp'),
  css: () => import('highlight.js/lib/languages/css'),
  diff: () => import('highlight.js/lib/languages/diff'),
  dockerfile: () => import('highlight.js/lib/languages/dockerfile'),
  go: () => import('highlight.js/lib/languages/go'),
  graphql: () => import('highlight.js/lib/languages/graphql'),
  haskell: () => import('highlight.js/lib/languages/haskell'),
  ini: () => import('highlight.js/lib/languages/ini'),
  java: () => import('highlight.js/lib/languages/java'),
  javascript: () => import('highlight.js/lib/languages/javascript'),
  json: () => import('highlight.js/lib/languages/json'),
  kotlin: () => import('highlight.js/lib/languages/kotlin'),
  lua: () => import('highlight.js/lib/languages/lua'),
  makefile: () => import('highlight.js/lib/languages/makefile'),
  markdown: () => import('highlight.js/lib/languages/markdown'),
  php: () => import('highlight.js/lib/languages/php'),
  python: () => import('highlight.js/lib/languages/python'),
  r: () => import('highlight.js/lib/languages/r'),
  ruby: () => import('highlight.js/lib/languages/ruby'),
  rust: () => import('highlight.js/lib/languages/rust'),
  scss: () => import('highlight.js/lib/languages/scss'),
  sql: () => import('highlight.js/lib/languages/sql'),
  swift: () => import('highlight.js/lib/languages/swift'),
  typescript: () => import('highlight.js/lib/languages/typescript'),
  xml: () => import('highlight.js/lib/languages/xml'),
  yaml: () => import('highlight.js/lib/languages/yaml'),
};

const ALIASES: Record<string, string> = {
  sh: 'bash', shell: 'bash', zsh: 'bash', console: 'bash', 'c++': 'cpp', cs: 'csharp', docker: 'dockerfile', golang: 'go',
  hs: 'haskell', toml: 'ini', js: 'javascript', jsx: 'javascript', mjs: 'javascript', jsonc: 'json', kt: 'kotlin', make: 'makefile',
  md: 'markdown', py: 'python', rb: 'ruby', rs: 'rust', postgresql: 'sql', sqlite: 'sql', ts: 'typescript', tsx: 'typescript',
  html: 'xml', svg: 'xml', yml: 'yaml',
};

/** A counter that grows when a language or KaTeX was loaded, so that texts are rendered again. */
export const useRendererVersion = create<{ count: number }>(() => ({ count: 0 }));
export const rendererLoaded = () => useRendererVersion.setState(({ count }) => ({ count: count + 1 }));

let core: HLJSApi | null = null;
const requested = new Set<string>();

/** The code as HTML; without highlighting until its language was loaded. */
export function highlight(code: string, lang: string | undefined): string {
  const word = (lang ?? '').trim().split(/\s/)[0]?.toLowerCase() ?? '';
  const name = ALIASES[word] ?? word;
  if (core?.getLanguage(name)) return core.highlight(code, { language: name, ignoreIllegals: true }).value;
  if (name in LANGUAGES && !requested.has(name)) void load(name);
  return escapeHtml(code);
}

async function load(name: string): Promise<void> {
  requested.add(name);
  try {
    const [{ default: api }, { default: language }] = await Promise.all([
      import('highlight.js/lib/core'),
      (LANGUAGES[name] as Load)(),
    ]);
    api.registerLanguage(name, language);
    core = api;
    rendererLoaded();
  } catch {
    requested.delete(name);
  }
}
