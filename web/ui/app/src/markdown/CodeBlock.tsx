import DOMPurify from 'dompurify';
import { useMemo } from 'react';
import { CopyButton } from '../ui/CopyButton';
import { highlight, useRendererVersion } from './highlight';

export function CodeBlock({ code, language, title }: { code: string; language?: string | undefined; title?: string | undefined }) {
  const loaded = useRendererVersion((state) => state.count);
  const html = useMemo(() => DOMPurify.sanitize(highlight(code, language)), [code, language, loaded]);
  return (
    <figure className="code">
      <figcaption>
        <span>{title ?? language?.split(/\s/)[0] ?? 'text'}</span>
        <CopyButton text={code} label="Copy code" />
      </figcaption>
      <pre tabIndex={0}>
        <code className="hljs" dangerouslySetInnerHTML={{ __html: html }} />
      </pre>
    </figure>
  );
}
