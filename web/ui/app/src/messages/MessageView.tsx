import { api } from '@branchline/client/api/calls';
import type { Message } from '@branchline/client/api/types';
import { passages } from '@branchline/client/thread/thoughts';
import { useQuery } from '@tanstack/react-query';
import { Brain, ImageOff, SquareTerminal } from 'lucide-react';
import { memo } from 'react';
import { CodeBlock } from '../markdown/CodeBlock';
import { Markdown } from '../markdown/Markdown';
import { SAFE_IMAGE } from '../markdown/safeImage';
import { useThread } from '../stores/thread';
import { Collapsible } from '../ui/Collapsible';
import { CopyButton } from '../ui/CopyButton';
import { FunctionCall } from './FunctionCall';
import { plainOutput } from './output';
import { type Part, textField } from './parts';
import { Terminal } from './Terminal';

export const MessageView = memo(
  function MessageView({ part }: { part: Part }) {
    const { message } = part;
    const isStreaming = useThread((state) => state.data.streaming.has(message.id));
    if (message.channel === 'reasoning') return <Reasoning text={message.content} growing={isStreaming} />;
    switch (message.type) {
      case 'code':
        return <CodeBlock code={message.content} language={textField(message, 'language')} title={textField(message, 'title')} growing={isStreaming} />;
      case 'console':
        return <Console message={message} isStreaming={isStreaming} />;
      case 'image':
        return <ImageMessage message={message} />;
      case 'function':
        return <FunctionCall part={part} isStreaming={isStreaming} />;
      case 'confirmation':
        return <AnsweredQuestion message={message} />;
      case 'text':
        return <Text message={message} isStreaming={isStreaming} />;
    }
  },
  (before, after) => before.part.message === after.part.message && before.part.result === after.part.result,
);

function Text({ message, isStreaming }: { message: Message; isStreaming: boolean }) {
  if (message.role === 'user') return <div className="user-text" dir="auto">{message.content}</div>;
  const parts = passages(message.content, isStreaming);
  return (
    <div className={`answer${isStreaming ? ' streaming' : ''}`}>
      {message.role === 'system' && <p>System</p>}
      {parts.map(({ kind, text }, index) => {
        const growing = isStreaming && index === parts.length - 1;
        return kind === 'thought' ? <Reasoning key={index} text={text} growing={growing} /> : <Markdown key={index} text={text} growing={growing} />;
      })}
    </div>
  );
}

function Reasoning({ text, growing }: { text: string; growing: boolean }) {
  return (
    <Collapsible icon={Brain} title={growing ? 'Thinking …' : 'Reasoning'}>
      <Markdown text={text} growing={growing} />
    </Collapsible>
  );
}

function Console({ message, isStreaming }: { message: Message; isStreaming: boolean }) {
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

function ImageMessage({ message }: { message: Message }) {
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
function AnsweredQuestion({ message }: { message: Message }) {
  const known = message.data['answer'] ?? undefined;
  const isWaiting = useThread((state) => state.data.runs.get(message.run_id ?? '')?.status === 'waiting');
  // No event reports the answer, which may have been given in another tab.
  const { data: read } = useQuery({
    queryKey: ['answer', message.id],
    queryFn: async () => (await api.state(message.state_id)).messages?.find(({ id }) => id === message.id)?.data['answer'] ?? null,
    enabled: known === undefined && !isWaiting,
    staleTime: Infinity,
  });
  const answer = known ?? read;
  if (isWaiting && known === undefined) return null;
  return (
    <div className="answered">
      <p dir="auto">{message.content}</p>
      {answer !== undefined && answer !== null && <p>You answered: <strong dir="auto">{typeof answer === 'string' ? answer : JSON.stringify(answer)}</strong></p>}
    </div>
  );
}
