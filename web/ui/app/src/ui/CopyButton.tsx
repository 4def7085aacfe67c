import { Check, Copy } from 'lucide-react';
import { useEffect, useState } from 'react';
import { IconButton } from './Button';
import { writeClipboard } from './clipboard';
import { announce, notifyError } from './notifications';

export async function copy(text: string): Promise<boolean> {
  try {
    await writeClipboard(text);
    announce('Copied');
    return true;
  } catch (error) {
    notifyError(error);
    return false;
  }
}

export function CopyButton({ text, label = 'Copy' }: { text: string | (() => string); label?: string }) {
  const [done, setDone] = useState(false);
  useEffect(() => {
    if (!done) return undefined;
    const timer = setTimeout(() => setDone(false), 1500);
    return () => clearTimeout(timer);
  }, [done]);
  return (
    <IconButton
      label={done ? 'Copied' : label}
      icon={done ? Check : Copy}
      onClick={async () => setDone(await copy(typeof text === 'string' ? text : text()))}
    />
  );
}
