import { type KeyboardEvent, useId, useState } from 'react';
import { Dialog } from '../ui/Dialog';
import { isComposing } from '../ui/keys';
import { type Command, useCommands } from './useCommands';

/** All commands and threads, found by their names. */
export function Palette({ onClose }: { onClose: () => void }) {
  const [text, setText] = useState('');
  const [index, setIndex] = useState(0);
  const query = text.trim().toLowerCase();
  const id = useId();
  const { found, searching } = useCommands(query);
  const selected = Math.min(index, found.length - 1);
  const run = (command: Command | undefined) => {
    if (!command) return;
    onClose();
    command.act();
  };
  const onKey = (event: KeyboardEvent) => {
    if (isComposing(event.nativeEvent)) return;
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) {
      event.preventDefault();
      setIndex((selected + step + found.length) % found.length);
    } else if (event.key === 'Enter') {
      event.preventDefault();
      run(found[selected]);
    }
  };
  return (
    <Dialog title="Commands" onClose={onClose} plain>
      <input
        className="palette-input"
        role="combobox"
        aria-expanded="true"
        aria-controls={`${id}-list`}
        aria-activedescendant={found[selected] ? `${id}-${selected}` : undefined}
        aria-label="Command or thread"
        placeholder="Type a command or search threads …"
        dir="auto"
        value={text}
        autoFocus
        onChange={(event) => {
          setText(event.target.value);
          setIndex(0);
        }}
        onKeyDown={onKey}
      />
      <ul id={`${id}-list`} role="listbox" aria-label="Commands" className="palette-list">
        {found.map((command, position) => (
          <li
            key={command.id}
            id={`${id}-${position}`}
            role="option"
            aria-selected={position === selected}
            onMouseMove={() => setIndex(position)}
            onClick={() => run(command)}
            ref={(element) => {
              if (position === selected) element?.scrollIntoView({ block: 'nearest' });
            }}
          >
            <command.icon aria-hidden="true" />
            <span dir="auto">{command.name}</span>
            <small>{command.kind}</small>
          </li>
        ))}
      </ul>
      {!found.length && <p className="empty-list">{searching ? 'Searching …' : 'No results'}</p>}
    </Dialog>
  );
}
