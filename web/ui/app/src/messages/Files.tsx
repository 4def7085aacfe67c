import { fileUrl, isPicture, sizeText } from '@branchline/client/api/files';
import type { NamedFile } from '@branchline/client/api/types';
import { Download, File as FileIcon } from 'lucide-react';

/** The files that a message names: pictures are shown, everything else is to be saved. */
export function Files({ files }: { files: readonly NamedFile[] }) {
  return (
    <ul className="files" aria-label="Files">
      {files.map((file) => <li key={file.id}>{isPicture(file) ? <Picture file={file} /> : <Card file={file} />}</li>)}
    </ul>
  );
}

function Picture({ file }: { file: NamedFile }) {
  return (
    <figure className="file-picture">
      <a href={fileUrl(file.id)} target="_blank" rel="noreferrer">
        <img src={fileUrl(file.id)} alt={file.name} loading="lazy" />
      </a>
      <a className="file-caption" href={fileUrl(file.id)} download={file.name}>
        <span className="file-name" dir="auto">{file.name}</span>
        <span className="file-size">{sizeText(file.size)}</span>
        <Download aria-hidden="true" />
      </a>
    </figure>
  );
}

function Card({ file }: { file: NamedFile }) {
  return (
    <a className="file-card" href={fileUrl(file.id)} download={file.name}>
      <FileIcon aria-hidden="true" />
      <span className="file-text">
        <span className="file-name" dir="auto">{file.name}</span>
        <span className="file-size">{sizeText(file.size)}</span>
      </span>
      <Download aria-hidden="true" className="file-save" />
    </a>
  );
}
