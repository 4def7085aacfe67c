/** Finds words in a text, longer ones first. `whole`: not where they are a part of another word. */
export function wordPattern(words: readonly string[], { whole = false } = {}): RegExp {
  const patterns = [...words].sort((a, b) => b.length - a.length).map(whole ? asWholeWord : asPattern);
  return new RegExp(patterns.join('|'), 'giu');
}

/** A snippet has single spaces where the message may have other white space. */
function asPattern(word: string): string {
  return word.replace(/[.*+?^${}()|[\]\\/]/g, '\\$&').replace(/\s+/g, '\\s+');
}

/** Between characters of languages that are written without spaces there are no edges of words. */
function asWholeWord(word: string): string {
  const spaceless = /[\p{scx=Hira}\p{scx=Kana}\p{scx=Han}]/u.test(word);
  return spaceless ? asPattern(word) : `(?<![\\p{L}\\p{N}])${asPattern(word)}(?![\\p{L}\\p{N}])`;
}
