// A radiograph of 16 bits on a canvas, with window, zoom, pan, an overlay and marks.
//
//   const viewer = new Viewer(canvas);                 // new Viewer(canvas, other.view): two move together
//   viewer.show({ values, rows, columns, window });    // values: Uint16Array; window: [black, white]
//   viewer.overlay({ values, side, place });           // a square map, 65535 = 1; place: [left, top, right,
//                                                      // bottom] on the image in its pixels; null: none
//   viewer.mark({ marks, fixations });                 // boxes and fixations, in pixels of the image
//   viewer.set({ opacity, threshold });                // of the overlay, 0 to 1
//   viewer.set({ boxes, organs, gaze });               // whether marks are drawn
//   viewer.view.set({ low, high, inverted });          // window; also zoom, x and y: the centre, 0 to 1
//   viewer.view.addEventListener("change", …);
//   viewer.toImage(event);                             // { x, y } of a pointer event, in pixels of the image
//   viewer.tool = "window" | "pan";                    // of the left button
//
// Left button: window (or pan); middle, right, or Shift and left: pan; wheel and pinch: zoom; double click: fit.

const WHITE = 65535;
const LEAST_ZOOM = 0.5;
const MOST_ZOOM = 32;
const FINE = 4; // pixels of the drawn overlay to one of the map, so that thresholds have smooth edges

export class View extends EventTarget {
  constructor() {
    super();
    Object.assign(this, { zoom: 1, x: 0.5, y: 0.5, low: 0, high: WHITE, inverted: false, first: [0, WHITE] });
  }

  set(values) {
    Object.assign(this, values);
    this.zoom = clamp(this.zoom, LEAST_ZOOM, MOST_ZOOM);
    this.x = clamp(this.x, 0, 1);
    this.y = clamp(this.y, 0, 1);
    if (this.high < this.low + 64) this.high = this.low + 64;
    this.dispatchEvent(new Event("change"));
  }

  fit() {
    this.set({ zoom: 1, x: 0.5, y: 0.5 });
  }

  reset() {
    const [low, high] = this.first;
    this.set({ low, high, inverted: false, zoom: 1, x: 0.5, y: 0.5 });
  }
}

export class Viewer {
  constructor(canvas, view = new View()) {
    this.canvas = canvas;
    this.view = view;
    this.tool = "window";
    this.context = canvas.getContext("2d", { alpha: false });
    this.settings = { opacity: 0.5, threshold: 0.2, boxes: true, organs: false, gaze: false, map: true };
    this.levels = []; // the image, and its halves
    this.grey = { canvas: document.createElement("canvas"), of: "" };
    this.heat = null;
    this.marks = [];
    this.fixations = [];
    this.pointers = new Map();
    this.view.addEventListener("change", () => this.draw());
    new ResizeObserver(() => this.draw()).observe(canvas);
    this.#listen();
  }

  get shown() {
    return this.levels[0] ?? null;
  }

  show(image) {
    this.levels = [{ values: image.values, rows: image.rows, columns: image.columns }];
    while (Math.max(this.levels.at(-1).rows, this.levels.at(-1).columns) > 1024) {
      this.levels.push(halved(this.levels.at(-1)));
    }
    this.grey.of = "";
    this.overlay(null);
    this.mark({});
    const [low, high] = image.window;
    this.view.first = [low, high];
    this.view.set({ low, high, zoom: 1, x: 0.5, y: 0.5 });
  }

  clear() {
    this.levels = [];
    this.heat = null;
    this.mark({});
    this.draw();
  }

  overlay(map) {
    this.map = map;
    this.heat = null;
    this.draw();
  }

  mark({ marks = [], fixations = [] }) {
    this.marks = marks;
    this.fixations = fixations;
    this.draw();
  }

  set(settings) {
    if ("threshold" in settings && settings.threshold !== this.settings.threshold) this.heat = null;
    Object.assign(this.settings, settings);
    this.draw();
  }

  toImage(event) {
    const box = this.canvas.getBoundingClientRect();
    const ratio = this.canvas.width / box.width;
    const { scale, left, top } = this.#placed();
    return {
      x: ((event.clientX - box.left) * ratio - left) / scale,
      y: ((event.clientY - box.top) * ratio - top) / scale,
    };
  }

