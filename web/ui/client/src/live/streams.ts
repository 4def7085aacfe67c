/** An EventSource that comes back, also where the browser would give up. */

export type Link = 'connecting' | 'open' | 'lost';

export interface StreamOptions {
  /** The address; asked for at each connection that the browser does not make by itself. */
  url: (lastId: string | null) => string;
  types: readonly string[];
  event: (type: string, data: string, id: string) => void;
  link: (link: Link) => void;
  /** Types after which the stream is over. */
  last?: readonly string[];
}

const PAUSES = [250, 500, 1000, 2000, 4000, 8000];

/** Open a stream; the answer closes it. */
export function openStream(options: StreamOptions): () => void {
  let source: EventSource | null = null;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let failures = 0;
  let lastId: string | null = null;
  let closed = false;

  const close = () => {
    closed = true;
    clearTimeout(timer);
    source?.close();
    removeEventListener('online', hurry);
  };

  const connect = () => {
    clearTimeout(timer);
    source?.close();
    options.link('connecting');
    source = new EventSource(options.url(lastId));
    source.onopen = () => {
      failures = 0;
      options.link('open');
    };
    source.onerror = () => {
      if (closed) return;
      options.link('lost');
      if (source?.readyState !== EventSource.CLOSED) return;
      timer = setTimeout(connect, PAUSES[Math.min(failures, PAUSES.length - 1)]);
      failures += 1;
    };
    for (const type of options.types) {
      source.addEventListener(type, (event) => {
        const told = event as MessageEvent<string>;
        if (told.lastEventId) lastId = told.lastEventId;
        if (options.last?.includes(type)) close();
        options.event(type, told.data, told.lastEventId);
      });
    }
  };

  const hurry = () => {
    if (source?.readyState !== EventSource.OPEN) connect();
  };

  addEventListener('online', hurry);
  connect();
  return close;
}
