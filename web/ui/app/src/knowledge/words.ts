/** Numbers and languages, as the page says them. */

const NUMBER = new Intl.NumberFormat('en');

/** `1 document`, `1,200 documents`. */
export function counted(number: number, one: string): string {
  return `${NUMBER.format(number)} ${one}${number === 1 ? '' : 's'}`;
}

/** The languages of sources, as they are chosen; the API's names of them are their English ones. */
export const LANGUAGES: readonly { value: string; name: string }[] = [
  ...['danish', 'dutch', 'english', 'finnish', 'french', 'german', 'hungarian', 'italian', 'norwegian', 'portuguese', 'romanian', 'russian', 'spanish', 'swedish', 'turkish'].map(
    (value) => ({ value, name: languageName(value) }),
  ),
  { value: 'simple', name: languageName('simple') },
];

export function languageName(language: string): string {
  return language === 'simple' ? 'Another language' : language.charAt(0).toUpperCase() + language.slice(1);
}
