/** A SharedWorker with the hub of all tabs of a user. Its name is that of the tabs' channel. */
import { serveTabs } from './hub';

serveTabs(self.name);
