import type { Message } from '@branchline/client/api/types';
import { Brain, ImageOff, SquareTerminal } from 'lucide-react';
import { memo } from 'react';
import { CodeBlock } from '../markdown/CodeBlock';
import { Markdown } from '../markdown/Markdown';
import { SAFE_PICTURE } from '../markdown/picture';
import { useThread } from '../stores/thread';
import { CopyButton } from '../ui/CopyButton';
import { Fold } from '../ui/Fold';
import { FunctionCall } from './FunctionCall';
import { type Part, word } from './parts';

export const MessageView = memo(
  function MessageView({ part }: { part: Part }) {
    const { message } = part;
    const writing = useThread((state) => state.data.streaming.has(message.id));
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

function Text({ message, writing }: { message: Message; writing: boolean }) {
  if (message.role === 'user') return <div className="words">{message.content}</div>;
  return (
    <div className={`answer${writing ? ' writing' : ''}`}>
      {message.role === 'system' && <p className="role">System</p>}
      <Markdown text={message.content} />
    </div>
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
