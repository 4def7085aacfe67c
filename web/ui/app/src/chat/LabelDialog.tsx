import { updateState } from '@branchline/client/thread/actions';
import type { Node } from '@branchline/client/thread/state';
import { type FormEvent, useState } from 'react';
import { Button } from '../ui/Button';
import { Dialog } from '../ui/Dialog';
import { Field } from '../ui/Field';
import { notifyError } from '../ui/notifications';

export function LabelDialog({ node, onClose }: { node: Node; onClose: () => void }) {
  const [name, setName] = useState(node.label ?? '');
  const submit = (event: FormEvent) => {
    event.preventDefault();
    updateState(node.id, { label: name.trim() || null }).then(onClose, notifyError);
  };
  return (
    <Dialog title="Name this point" onClose={onClose}>
      <form onSubmit={submit} className="stack">
        <Field label="Name" value={name} maxLength={200} autoFocus onChange={(event) => setName(event.target.value)} hint="Shown in the outline and on the map. Leave it empty to take the name away." />
        <div className="row-end">
          <Button onClick={onClose}>Cancel</Button>
          <Button look="main" type="submit">Save</Button>
        </div>
      </form>
    </Dialog>
  );
}
