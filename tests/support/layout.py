"""What is wrong with the layout of a page as it is, as somebody would see it: cut, covered, too small."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Page

_ERRORS = """async () => {
    // Two frames: one in which the page learns of its size, and one that is laid out by it.
    for (let frame = 0; frame < 2; frame += 1) await new Promise(requestAnimationFrame);
    const wrong = new Set();
    if (document.documentElement.scrollWidth > innerWidth) wrong.add('the page is wider than the window');
    const shown = element => element.checkVisibility({opacityProperty: true, visibilityProperty: true})
        && !element.closest('.visually-hidden, .skip-link, [aria-hidden="true"], .react-flow');
    const label = element => element.getAttribute('aria-label') ?? element.textContent.trim().slice(0, 30);
    const name = element => `${element.localName}.${element.className} ${label(element)}`;
    // The part of an element that is not scrolled away.
    const seen = element => {
        let {left, top, right, bottom} = element.getBoundingClientRect();
        for (let above = element.parentElement; above; above = above.parentElement) {
            if (getComputedStyle(above).overflow === 'visible') continue;
            const box = above.getBoundingClientRect();
            [left, right] = [Math.max(left, box.left), Math.min(right, box.right)];
            [top, bottom] = [Math.max(top, box.top), Math.min(bottom, box.bottom)];
        }
        return {left, top, right, bottom, width: right - left, height: bottom - top};
    };
    for (const element of document.querySelectorAll('.popover, .dialog[open], .menu')) {
        const box = element.getBoundingClientRect();
        if (box.top < 0 || box.bottom > innerHeight) wrong.add('out of the window: ' + element.className);
        if (box.left < 0 || box.right > innerWidth) wrong.add('out of the window: ' + element.className);
    }

    // Buttons without an edge reach out, so that their texts are in line with the others.
    const MARGIN = 12;
    const texts = 'button, a, input, textarea, select, h1, h2, h3, p, summary, label, dt, dd, strong, small';
    for (const element of document.querySelectorAll(texts)) {
        const box = element.getBoundingClientRect();
        if (!shown(element) || !box.width || !box.height) continue;
        const panel = element.closest('.sidebar, .outline, .dialog, .popover, main')?.getBoundingClientRect();
        const {left, right} = element.parentElement.getBoundingClientRect();
        const {position, display} = getComputedStyle(element);
        const isInFlow = position === 'static' && display !== 'inline';
        const beside = isInFlow && (box.left < left - MARGIN || box.right > right + MARGIN);
        const outside = beside || (panel && (box.left < panel.left - 1 || box.right > panel.right + 1));
        const scrolls = element.closest('.columns, .table, pre');
        if (outside && !scrolls) wrong.add('out of its panel: ' + name(element));
    }
    for (const element of document.body.querySelectorAll('*')) {
        const words = [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim());
        if (!words || !shown(element) || !element.clientWidth) continue;
        const {overflowX, overflowY, textOverflow, webkitLineClamp} = getComputedStyle(element);
        const isField = ['textarea', 'select', 'option'].includes(element.localName);
        if (isField || webkitLineClamp !== 'none') continue;
        const wide = element.scrollWidth - element.clientWidth;
        const cut = overflowY === 'hidden' && element.scrollHeight - element.clientHeight > 2;
        const cutAcross = overflowX === 'hidden' && wide > 1 && textOverflow !== 'ellipsis';
        if (cut || cutAcross) wrong.add('cut: ' + name(element));
        const sticksOut = overflowX === 'visible' && wide > 2 && !element.closest('.katex, pre');
        if (sticksOut) wrong.add('sticks out: ' + name(element));
    }

    const kinds = 'button, a[href], summary, input, textarea, select, [role="treeitem"], [role="menuitem"], '
        + '[role="option"]';
    // What opens above the rest covers it, which is not lost: it closes.
    const above = '.backdrop, .popover, .menu, .dialog, .notifications, .scroll-to-end, .sidebar, .outline';
    const modal = document.querySelector('.dialog[open], [role="menu"]');
    const controls = [...document.querySelectorAll(kinds)].filter(shown);
    const boxes = controls.map(seen);
    for (const element of controls) {
        const target = element.matches('input') ? (element.closest('label') ?? element) : element;
        const {width, height} = target.getBoundingClientRect();
        const inText = target.localName === 'a' && getComputedStyle(target).display === 'inline';
        const isSlider = element.type === 'range';
        if (width && !inText && !isSlider && Math.min(width, height) < 23.9) {
            wrong.add(`small (${Math.round(width)} x ${Math.round(height)}): ` + name(target));
        }
        const box = seen(target);
        const [x, y] = [(box.left + box.right) / 2, (box.top + box.bottom) / 2];
        if (box.width < 4 || box.height < 4) continue;
        if (x < 0 || y < 0 || x >= innerWidth || y >= innerHeight) continue;
        if (modal && !modal.contains(element)) continue;
        const hit = document.elementFromPoint(x, y);
        if (!hit || target.contains(hit) || hit.contains(target) && hit.closest('label, button, a')) continue;
        const layer = hit.closest(above);
        if (layer && layer !== element.closest(above)) continue;
        wrong.add(`covered by ${hit.localName}.${hit.className}: ` + name(target));
    }
    for (const [at, element] of controls.entries()) {
        const a = boxes[at];
        for (let next = at + 1; next < controls.length; next += 1) {
            const [other, b] = [controls[next], boxes[next]];
            const wide = Math.min(a.right, b.right) - Math.max(a.left, b.left);
            const high = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
            if (wide <= 3 || high <= 3) continue;
            if (element.contains(other) || other.contains(element)) continue;
            if (element.closest(above) !== other.closest(above)) continue;
            // The menu of a row is in the room that its link, which is all of the row, leaves for it.
            if (other.matches('.row-menu')) continue;
            wrong.add('overlap: ' + name(element) + ' / ' + name(other));
        }
    }
    return [...wrong];
}"""


def layout_errors(page: Page) -> list[str]:
    """What is cut, covered, out of its panel, or a smaller target than 24 pixels."""
    found: Any = page.evaluate(_ERRORS)
    return list(found)
