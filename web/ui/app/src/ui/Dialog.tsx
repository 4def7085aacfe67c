import { X } from 'lucide-react';
import { type FormEvent, type ReactNode, useEffect, useId, useRef } from 'react';
import { createPortal } from 'react-dom';
import { IconButton } from './Button';
import { isComposing } from './keys';

/**
 * A modal dialog. It is the browser's own, which keeps the focus inside; the focus returns when it is closed.
 * Its element is a child of the page itself: the styles and the Enter key of a form that opens it do not
 * concern it.
 */
export function Dialog({
  title,
  onClose,
  onSubmit,
  children,
  footer,
  wide = false,
  plain = false,
}: {
  title: string;
  onClose: () => void;
  /** If the dialog is a form: what Enter in one of its fields does, and its button of type submit. */
  onSubmit?: () => void;
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
  const body = (
    <>
      <header className={plain ? 'visually-hidden' : 'dialog-head'}>
        <h2 id={heading}>{title}</h2>
        {!plain && <IconButton label="Close" icon={X} onClick={onClose} />}
      </header>
      {/* What is only read is scrolled by the keyboard. */}
      <div className="dialog-content" tabIndex={wide && !onSubmit ? 0 : undefined}>{children}</div>
      {footer && <footer className="dialog-foot">{footer}</footer>}
    </>
  );
  const submit = (event: FormEvent) => {
    event.preventDefault();
    onSubmit?.();
  };
  return createPortal(
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
      // React passes events on to the component that opened the dialog, which may be in a form.
      onSubmit={(event) => event.stopPropagation()}
      onKeyDown={(event) => {
        // A browser sends "cancel" for the key only once in a while, and closes a dialog that this one opens with the same key.
        if (event.key !== 'Escape' || event.defaultPrevented || isComposing(event.nativeEvent)) return;
        event.preventDefault();
        onClose();
      }}
    >
      {onSubmit ? <form className="dialog-body" noValidate onSubmit={submit}>{body}</form> : <div className="dialog-body">{body}</div>}
    </dialog>,
    document.body,
  );
}
