import { type ReactNode, useEffect } from 'react';
import { useLocation } from 'wouter';
import { setPreferences, usePreferences } from './stores/preferences';
import { Sidebar } from './threads/Sidebar';
import { useMediaQuery } from './ui/useMediaQuery';

/** The page: the list of threads, and what is shown beside it. */
export function Shell({ children }: { children: ReactNode }) {
  const narrow = useMediaQuery('(max-width: 820px)');
  const open = usePreferences((state) => state.sidebar);
  const [place] = useLocation();
  useEffect(() => {
    if (narrow) setPreferences({ sidebar: false });
  }, [narrow, place]);
  return (
    <div className="shell" data-sidebar={open ? 'open' : 'shut'}>
      <a className="skip-link" href="#main">Skip to the conversation</a>
      {open && <Sidebar />}
      {open && narrow && <button type="button" className="backdrop" aria-label="Close the list of threads" onClick={() => setPreferences({ sidebar: false })} />}
      <main id="main" tabIndex={-1}>{children}</main>
    </div>
  );
}
