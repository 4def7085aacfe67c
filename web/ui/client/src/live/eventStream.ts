/** An EventSource that connects again, also after failures at which the browser would give up. */

export type ConnectionState = 'connecting' | 'open' | 'lost';

export interface StreamOptions {
  /** The address, given the id of the last event; called for each connection that we make, not the browser. */
  url: (lastId: string | null) => string;
  types: readonly string[];
  onEvent: (type: string, data: string, id: string) => void;
  onState: (state: ConnectionState) => void;
  /** Types after which the stream is closed. */
  final?: readonly string[];
}

/** Milliseconds to wait after each failure; the last one is repeated. */
const RETRY_DELAYS = [250, 500, 1000, 2000, 4000, 8000];

/** Open a stream; the function that is returned closes it. */
export function openEventStream(options: StreamOptions): () => void {
  let source: EventSource | null = null;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let failures = 0;
  let lastId: string | null = null;
  let closed = false;

  const close = () => {
    closed = true;
    clearTimeout(timer);
    source?.close();
    removeEventListener('online', reconnect);
  };

  const connect = () => {
    clearTimeout(timer);
    source?.close();
    options.onState('connecting');
    source = new EventSource(options.url(lastId));
    source.onopen = () => {
      failures = 0;
      options.onState('open');
    };
    source.onerror = () => {
      if (closed) return;
      options.onState('lost');
      // In any other state the browser connects again by itself.
      if (source?.readyState !== EventSource.CLOSED) return;
      timer = setTimeout(connect, RETRY_DELAYS[Math.min(failures, RETRY_DELAYS.length - 1)]);
      failures += 1;
    };
    for (const type of options.types) {
      source.addEventListener(type, (event) => {
        const { data, lastEventId } = event as MessageEvent<string>;
        if (lastEventId) lastId = lastEventId;
        if (options.final?.includes(type)) close();
        options.onEvent(type, data, lastEventId);
      });
    }
  };

  /** Connect at once when the network is back, without waiting for the retry. */
  const reconnect = () => {
    if (source?.readyState !== EventSource.OPEN) connect();
  };

  addEventListener('online', reconnect);
  connect();
  return close;
}
