import { Dialog } from '../ui/Dialog';
import { MODIFIER } from '../ui/keys';

const KEYS: [string, [string, string][]][] = [
  ['Everywhere', [[`${MODIFIER}K`, 'Commands and threads'], ['?', 'This help'], ['N', 'New thread'], ['/', 'To the message field'], ['S', 'List of threads'], ['O', 'Outline']]],
  ['Writing', [['Enter', 'Send'], ['Shift Enter', 'New line'], [`${MODIFIER}Enter`, 'Save and run an edit'], ['Esc', 'Leave an edit']]],
  ['In a thread', [['[', 'Fork before'], [']', 'Next fork']]],
  ['In the outline', [['↑ ↓', 'Up and down'], ['←', 'Fold, or to the parent'], ['→', 'Unfold, or to the first child'], ['Home End', 'First and last'], ['A–Z', 'To what begins with it'], ['Enter', 'Show it in the chat']]],
];

export function Help({ onClose }: { onClose: () => void }) {
  return (
    <Dialog title="Keys and help" onClose={onClose} wide>
      <p className="lead">
        A thread is a tree. Editing a question or asking again makes a branch; ‹ 2/3 › goes from one to the other, and the outline shows them all.
        “What differs” compares answers word by word. Every message has an address of its own.
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
