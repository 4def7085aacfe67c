import { PanelLeftOpen } from 'lucide-react';
import { setPreferences, type Theme, usePreferences } from '../stores/preferences';
import { useSession } from '../stores/session';
import { IconButton } from '../ui/Button';
import { Tokens } from './Tokens';

const THEMES: [Theme, string][] = [
  ['system', 'System'],
  ['light', 'Light'],
  ['dark', 'Dark'],
];

export function Settings() {
  const user = useSession((state) => state.user);
  const { theme, sidebar } = usePreferences();
  return (
    <section className="settings" aria-labelledby="settings-title">
      <header>
        {!sidebar && <IconButton label="Show sidebar" icon={PanelLeftOpen} onClick={() => setPreferences({ sidebar: true })} />}
        <h1 id="settings-title">Settings</h1>
      </header>
      <section aria-labelledby="theme-title">
        <h2 id="theme-title">Theme</h2>
        <div className="segments" role="radiogroup" aria-label="Theme">
          {THEMES.map(([value, name]) => (
            <label key={value}>
              <input type="radio" name="theme" value={value} checked={theme === value} onChange={() => setPreferences({ theme: value })} />
              <span>{name}</span>
            </label>
          ))}
        </div>
      </section>
      <section aria-labelledby="account-title">
        <h2 id="account-title">Account</h2>
        <dl className="facts">
          {user?.name && <div><dt>Name</dt><dd>{user.name}</dd></div>}
          <div><dt>Email</dt><dd>{user?.email}</dd></div>
        </dl>
      </section>
      <Tokens />
    </section>
  );
}
