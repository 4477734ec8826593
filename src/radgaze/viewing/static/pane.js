// One run's view of the image: its canvas, the choice of class and method, and the state of its map.

import { element, options } from "./dom.js";
import { map } from "./requests.js";
import { Viewer } from "./viewer.js";

const SOON = 500; // milliseconds after which work is shown as such

export class Pane {
  constructor(about, number, view) {
    this.about = about;
    this.run = about.runs[number];
    this.number = number;
    this.smoothed = true;
    this.busy = element("p", { className: "busy", hidden: true, role: "status" });
    this.corner = element("p", { className: "corner" });
    const canvas = element("canvas", { tabIndex: 0 });
    canvas.setAttribute("aria-label", `Radiograph and map of ${this.run.name}`);
    this.target = element("select", { title: "Class that the map explains (1 to 9; 0: predicted)" });
    this.method = element("select", { title: "Method (M)" });
    this.target.setAttribute("aria-label", "Class");
    this.method.setAttribute("aria-label", "Map");
    this.targets();
    this.methods(false);
    for (const select of [this.target, this.method]) {
      select.addEventListener("change", () => {
        this.update();
        canvas.focus({ preventScroll: true });
      });
    }
    this.root = element(
      "section",
      { className: "pane" },
      element(
        "div",
        { className: "bar" },
        element("span", { className: "run", textContent: this.run.name, title: this.run.name }),
        this.method,
        this.target,
      ),
      element(
        "div",
        { className: "screen" },
        canvas,
        this.corner,
        element("p", { className: "corner right", textContent: "Research use only" }),
        this.busy,
      ),
    );
    this.viewer = new Viewer(canvas, view);
  }

  targets(predicted = null) {
    const words = predicted === null ? "predicted class" : `predicted: ${predicted}`;
    const before = this.target.value;
    options(this.target, [["", words], ...this.run.classes.map((name) => [name, name])], before);
    this.predicted = predicted;
  }

  methods(gaze) {
    const before = this.method.value || this.run.first;
    const pairs = this.run.methods.map(({ name, title }) => [name, title]);
    if (gaze) pairs.push([this.about.gaze, "Readers' gaze"]);
    options(this.method, pairs, pairs.some(([name]) => name === before) ? before : this.run.first);
  }

  // Show an image before its prediction is known.
  show(image) {
    this.stop();
    this.image = image;
    this.targets();
    this.methods(image.fixations.length > 0);
    this.viewer.show(image);
    this.viewer.mark(image);
  }

  // Ask for the map again after the choice, or what is known, has changed.
  async update() {
    this.stop();
    const { image, method, predicted } = this;
    const isGaze = method.value === this.about.gaze;
    const target = this.target.value || predicted;
    this.target.disabled = isGaze;
    if (!image || (!isGaze && target === null)) return;
    const asked = (this.asked = new AbortController());
    this.root.dataset.map = "computing";
    const title = method.selectedOptions[0].textContent;
    const timer = setTimeout(() => this.#say(`Computing ${title}…`), SOON);
    try {
      const query = { run: this.number, method: method.value, target: target ?? "", smoothed: this.smoothed ? 1 : 0 };
      const made = await map(image.key, query, { signal: asked.signal });
      if (asked.signal.aborted) return;
      this.viewer.overlay(made);
      this.#say("");
      this.root.dataset.map = "shown";
    } catch (error) {
      if (asked.signal.aborted) return;
      this.viewer.overlay(null);
      this.root.dataset.map = "none";
      this.#say(`No map: ${error.wrong ?? error.message} ${error.advice ?? ""}`, true);
    } finally {
      clearTimeout(timer);
    }
  }

  stop() {
    this.asked?.abort();
    if (this.root) this.root.dataset.map = "none";
    this.#say("");
    this.viewer?.overlay(null);
  }

  clear() {
    this.stop();
    this.image = null;
    this.viewer.clear();
  }

  #say(words, failed = false) {
    this.busy.hidden = !words;
    this.busy.textContent = words;
    this.busy.classList.toggle("failed", failed);
  }
}
