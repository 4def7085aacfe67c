import '@fontsource-variable/inter/opsz.css';
import '@fontsource-variable/jetbrains-mono/wght.css';
import './styles/tokens.css';
import './styles/base.css';
import './styles/shell.css';
import './styles/chat.css';
import './styles/prose.css';
import './styles/outline.css';
import './styles/forms.css';
import { onSignedOut } from '@branchline/client/api/client';
import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { App } from './App';
import { applyTheme, usePreferences } from './stores/preferences';
import { loadSession, signedOut } from './stores/session';

applyTheme(usePreferences.getState().theme);
usePreferences.subscribe(({ theme }) => applyTheme(theme));
onSignedOut(signedOut);
void loadSession();

createRoot(document.getElementById('app') as HTMLElement).render(
  <StrictMode>
    <App />
  </StrictMode>,
);
