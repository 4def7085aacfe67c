import { BASE_PATH } from '@branchline/client/api/basePath';
import * as Tooltip from '@radix-ui/react-tooltip';
import { QueryClientProvider } from '@tanstack/react-query';
import { lazy, Suspense } from 'react';
import { Redirect, Route, Router, Switch } from 'wouter';
import { Settings } from './account/Settings';
import { SignIn } from './account/SignIn';
import { Overlays } from './palette/Overlays';
import { Shell } from './Shell';
import { queryClient } from './stores/queryClient';
import { useSession } from './stores/session';
import { NewThreadPage } from './thread/NewThreadPage';
import { ThreadPage } from './thread/ThreadPage';
import { TrashPage } from './trash/TrashPage';
import { Notifications } from './ui/notifications';
import { WaitingNotice } from './ui/WaitingNotice';

const KnowledgePage = lazy(() => import('./knowledge/KnowledgePage'));

export function App() {
  return (
    <QueryClientProvider client={queryClient}>
      <Tooltip.Provider delayDuration={400} skipDelayDuration={200}>
        <Router base={BASE_PATH}>
          <Gate />
        </Router>
        <Notifications />
        <WaitingNotice />
      </Tooltip.Provider>
    </QueryClientProvider>
  );
}

function Gate() {
  const user = useSession((state) => state.user);
  if (user === undefined) return <div className="loading-page" role="status" aria-label="Loading" />;
  if (user === null) {
    return (
      <Switch>
        <Route path="/register"><SignIn isNew /></Route>
        <Route><SignIn /></Route>
      </Switch>
    );
  }
  return (
    <>
      <Shell>
        <Switch>
          <Route path="/"><NewThreadPage /></Route>
          <Route path="/settings"><Settings /></Route>
          <Route path="/trash"><TrashPage /></Route>
          <Route path="/knowledge/:source?/:document?">
            {({ source, document }) => (
              <Suspense fallback={<p className="loading" role="status">Loading …</p>}>
                <KnowledgePage source={source} document={document} />
              </Suspense>
            )}
          </Route>
          <Route path="/t/:thread/*?">
            {({ thread }) => <ThreadPage key={thread} threadId={thread} />}
          </Route>
          <Route><Redirect to="/" /></Route>
        </Switch>
      </Shell>
      <Overlays />
    </>
  );
}
