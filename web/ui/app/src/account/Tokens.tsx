import { BASE_PATH } from '@branchline/client/api/basePath';
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

/** The API tokens of the account. */
export function Tokens() {
  const { data: tokens = [], isPending } = useQuery({ queryKey: ['tokens'], queryFn: api.tokens });
  const [name, setName] = useState('');
  const [created, setCreated] = useState<TokenWithSecret | null>(null);
  const changed = () => queryClient.invalidateQueries({ queryKey: ['tokens'] });
  const create = async (event: FormEvent) => {
    event.preventDefault();
    try {
      setCreated(await api.createToken(name.trim()));
      setName('');
      await changed();
    } catch (error) {
      notifyError(error);
    }
  };
  const revoke = async (id: string, tokenName: string) => {
    try {
      await api.revokeToken(id);
      if (created?.id === id) setCreated(null);
      notify(`Token “${tokenName}” revoked`);
      await changed();
    } catch (error) {
      notifyError(error);
    }
  };
  return (
    <section aria-labelledby="tokens-title">
      <h2 id="tokens-title">API tokens</h2>
      <p className="lead">
        For programs that act on your behalf. Send a token as <code>Authorization: Bearer …</code>. <a href={`${BASE_PATH}/api/docs`}>API documentation</a>
      </p>
      {created && (
        <div className="secret" role="status">
          <p>Token “<bdi>{created.name}</bdi>” created. Copy it now: it is not shown again.</p>
          <p className="secret-text"><code>{created.secret}</code><CopyButton text={created.secret} label="Copy token" /></p>
        </div>
      )}
      <ul className="tokens">
        {tokens.map((token) => (
          <li key={token.id}>
            <KeyRound aria-hidden="true" />
            <span>
              <strong dir="auto">{token.name}</strong>
              <small>Created {formatTime(token.created_at)} · {token.last_used_at ? `last used ${formatTime(token.last_used_at)}` : 'never used'}</small>
            </span>
            <IconButton label={`Revoke ${token.name}`} icon={Trash2} onClick={() => void revoke(token.id, token.name)} />
          </li>
        ))}
      </ul>
      {!isPending && !tokens.length && <p className="quiet">No tokens yet</p>}
      <form className="token-form" onSubmit={(event) => void create(event)}>
        <Field label="Token name" dir="auto" value={name} maxLength={200} placeholder="My laptop" onChange={(event) => setName(event.target.value)} />
        <Button type="submit" disabled={!name.trim()}>Create token</Button>
      </form>
    </section>
  );
}
