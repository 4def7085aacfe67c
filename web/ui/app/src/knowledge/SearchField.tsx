import { Search, X } from 'lucide-react';
import { type FormEvent, useEffect, useState } from 'react';
import { useSearchParams } from 'wouter';
import { isComposing } from '../ui/keys';

/** Milliseconds after the last key press until what was typed is searched. */
const PAUSE = 300;

/** The field in which somebody searches. What is searched is in the address of the page, so that one can come back to it. */
export function SearchField({ q, label }: { q: string; label: string }) {
  const [, setQuery] = useSearchParams();
  const [text, setText] = useState(q);
  useEffect(() => setText((typed) => (typed.trim() === q ? typed : q)), [q]);
  const search = (words: string) => {
    const given = words.trim();
    if (given !== q) setQuery(given ? { q: given } : {}, { replace: true });
  };
  useEffect(() => {
    const timer = setTimeout(() => search(text), PAUSE);
    return () => clearTimeout(timer);
  }, [text]);
  const clear = () => {
    setText('');
    search('');
  };
  const submit = (event: FormEvent) => {
    event.preventDefault();
    search(text);
  };
  return (
    <form role="search" aria-label={label} onSubmit={submit}>
      <label className="search knowledge-search">
        <Search aria-hidden="true" />
        <span className="visually-hidden">{label}</span>
        <input
          type="search"
          dir="auto"
          placeholder={label}
          maxLength={1000}
          value={text}
          onChange={(event) => setText(event.target.value)}
          onKeyDown={(event) => event.key === 'Escape' && !isComposing(event.nativeEvent) && clear()}
        />
        {text && <button type="button" aria-label="Clear search" onClick={clear}><X aria-hidden="true" /></button>}
      </label>
    </form>
  );
}
