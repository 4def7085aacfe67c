import { api } from '@branchline/client/api/calls';
import type { Run } from '@branchline/client/api/types';
import { useQuery } from '@tanstack/react-query';
import { Terminal } from '../messages/Terminal';
import { Dialog } from '../ui/Dialog';

export function LogDialog({ run, onClose }: { run: Run; onClose: () => void }) {
  return (
    <Dialog title="Worker log" onClose={onClose} wide>
      <RunLog run={run} />
    </Dialog>
  );
}

/** What each attempt of a run wrote to its log. */
export function RunLog({ run }: { run: Run }) {
  const { data: logs, isPending } = useQuery({ queryKey: ['log', run.id, run.status], queryFn: () => api.runLog(run.id) });
  if (isPending) return <p className="quiet">Loading …</p>;
  const written = (logs ?? []).filter((log) => log.text);
  if (!written.length) return <p className="quiet">The log is empty.</p>;
  return written.map((log) => (
    <section key={log.attempt}>
      <h3>Log{written.length > 1 ? ` of attempt ${log.attempt}` : ''}</h3>
      <Terminal output={log.truncated ? `… (beginning truncated)\n${log.text}` : log.text} />
    </section>
  ));
}
