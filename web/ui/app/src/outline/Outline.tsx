import { leafBelow, outlineRows, searchTree } from '@branchline/client/thread/tree';
import { ChevronsDownUp, ChevronsUpDown, Search, Star, X } from 'lucide-react';
import { useCallback, useDeferredValue, useMemo, useState } from 'react';
import { openBranch } from '../navigation/openBranch';
import { usePath, useThread } from '../stores/thread';
import { IconButton } from '../ui/Button';
import { isComposing } from '../ui/keys';
import { OutlineTree } from './OutlineTree';

const NONE: ReadonlySet<string> = new Set();

/** The tree next to the chat: a row for each state, with lanes like those of a version control system. */
export function Outline({ onChosen, onClose }: { onChosen: () => void; onClose: () => void }) {
  const threadId = useThread((state) => state.data.threadId);
  const nodes = useThread((state) => state.data.nodes);
  const children = useThread((state) => state.data.children);
  const root = useThread((state) => state.data.thread?.root_state_id ?? null);
  const treeLoaded = useThread((state) => state.data.treeLoaded);
  const choices = useThread((state) => state.choices);
  const path = usePath();
  const [collapsed, setCollapsed] = useState<ReadonlySet<string>>(NONE);
  const [starredOnly, setStarredOnly] = useState(false);
  const [search, setSearch] = useState('');
  const query = useDeferredValue(search.trim());
  const found = useMemo(() => (query ? searchTree(nodes, query) : null), [nodes, query]);
  const all = useMemo(() => outlineRows(nodes, children, root, found ? NONE : collapsed), [nodes, children, root, collapsed, found]);
  const list = useMemo(() => {
    const shown = all.filter((row) => row.id !== root);
    if (starredOnly) return shown.filter(({ id }) => nodes.get(id)?.starred || nodes.get(id)?.label);
    return found ? shown.filter(({ id }) => found.visible.has(id)) : shown;
  }, [all, found, starredOnly, nodes, root]);
  const onPath = useMemo(() => new Set(path), [path]);
  const head = path.at(-1) ?? null;

  const toggle = useCallback((id: string, collapse?: boolean) => {
    setCollapsed((before) => {
      const next = new Set(before);
      if (collapse ?? !next.has(id)) next.add(id);
      else next.delete(id);
      return next;
    });
  }, []);
  const choose = useCallback(
    (id: string) => {
      openBranch(threadId, onPath.has(id) && head ? head : leafBelow(children, choices, id), { at: id });
      onChosen();
    },
    [children, choices, threadId, onChosen, onPath, head],
  );
  const otherBranches = useMemo(() => {
    const forked = [...children.values()].filter((below) => below.length > 1).flat();
    return new Set(forked.filter((id) => !onPath.has(id) && children.get(id)?.length));
  }, [children, onPath]);

  return (
    <aside className="outline" aria-label="Outline">
      <header className="outline-head">
        <h2>Outline</h2>
        <span className="count">{Math.max(0, nodes.size - 1)}{treeLoaded ? '' : ' …'}</span>
        <span className="grow" />
        <IconButton label={starredOnly ? 'Show all' : 'Show starred and labeled only'} icon={Star} aria-pressed={starredOnly} onClick={() => setStarredOnly(!starredOnly)} />
        <IconButton
          label={collapsed.size ? 'Expand all' : 'Collapse other branches'}
          icon={collapsed.size ? ChevronsUpDown : ChevronsDownUp}
          disabled={!collapsed.size && !(treeLoaded && otherBranches.size)}
          onClick={() => setCollapsed(collapsed.size ? NONE : otherBranches)}
        />
        <IconButton label="Hide outline" icon={X} onClick={onClose} />
      </header>
      <label className="search">
        <Search aria-hidden="true" />
        <span className="visually-hidden">Search tree</span>
        <input
          type="search"
          dir="auto"
          placeholder="Search tree"
          value={search}
          onChange={(event) => setSearch(event.target.value)}
          onKeyDown={(event) => {
            if (isComposing(event.nativeEvent)) return;
            if (event.key === 'Escape') setSearch('');
            const first = [...(found?.matches ?? [])][0];
            if (event.key === 'Enter' && first) choose(first);
          }}
        />
        {search && <button type="button" aria-label="Clear search" onClick={() => setSearch('')}><X aria-hidden="true" /></button>}
      </label>
      {list.length ? (
        <OutlineTree list={list} nodes={nodes} onPath={onPath} head={head} matches={found?.matches ?? null} collapsed={collapsed} onToggle={toggle} onChoose={choose} />
      ) : (
        <p className="empty-list">
          {found ? 'No results' : starredOnly ? 'Starred and labeled messages appear here.' : 'Messages appear here. Edit a question or regenerate an answer to start a branch.'}
        </p>
      )}
    </aside>
  );
}
