import { api } from '@branchline/client/api/calls';
import type { Message } from '@branchline/client/api/types';
import { sourcesOf, withLinks } from '@branchline/client/thread/sources';
import { passages } from '@branchline/client/thread/thoughts';
import { useQuery } from '@tanstack/react-query';
import { Brain, ImageOff, SquareTerminal } from 'lucide-react';
import { type ComponentType, memo } from 'react';
import { CodeBlock } from '../markdown/CodeBlock';
import { Markdown } from '../markdown/Markdown';
import { SAFE_IMAGE } from '@branchline/client/markdown/safeImage';
import { useThread } from '../stores/thread';
import { Collapsible } from '../ui/Collapsible';
import { CopyButton } from '../ui/CopyButton';
import { Checklist } from './Checklist';
import { Cited } from './Cited';
import { checklistOf } from './entries';
import { Files } from './Files';
import { FunctionCall } from './FunctionCall';
import { plainOutput } from './output';
import { type Part, textField } from './parts';
import { TaskPlan } from './TaskPlan';
import { planOf } from './tasks';
import { Terminal } from './Terminal';

export const MessageView = memo(
  function MessageView({ part }: { part: Part }) {
    const { message } = part;
    const isStreaming = useThread((state) => state.data.streaming.has(message.id));
    // What an earlier version has put into the log has none.
    const files = message.files ?? [];
    if (!files.length) return <Body part={part} isStreaming={isStreaming} />;
    return (
      <div className={message.role === 'user' ? 'user-files' : undefined}>
        {message.content.trim() !== '' && <Body part={part} isStreaming={isStreaming} />}
        <Files files={files} />
      </div>
    );
  },
  (before, after) => before.part.message === after.part.message && before.part.result === after.part.result,
);

function Body({ part, isStreaming }: { part: Part; isStreaming: boolean }) {
  const { message } = part;
  if (message.channel === 'reasoning') return <Reasoning text={message.content} growing={isStreaming} />;
  // A server that is newer than this page may have a type that it does not know.
  const Renderer = RENDERERS[message.type] ?? Text;
  return <Renderer part={part} message={message} isStreaming={isStreaming} />;
}

interface Shown {
  part: Part;
  message: Message;
  isStreaming: boolean;
}

/** What shows a message, by its type. */
const RENDERERS: Record<Message['type'], ComponentType<Shown>> = {
  text: Text,
  code: Code,
  console: Console,
  image: ImageMessage,
  function: FunctionCall,
  confirmation: AnsweredQuestion,
};

function Text({ message, isStreaming }: Shown) {
  if (message.role === 'user') return <div className="user-text" dir="auto">{message.content}</div>;
  const checklist = checklistOf(message);
  if (checklist) return <Checklist message={message} entries={checklist} />;
  const plan = planOf(message);
  if (plan) return <TaskPlan plan={plan} />;
  const parts = passages(message.content, isStreaming);
  const sources = sourcesOf(message);
  const answer = (
    <div className={`answer${isStreaming ? ' streaming' : ''}`}>
      {message.role === 'system' && <p>System</p>}
      {parts.map(({ kind, text }, index) => {
        const growing = isStreaming && index === parts.length - 1;
        return kind === 'thought' ? <Reasoning key={index} text={text} growing={growing} /> : <Markdown key={index} text={withLinks(text, sources)} growing={growing} />;
      })}
    </div>
  );
  return sources.length ? <Cited sources={sources} isStreaming={isStreaming}>{answer}</Cited> : answer;
}

function Code({ message, isStreaming }: Shown) {
  return <CodeBlock code={message.content} language={textField(message, 'language')} title={textField(message, 'title')} growing={isStreaming} />;
}

function Reasoning({ text, growing }: { text: string; growing: boolean }) {
  return (
    <Collapsible icon={Brain} title={growing ? 'Thinking …' : 'Reasoning'}>
      <Markdown text={text} growing={growing} />
    </Collapsible>
  );
}

function Console({ message, isStreaming }: Shown) {
  const lines = message.content.split('\n').length;
  return (
    <Collapsible
      icon={SquareTerminal}
      title={textField(message, 'command') ?? 'Console'}
      aside={isStreaming ? 'running …' : `${lines} ${lines === 1 ? 'line' : 'lines'}`}
      open={isStreaming || lines <= 12}
      tools={<CopyButton text={() => plainOutput(message.content)} label="Copy output" />}
    >
      <Terminal output={message.content} />
    </Collapsible>
  );
}

function ImageMessage({ message }: Shown) {
  const source = textField(message, 'url');
  const alt = message.content.trim();
  if (!source || !SAFE_IMAGE.test(source)) {
    return (
      <p className="no-image"><ImageOff aria-hidden="true" /> <span dir="auto">{alt || 'Image cannot be displayed'}</span></p>
    );
  }
  return (
    <figure className="image">
      <img src={source} alt={alt || 'Image'} />
      {alt && <figcaption aria-hidden="true" dir="auto">{alt}</figcaption>}
    </figure>
  );
}

/** A question that a run asked; while it waits for the answer, the run's status shows it. */
function AnsweredQuestion({ message }: Shown) {
  const isSettled = ({ data }: Message) => data['answer'] !== undefined || data['withdrawn'] !== undefined;
  const isWaiting = useThread((state) => state.data.runs.get(message.run_id ?? '')?.status === 'waiting');
  // No event reports the answer, which may have been given in another tab.
  const { data: read } = useQuery({
    queryKey: ['answer', message.id],
    queryFn: async () => (await api.state(message.state_id)).messages?.find(({ id }) => id === message.id) ?? null,
    enabled: !isSettled(message) && !isWaiting,
    staleTime: Infinity,
  });
  if (isWaiting && !isSettled(message)) return null;
  const { answer, withdrawn } = (isSettled(message) ? message : read ?? message).data;
  return (
    <div className="answered">
      <p dir="auto">{message.content}</p>
      {answer !== undefined && answer !== null && <p>You answered: <strong dir="auto">{typeof answer === 'string' ? answer : JSON.stringify(answer)}</strong></p>}
      {withdrawn === true && <p>No answer is needed any more: the sub-run that asked has ended.</p>}
    </div>
  );
}
