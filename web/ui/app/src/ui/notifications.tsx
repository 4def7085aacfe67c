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

const useNotifications = create<{ notifications: Notification[]; announcement: string }>(() => ({ notifications: [], announcement: '' }));

/** Milliseconds. */
const SHOWN_FOR = 7000;

export function notify(text: string, action?: Notification['action']): void {
  show({ id: randomId(), text, alert: false, ...(action ? { action } : {}) });
}

export function notifyError(error: unknown): void {
  show({ id: randomId(), text: errorMessage(error), alert: true });
}

/** Have screen readers say something once they have finished what they are saying. */
export function announce(announcement: string): void {
  useNotifications.setState({ announcement });
}

function show(notification: Notification): void {
  useNotifications.setState(({ notifications }) => ({ notifications: [...notifications.filter((other) => other.text !== notification.text), notification].slice(-3) }));
}

function dismiss(id: string): void {
  useNotifications.setState(({ notifications }) => ({ notifications: notifications.filter((notification) => notification.id !== id) }));
}

export function Notifications() {
  const { notifications, announcement } = useNotifications();
  return (
    <>
      <div className="visually-hidden" role="status">{announcement}</div>
      <div className="notifications" role="region" aria-live="polite" aria-label="Notifications">
        {notifications.map((notification) => <NotificationView key={notification.id} notification={notification} />)}
      </div>
    </>
  );
}

function NotificationView({ notification: { id, text, action, alert } }: { notification: Notification }) {
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
