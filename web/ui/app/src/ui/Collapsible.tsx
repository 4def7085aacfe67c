import { ChevronRight, type LucideIcon } from 'lucide-react';
import type { ReactNode } from 'react';

/** A line that expands to details. */
export function Collapsible({ icon: Icon, title, aside, open = false, quiet = false, working = false, onToggle, children, tools }: {
  icon: LucideIcon;
  title: ReactNode;
  aside?: ReactNode;
  open?: boolean;
  quiet?: boolean;
  /** Whether its contents are still being written. */
  working?: boolean;
  onToggle?: (open: boolean) => void;
  children: ReactNode;
  tools?: ReactNode;
}) {
  return (
    <details className={quiet ? 'collapsible collapsible-quiet' : 'collapsible'} open={open} onToggle={(event) => onToggle?.(event.currentTarget.open)}>
      <summary>
        {working ? <span className="dots" aria-hidden="true"><i /><i /><i /></span> : <Icon aria-hidden="true" />}
        <span className="collapsible-title" dir="auto">{title}</span>
        {aside && <span className="collapsible-aside">{aside}</span>}
        <ChevronRight className="chevron" aria-hidden="true" />
      </summary>
      <div className="collapsible-body">
        {children}
        {tools && <div className="collapsible-tools">{tools}</div>}
      </div>
    </details>
  );
}