  draw() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      this.#draw();
    });
  }

  // Scale in pixels of the canvas to one of the image, and where its upper left corner lies.
  #placed() {
    const { rows, columns } = this.shown ?? { rows: 1, columns: 1 };
    const { width, height } = this.canvas;
    const scale = Math.min(width / columns, height / rows) * this.view.zoom;
    return { scale, left: width / 2 - this.view.x * columns * scale, top: height / 2 - this.view.y * rows * scale };
  }

  #draw() {
    const { canvas, context } = this;
    const ratio = window.devicePixelRatio || 1;
    const width = Math.round(canvas.clientWidth * ratio);
    const height = Math.round(canvas.clientHeight * ratio);
    if (!width || !height) return;
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.fillStyle = "#000";
    context.fillRect(0, 0, width, height);
    if (!this.shown) return;
    const { rows, columns } = this.shown;
    const { scale, left, top } = this.#placed();
    context.imageSmoothingEnabled = true;
    context.imageSmoothingQuality = "high";
    const { grey, size } = this.#greys(scale);
    context.drawImage(grey, left, top, grey.width * size * scale, grey.height * size * scale);
    context.save();
    context.beginPath();
    context.rect(left, top, columns * scale, rows * scale);
    context.clip();
    if (this.map && this.settings.map) {
      this.heat ??= heatOf(this.map, this.settings.threshold);
      const [x1, y1, x2, y2] = this.map.place;
      context.globalAlpha = this.settings.opacity;
      context.drawImage(this.heat, left + x1 * scale, top + y1 * scale, (x2 - x1) * scale, (y2 - y1) * scale);
      context.globalAlpha = 1;
    }
    // Lines and letters grow with those of the page.
    const letters = parseFloat(getComputedStyle(document.documentElement).fontSize) / 14;
    this.#drawMarks(scale, left, top, ratio * letters);
    context.restore();
  }

  // The greys as a canvas, and the pixels of the image to one of its pixels.
  #greys(scale) {
    const { low, high, inverted } = this.view;
    let level = 0;
    while (level + 1 < this.levels.length && scale * 2 ** (level + 1) <= 1) level += 1;
    const of = [level, low, high, inverted].join();
    const { canvas } = this.grey;
    if (this.grey.of === of) return { grey: canvas, size: 2 ** level };
    const { values, rows, columns } = this.levels[level];
    if (canvas.width !== columns || canvas.height !== rows) Object.assign(canvas, { width: columns, height: rows });
    const context = canvas.getContext("2d");
    const image = context.createImageData(columns, rows);
    const pixels = new Uint32Array(image.data.buffer);
    const table = tableOf(low, high, inverted);
    for (let i = 0; i < values.length; i += 1) pixels[i] = table[values[i]];
    context.putImageData(image, 0, 0);
    this.grey.of = of;
    return { grey: canvas, size: 2 ** level };
  }

  #drawMarks(scale, left, top, ratio) {
    const { context, settings } = this;
    context.font = `${12 * ratio}px system-ui, sans-serif`;
    context.lineWidth = 1.5 * ratio;
    for (const { label, corners, ellipse, finding } of this.marks) {
      if (!(finding ? settings.boxes : settings.organs)) continue;
      const [x1, y1, x2, y2] = corners.map((each, i) => each * scale + (i % 2 ? top : left));
      context.strokeStyle = context.fillStyle = finding ? "#ffd24a" : "#7fd6ff";
      context.beginPath();
      if (ellipse) {
        context.ellipse((x1 + x2) / 2, (y1 + y2) / 2, Math.abs(x2 - x1) / 2, Math.abs(y2 - y1) / 2, 0, 0, 2 * Math.PI);
      } else {
        context.rect(x1, y1, x2 - x1, y2 - y1);
      }
      context.stroke();
      outlined(context, label, x1 + 3 * ratio, y1 + 13 * ratio, ratio);
    }
    if (!settings.gaze) return;
    context.strokeStyle = "rgba(120, 255, 170, 0.45)";
    context.lineWidth = ratio;
    context.beginPath();
    for (const [x, y] of this.fixations) context.lineTo(left + x * scale, top + y * scale);
    context.stroke();
    context.strokeStyle = "#78ffaa";
    context.lineWidth = 1.5 * ratio;
    for (const [x, y, duration] of this.fixations) {
      context.beginPath();
      context.arc(left + x * scale, top + y * scale, (3 + 12 * Math.sqrt(duration)) * ratio, 0, 2 * Math.PI);
      context.stroke();
    }
  }

  #listen() {
    const { canvas, pointers } = this;
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("dblclick", () => this.view.fit());
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      pointers.set(event.pointerId, event);
      canvas.focus({ preventScroll: true });
      event.preventDefault();
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!pointers.has(event.pointerId) || !this.shown) return;
      this.#drag(pointers.get(event.pointerId), event);
      pointers.set(event.pointerId, event);
    });
    for (const name of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(name, (event) => pointers.delete(event.pointerId));
    }
    canvas.addEventListener(
      "wheel",
      (event) => {
        event.preventDefault();
        const step = event.deltaMode === 1 ? 33 * event.deltaY : event.deltaY;
        this.zoomAt(event, Math.exp(-clamp(step, -300, 300) / 500));
      },
      { passive: false },
    );
  }

  // Zoom so that what lies under the pointer stays there.
  zoomAt(event, factor) {
    if (!this.shown) return;
    const { rows, columns } = this.shown;
    const { x, y } = this.toImage(event);
    const zoom = clamp(this.view.zoom * factor, LEAST_ZOOM, MOST_ZOOM);
    const share = 1 - this.view.zoom / zoom;
    this.view.set({
      zoom,
      x: this.view.x + (x / columns - this.view.x) * share,
      y: this.view.y + (y / rows - this.view.y) * share,
    });
  }

  #drag(before, event) {
    const box = this.canvas.getBoundingClientRect();
    const others = [...this.pointers.values()].filter((each) => each.pointerId !== event.pointerId);
    if (others.length) {
      const far = (one) => Math.hypot(one.clientX - others[0].clientX, one.clientY - others[0].clientY);
      this.zoomAt(event, far(event) / Math.max(far(before), 1));
      return;
    }
    const dx = event.clientX - before.clientX;
    const dy = event.clientY - before.clientY;
    const { low, high, x, y } = this.view;
    if (this.tool === "window" && event.buttons & 1 && !event.shiftKey && event.pointerType !== "touch") {
      const step = ([a, b]) => Math.max(b - a, 4096) / 500;
      const width = Math.max(64, high - low + dx * step(this.view.first));
      const centre = (low + high) / 2 + dy * step(this.view.first);
      this.view.set({ low: centre - width / 2, high: centre + width / 2 });
    } else {
      const { scale } = this.#placed();
      const ratio = this.canvas.width / box.width / scale;
      this.view.set({ x: x - (dx * ratio) / this.shown.columns, y: y - (dy * ratio) / this.shown.rows });
    }
  }
}

