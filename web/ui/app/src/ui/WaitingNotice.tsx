import { waitingStore } from '@branchline/client/api/waiting';
import { useStore } from 'zustand';

export function useWaiting(): boolean {
  return useStore(waitingStore, (state) => state.waiting);
}

/** Says on every page that the server has not answered for a while, and what may be the cause. */
export function WaitingNotice() {
  return (
    <div className="waiting" role="status">
      {useWaiting() && (
        <p className="notification">
          Waiting for a free connection. A browser makes only a few to a server: close other tabs of Branchline if there are many.
        </p>
      )}
    </div>
  );
}
