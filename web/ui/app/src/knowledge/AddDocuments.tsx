import { api } from '@branchline/client/api/calls';
import { errorMessage } from '@branchline/client/api/request';
import { FileUp, Globe, X } from 'lucide-react';
import { type FormEvent, useId, useRef, useState } from 'react';
import { useDrop } from '../composer/useDrop';
import { knowledgeChanged } from '../stores/knowledge';
import { Button, IconButton } from '../ui/Button';
import { addressesIn, ENDINGS, MOST_ADDRESSES } from './additions';
import { type Upload, useUploads } from './useUploads';

/** Where files are chosen or dropped, and addresses of web pages are written, to be added to a source. */
export function AddDocuments({ sourceId }: { sourceId: string }) {
  const { uploads, add, dismiss } = useUploads(sourceId);
  const { over, handlers } = useDrop((files) => void add(files));
  const input = useRef<HTMLInputElement>(null);
  return (
    <section className="adding" aria-labelledby="adding-title" data-over={over || undefined} {...handlers}>
      <h2 id="adding-title">Add documents</h2>
      <div className="adding-files">
        <input
          ref={input}
          type="file"
          multiple
          hidden
          accept={ENDINGS}
          onChange={(event) => {
            void add([...(event.target.files ?? [])]);
            event.target.value = '';
          }}
        />
        <Button icon={FileUp} onClick={() => input.current?.click()}>Choose files</Button>
        <span className="quiet">or drop them here: Markdown, text, HTML, PDF, Word, or a ZIP archive of them</span>
      </div>
      <Addresses sourceId={sourceId} />
      {uploads.length > 0 && (
        <ul className="uploads" aria-label="Uploads">
          {uploads.map((upload) => <UploadRow key={upload.key} upload={upload} onDismiss={() => dismiss(upload.key)} />)}
        </ul>
      )}
    </section>
  );
}

function UploadRow({ upload: { name, progress, problem }, onDismiss }: { upload: Upload; onDismiss: () => void }) {
  return (
    <li>
      <span className="upload-name" dir="auto">{name}</span>
      {problem ? (
        <>
          <span className="field-error" role="alert">{problem}</span>
          <IconButton label={`Dismiss ${name}`} icon={X} onClick={onDismiss} />
        </>
      ) : (
        <progress aria-label={`Uploading ${name}`} value={progress} />
      )}
    </li>
  );
}

function Addresses({ sourceId }: { sourceId: string }) {
  const [text, setText] = useState('');
  const [problem, setProblem] = useState('');
  const [busy, setBusy] = useState(false);
  const id = useId();
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    const { urls, wrong } = addressesIn(text);
    const refused = problemOf(urls, wrong);
    setProblem(refused);
    if (refused || busy) return;
    setBusy(true);
    try {
      await api.createIngestion(sourceId, { urls });
      setText('');
      void knowledgeChanged();
    } catch (error) {
      setProblem(errorMessage(error));
    }
    setBusy(false);
  };
  return (
    <form className="adding-pages" noValidate onSubmit={(event) => void submit(event)}>
      <label htmlFor={id} className="visually-hidden">Addresses of web pages</label>
      <input
        id={id}
        className="input"
        inputMode="url"
        autoCapitalize="none"
        spellCheck={false}
        placeholder="https://example.com/handbook"
        value={text}
        aria-invalid={!!problem}
        aria-describedby={problem ? `${id}-error` : undefined}
        onChange={(event) => setText(event.target.value)}
      />
      <Button type="submit" icon={Globe} disabled={busy || !text.trim()}>Add page</Button>
      {problem && <p id={`${id}-error`} className="field-error" role="alert">{problem}</p>}
    </form>
  );
}

function problemOf(urls: readonly string[], wrong: readonly string[]): string {
  if (wrong.length) return `“${wrong[0]}” is not the address of a web page.`;
  if (urls.length > MOST_ADDRESSES) return `At most ${MOST_ADDRESSES} addresses can be added at once.`;
  return urls.length ? '' : 'Write the address of a web page.';
}
