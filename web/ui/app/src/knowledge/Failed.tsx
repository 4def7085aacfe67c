import { errorMessage } from '@branchline/client/api/request';

/** Why something could not be read. */
export function Failed({ error }: { error: unknown }) {
  return <p className="alert" role="alert">{errorMessage(error)}</p>;
}
