/** Short notes at the edge of the page, and what is read out to those who do not see it. */
import { randomId } from '@branchline/client/api/randomId';
import { errorMessage } from '@branchline/client/api/request';
import { useEffect } from 'react';
import { create } from 'zustand';

interface Note {
  id: string;
  text: string;
  action?: { name: string; act: () => void };
  alert: boolean;
}

const useNotes = create<{ notes: Note[]; said: string }>(() => ({ notes: [], said: '' }));

const SHOWN = 7000;

export function note(text: string, action?: Note['action']): void {
  add({ id: randomId(), text, alert: false, ...(action ? { action } : {}) });
}

export function complain(error: unknown): void {
  add({ id: randomId(), text: errorMessage(error), alert: true });
}

/** Have a screen reader say something, politely. */
export function announce(said: string): void {
  useNotes.setState({ said });
}

function add(one: Note): void {
  useNotes.setState(({ notes }) => ({ notes: [...notes.filter((other) => other.text !== one.text), one].slice(-3) }));
}

function drop(id: string): void {
  useNotes.setState(({ notes }) => ({ notes: notes.filter((one) => one.id !== id) }));
}

export function Notes() {
  const { notes, said } = useNotes();
  return (
    <>
      <div className="unseen" role="status">{said}</div>
      <div className="notes" role="region" aria-live="polite" aria-label="Notes">
        {notes.map((one) => <NoteView key={one.id} note={one} />)}
      </div>
    </>
  );
}

function NoteView({ note: { id, text, action, alert } }: { note: Note }) {
  useEffect(() => {
    const timer = setTimeout(() => drop(id), SHOWN);
    return () => clearTimeout(timer);
  }, [id]);
  return (
    <div className={`note${alert ? ' note-alert' : ''}`} role={alert ? 'alert' : undefined}>
      <span>{text}</span>
      {action && (
        <button
          type="button"
          onClick={() => {
            action.act();
            drop(id);
          }}
        >
          {action.name}
        </button>
      )}
      <button type="button" aria-label="Dismiss" onClick={() => drop(id)}>
        ✕
      </button>
    </div>
  );
}
