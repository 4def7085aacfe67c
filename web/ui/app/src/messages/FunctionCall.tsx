import { Braces } from 'lucide-react';
import { CodeBlock } from '../markdown/CodeBlock';
import { Fold } from '../ui/Fold';
import { type Part, word } from './parts';

/** A function call with its arguments and, once there is one, its result. */
export function FunctionCall({ part: { message, result }, writing }: { part: Part; writing: boolean }) {
  const name = word(message, 'name') ?? (message.role === 'tool' ? 'Result' : 'Function');
  const given = message.role === 'tool' ? undefined : (message.data['arguments'] ?? message.content);
  const came = message.role === 'tool' ? message : result;
  const outcome = came ? (came.data['result'] ?? came.content) : message.data['result'];
  return (
    <Fold
      icon={Braces}
      title={<code>{name}</code>}
      aside={writing ? 'being called' : outcome === undefined ? 'called' : brief(outcome)}
    >
      {given !== undefined && <Json title="Arguments" value={given} />}
      {outcome !== undefined && <Json title="Result" value={outcome} />}
    </Fold>
  );
}

function brief(value: unknown): string {
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  return text.length > 60 ? `${text.slice(0, 60)} …` : text;
}

function Json({ title, value }: { title: string; value: unknown }) {
  let shown = value;
  if (typeof value === 'string') {
    try {
      shown = JSON.parse(value);
    } catch {
      return <CodeBlock title={title} code={value} />;
    }
  }
  return <CodeBlock title={title} code={JSON.stringify(shown, null, 2)} language="json" />;
}
