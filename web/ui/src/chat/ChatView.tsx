import { useWatched } from '../thread/store';
import { Composer } from './Composer';
import { Conversation } from './Conversation';

export function ChatView() {
  const threadId = useWatched((state) => state.data.threadId);
  const head = useWatched((state) => state.head);
  const failure = useWatched((state) => state.failure);
  return (
    <section className="chat" aria-label="Conversation">
      {failure && <p className="alert" role="alert">{failure} It is tried again.</p>}
      <Conversation />
      <div className="dock">
        <Composer key={threadId} threadId={threadId} parent={head} />
      </div>
    </section>
  );
}
