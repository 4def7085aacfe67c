import { useMemo } from 'react';
import { terminal } from './output';

/** The output of a program as a terminal shows it. */
export function Terminal({ output }: { output: string }) {
  const pieces = useMemo(() => terminal(output), [output]);
  return (
    <pre className="console" dir="ltr" tabIndex={0}>
      {pieces.map(({ text, style }, index) => (style ? <span key={index} className={style}>{text}</span> : text))}
    </pre>
  );
}
