import { AUTO_AUTHOR } from '@branchline/client/thread/session';
import { speakers } from '@branchline/client/thread/speakers';
import { Fragment, useMemo } from 'react';
import { useWorkerName } from '../stores/workers';
import { MessageView } from './MessageView';
import type { Part } from './parts';

/** Messages, and who speaks where that is not `own`, which is called `name` above them. */
export function MessageList({ parts, own, name }: { parts: readonly Part[]; own: string | null; name: string }) {
  const workerName = useWorkerName();
  const named = useMemo(() => speakers(parts.map(({ message }) => message), own), [parts, own]);
  return (
    <div className="message-list">
      {parts.map((part, index) => {
        const speaker = named[index];
        return (
          <Fragment key={part.message.id}>
            {speaker !== undefined && <Speaker name={speaker === null ? name : workerName(speaker)} asked={part.message.role === 'user' && speaker === AUTO_AUTHOR} />}
            <MessageView part={part} />
          </Fragment>
        );
      })}
    </div>
  );
}

/** Who speaks; a prompt that the session has sent by itself was `asked` by nobody. */
function Speaker({ name, asked }: { name: string; asked: boolean }) {
  return asked ? <p className="asked-by-itself">Asked by itself</p> : <p className="author speaker" dir="auto">{name}</p>;
}
