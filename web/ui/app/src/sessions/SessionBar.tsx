import type { SessionAct } from '@branchline/client/api/calls';
import type { Session } from '@branchline/client/api/types';
import { isUnderWay } from '@branchline/client/thread/session';
import { actOnSession } from '@branchline/client/thread/sessionActions';
import { CircleX, Ellipsis, Footprints, Gauge, History, Pause, Play, ScrollText, Square } from 'lucide-react';
import { useState } from 'react';
import { useThread } from '../stores/thread';
import { IconButton } from '../ui/Button';
import { ConfirmDialog } from '../ui/ConfirmDialog';
import { Menu, MenuItem, MenuSeparator } from '../ui/Menu';
import { notifyError } from '../ui/notifications';
import { SessionDialog } from './SessionDialog';
import { SessionHistory } from './SessionHistory';
import { SessionSummary } from './SessionSummary';
import { budgets, reasonText, statusText } from './sessionText';

/** The session of the thread: what it does, what it has used, and what can be done with it. */
export function SessionBar() {
  const session = useThread((state) => state.data.session);
  return session && <Bar key={session.id} session={session} />;
}

function Bar({ session }: { session: Session }) {
  const [busy, setBusy] = useState(false);
  const [opened, setOpened] = useState<'limits' | 'summary' | 'history' | 'close' | null>(null);
  const act = async (what: SessionAct) => {
    setBusy(true);
    try {
      await actOnSession(session.thread_id, what);
    } catch (error) {
      notifyError(error);
    } finally {
      setBusy(false);
    }
  };
  const close = () => setOpened(null);
  const reason = reasonText(session);
  const isClosed = session.status === 'closed';
  return (
    <section className="session" aria-label="Session" data-status={session.status}>
      <div className="session-text">
        <p className="session-status" role="status">
          <strong>{statusText(session)}</strong>
          {reason && <span dir="auto">{reason}</span>}
        </p>
        <Used session={session} />
      </div>
      {isUnderWay(session) && !session.pausing && <IconButton label="Pause after this turn" icon={Pause} disabled={busy} onClick={() => void act('pause')} />}
      {(session.status === 'stop' || (isUnderWay(session) && session.pausing)) && <IconButton label="Resume" icon={Play} disabled={busy} onClick={() => void act('resume')} />}
      {session.status === 'stop' && <IconButton label="One turn" icon={Footprints} disabled={busy} onClick={() => void act('step')} />}
      {isUnderWay(session) && <IconButton label="Stop session" icon={Square} disabled={busy} onClick={() => void act('stop')} />}
      <Menu trigger={<button type="button" className="icon-button" aria-label="Session actions"><Ellipsis aria-hidden="true" /></button>}>
        {!isClosed && <MenuItem icon={Gauge} onSelect={() => setOpened('limits')}>Limits and prompt</MenuItem>}
        <MenuItem icon={ScrollText} onSelect={() => setOpened('summary')}>Summary</MenuItem>
        <MenuItem icon={History} onSelect={() => setOpened('history')}>History</MenuItem>
        {!isClosed && <MenuSeparator />}
        {!isClosed && <MenuItem icon={CircleX} danger onSelect={() => setOpened('close')}>Close session</MenuItem>}
      </Menu>
      {opened === 'limits' && <SessionDialog threadId={session.thread_id} session={session} onClose={close} />}
      {opened === 'summary' && <SessionSummary session={session} onClose={close} />}
      {opened === 'history' && <SessionHistory session={session} onClose={close} />}
      {opened === 'close' && (
        <ConfirmDialog title="Close the session?" action="Close session" onClose={close} onConfirm={() => void act('close')}>
          Its turn is cancelled, and the thread does not go on by itself any more. The thread stays. This cannot be undone.
        </ConfirmDialog>
      )}
    </section>
  );
}

/** The turn, and what is used of each limit. */
function Used({ session }: { session: Session }) {
  return (
    <ul className="session-used" aria-label="Used">
      {session.turn > 0 && <li>Turn {session.turn}</li>}
      {budgets(session).map(({ name, text, isSpent }) => (
        <li key={name} data-spent={isSpent || undefined}>{text}</li>
      ))}
    </ul>
  );
}
