import { ChevronRight, PanelLeftOpen } from 'lucide-react';
import type { ReactNode } from 'react';
import { Link } from 'wouter';
import { setPreferences, usePreferences } from '../stores/preferences';
import { IconButton } from '../ui/Button';

/** The title of a page of the knowledge base, and the way up from it. */
export function PageHead({ id, title, above = [], children }: {
  /** Of the heading. */
  id: string;
  title: string;
  /** The pages above it, the outermost first. */
  above?: readonly { name: string; path: string }[];
  /** Buttons. */
  children?: ReactNode;
}) {
  const sidebar = usePreferences((state) => state.sidebar);
  const show = !sidebar && <IconButton label="Show sidebar" icon={PanelLeftOpen} onClick={() => setPreferences({ sidebar: true })} />;
  return (
    <header className="knowledge-head">
      {above.length > 0 && (
        <div className="knowledge-way">
          {show}
          <nav aria-label="Way up">
            <ol>
              {above.map(({ name, path }) => (
                <li key={path}><Link href={path} dir="auto">{name}</Link><ChevronRight aria-hidden="true" /></li>
              ))}
            </ol>
          </nav>
        </div>
      )}
      <div className="knowledge-title">
        {!above.length && show}
        <h1 id={id} dir="auto">{title}</h1>
        {children}
      </div>
    </header>
  );
}
