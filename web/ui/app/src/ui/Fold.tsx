import { ChevronRight, type LucideIcon } from 'lucide-react';
import type { ReactNode } from 'react';

/** Something that is folded until one wants to see it. */
export function Fold({ icon: Icon, title, aside, open = false, quiet = false, working = false, onToggle, children, tools }: {
  icon: LucideIcon;
  title: ReactNode;
  aside?: ReactNode;
  open?: boolean;
  quiet?: boolean;
  /** Whether it is still growing. */
  working?: boolean;
  onToggle?: (open: boolean) => void;
  children: ReactNode;
  tools?: ReactNode;
}) {
  return (
    <details className={quiet ? 'fold fold-quiet' : 'fold'} open={open} onToggle={(event) => onToggle?.(event.currentTarget.open)}>
      <summary>
        {working ? <span className="dots" aria-hidden="true"><i /><i /><i /></span> : <Icon aria-hidden="true" />}
        <span className="fold-title">{title}</span>
        {aside && <span className="fold-aside">{aside}</span>}
        <ChevronRight className="chevron" aria-hidden="true" />
      </summary>
      <div className="fold-body">
        {children}
        {tools && <div className="fold-tools">{tools}</div>}
      </div>
    </details>
  );
}
