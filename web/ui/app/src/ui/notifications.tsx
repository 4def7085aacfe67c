/** Notifications at the edge of the page, and announcements to screen readers. */
import { randomId } from '@branchline/client/api/randomId';
import { errorMessage } from '@branchline/client/api/request';
import { useEffect } from 'react';
import { create } from 'zustand';

interface Notification {
  id: string;
  text: string;
  action?: { name: string; act: () => void };
  alert: boolean;
}

const useNotifications = create<{ notes: Notification[]; announcement: string }>(() => ({ notes: [], announcement: '' }));

/** Milliseconds. */
const SHOWN_FOR = 7000;

export function notify(text: string, action?: Notification['action']): void {
  show({ id: randomId(), text, alert: false, ...(action ? { action } : {}) });
}

export function notifyError(error: unknown): void {
  show({ id: randomId(), text: errorMessage(error), alert: true });
}

/** Have screen readers say something once they have finished what they are saying. */
export function announce(said: string): void {
  useNotifications.setState({ announcement: said });
}

function show(one: Notification): void {
  useNotifications.setState(({ notes }) => ({ notes: [...notes.filter((other) => other.text !== one.text), one].slice(-3) }));
}

function dismiss(id: string): void {
  useNotifications.setState(({ notes }) => ({ notes: notes.filter((one) => one.id !== id) }));
}

export function Notifications() {
  const { notes, announcement: said } = useNotifications();
  return (
    <>
      <div className="visually-hidden" role="status">{said}</div>
      <div className="notifications" role="region" aria-live="polite" aria-label="Notes">
        {notes.map((one) => <NotificationView key={one.id} note={one} />)}
      </div>
    </>
  );
}

function NotificationView({ note: { id, text, action, alert } }: { note: Notification }) {
  useEffect(() => {
    const timer = setTimeout(() => dismiss(id), SHOWN_FOR);
    return () => clearTimeout(timer);
  }, [id]);
  return (
    <div className={`notification${alert ? ' notification-alert' : ''}`} role={alert ? 'alert' : undefined}>
      <span>{text}</span>
      {action && (
        <button
          type="button"
          onClick={() => {
            action.act();
            dismiss(id);
          }}
        >
          {action.name}
        </button>
      )}
      <button type="button" aria-label="Dismiss" onClick={() => dismiss(id)}>
        ✕
      </button>
    </div>
  );
}
