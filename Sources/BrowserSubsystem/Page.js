// What is done inside of a page. It runs in a world of its own beside the page's: it sees the same document, but nothing that
// the page's scripts have put over the browser's functions. Values that it returns are JSON.
({
    // --- Elements

    find(selector) { return document.querySelector(selector); },

    // Waits until an element can be acted on as a person would, and brings it into view.
    // need: enabled (it takes input), hit (a click at its middle arrives).
    // Yields {x, y, saves?}: the middle, in the viewport of this frame, and whether a click there has a file saved; or {why, by?}
    // when the time is over.
    async ready(selector, need, milliseconds) {
        const end = performance.now() + milliseconds;
        let flaw = { why: 'missing' };
        for (let before = null; performance.now() < end; await this.frame()) {
            const element = document.querySelector(selector);
            if (!element) { flaw = { why: 'missing' }; before = null; continue; }
            if (!this.isVisible(element)) { flaw = { why: 'hidden' }; before = null; continue; }
            if (need.enabled && element.matches(':disabled, [aria-disabled=true]')) { flaw = { why: 'disabled' }; continue; }
            const box = element.getBoundingClientRect();
            if (!this.isInView(box)) {
                element.scrollIntoView({ block: 'center', inline: 'center', behavior: 'instant' });
                flaw = { why: 'moving' }; before = null; continue;
            }
            const times = this.animationTimes(element);
            const rests = before && before.element === element &&
                ['x', 'y', 'width', 'height'].every(side => before.box[side] === box[side]) &&
                [...times].every(([one, time]) => before.times.has(one) && before.times.get(one) !== time);
            if (!rests) { flaw = { why: 'moving' }; before = { element, box, times }; continue; }
            const point = this.middle(element, box);
            if (!need.hit) return point;
            const hit = this.hit(point);
            if (this.receives(element, hit)) return { ...point, saves: this.saves(hit) };
            flaw = { why: 'covered', by: this.describe(hit) };
        }
        return flaw;
    },

    // How far each animation is that runs by the clock, of an element or of what holds it. An element that stands still is at
    // rest only when they have gone on meanwhile: one may just begin, or the page not be drawn, as on a machine that is very busy.
    animationTimes(element) {
        const running = document.getAnimations().filter(one =>
            one.playState === 'running' && one.playbackRate !== 0 && one.timeline instanceof DocumentTimeline &&
            one.effect && one.effect.target && one.effect.target.contains(element));
        return new Map(running.map(one => [one, one.currentTime]));
    },

    // Sees to it that the next press of the mouse arrives at an element, or at nothing: the page may change while the mouse is on
    // its way.
    guard(selector) {
        this.endGuard();
        const kinds = ['pointerdown', 'mousedown', 'pointerup', 'mouseup', 'click', 'dblclick'];
        const guard = {
            isMissed: null,
            end: () => { for (const kind of kinds) window.removeEventListener(kind, look, true); },
        };
        const look = event => {
            if (!event.isTrusted) return;
            // The first decides: what the press itself changes is the page's affair.
            guard.isMissed ??= !this.receives(document.querySelector(selector), event.composedPath()[0]);
            if (!guard.isMissed) return;
            event.preventDefault();
            event.stopImmediatePropagation();
        };
        for (const kind of kinds) window.addEventListener(kind, look, true);
        this.guarding = guard;
        return true;
    },

    // Whether the press arrived elsewhere: then the guard lasts until the mouse is released. A page that keeps its presses to
    // itself, so that none is seen here, gets them.
    isMissed() {
        const isMissed = this.guarding?.isMissed === true;
        if (!isMissed) this.endGuard();
        return isMissed;
    },

    endGuard() {
        this.guarding?.end();
        this.guarding = null;
        return true;
    },

    // Waits until an element is as wanted. Yields {} or {why}.
    async state(selector, state, milliseconds) {
        const end = performance.now() + milliseconds;
        for (;;) {
            const element = document.querySelector(selector);
            const isVisible = element !== null && this.isVisible(element);
            if (state === 'attached' ? element : state === 'hidden' ? !isVisible : isVisible) return {};
            if (performance.now() >= end) return { why: state === 'hidden' ? 'visible' : element ? 'hidden' : 'missing' };
            await this.frame();
        }
    },

    // Waits until the page shows a text. Yields {} or {why}.
    async shows(text, milliseconds) {
        const end = performance.now() + milliseconds;
        while (!(document.body && document.body.innerText.includes(text))) {
            if (performance.now() >= end) return { why: 'text' };
            await this.frame();
        }
        return {};
    },

    // Waits until nothing has scrolled for some pictures of the page. Yields {}.
    async scrolled(milliseconds) {
        const end = performance.now() + milliseconds;
        let still = 0;
        const moved = () => { still = 0; };
        document.addEventListener('scroll', moved, { capture: true, passive: true });
        for (; still < 4 && performance.now() < end; still++) await this.frame();
        document.removeEventListener('scroll', moved, { capture: true });
        return {};
    },

    // The next picture of the page; a page that is not drawn goes on by the clock.
    frame() {
        return new Promise(resolve => {
            const timer = setTimeout(resolve, 500);
            requestAnimationFrame(() => { clearTimeout(timer); resolve(); });
        });
    },

    isVisible(element) {
        const box = element.getBoundingClientRect();
        return box.width > 0 && box.height > 0 && element.checkVisibility({ visibilityProperty: true });
    },

    isInView(box) {
        const x = box.x + box.width / 2, y = box.y + box.height / 2;
        return x >= 0 && y >= 0 && x < innerWidth && y < innerHeight;
    },

    // Of a text that is broken into lines the middle of the whole may lie beside it.
    middle(element, box) {
        const rects = element.getClientRects();
        const one = rects.length > 1 ? rects[0] : box;
        return { x: one.x + one.width / 2, y: one.y + one.height / 2 };
    },

    hit(point) {
        let element = document.elementFromPoint(point.x, point.y);
        while (element && element.shadowRoot) {
            const inner = element.shadowRoot.elementFromPoint(point.x, point.y);
            if (!inner || inner === element) break;
            element = inner;
        }
        return element;
    },

    // Whether what is hit at a point hands a click on to the element: itself, what it holds, or its label.
    receives(element, hit) {
        if (!element) return false;
        for (let one = hit; one; one = one.parentNode || one.host) if (one === element) return true;
        const label = hit && hit.closest && hit.closest('label');
        return Boolean(label && label.control === element);
    },

    // A link with such a mark has the browser fetch a file, and tells the page nothing of it.
    saves(hit) { return Boolean(hit && hit.closest && hit.closest('a[href][download], area[href][download]')); },

    describe(element) {
        if (!element) return 'nothing';
        const name = element.id ? '#' + element.id : [...element.classList].slice(0, 2).map(name => '.' + name).join('');
        return (element.localName + name).slice(0, 80);
    },

    focus(selector) {
        const element = document.querySelector(selector);
        element.focus();
        return element === element.getRootNode().activeElement;
    },

    // Selects all that a field holds, so that what is typed replaces it.
    selectAll(selector) {
        const element = document.querySelector(selector);
        if (typeof element.select === 'function') element.select();
        else getSelection().selectAllChildren(element);
        return Boolean(element.value ?? element.textContent);
    },

    // Chooses options by value or by what they show. Yields {values}, or {why, missing}.
    choose(selector, wanted) {
        const element = document.querySelector(selector);
        if (!(element instanceof HTMLSelectElement)) return { why: 'no-select' };
        if (!element.multiple && wanted.length !== 1) return { why: 'not-multiple' };
        const options = wanted.map(text => [...element.options].find(
            option => !option.disabled && (option.value === text || option.label.trim() === text.trim())));
        const missing = options.findIndex(option => !option);
        if (missing >= 0) return { why: 'no-option', missing: wanted[missing] };
        element.focus();
        for (const option of element.options) option.selected = options.includes(option);
        element.dispatchEvent(new Event('input', { bubbles: true, composed: true }));
        element.dispatchEvent(new Event('change', { bubbles: true }));
        return { values: [...element.selectedOptions].map(option => option.value) };
    },

    // Where the content of a frame begins, in the viewport of this one. how: scrolls, whether it is brought into view before.
    frameOffset(selector, how) {
        const element = document.querySelector(selector);
        const isInside = ({ x, y, right, bottom }) => x >= 0 && y >= 0 && right <= innerWidth && bottom <= innerHeight;
        if (how.scrolls && !isInside(element.getBoundingClientRect())) {
            element.scrollIntoView({ block: 'center', inline: 'center', behavior: 'instant' });
        }
        const box = element.getBoundingClientRect(), style = getComputedStyle(element);
        return {
            x: box.x + element.clientLeft + parseFloat(style.paddingLeft),
            y: box.y + element.clientTop + parseFloat(style.paddingTop),
        };
    },

    // --- What is told of a page

    held: {},

    // want: {text, html, links, timings}, whether each is wanted; inline: UTF-16 units of the longest text that is returned at
    // once. A longer one is held here, and fetched by slice().
    collect(want, inline) {
        const navigation = performance.getEntriesByType('navigation')[0];
        const page = { url: location.href, title: document.title.toWellFormed(), status: navigation?.responseStatus ?? 0 };
        if (want.text) page.text = this.hold('text', document.body ? document.body.innerText : '', inline);
        if (want.html) page.html = this.hold('html', this.markup(), inline);
        if (want.links) page.links = this.links();
        if (want.timings && navigation) page.timings = {
            response_ms: navigation.responseStart,
            dom_content_loaded_ms: navigation.domContentLoadedEventEnd,
            load_ms: navigation.loadEventEnd,
            transferred_bytes: navigation.transferSize,
        };
        return page;
    },

    markup() {
        const type = document.doctype ? new XMLSerializer().serializeToString(document.doctype) + '\n' : '';
        return type + (document.documentElement ? document.documentElement.outerHTML : '');
    },

    hold(name, text, inline) {
        const sound = text.toWellFormed();
        if (sound.length <= inline) return { text: sound };
        this.held[name] = sound;
        return { units: sound.length };
    },

    // A piece of what is held, cut between characters.
    slice(name, at, count) {
        const text = this.held[name];
        let end = Math.min(at + count, text.length);
        if (end < text.length && (text.charCodeAt(end) & 0xfc00) === 0xdc00) end += 1;
        return { text: text.slice(at, end), end };
    },

    // The first thousand, and how many there are.
    links() {
        const list = [];
        for (const link of document.links) {
            if (list.length === 1000) break;
            list.push({
                url: link.href.slice(0, 2000).toWellFormed(),
                text: (link.innerText ?? '').trim().slice(0, 200).toWellFormed(),
            });
        }
        return { list, total: document.links.length };
    },

    // CSS pixels of the whole page.
    extent() {
        const root = document.documentElement, body = document.body;
        return {
            width: Math.max(innerWidth, root ? root.scrollWidth : 0),
            height: Math.max(innerHeight, root ? root.scrollHeight : 0, body ? body.scrollHeight : 0),
        };
    },
})
