import * as Tooltip from '@radix-ui/react-tooltip';
import { QueryClientProvider } from '@tanstack/react-query';
import { Redirect, Route, Switch } from 'wouter';
import { Entrance } from './account/Entrance';
import { Settings } from './account/Settings';
import { ThreadPage } from './chat/ThreadPage';
import { Welcome } from './chat/Welcome';
import { Overlays } from './palette/Overlays';
import { queries, useSession } from './session';
import { Shell } from './Shell';
import { Notes } from './ui/notes';

export function App() {
  return (
    <QueryClientProvider client={queries}>
      <Tooltip.Provider delayDuration={400} skipDelayDuration={200}>
        <Gate />
        <Notes />
      </Tooltip.Provider>
    </QueryClientProvider>
  );
}

function Gate() {
  const user = useSession((state) => state.user);
  if (user === undefined) return <div className="splash" role="status" aria-label="Loading" />;
  if (user === null) {
    return (
      <Switch>
        <Route path="/register"><Entrance isNew /></Route>
        <Route><Entrance /></Route>
      </Switch>
    );
  }
  return (
    <>
      <Shell>
        <Switch>
          <Route path="/"><Welcome /></Route>
          <Route path="/settings"><Settings /></Route>
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
