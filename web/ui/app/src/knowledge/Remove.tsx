import { api } from '@branchline/client/api/calls';
import type { KnowledgeDocument, KnowledgeSource } from '@branchline/client/api/types';
import { Trash2 } from 'lucide-react';
import { type ReactNode, useState } from 'react';
import { knowledgePath, navigate } from '../navigation/routes';
import { knowledgeChanged } from '../stores/knowledge';
import { IconButton } from '../ui/Button';
import { ConfirmDialog } from '../ui/ConfirmDialog';
import { notify, notifyError } from '../ui/notifications';
import { counted } from './words';

/** Removes a document; `onGone` is called then. */
export function RemoveDocument({ document: { id, source_id: source, name, passages }, onGone }: { document: KnowledgeDocument; onGone?: () => void }) {
  const remove = async () => {
    await api.deleteKnowledgeDocument(source, id);
    onGone?.();
  };
  return (
    <Remove name={name} title="Remove this document?" remove={remove}>
      “<bdi>{name}</bdi>” is removed with its {counted(passages, 'passage')}. Searches and agents do not find it any more; answers keep what they have
      cited of it. To have it again, add it again.
    </Remove>
  );
}

/** Removes a source with all its documents, and goes to the list of the others. */
export function RemoveSource({ source: { id, name, documents, passages } }: { source: KnowledgeSource }) {
  const remove = async () => {
    await api.deleteKnowledgeSource(id);
    navigate(knowledgePath());
  };
  return (
    <Remove name={name} title="Remove this source?" remove={remove}>
      “<bdi>{name}</bdi>” is removed with its {counted(documents, 'document')} and {counted(passages, 'passage')}. Searches and agents do not find them any
      more; answers keep what they have cited of them. This cannot be undone.
    </Remove>
  );
}

function Remove({ name, title, remove, children }: { name: string; title: string; remove: () => Promise<void>; children: ReactNode }) {
  const [asking, setAsking] = useState(false);
  const [busy, setBusy] = useState(false);
  const confirmed = async () => {
    setBusy(true);
    try {
      await remove();
      notify(`“${name}” removed`);
      // The button goes with what was removed.
      document.getElementById('main')?.focus();
    } catch (error) {
      notifyError(error);
    }
    setBusy(false);
    // First the page of what is gone has to go, so that it is not read again.
    setTimeout(() => void knowledgeChanged());
  };
  return (
    <>
      <IconButton label={`Remove ${name}`} icon={Trash2} disabled={busy} onClick={() => setAsking(true)} />
      {asking && (
        <ConfirmDialog title={title} action="Remove" onClose={() => setAsking(false)} onConfirm={() => void confirmed()}>
          {children}
        </ConfirmDialog>
      )}
    </>
  );
}
