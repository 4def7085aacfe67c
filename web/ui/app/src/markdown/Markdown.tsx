import type { Token, Tokens } from 'marked';
import { memo, useLayoutEffect, useMemo, useRef } from 'react';
import { CodeBlock } from './CodeBlock';
import { useRendererVersion } from './highlight';
import { blocks, toHtml } from './render';
import { typeset } from './typeset';
import { useRange } from './useRange';

/** A text in Markdown. While it is `growing` only its last block is rendered again. */
export function Markdown({ text, growing = false }: { text: string; growing?: boolean }) {
  const tokens = useMemo(() => blocks(text, growing), [text, growing]);
  const [first, end] = useRange(tokens.length, growing);
  const loaded = useRendererVersion((state) => state.count);
  return (
    <div className="prose">
      {tokens.slice(first, end).map((token, position) => {
        const index = first + position;
        return <Block key={index} token={token} loaded={loaded} growing={growing && index === tokens.length - 1} />;
      })}
    </div>
  );
}

const Block = memo(
  function Block({ token, loaded, growing }: { token: Token; loaded: number; growing: boolean }) {
    if (token.type === 'code') {
      const { text, lang } = token as Tokens.Code;
      return <CodeBlock code={text} language={lang} growing={growing} />;
    }
    return <Html token={token} loaded={loaded} />;
  },
  (before, after) => before.token.raw === after.token.raw && before.token.type === after.token.type && before.loaded === after.loaded && before.growing === after.growing,
);

function Html({ token, loaded }: { token: Token; loaded: number }) {
  const element = useRef<HTMLDivElement>(null);
  const content = useMemo(() => ({ __html: toHtml(token) }), [token, loaded]);
  useLayoutEffect(() => {
    if (element.current) typeset(element.current);
  }, [content]);
  return <div className="block" dir="auto" ref={element} dangerouslySetInnerHTML={content} />;
}
