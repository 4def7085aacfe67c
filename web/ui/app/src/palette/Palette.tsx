import { nodeTitle, threadTitle } from '@branchline/client/thread/titles';
import { leafBelow } from '@branchline/client/thread/tree';
import {
  FilePlus2,
  GitBranch,
  HelpCircle,
  type LucideIcon,
  Map as MapIcon,
  MessageSquare,
  Moon,
  PanelLeft,
  Settings,
  SkipBack,
  SkipForward,
  Sun,
  SunMoon,
} from 'lucide-react';
import { type KeyboardEvent, useId, useMemo, useState } from 'react';
import { useLocation } from 'wouter';
import { openBranch } from '../navigation/openBranch';
import { threadPath } from '../navigation/routes';
import { scrollToFork } from '../navigation/scrollToFork';
import { openOverlay } from '../stores/overlay';
import { setPreferences, usePreferences } from '../stores/preferences';
import { useThread } from '../stores/thread';
import { useThreads } from '../stores/threadLists';
import { Dialog } from '../ui/Dialog';

interface Command {
  id: string;
  name: string;
  kind: string;
  icon: LucideIcon;
  act: () => void;
}

const MOST = 8;

/** Everything that can be done and opened, by its name. */
export function Palette({ onClose }: { onClose: () => void }) {
  const [text, setText] = useState('');
  const [at, setAt] = useState(0);
  const wanted = text.trim().toLowerCase();
  const id = useId();
  const found = useCommands(wanted);
  const place = Math.min(at, found.length - 1);
  const run = (command: Command | undefined) => {
    if (!command) return;
    onClose();
    command.act();
  };
  const onKey = (event: KeyboardEvent) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) {
      event.preventDefault();
      setAt((place + step + found.length) % found.length);
    } else if (event.key === 'Enter') {
      event.preventDefault();
      run(found[place]);
    }
  };
  return (
    <Dialog title="Commands" onClose={onClose} plain>
      <input
        className="palette-input"
        role="combobox"
        aria-expanded="true"
        aria-controls={`${id}-list`}
        aria-activedescendant={found[place] ? `${id}-${place}` : undefined}
        aria-label="Command or thread"
        placeholder="Do or open …"
        value={text}
        autoFocus
        onChange={(event) => {
          setText(event.target.value);
          setAt(0);
        }}
        onKeyDown={onKey}
      />
      <ul id={`${id}-list`} role="listbox" aria-label="Commands" className="palette-list">
        {found.map((command, index) => (
          <li
            key={command.id}
            id={`${id}-${index}`}
            role="option"
            aria-selected={index === place}
            onMouseMove={() => setAt(index)}
            onClick={() => run(command)}
            ref={(element) => {
              if (index === place) element?.scrollIntoView({ block: 'nearest' });
            }}
          >
            <command.icon aria-hidden="true" />
            <span>{command.name}</span>
            <small>{command.kind}</small>
          </li>
        ))}
      </ul>
      {!found.length && <p className="empty-list">Nothing is called that.</p>}
    </Dialog>
  );
}

function useCommands(wanted: string): Command[] {
  const [, navigate] = useLocation();
  const threads = useThreads(wanted, 'active').data;
  const data = useThread((state) => state.data);
  const head = useThread((state) => state.head);
  const choices = useThread((state) => state.choices);
  return useMemo(() => {
    const inThread = data.thread
      ? [
          { id: 'chat', name: 'Show the chat', icon: MessageSquare, act: () => navigate(threadPath(data.threadId, head)) },
          { id: 'map', name: 'Show the map', icon: MapIcon, act: () => navigate(threadPath(data.threadId, head, 'map')) },
          { id: 'outline', name: 'Show or hide the outline', icon: GitBranch, act: () => setPreferences({ outline: !usePreferences.getState().outline }) },
          { id: 'next', name: 'To the next fork', icon: SkipForward, act: () => scrollToFork(1) },
          { id: 'previous', name: 'To the fork before', icon: SkipBack, act: () => scrollToFork(-1) },
        ]
      : [];
    const commands = [
      { id: 'new', name: 'New thread', icon: FilePlus2, act: () => navigate('/') },
      ...inThread,
      { id: 'sidebar', name: 'Show or hide the list of threads', icon: PanelLeft, act: () => setPreferences({ sidebar: !usePreferences.getState().sidebar }) },
      { id: 'light', name: 'Light look', icon: Sun, act: () => setPreferences({ theme: 'light' }) },
      { id: 'dark', name: 'Dark look', icon: Moon, act: () => setPreferences({ theme: 'dark' }) },
      { id: 'system', name: 'Look of the system', icon: SunMoon, act: () => setPreferences({ theme: 'system' }) },
      { id: 'settings', name: 'Settings and API tokens', icon: Settings, act: () => navigate('/settings') },
      { id: 'help', name: 'Keys and help', icon: HelpCircle, act: () => openOverlay('help') },
    ].map((command) => ({ ...command, kind: 'Command' }));
    const named = [...data.nodes.values()]
      .filter((node) => (wanted ? `${node.label ?? ''} ${node.preview}`.toLowerCase().includes(wanted) : node.label))
      .slice(0, MOST)
      .map((node) => ({
        id: node.id,
        name: nodeTitle(node),
        icon: GitBranch,
        kind: 'In this thread',
        act: () => openBranch(data.threadId, leafBelow(data.children, choices, node.id), { at: node.id }),
      }));
    const open = (threads?.pages[0]?.items ?? []).slice(0, MOST).map((thread) => ({
      id: thread.id,
      name: threadTitle(thread),
      icon: MessageSquare,
      kind: 'Thread',
      act: () => navigate(`/t/${thread.id}`),
    }));
    return [...commands.filter(({ name }) => name.toLowerCase().includes(wanted)), ...named, ...open];
  }, [wanted, threads, data.thread, data.nodes, head]);
}
