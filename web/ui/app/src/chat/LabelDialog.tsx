import { updateState } from '@branchline/client/thread/actions';
import type { Node } from '@branchline/client/thread/state';
import { useState } from 'react';
import { Button } from '../ui/Button';
import { Dialog } from '../ui/Dialog';
import { Field } from '../ui/Field';
import { notifyError } from '../ui/notifications';

export function LabelDialog({ node, onClose }: { node: Node; onClose: () => void }) {
  const [label, setLabel] = useState(node.label ?? '');
  const submit = () => {
    updateState(node.id, { label: label.trim() || null }).then(onClose, notifyError);
  };
  return (
    <Dialog title={node.label ? 'Edit label' : 'Add label'} onClose={onClose} onSubmit={submit}>
      <div className="stack">
        <Field label="Label" dir="auto" value={label} maxLength={200} autoFocus onChange={(event) => setLabel(event.target.value)} hint="Shown in the outline and on the map. Leave empty to remove the label." />
        <div className="row-end">
          <Button onClick={onClose}>Cancel</Button>
          <Button look="main" type="submit">Save</Button>
        </div>
      </div>
    </Dialog>
  );
}
