/** Who is signed in, and the streams of that user. */
import { api } from '@branchline/client/api/calls';
import { Problem } from '@branchline/client/api/request';
import type { User } from '@branchline/client/api/types';
import { SharedStreams } from '@branchline/client/live/sharedStreams';
import { create } from 'zustand';
import { clearActivity, loadActivity } from './activity';
import { handleHint } from './hints';
import { setOwner } from './preferences';
import { queryClient } from './queryClient';

interface Session {
  /** undefined until it is known whether somebody is signed in. */
  user: User | null | undefined;
  streams: SharedStreams | null;
}

export const useSession = create<Session>(() => ({ user: undefined, streams: null }));

/** Milliseconds between two attempts to learn who is signed in. */
const RETRY = 1500;

/** Ask the server who is signed in, until it answers. */
export async function loadSession(): Promise<void> {
  try {
    signedIn(await api.me());
  } catch (error) {
    if (error instanceof Problem && error.status === 401) useSession.setState({ user: null });
    else setTimeout(() => void loadSession(), RETRY);
  }
}

export function signedIn(user: User): void {
  useSession.getState().streams?.close();
  setOwner(user.id);
  useSession.setState({ user, streams: new SharedStreams(user.id, { onHint: handleHint, onRefused: () => void checkUser() }) });
  void loadActivity();
}

export function signedOut(): void {
  useSession.getState().streams?.close();
  useSession.setState({ user: null, streams: null });
  clearActivity();
  queryClient.clear();
}

/** Learn whether somebody else, or nobody, is signed in by now; another tab may have changed it. */
async function checkUser(): Promise<void> {
  const user = await api.me().catch(() => null); // a 401 is handled where all of them are
  if (!user || user.id === useSession.getState().user?.id) return;
  signedOut();
  signedIn(user);
}