// Colours of a map: dark red, orange, yellow, white; more opaque where it is higher.
export function heatColour(value) {
  const stops = [
    [0, 90, 0, 60],
    [0.35, 205, 35, 45],
    [0.65, 250, 140, 20],
    [0.9, 255, 235, 90],
    [1, 255, 255, 225],
  ];
  const k = Math.max(1, stops.findIndex(([at]) => at >= value));
  const [from, to] = [stops[k - 1], stops[k]];
  const share = (value - from[0]) / (to[0] - from[0]);
  return [1, 2, 3].map((i) => Math.round(from[i] + share * (to[i] - from[i])));
}

// The map as a canvas of `FINE` pixels to one of its own, interpolated between their centres.
function heatOf({ values, side }, threshold) {
  const canvas = document.createElement("canvas");
  const fine = side * FINE > 2048 ? 1 : FINE;
  const size = side * fine;
  Object.assign(canvas, { width: size, height: size });
  const context = canvas.getContext("2d");
  const image = context.createImageData(size, size);
  const colours = Array.from({ length: 256 }, (_, i) => [...heatColour(i / 255), Math.round(255 * (i / 255) ** 0.6)]);
  const at = Array.from({ length: size }, (_, i) => {
    const place = clamp((i + 0.5) / fine - 0.5, 0, side - 1);
    const first = Math.min(Math.floor(place), side - 2 < 0 ? 0 : side - 2);
    return [first, place - first];
  });
  const right = side > 1 ? 1 : 0;
  const below = side > 1 ? side : 0;
  for (let j = 0, out = 0; j < size; j += 1) {
    const [row, v] = at[j];
    for (let i = 0; i < size; i += 1, out += 4) {
      const [column, u] = at[i];
      const k = row * side + column;
      const upper = values[k] * (1 - u) + values[k + right] * u;
      const lower = values[k + below] * (1 - u) + values[k + below + right] * u;
      const value = (upper * (1 - v) + lower * v) / WHITE;
      if (value >= threshold && value > 0) image.data.set(colours[Math.round(value * 255)], out);
    }
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

function tableOf(low, high, inverted) {
  const table = new Uint32Array(WHITE + 1);
  for (let value = 0; value <= WHITE; value += 1) {
    const share = clamp((value - low) / (high - low), 0, 1);
    const grey = Math.round(255 * (inverted ? 1 - share : share));
    table[value] = (255 << 24) | (grey << 16) | (grey << 8) | grey;
  }
  return table;
}

function halved({ values, rows, columns }) {
  const height = Math.ceil(rows / 2);
  const width = Math.ceil(columns / 2);
  const half = new Uint16Array(height * width);
  for (let y = 0, out = 0; y < height; y += 1) {
    const upper = 2 * y * columns;
    const lower = Math.min(2 * y + 1, rows - 1) * columns;
    for (let x = 0; x < width; x += 1, out += 1) {
      const a = 2 * x;
      const b = Math.min(a + 1, columns - 1);
      half[out] = (values[upper + a] + values[upper + b] + values[lower + a] + values[lower + b] + 2) >> 2;
    }
  }
  return { values: half, rows: height, columns: width };
}

function outlined(context, text, x, y, ratio) {
  context.save();
  context.lineWidth = 3 * ratio;
  context.strokeStyle = "rgba(0, 0, 0, 0.8)";
  context.strokeText(text, x, y);
  context.restore();
  context.fillText(text, x, y);
}

export function clamp(value, low, high) {
  return Math.min(Math.max(value, low), high);
}
