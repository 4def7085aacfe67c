import { fileUrl, isPicture, sizeText } from '@branchline/client/api/files';
import { File as FileIcon, X } from 'lucide-react';
import { IconButton } from '../ui/Button';
import type { Attachment } from './useAttachments';

/** The files that go with the next message, above the field. */
export function Attachments({ attachments, onRemove }: { attachments: readonly Attachment[]; onRemove: (attachment: Attachment) => void }) {
  if (!attachments.length) return null;
  return (
    <ul className="attachments" aria-label="Attached files">
      {attachments.map((attachment) => (
        <li key={attachment.key} className={`attachment${attachment.problem ? ' attachment-failed' : ''}`}>
          {attachment.file && isPicture(attachment.file) ? (
            <img className="attachment-picture" src={fileUrl(attachment.file.id)} alt="" />
          ) : (
            <span className="attachment-picture"><FileIcon aria-hidden="true" /></span>
          )}
          <span className="attachment-text">
            <span className="attachment-name" dir="auto" title={attachment.name}>{attachment.name}</span>
            <Status attachment={attachment} />
          </span>
          <IconButton label={`Remove ${attachment.name}`} icon={X} onClick={() => onRemove(attachment)} />
        </li>
      ))}
    </ul>
  );
}

function Status({ attachment: { file, size, progress, problem, name } }: { attachment: Attachment }) {
  if (problem) return <span className="attachment-problem" role="alert">{problem}</span>;
  if (file) return <span>{sizeText(file.size)}</span>;
  return <progress aria-label={`Uploading ${name}, ${sizeText(size)}`} value={progress} />;
}
