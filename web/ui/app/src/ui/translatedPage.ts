/**
 * Lets browsers translate the page. A translation puts a <font> element in the place of texts that React
 * goes on to use: React then fails at removing such a text, or at putting something before it, which left
 * an empty page, and changes a text that nobody sees (https://github.com/facebook/react/issues/11538).
 *
 * So we note which texts an element stands for. Before React uses one of them, and after it has changed one,
 * all of them are put back in its place; the browser translates them again.
 *
 * Ignoring the failures, as is often done, would leave old text on the page. An element around every text
 * would be needed in all components, those of libraries included.
 */

/** The texts that a <font> element stands for, in their order, and the element of each text. */
const textsOf = new WeakMap<ChildNode, ChildNode[]>();
const fontOf = new WeakMap<Node, ChildNode>();

function isText(node: Node): node is Text {
  return node.nodeType === Node.TEXT_NODE;
}

/** What was done to the page, by a translation or by React. */
function note(records: MutationRecord[], observer: MutationObserver): void {
  // A text that React removes next to an older translation is not replaced by it.
  const fonts = new Set(records.flatMap(({ addedNodes }) => [...addedNodes]).filter(({ nodeName }) => nodeName === 'FONT'));
  for (const { type, target, addedNodes, removedNodes, previousSibling, nextSibling } of records) {
    if (type === 'characterData') putBack(target);
    for (const added of addedNodes) putBack(added);
    const beside = [...addedNodes, previousSibling, nextSibling].filter((node) => node !== null && fonts.has(node)) as ChildNode[];
    // Several texts in a row may have got one element.
    const font = beside.find((node) => !textsOf.has(node)) ?? beside[0];
    for (const removed of removedNodes) {
      if (!font || !isText(removed) || removed.parentNode) continue;
      textsOf.set(font, [...(textsOf.get(font) ?? []), removed]);
      fontOf.set(removed, font);
      observer.observe(removed, { characterData: true });
    }
  }
}

/** Put a text, and those that were replaced together with it, in the place of their translation. */
function putBack(text: Node): void {
  const font = fontOf.get(text);
  const texts = font && textsOf.get(font);
  if (!texts) return;
  font.replaceWith(...texts.filter(({ parentNode }) => !parentNode));
  for (const one of texts) fontOf.delete(one);
  textsOf.delete(font);
}

/** The child of `parent` that `node` is, or is in; null if it is elsewhere. */
function childWith(parent: Node, node: Node): Node | null {
  let child: Node | null = node;
  while (child && child.parentNode !== parent) child = child.parentNode;
  return child;
}

/** To be called once, before anything is rendered. */
export function allowTranslation(): void {
  const observer = new MutationObserver(note);
  observer.observe(document.body, { childList: true, subtree: true });
  const { removeChild, insertBefore } = Node.prototype;

  Node.prototype.removeChild = function <T extends Node>(this: Node, child: T): T {
    if (child.parentNode !== this) {
      note(observer.takeRecords(), observer);
      putBack(child);
      // It is in the page no more, or a translation has moved it into another element.
      if (!child.parentNode) return child;
      if (this.contains(child)) return removeChild.call(child.parentNode, child) as T;
    }
    return removeChild.call(this, child) as T;
  };

  Node.prototype.insertBefore = function <T extends Node>(this: Node, node: T, before: Node | null): T {
    if (before && before.parentNode !== this) {
      note(observer.takeRecords(), observer);
      putBack(before);
      before = childWith(this, before);
    }
    return insertBefore.call(this, node, before) as T;
  };
}
