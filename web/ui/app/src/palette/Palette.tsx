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

/** How many threads, and how many messages, are listed at most. */
const MAX_RESULTS = 8;

/** All commands and threads, found by their names. */
export function Palette({ onClose }: { onClose: () => void }) {
  const [text, setText] = useState('');
  const [index, setIndex] = useState(0);
  const query = text.trim().toLowerCase();
  const id = useId();
  const found = useCommands(query);
  const selected = Math.min(index, found.length - 1);
  const run = (command: Command | undefined) => {
    if (!command) return;
    onClose();
    command.act();
  };
  const onKey = (event: KeyboardEvent) => {
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
            <span>{command.name}</span>
            <small>{command.kind}</small>
          </li>
        ))}
      </ul>
      {!found.length && <p className="empty-list">No results</p>}
    </Dialog>
  );
}

function useCommands(query: string): Command[] {
  const [, navigate] = useLocation();
  const threads = useThreads(query, 'active').data;
  const data = useThread((state) => state.data);
  const head = useThread((state) => state.head);
  const choices = useThread((state) => state.choices);
  return useMemo(() => {
    const inThread = data.thread
      ? [
          { id: 'chat', name: 'Show chat', icon: MessageSquare, act: () => navigate(threadPath(data.threadId, head)) },
          { id: 'map', name: 'Show map', icon: MapIcon, act: () => navigate(threadPath(data.threadId, head, 'map')) },
          { id: 'outline', name: 'Show or hide outline', icon: GitBranch, act: () => setPreferences({ outline: !usePreferences.getState().outline }) },
          { id: 'next', name: 'Next fork', icon: SkipForward, act: () => scrollToFork(1) },
          { id: 'previous', name: 'Previous fork', icon: SkipBack, act: () => scrollToFork(-1) },
        ]
      : [];
    const commands = [
      { id: 'new', name: 'New thread', icon: FilePlus2, act: () => navigate('/') },
      ...inThread,
      { id: 'sidebar', name: 'Show or hide sidebar', icon: PanelLeft, act: () => setPreferences({ sidebar: !usePreferences.getState().sidebar }) },
      { id: 'light', name: 'Light theme', icon: Sun, act: () => setPreferences({ theme: 'light' }) },
      { id: 'dark', name: 'Dark theme', icon: Moon, act: () => setPreferences({ theme: 'dark' }) },
      { id: 'system', name: 'System theme', icon: SunMoon, act: () => setPreferences({ theme: 'system' }) },
      { id: 'settings', name: 'Settings and API tokens', icon: Settings, act: () => navigate('/settings') },
      { id: 'help', name: 'Keyboard shortcuts', icon: HelpCircle, act: () => openOverlay('help') },
    ].map((command) => ({ ...command, kind: 'Command' }));
    const named = [...data.nodes.values()]
      .filter((node) => (query ? `${node.label ?? ''} ${node.preview}`.toLowerCase().includes(query) : node.label))
      .slice(0, MAX_RESULTS)
      .map((node) => ({
        id: node.id,
        name: nodeTitle(node),
        icon: GitBranch,
        kind: 'In this thread',
        act: () => openBranch(data.threadId, leafBelow(data.children, choices, node.id), { at: node.id }),
      }));
    const open = (threads?.pages[0]?.items ?? []).slice(0, MAX_RESULTS).map((thread) => ({
      id: thread.id,
      name: threadTitle(thread),
      icon: MessageSquare,
      kind: 'Thread',
      act: () => navigate(`/t/${thread.id}`),
    }));
    return [...commands.filter(({ name }) => name.toLowerCase().includes(query)), ...named, ...open];
  }, [query, threads, data.thread, data.nodes, head]);
}
