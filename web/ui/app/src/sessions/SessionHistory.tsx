import { api } from '@branchline/client/api/calls';
import { errorMessage } from '@branchline/client/api/request';
import type { Session } from '@branchline/client/api/types';
import { keepPreviousData, useInfiniteQuery } from '@tanstack/react-query';
import { Button } from '../ui/Button';
import { Dialog } from '../ui/Dialog';
import { formatTime } from '../ui/time';
import { transitionText } from './sessionText';

/** The transitions of a session, the latest first. It is read again with each new one. */
export function SessionHistory({ session, onClose }: { session: Session; onClose: () => void }) {
  const { data, error, isPending, hasNextPage, isFetchingNextPage, fetchNextPage } = useInfiniteQuery({
    queryKey: ['transitions', session.id, session.transition],
    queryFn: ({ pageParam }) => api.sessionTransitions(session.thread_id, pageParam),
    initialPageParam: null as string | null,
    getNextPageParam: (page) => page.next,
    placeholderData: keepPreviousData,
  });
  const transitions = data?.pages.flatMap((page) => page.items) ?? [];
  return (
    <Dialog title="History of the session" onClose={onClose} wide>
      {isPending && <p className="quiet">Loading …</p>}
      {error && <p className="alert" role="alert">{errorMessage(error)}</p>}
      {data && !transitions.length && <p className="quiet">Nothing has happened yet.</p>}
      <ol className="session-history" aria-label="Transitions">
        {transitions.map((transition) => (
          <li key={transition.number}>
            <span>{transitionText(transition)}</span>
            <time dateTime={transition.created_at}>{formatTime(transition.created_at)}</time>
            {transition.message && <p dir="auto">{transition.message}</p>}
          </li>
        ))}
      </ol>
      {hasNextPage && <Button disabled={isFetchingNextPage} onClick={() => void fetchNextPage()}>Show more</Button>}
    </Dialog>
  );
}
