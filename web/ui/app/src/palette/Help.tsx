import { Dialog } from '../ui/Dialog';
import { MODIFIER, SHIFT } from '../ui/keys';

const KEYS: [string, [string, string][]][] = [
  ['Everywhere', [[`${MODIFIER}K`, 'Commands and threads'], [`${MODIFIER}/`, 'Keyboard shortcuts'], [`${MODIFIER}${SHIFT}O`, 'New thread'], [`${MODIFIER}${SHIFT}S`, 'Show or hide sidebar'], [`${MODIFIER}${SHIFT}L`, 'Show or hide outline'], ['A–Z', 'Just type: it goes to the message field']]],
  ['Writing', [['Enter', 'Send'], ['Shift Enter', 'New line'], [`${MODIFIER}Enter`, 'Save and run an edit'], ['Esc', 'Cancel an edit']]],
  ['In the list of threads', [['→', 'Go to the actions of a thread'], ['←', 'Back to the thread']]],
  ['In a thread', [['Alt ↑', 'Previous fork'], ['Alt ↓', 'Next fork']]],
  ['In the outline', [['↑ ↓', 'Move up and down'], ['←', 'Collapse, or go to the parent'], ['→', 'Expand, or go to the first child'], ['Home End', 'First and last'], ['A–Z', 'Go to a title by its first letters'], ['Enter', 'Show in the chat']]],
];

export function Help({ onClose }: { onClose: () => void }) {
  return (
    <Dialog title="Keyboard shortcuts" onClose={onClose} wide>
      <p className="lead">
        A thread is a tree. Editing a question or regenerating an answer starts a branch; ‹ 2/3 › switches between branches, and the outline shows
        all of them. “Show differences” compares answers word by word. Every message has its own link.
      </p>
      <div className="help">
        {KEYS.map(([name, keys]) => (
          <section key={name}>
            <h3>{name}</h3>
            <dl>
              {keys.map(([key, text]) => (
                <div key={key}><dt><kbd>{key}</kbd></dt><dd>{text}</dd></div>
              ))}
            </dl>
          </section>
        ))}
      </div>
    </Dialog>
  );
}
