import { api } from '@branchline/client/api/calls';
import { errorMessage } from '@branchline/client/api/request';
import type { Session } from '@branchline/client/api/types';
import { keepPreviousData, useQuery } from '@tanstack/react-query';
import { Dialog } from '../ui/Dialog';
import { formatTime } from '../ui/time';

/** What of the conversation the next turn is given as a summary, and who has made it. It is read again with each change. */
export function SessionSummary({ session, onClose }: { session: Session; onClose: () => void }) {
  const { data, error, isPending } = useQuery({
    queryKey: ['summary', session.id, session.revision],
    queryFn: () => api.sessionSummary(session.thread_id),
    placeholderData: keepPreviousData,
  });
  const summary = data?.summary;
  return (
    <Dialog title="Summary of the conversation" onClose={onClose} wide>
      {isPending && <p className="quiet">Loading …</p>}
      {error && <p className="alert" role="alert">{errorMessage(error)}</p>}
      {data && (
        <p className="lead">
          {data.worker_id ? <>The worker <b>{data.worker_id}</b> sums up the messages that turns are not given any more.</> : 'No worker sums up the messages that turns are not given any more.'}
        </p>
      )}
      {data?.worker_id && !summary && <p className="quiet">There is no summary yet: so far turns are given the whole conversation, or the first summary is being made.</p>}
      {summary && (
        <section className="session-summary" aria-label="The last summary">
          <p className="quiet">
            {summary.messages === 1 ? 'The first message' : `The first ${summary.messages} messages`}, summed up <time dateTime={summary.created_at}>{formatTime(summary.created_at)}</time>
          </p>
          <p dir="auto">{summary.content}</p>
        </section>
      )}
    </Dialog>
  );
}
