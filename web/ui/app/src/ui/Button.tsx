import * as Tooltip from '@radix-ui/react-tooltip';
import type { LucideIcon } from 'lucide-react';
import type { ButtonHTMLAttributes, ReactElement, ReactNode, Ref } from 'react';

type Native = ButtonHTMLAttributes<HTMLButtonElement> & { ref?: Ref<HTMLButtonElement> };

export function Button({ look = 'plain', icon: Icon, children, className = '', ...rest }: Native & {
  look?: 'main' | 'plain' | 'quiet' | 'danger';
  icon?: LucideIcon;
}) {
  return (
    <button type="button" className={`button button-${look} ${className}`} {...rest}>
      {Icon && <Icon aria-hidden="true" />}
      {children}
    </button>
  );
}

/** A button with an icon only; its label is a tooltip, and is what screen readers say. */
export function IconButton({ label, icon: Icon, keys, className = '', ...rest }: Native & {
  label: string;
  icon: LucideIcon;
  keys?: string;
}) {
  return (
    <Hint text={label} keys={keys}>
      <button type="button" className={`icon-button ${className}`} aria-label={label} {...rest}>
        <Icon aria-hidden="true" />
      </button>
    </Hint>
  );
}

export function Hint({ text, keys, children }: { text: ReactNode; keys?: string | undefined; children: ReactElement }) {
  return (
    <Tooltip.Root>
      <Tooltip.Trigger asChild>{children}</Tooltip.Trigger>
      <Tooltip.Portal>
        <Tooltip.Content className="tooltip" sideOffset={6} collisionPadding={8}>
          {text}
          {keys && <kbd>{keys}</kbd>}
        </Tooltip.Content>
      </Tooltip.Portal>
    </Tooltip.Root>
  );
}
