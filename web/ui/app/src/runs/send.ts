/** Sending messages from a component: the refusal of a worker is shown, and a new thread is listed. */
import { errorMessage } from '@branchline/client/api/request';
import { sendMessages, type SendOptions, type SendRequest, type Sent } from '@branchline/client/thread/actions';
import { threadListChanged } from '../stores/threadLists';
import { workerName } from '../stores/workers';
import { notifyError } from '../ui/notifications';

export function send(request: SendRequest, options: Pick<SendOptions, 'signal' | 'onWaiting'>): Promise<Sent> {
  return sendMessages(request, {
    ...options,
    onThreadCreated: (threadId) => threadListChanged(threadId),
    onRefused: (worker, error) => notifyError(new Error(`${workerName(worker)} could not be asked. ${errorMessage(error)}`)),
  });
}
