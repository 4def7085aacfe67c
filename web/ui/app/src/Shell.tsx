import { type ReactNode, useEffect } from 'react';
import { useLocation } from 'wouter';
import { prefer, usePreferences } from './stores/preferences';
import { Sidebar } from './threads/Sidebar';
import { useMedia } from './ui/media';

/** The page: the list of threads, and what is shown beside it. */
export function Shell({ children }: { children: ReactNode }) {
  const narrow = useMedia('(max-width: 820px)');
  const open = usePreferences((state) => state.sidebar);
  const [place] = useLocation();
  useEffect(() => {
    if (narrow) prefer({ sidebar: false });
  }, [narrow, place]);
  return (
    <div className="shell" data-sidebar={open ? 'open' : 'shut'}>
      <a className="skip" href="#main">Skip to the conversation</a>
      {open && <Sidebar />}
      {open && narrow && <button type="button" className="veil" aria-label="Close the list of threads" onClick={() => prefer({ sidebar: false })} />}
      <main id="main" tabIndex={-1}>{children}</main>
    </div>
  );
}
