import { Composer } from '../composer/Composer';
import { SessionBar } from '../sessions/SessionBar';
import { useFollowSession } from '../sessions/useFollowSession';
import { useThread } from '../stores/thread';
import { Conversation } from './Conversation';

export function ChatView() {
  const threadId = useThread((state) => state.data.threadId);
  const head = useThread((state) => state.head);
  const error = useThread((state) => state.error);
  useFollowSession();
  return (
    <section className="chat" aria-label="Conversation">
      {error && <p className="alert" role="alert">{error} Retrying …</p>}
      <Conversation />
      <div className="dock">
        <SessionBar />
        <Composer key={threadId} threadId={threadId} parent={head} />
      </div>
    </section>
  );
}
