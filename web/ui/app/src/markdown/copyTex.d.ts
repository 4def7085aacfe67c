/** Registers itself: what is copied of a formula is its source. */
declare module 'katex/contrib/copy-tex';
