import { X } from 'lucide-react';
import { type ReactNode, useEffect, useId, useRef } from 'react';
import { IconButton } from './Button';

/** A modal dialog. It is the browser's own, which keeps the focus inside; the focus returns when it is closed. */
export function Dialog({
  title,
  onClose,
  children,
  footer,
  wide = false,
  plain = false,
}: {
  title: string;
  onClose: () => void;
  children: ReactNode;
  footer?: ReactNode;
  wide?: boolean;
  /** Whether the heading is hidden visually. */
  plain?: boolean;
}) {
  const ref = useRef<HTMLDialogElement>(null);
  const heading = useId();
  useEffect(() => {
    const dialog = ref.current;
    const before = document.activeElement as HTMLElement | null;
    dialog?.showModal();
    (dialog?.querySelector<HTMLElement>('.dialog-content :is(input, textarea, select)') ?? dialog)?.focus();
    return () => {
      dialog?.close();
      if (before?.isConnected) before.focus();
    };
  }, []);
  return (
    <dialog
      ref={ref}
      className={`dialog${wide ? ' dialog-wide' : ''}${plain ? ' dialog-plain' : ''}`}
      aria-labelledby={heading}
      tabIndex={-1}
      onCancel={(event) => {
        event.preventDefault();
        onClose();
      }}
      onMouseDown={(event) => event.target === ref.current && onClose()}
    >
      <div className="dialog-body">
        <header className={plain ? 'visually-hidden' : 'dialog-head'}>
          <h2 id={heading}>{title}</h2>
          {!plain && <IconButton label="Close" icon={X} onClick={onClose} />}
        </header>
        <div className="dialog-content">{children}</div>
        {footer && <footer className="dialog-foot">{footer}</footer>}
      </div>
    </dialog>
  );
}
