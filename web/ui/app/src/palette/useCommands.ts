import { nodeTitle, threadTitle } from '@branchline/client/thread/titles';
import { leafBelow } from '@branchline/client/thread/tree';
import {
  FilePlus2,
  GitBranch,
  HelpCircle,
  LibraryBig,
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
  Trash2,
} from 'lucide-react';
import { useMemo } from 'react';
import { useLocation } from 'wouter';
import { listedPath, openBranch, scrollToHit } from '../navigation/openBranch';
import { threadPath } from '../navigation/routes';
import { scrollToFork } from '../navigation/scrollToFork';
import { openOverlay } from '../stores/overlay';
import { setPreferences, usePreferences } from '../stores/preferences';
import { useThread } from '../stores/thread';
import { useThreads } from '../stores/threadLists';

export interface Command {
  id: string;
  name: string;
  kind: string;
  icon: LucideIcon;
  act: () => void;
}

/** How many threads, and how many messages, are listed at most. */
const MAX_RESULTS = 8;

/**
 * The commands, labeled or matching messages, and threads that match a text in lower case; and whether the threads
 * are still searched: until then those of the text before would be opened by the Enter key.
 */
export function useCommands(query: string): { found: Command[]; searching: boolean } {
  const [, navigate] = useLocation();
  const { data: threads, isPlaceholderData, isPending } = useThreads(query, 'active');
  const data = useThread((state) => state.data);
  const head = useThread((state) => state.head);
  const choices = useThread((state) => state.choices);
  const searching = isPlaceholderData || isPending;
  const found = useMemo(() => {
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
      { id: 'knowledge', name: 'Knowledge base', icon: LibraryBig, act: () => navigate('/knowledge') },
      { id: 'settings', name: 'Settings and API tokens', icon: Settings, act: () => navigate('/settings') },
      { id: 'trash', name: 'Trash', icon: Trash2, act: () => navigate('/trash') },
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
    const open = ((searching ? null : threads)?.pages[0]?.items ?? []).slice(0, MAX_RESULTS).map((thread) => ({
      id: thread.id,
      name: threadTitle(thread),
      icon: MessageSquare,
      kind: 'Thread',
      act: () => {
        scrollToHit(thread);
        navigate(listedPath(thread));
      },
    }));
    return [...commands.filter(({ name }) => name.toLowerCase().includes(query)), ...named, ...open];
  }, [query, threads, searching, data.thread, data.nodes, head]);
  return { found, searching };
}
