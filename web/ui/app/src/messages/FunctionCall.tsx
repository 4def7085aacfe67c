import { firstCharacters } from '@branchline/client/thread/titles';
import { Braces, TriangleAlert } from 'lucide-react';
import { CodeBlock } from '../markdown/CodeBlock';
import { Collapsible } from '../ui/Collapsible';
import { plainOutput } from './output';
import { type Part, textField } from './parts';

/** A function call with its arguments and, once there is one, its result. */
export function FunctionCall({ part: { message, result }, isStreaming }: { part: Part; isStreaming: boolean }) {
  const name = textField(message, 'name') ?? (message.role === 'tool' ? 'Result' : 'Function');
  const args = message.role === 'tool' ? undefined : (message.data['arguments'] ?? message.content);
  const response = message.role === 'tool' ? message : result;
  const outcome = response ? (response.data['result'] ?? response.content) : message.data['result'];
  const failed = (response ?? message).data['is_error'] === true;
  return (
    <Collapsible
      icon={failed ? TriangleAlert : Braces}
      title={<><code>{name}</code>{failed && <span className="failed"> failed</span>}</>}
      aside={isStreaming ? 'calling …' : outcome === undefined ? 'called' : shorten(outcome)}
    >
      {args !== undefined && <Json title="Arguments" value={args} />}
      {outcome !== undefined && <Json title={failed ? 'Error' : 'Result'} value={outcome} />}
    </Collapsible>
  );
}

function shorten(value: unknown): string {
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  return text.length > 60 ? `${firstCharacters(text, 60)} …` : text;
}

function Json({ title, value }: { title: string; value: unknown }) {
  let parsed = value;
  if (typeof value === 'string') {
    try {
      parsed = JSON.parse(value);
    } catch {
      return <CodeBlock title={title} code={plainOutput(value)} />;
    }
  }
  return <CodeBlock title={title} code={JSON.stringify(parsed, null, 2)} language="json" />;
}
