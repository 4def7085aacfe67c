import type { Message } from '@branchline/client/api/types';
import { Braces, Brain, ChevronRight, ImageOff, SquareTerminal } from 'lucide-react';
import { memo, type ReactNode } from 'react';
import { CodeBlock } from '../markdown/CodeBlock';
import { Markdown } from '../markdown/Markdown';
import { SAFE_PICTURE } from '../markdown/picture';
import { useThread } from '../stores/thread';
import { CopyButton } from '../ui/CopyButton';

/** A message, and with a function call what came of it. */
export interface Part {
  message: Message;
  result?: Message;
}

/** Put the results of functions to their calls. */
export function together(said: readonly Message[]): Part[] {
  const parts: Part[] = [];
  const calls = new Map<unknown, Part>();
  for (const message of said) {
    const id = message.type === 'function' ? message.data['call_id'] : undefined;
    const call = message.role === 'tool' ? calls.get(id) : undefined;
    if (call && !call.result) {
      call.result = message;
      continue;
    }
    const part = { message };
    parts.push(part);
    if (id !== undefined) calls.set(id, part);
  }
  return parts;
}

export const MessageView = memo(
  function MessageView({ part }: { part: Part }) {
    const { message } = part;
    const writing = useThread((state) => state.data.open.has(message.id));
    if (message.channel === 'reasoning') return <Reasoning message={message} writing={writing} />;
    switch (message.type) {
      case 'code':
        return <CodeBlock code={message.content} language={word(message, 'language')} title={word(message, 'title')} />;
      case 'console':
        return <Console message={message} writing={writing} />;
      case 'image':
        return <Picture message={message} />;
      case 'function':
        return <FunctionCall part={part} writing={writing} />;
      case 'confirmation':
        return <Answered message={message} />;
      case 'text':
        return <Text message={message} writing={writing} />;
    }
  },
  (before, after) => before.part.message === after.part.message && before.part.result === after.part.result,
);

function word(message: Message, name: string): string | undefined {
  const value = message.data[name];
  return typeof value === 'string' && value ? value : undefined;
}

function Text({ message, writing }: { message: Message; writing: boolean }) {
  if (message.role === 'user') return <div className="words">{message.content}</div>;
  return (
    <div className={`answer${writing ? ' writing' : ''}`}>
      {message.role === 'system' && <p className="role">System</p>}
      <Markdown text={message.content} />
    </div>
  );
}

/** Something that is folded until one wants to see it. */
export function Fold({ icon: Icon, title, aside, open = false, quiet = false, working = false, onToggle, children, tools }: {
  icon: typeof Brain;
  title: ReactNode;
  aside?: ReactNode;
  open?: boolean;
  quiet?: boolean;
  /** Whether it is still growing. */
  working?: boolean;
  onToggle?: (open: boolean) => void;
  children: ReactNode;
  tools?: ReactNode;
}) {
  return (
    <details className={quiet ? 'fold fold-quiet' : 'fold'} open={open} onToggle={(event) => onToggle?.(event.currentTarget.open)}>
      <summary>
        {working ? <span className="dots" aria-hidden="true"><i /><i /><i /></span> : <Icon aria-hidden="true" />}
        <span className="fold-title">{title}</span>
        {aside && <span className="fold-aside">{aside}</span>}
        <ChevronRight className="chevron" aria-hidden="true" />
      </summary>
      <div className="fold-body">
        {children}
        {tools && <div className="fold-tools">{tools}</div>}
      </div>
    </details>
  );
}

function Reasoning({ message, writing }: { message: Message; writing: boolean }) {
  return (
    <Fold icon={Brain} title={writing ? 'Thinking …' : 'What it thought'}>
      <Markdown text={message.content} />
    </Fold>
  );
}

function Console({ message, writing }: { message: Message; writing: boolean }) {
  const lines = message.content.split('\n').length;
  return (
    <Fold
      icon={SquareTerminal}
      title={word(message, 'command') ?? 'Console'}
      aside={writing ? 'running' : `${lines} ${lines === 1 ? 'line' : 'lines'}`}
      open={writing || lines <= 12}
      tools={<CopyButton text={message.content} label="Copy the output" />}
    >
      <pre className="console" tabIndex={0}>{message.content}</pre>
    </Fold>
  );
}

function Picture({ message }: { message: Message }) {
  const source = word(message, 'url');
  const alt = message.content.trim();
  if (!source || !SAFE_PICTURE.test(source)) {
    return (
      <p className="no-picture"><ImageOff aria-hidden="true" /> {alt || 'A picture that cannot be shown here'}</p>
    );
  }
  return (
    <figure className="picture">
      <img src={source} alt={alt || 'Picture'} />
      {alt && <figcaption aria-hidden="true">{alt}</figcaption>}
    </figure>
  );
}

function FunctionCall({ part: { message, result }, writing }: { part: Part; writing: boolean }) {
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

/** A question that a run asked, once it was answered. */
function Answered({ message }: { message: Message }) {
  const answer = message.data['answer'];
  const asks = useThread((state) => state.data.runs.get(message.run_id ?? '')?.status === 'waiting');
  if (asks && (answer === undefined || answer === null)) return null;
  return (
    <div className="answered">
      <p>{message.content}</p>
      {answer !== undefined && answer !== null && <p className="answer-given">You answered: <strong>{typeof answer === 'string' ? answer : JSON.stringify(answer)}</strong></p>}
    </div>
  );
}
