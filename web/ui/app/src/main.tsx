import '@fontsource-variable/inter/opsz.css';
import '@fontsource-variable/jetbrains-mono/wght.css';
import './styles.css';
import { onUnauthorized } from '@branchline/client/api/request';
import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { App } from './App';
import { applyTheme, usePreferences } from './stores/preferences';
import { loadSession, signedOut } from './stores/session';
import { ErrorBoundary } from './ui/ErrorBoundary';
import { allowTranslation } from './ui/translatedPage';

allowTranslation();
applyTheme(usePreferences.getState().theme);
usePreferences.subscribe(({ theme }) => applyTheme(theme));
onUnauthorized(signedOut);
void loadSession();

createRoot(document.getElementById('app') as HTMLElement).render(
  <StrictMode>
    <ErrorBoundary as="main">
      <App />
    </ErrorBoundary>
  </StrictMode>,
);
