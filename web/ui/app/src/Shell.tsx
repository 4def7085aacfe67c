import { type ReactNode, useEffect } from 'react';
import { useLocation } from 'wouter';
import { setPreferences, usePreferences } from './stores/preferences';
import { Sidebar } from './threads/Sidebar';
import { ErrorBoundary } from './ui/ErrorBoundary';
import { useMediaQuery } from './ui/useMediaQuery';

/** The page: the sidebar, and the main part next to it. */
export function Shell({ children }: { children: ReactNode }) {
  const narrow = useMediaQuery('(max-width: 820px)');
  const open = usePreferences((state) => state.sidebar);
  const [location] = useLocation();
  useEffect(() => {
    if (narrow) setPreferences({ sidebar: false });
  }, [narrow, location]);
  return (
    <div className="shell" data-sidebar={open ? 'open' : 'closed'}>
      <a className="skip-link" href="#main">Skip to conversation</a>
      {open && <Sidebar />}
      {open && narrow && <button type="button" className="backdrop" aria-label="Close sidebar" onClick={() => setPreferences({ sidebar: false })} />}
      <main id="main" tabIndex={-1}>
        <ErrorBoundary as="section" location={location}>{children}</ErrorBoundary>
      </main>
    </div>
  );
}
