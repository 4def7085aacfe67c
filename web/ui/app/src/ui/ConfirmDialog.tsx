import type { ReactNode } from 'react';
import { Button } from './Button';
import { Dialog } from './Dialog';

/** A question before something that cannot be undone. */
export function ConfirmDialog({ title, children, action, onConfirm, onClose }: {
  title: string;
  children: ReactNode;
  /** What the button that does it is called. */
  action: string;
  onConfirm: () => void;
  onClose: () => void;
}) {
  return (
    <Dialog
      title={title}
      onClose={onClose}
      footer={
        <>
          <span className="grow" />
          <Button onClick={onClose}>Cancel</Button>
          <Button
            look="danger"
            onClick={() => {
              onClose();
              onConfirm();
            }}
          >
            {action}
          </Button>
        </>
      }
    >
      <p>{children}</p>
    </Dialog>
  );
}
