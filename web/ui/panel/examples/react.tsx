/** The panel in an application made with React. */
import { AgentChatPanel } from '@branchline/panel/react';
import { useState } from 'react';
import { createRoot } from 'react-dom/client';

function App() {
  const [count, setCount] = useState(5);
  const [status, setStatus] = useState('offline');
  return (
    <>
      <h1>React</h1>
      <p>The chat is {status}.</p>
      <label>
        Passages for each answer: <input type="number" min="1" max="20" value={count} onChange={(event) => setCount(Number(event.target.value))} />
      </label>
      <AgentChatPanel mode="docked" heading="Ask our documents" open context={{ match_count: count }} onStatusChange={(detail) => setStatus(detail.status)} />
    </>
  );
}

createRoot(document.getElementById('app')!).render(<App />);
