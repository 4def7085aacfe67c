/** What is copied of an answer: what it says, without the arguments of tools, captions and escape sequences. */
import type { Message } from '@branchline/client/api/types';
import { placeOf, sourcesOf } from '@branchline/client/thread/sources';
import { withoutThoughts } from '@branchline/client/thread/thoughts';
import { plainText } from '../markdown/plainText';
import { plainOutput } from './output';
import { textField } from './parts';

/** An answer as Markdown. */
export function asMarkdown(messages: readonly Message[]): string {
  return join(messages, (text) => text.trim(), (code, language) => {
    // A fence is longer than every row of backticks in the code.
    const longest = Math.max(2, ...(code.match(/`+/g) ?? []).map((row) => row.length));
    const fence = '`'.repeat(longest + 1);
    return `${fence}${language}\n${code.replace(/\n$/, '')}\n${fence}`;
  });
}

/** An answer as plain text. */
export function asPlainText(messages: readonly Message[]): string {
  return join(messages, plainText, (code) => code.replace(/\n$/, ''));
}

/** The sources of an answer as a list, for whoever reads its numbers elsewhere. */
function sources(message: Message): string {
  const listed = sourcesOf(message).map((source) => `- [${source.number}] ${placeOf(source)}`);
  return listed.length ? `\n\n${listed.join('\n')}` : '';
}

function join(messages: readonly Message[], text: (content: string) => string, code: (content: string, language: string) => string): string {
  const part = (message: Message): string => {
    if (message.channel !== 'answer' || message.role === 'tool' || !message.content) return '';
    if (message.type === 'text') return message.role === 'user' ? message.content : text(withoutThoughts(message.content) + sources(message));
    if (message.type === 'code') return code(message.content, textField(message, 'language') ?? '');
    if (message.type === 'console') return code(plainOutput(message.content), 'console');
    return '';
  };
  return messages.map(part).filter(Boolean).join('\n\n');
}
