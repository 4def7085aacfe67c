import { api } from '@branchline/client/api/calls';
import { errorMessage } from '@branchline/client/api/request';
import { loadRun } from '@branchline/client/thread/actions';
import type { Node } from '@branchline/client/thread/state';
import { useQuery } from '@tanstack/react-query';
import { useMemo } from 'react';
import { MessageView } from '../messages/MessageView';
import { groupParts } from '../messages/parts';
import { openBranch } from '../navigation/openBranch';
import { useThread } from '../stores/thread';
import { Button } from '../ui/Button';
import { Dialog } from '../ui/Dialog';

const ROLES = { system: 'System', user: 'User', assistant: 'Assistant', tool: 'Tool' } as const;

/** What a run was given: the system prompt of its configuration, and the messages above its answer. */
export function ModelInput({ node, onClose }: { node: Node; onClose: () => void }) {
  const threadId = useThread((state) => state.data.threadId);
  const parent = node.parentId ?? '';
  const { data, error } = useQuery({
    queryKey: ['model input', node.id],
    queryFn: async () => {
      const [run, history] = await Promise.all([loadRun(node.id), api.history(parent)]);
      return { run, history };
    },
    staleTime: Infinity,
  });
  const parts = useMemo(() => groupParts(data?.history.items ?? []), [data]);
  const prompt = data?.run.config['system_prompt'];
  const goThere = () => {
    onClose();
    openBranch(threadId, parent, { end: true });
  };
  return (
    <Dialog title="Model input" onClose={onClose} wide footer={<><span className="grow" /><Button onClick={goThere}>Continue from there</Button></>}>
      {!data && (error ? <p className="alert" role="alert">{errorMessage(error)}</p> : <p className="quiet">Loading …</p>)}
      {typeof prompt === 'string' && prompt && (
        <section className="model-input">
          <h3>System prompt</h3>
          <div className="user-text" dir="auto">{prompt}</div>
        </section>
      )}
      {data?.history.next && <p className="quiet">These are the last messages. The model was given the earlier ones as well.</p>}
      {parts.map((part) => (
        <section key={part.message.id} className="model-input">
          <h3>{ROLES[part.message.role]}</h3>
          <MessageView part={part} />
        </section>
      ))}
    </Dialog>
  );
}
