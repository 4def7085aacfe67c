import { api } from '@branchline/client/api/calls';
import type { TokenWithSecret } from '@branchline/client/api/types';
import { useQuery } from '@tanstack/react-query';
import { KeyRound, Trash2 } from 'lucide-react';
import { type FormEvent, useState } from 'react';
import { queryClient } from '../stores/queryClient';
import { Button, IconButton } from '../ui/Button';
import { CopyButton } from '../ui/CopyButton';
import { Field } from '../ui/Field';
import { notify, notifyError } from '../ui/notifications';
import { formatTime } from '../ui/time';

/** Tokens for programs. */
export function Tokens() {
  const { data: tokens = [], isPending } = useQuery({ queryKey: ['tokens'], queryFn: api.tokens });
  const [name, setName] = useState('');
  const [made, setMade] = useState<TokenWithSecret | null>(null);
  const changed = () => queryClient.invalidateQueries({ queryKey: ['tokens'] });
  const make = async (event: FormEvent) => {
    event.preventDefault();
    try {
      setMade(await api.createToken(name.trim()));
      setName('');
      await changed();
    } catch (error) {
      notifyError(error);
    }
  };
  const revoke = async (id: string, called: string) => {
    try {
      await api.revokeToken(id);
      if (made?.id === id) setMade(null);
      notify(`“${called}” is worthless now`);
      await changed();
    } catch (error) {
      notifyError(error);
    }
  };
  return (
    <section aria-labelledby="tokens-title">
      <h2 id="tokens-title">API tokens</h2>
      <p className="lead">
        For programs that act for you: send one as <code>Authorization: Bearer …</code>. <a href="/api/docs">The API, to read and to try</a>
      </p>
      {made && (
        <div className="secret" role="status">
          <p>This is “{made.name}”. It is shown this once: copy it now.</p>
          <p className="secret-text"><code>{made.secret}</code><CopyButton text={made.secret} label="Copy the token" /></p>
        </div>
      )}
      <ul className="tokens">
        {tokens.map((token) => (
          <li key={token.id}>
            <KeyRound aria-hidden="true" />
            <span>
              <strong>{token.name}</strong>
              <small>Made {formatTime(token.created_at)} · {token.last_used_at ? `used ${formatTime(token.last_used_at)}` : 'never used'}</small>
            </span>
            <IconButton label={`Revoke ${token.name}`} icon={Trash2} onClick={() => void revoke(token.id, token.name)} />
          </li>
        ))}
      </ul>
      {!isPending && !tokens.length && <p className="quiet">You have none.</p>}
      <form className="token-form" onSubmit={(event) => void make(event)}>
        <Field label="What it is for" value={name} maxLength={200} placeholder="my laptop" onChange={(event) => setName(event.target.value)} />
        <Button type="submit" disabled={!name.trim()}>Make a token</Button>
      </form>
    </section>
  );
}
