/** Where on its host the installation is: below `/branchline`, say, or at the root. */

/** The path before every address of the installation; empty at the root. The scripts are in /ui/assets below it. */
export const BASE_PATH = /^(.*)\/ui\/assets\/[^/]+$/.exec(new URL(import.meta.url).pathname)?.[1] ?? '';

/** Begins the names of all that is kept in the browser, which the installations on one host share. */
export const STORAGE_PREFIX = BASE_PATH ? `branchline:${BASE_PATH}:` : 'branchline.';
