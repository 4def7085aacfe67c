/** The calls of the API that a panel needs. */
import { requestTo, type Server } from '@branchline/client/api/request';
import type { AgentType, ChatFile, ChatHistory, Passage, Sent, UnsentMessage } from './types';

const SESSIONS = '/api/agent-chat/sessions';

export class Rest {
  constructor(private readonly server: Server) {}

  createSession(agentType: AgentType, projectId?: string, continues?: string): Promise<{ session_id: string }> {
    return this.call('POST', SESSIONS, { agent_type: agentType, project_id: projectId ?? null, ...(continues ? { continues } : {}) });
  }

  history(sessionId: string, limit: number, cursor: string | null): Promise<ChatHistory> {
    const query = new URLSearchParams({ limit: String(limit), ...(cursor ? { cursor } : {}) });
    return this.call('GET', `${SESSIONS}/${sessionId}?${query}`);
  }

  async send(sessionId: string, message: UnsentMessage): Promise<Sent> {
    const answer = await this.call<{ run_id: string }>('POST', `${SESSIONS}/${sessionId}/messages`, encoded(message));
    return { run_id: answer.run_id, client_id: message.clientId };
  }

  deleteSession(sessionId: string): Promise<void> {
    return this.call('DELETE', `${SESSIONS}/${sessionId}`);
  }

  upload(file: File): Promise<ChatFile> {
    const form = new FormData();
    form.append('file', file);
    return this.call<{ file: ChatFile }>('POST', '/api/files', form).then((answer) => answer.file);
  }

  /** The content of a file. */
  download(id: string): Promise<Blob> {
    return requestTo(this.server, 'GET', `/api/files/${id}/content`, undefined, { read: (response) => response.blob() });
  }

  async passages(sourceId: string, documentId: string, first: number, limit: number): Promise<readonly Passage[]> {
    const document = `/api/knowledge/sources/${encodeURIComponent(sourceId)}/documents/${encodeURIComponent(documentId)}`;
    const answer = await this.call<{ items?: readonly Passage[] } | null>('GET', `${document}/passages?first=${first}&limit=${limit}`);
    if (!Array.isArray(answer?.items)) throw new TypeError('The answer has no passages.');
    return answer.items;
  }

  private call<T>(method: string, path: string, body?: unknown): Promise<T> {
    return requestTo<T>(this.server, method, path, body);
  }
}

/** A message as the server takes it, over REST and Socket.IO. */
export function encoded({ clientId, message, context, files }: UnsentMessage): Record<string, unknown> {
  return { client_id: clientId, message, context, ...(files.length ? { files } : {}) };
}
