// Time, mouse and the place of the image during one view of a case, collected in pieces.
//
//   const clock = new Clock(view, where);   // where(): { scale, left, top } of the image in the window, or null
//   clock.start();                          // when the image has appeared
//   clock.active();                         // seconds since then, without those in which the page was hidden
//   clock.piece();                          // what happened since the last piece
//   clock.stop();

const EVERY = 33; // ms between two samples of the mouse

export class Clock {
  constructor(view, where, canvas) {
    Object.assign(this, { view, where, canvas, number: 0, mouse: [], placements: [], pointer: null, last: "" });
    this.corner = null;
    this.ended = null;
    this.hiddenFor = 0;
    this.hiddenSince = null;
    this.listening = new AbortController();
  }

  start() {
    this.began = Date.now() / 1000;
    this.from = performance.now();
    if (document.hidden) this.hiddenSince = this.from;
    const { signal } = this.listening;
    document.addEventListener("visibilitychange", () => this.#hide(), { signal });
    document.addEventListener("pointermove", (event) => this.#move(event), { signal });
    document.addEventListener("pointerleave", () => (this.pointer = null), { signal });
    this.timer = setInterval(() => this.#sample(), EVERY);
    this.#sample();
  }

  stop() {
    this.ended ??= performance.now();
    clearInterval(this.timer);
    this.listening.abort();
  }

  hidden() {
    return (this.hiddenFor + (this.hiddenSince === null ? 0 : this.#now() - this.hiddenSince)) / 1000;
  }

  active() {
    return (this.#now() - this.from) / 1000 - this.hidden();
  }

  piece() {
    const { view, number, began, mouse, placements } = this;
    this.number += 1;
    this.mouse = [];
    this.placements = [];
    return { view, number, began, active: this.active(), hidden: this.hidden(), mouse, placements };
  }

  #now() {
    return this.ended ?? performance.now();
  }

  #hide() {
    const now = performance.now();
    if (document.hidden) {
      this.hiddenSince ??= now;
      this.pointer = null;
    } else if (this.hiddenSince !== null) {
      this.hiddenFor += now - this.hiddenSince;
      this.hiddenSince = null;
    }
    this.#sample(); // browsers slow down the timer of a hidden page
  }

  #move(event) {
    this.pointer = { x: event.clientX, y: event.clientY };
    this.corner = { x: event.screenX - event.clientX, y: event.screenY - event.clientY };
  }

  #sample() {
    const place = document.hidden ? null : this.where();
    const ms = Math.round(performance.now() - this.from);
    const { x: cornerX, y: cornerY } = this.corner ?? guessed();
    const ratio = window.devicePixelRatio || 1;
    const values = place === null ? [] : [place.scale, place.left, place.top, cornerX, cornerY, ratio];
    const placed = values.map((each) => Number(each.toFixed(4)));
    if (placed.join() !== this.last) {
      this.placements.push([ms, ...placed]); // [ms] alone: the image cannot be seen from then on
      this.last = placed.join();
    }
    if (place === null || this.pointer === null) return;
    const box = this.canvas.getBoundingClientRect();
    const { x, y } = this.pointer;
    if (x < box.left || y < box.top || x >= box.right || y >= box.bottom) return;
    const inImage = [(x - place.left) / place.scale, (y - place.top) / place.scale];
    this.mouse.push([ms, ...inImage.map((each) => Number(each.toFixed(1)))]);
  }
}

// The corner of the window's content on the screen, before the mouse has moved.
function guessed() {
  return {
    x: window.mozInnerScreenX ?? window.screenX + (window.outerWidth - window.innerWidth) / 2,
    y: window.mozInnerScreenY ?? window.screenY + (window.outerHeight - window.innerHeight),
  };
}
