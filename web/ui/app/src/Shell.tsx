import { type ReactNode, useEffect, useRef } from 'react';
import { useLocation } from 'wouter';
import { setPreferences, usePreferences } from './stores/preferences';
import { Sidebar } from './threads/Sidebar';
import { ErrorBoundary } from './ui/ErrorBoundary';
import { useEscape } from './ui/useEscape';
import { useMediaQuery } from './ui/useMediaQuery';

/** The page: the sidebar, and the main part next to it. */
export function Shell({ children }: { children: ReactNode }) {
  const narrow = useMediaQuery('(max-width: 820px)');
  const open = usePreferences((state) => state.sidebar);
  const [location] = useLocation();
  const last = useRef('');
  useEffect(() => {
    // A thread that has loaded adds its state to the address: nobody has gone anywhere then.
    const isAddition = last.current !== '' && location.startsWith(`${last.current}/`);
    last.current = location;
    if (narrow && !isAddition) setPreferences({ sidebar: false });
  }, [narrow, location]);
  useEscape(open && narrow, () => setPreferences({ sidebar: false }));
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
