import DOMPurify from 'dompurify';
import { useMemo } from 'react';
import { CopyButton } from '../ui/CopyButton';
import { highlight, useRendererVersion } from './highlight';

/** A block of code. While it is `growing` it is not highlighted, which would be done again for each piece of it. */
export function CodeBlock({ code, language, title, growing = false }: {
  code: string;
  language?: string | undefined;
  title?: string | undefined;
  growing?: boolean;
}) {
  const loaded = useRendererVersion((state) => state.count);
  const html = useMemo(() => (growing ? null : DOMPurify.sanitize(highlight(code, language))), [code, language, growing, loaded]);
  return (
    <figure className="code">
      <figcaption>
        <span dir="auto">{title ?? language?.split(/\s/)[0] ?? 'text'}</span>
        <CopyButton text={code} label="Copy code" />
      </figcaption>
      <pre dir="ltr" tabIndex={0}>
        {html === null ? <code key="plain" className="hljs">{code}</code> : <code key="highlighted" className="hljs" dangerouslySetInnerHTML={{ __html: html }} />}
      </pre>
    </figure>
  );
}
