import { errorMessage } from '@branchline/client/api/request';
import { Component, type ErrorInfo, type ReactNode, useRef, useState } from 'react';
import { Button } from './Button';
import { writeClipboard } from './clipboard';

interface Crash {
  error: unknown;
  /** The components in which it happened; null before it is known. */
  components: string | null;
}

interface Props {
  /** The landmark that shows the error. */
  as: 'main' | 'section';
  /** The address of the page. At another one the children are tried again. */
  location?: string;
  children: ReactNode;
}

/** Shows what went wrong in the place of components that cannot be rendered. */
export class ErrorBoundary extends Component<Props, { crash: Crash | null }> {
  override state: { crash: Crash | null } = { crash: null };

  static getDerivedStateFromError(error: unknown): { crash: Crash } {
    return { crash: { error, components: null } };
  }

  override componentDidCatch(error: unknown, { componentStack }: ErrorInfo): void {
    this.setState({ crash: { error, components: componentStack ?? null } });
  }

  override componentDidUpdate(before: Props): void {
    if (this.state.crash && before.location !== this.props.location) this.setState({ crash: null });
  }

  override render(): ReactNode {
    return this.state.crash ? <CrashPage as={this.props.as} crash={this.state.crash} /> : this.props.children;
  }
}

function CrashPage({ as: Landmark, crash }: { as: Props['as']; crash: Crash }) {
  const area = useRef<HTMLTextAreaElement>(null);
  const [copied, setCopied] = useState(false);
  const copy = () =>
    writeClipboard(details(crash)).then(
      () => setCopied(true),
      () => area.current?.select(),
    );
  return (
    <Landmark className="message-page crash" aria-label="Error">
      <div role="alert">
        <h1>This page has stopped working</h1>
        <p>{errorMessage(crash.error)}</p>
      </div>
      <p>Nothing that was sent is lost. A message that you were writing or editing is kept. Reload the page to go on.</p>
      <div className="row-end">
        <Button look="main" onClick={() => location.reload()}>Reload</Button>
        <Button onClick={() => void copy()}>{copied ? 'Copied' : 'Copy details'}</Button>
      </div>
      <textarea ref={area} className="input crash-details" aria-label="Details of the error" readOnly rows={6} translate="no" value={details(crash)} />
    </Landmark>
  );
}

/** What a developer has to know. */
function details({ error, components }: Crash): string {
  const stack = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return [stack, components?.trim(), location.pathname, navigator.userAgent].filter(Boolean).join('\n\n');
}
