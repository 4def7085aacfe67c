import type { Token, Tokens } from 'marked';
import { memo, useLayoutEffect, useMemo, useRef } from 'react';
import { CodeBlock } from './CodeBlock';
import { useRendererVersion } from './highlight';
import { blocks, toHtml } from './render';
import { typeset } from './typeset';

/** A text in Markdown. While it grows only its last block is rendered again. */
export function Markdown({ text }: { text: string }) {
  const tokens = useMemo(() => blocks(text), [text]);
  const loaded = useRendererVersion((state) => state.count);
  return (
    <div className="prose">
      {tokens.map((token, index) => <Block key={index} token={token} loaded={loaded} />)}
    </div>
  );
}

const Block = memo(
  function Block({ token }: { token: Token; loaded: number }) {
    if (token.type === 'code') {
      const { text, lang } = token as Tokens.Code;
      return <CodeBlock code={text} language={lang} />;
    }
    return <Html token={token} loaded={loaded} />;
  },
  (before, after) => before.token.raw === after.token.raw && before.token.type === after.token.type && before.loaded === after.loaded,
);

function Html({ token, loaded }: { token: Token; loaded: number }) {
  const element = useRef<HTMLDivElement>(null);
  const content = useMemo(() => ({ __html: toHtml(token) }), [token, loaded]);
  useLayoutEffect(() => {
    if (element.current) typeset(element.current);
  }, [content]);
  return <div className="block" dir="auto" ref={element} dangerouslySetInnerHTML={content} />;
}
