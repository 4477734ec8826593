// The list of images: those that were opened, and the cases of the store.

import { element, find } from "./dom.js";
import { json } from "./requests.js";

const LATER = 200; // milliseconds after the last letter typed

export class Picks {
  constructor(about, { pick, remove }) {
    this.pick = pick;
    this.remove = remove;
    this.sent = [];
    this.cases = [];
    this.count = 0;
    this.current = null;
    if (!about.cases) return;
    find("cases").hidden = false;
    const splits = [["", "all"], ...about.cases.splits.map((name) => [name, name])];
    find("split").replaceChildren(...splits.map(([value, text]) => element("option", { value, textContent: text })));
    find("split").addEventListener("change", () => this.list());
    find("word").addEventListener("input", () => {
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.list(), LATER);
    });
    find("more").addEventListener("click", () => this.list(this.cases.length));
  }

  get keys() {
    return [...this.sent.map(({ key }) => key), ...this.cases.map(({ key }) => key)];
  }

  async list(start = 0) {
    const query = new URLSearchParams({ word: find("word").value, split: find("split").value, start });
    const asked = (this.asked = Symbol("asked"));
    const { count, cases } = await json(`api/cases?${query}`);
    if (asked !== this.asked) return;
    const made = cases.map((each) => ({ key: `case-${each.row}`, name: each.case_id, truth: each.truth }));
    this.cases = start ? [...this.cases, ...made] : made;
    this.count = count;
    find("cases-count").textContent = `(${count})`;
    find("more").hidden = this.cases.length >= count;
    this.draw();
  }

  add(key) {
    this.number = (this.number ?? 0) + 1;
    this.sent.unshift({ key, name: `Image ${this.number}`, truth: "" });
    this.draw();
  }

  drop(key) {
    this.sent = this.sent.filter((each) => each.key !== key);
    this.draw();
  }

  mark(key) {
    this.current = key;
    this.draw();
  }

  next(step) {
    const { keys } = this;
    const at = keys.indexOf(this.current);
    return at < 0 ? (keys[0] ?? null) : (keys[at + step] ?? null);
  }

  draw() {
    find("sent").hidden = !this.sent.length;
    find("sent-list").replaceChildren(...this.sent.map((each) => this.#row(each, true)));
    find("cases-list").replaceChildren(...this.cases.map((each) => this.#row(each, false)));
    const shown = document.querySelector('.picks [aria-current="true"]');
    shown?.scrollIntoView({ block: "nearest" });
  }

  #row({ key, name, truth }, removable) {
    const button = element(
      "button",
      { type: "button", title: truth ? `${name}: ${truth}` : name },
      element("span", { className: "name", textContent: name }),
      element("span", { className: "truth", textContent: truth ?? "" }),
    );
    button.setAttribute("aria-current", String(key === this.current));
    button.addEventListener("click", () => this.pick(key));
    const remove = removable ? element("button", { type: "button", className: "remove", title: "Forget this image", textContent: "✕" }) : null;
    remove?.addEventListener("click", () => this.remove(key));
    return element("li", {}, button, remove);
  }
}
