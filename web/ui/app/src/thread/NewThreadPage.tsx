import { GitFork, PanelLeftOpen, Replace, SplitSquareHorizontal } from 'lucide-react';
import { Composer } from '../composer/Composer';
import { setPreferences, usePreferences } from '../stores/preferences';
import { useWorkers } from '../stores/workers';
import { IconButton } from '../ui/Button';
import { Logo } from '../ui/Logo';

const FEATURES = [
  { icon: Replace, title: 'Edit any question', text: 'The original stays. Your edit becomes a new branch.' },
  { icon: GitFork, title: 'Continue from any point', text: 'Every message has its own link. Every fork remembers the branch you chose last.' },
  { icon: SplitSquareHorizontal, title: 'Ask several workers at once', text: 'Compare the answers side by side, with the differences highlighted.' },
];

/** The page on which a thread is begun. */
export function NewThreadPage() {
  const sidebar = usePreferences((state) => state.sidebar);
  const workers = useWorkers();
  const none = workers.data && !workers.data.some((worker) => worker.available);
  return (
    <section className="welcome" aria-labelledby="welcome-title">
      {!sidebar && (
        <div className="welcome-corner">
          <IconButton label="Show sidebar" icon={PanelLeftOpen} onClick={() => setPreferences({ sidebar: true })} />
        </div>
      )}
      <div className="welcome-body">
        <Logo size={44} />
        <h1 id="welcome-title">What would you like to explore?</h1>
        {none && <p className="alert" role="alert">No worker is available right now. Open the worker menu below to see why.</p>}
        <Composer threadId={null} parent={null} />
        <ul className="features">
          {FEATURES.map(({ icon: Icon, title, text }) => (
            <li key={title}>
              <Icon aria-hidden="true" />
              <h2>{title}</h2>
              <p>{text}</p>
            </li>
          ))}
        </ul>
      </div>
    </section>
  );
}
