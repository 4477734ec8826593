// The page: what is picked or dropped is shown in every pane, predicted, and explained.

import { element, find } from "./dom.js";
import { listen, shortcuts } from "./keys.js";
import { Pane } from "./pane.js";
import { Picks } from "./picks.js";
import { card } from "./reading.js";
import { forget, image, json, send } from "./requests.js";
import { View, heatColour } from "./viewer.js";

const WHITE = 65535;
const MARKS = ["map", "boxes", "organs", "gaze"];
const view = new View();
const panes = [];
let about = null;
let picks = null;
let asked = null; // what is on its way to be shown

function complain(error) {
  find("message-wrong").textContent = error.wrong ?? "Something went wrong on this page.";
  find("message-advice").textContent = error.advice ?? `Reload the page. (${error.name})`;
  find("message").hidden = false;
  say("");
}

const say = (words) => {
  find("status").textContent = words;
};

function close() {
  find("message").hidden = true;
}

async function show(key) {
  asked?.abort();
  const { signal } = (asked = new AbortController());
  const timer = setTimeout(() => say("Loading the image…"), 300);
  try {
    const shown = await image(key, { signal });
    if (signal.aborted) return;
    close();
    history.replaceState(null, "", `#${key}`);
    picks.mark(key);
    find("welcome").hidden = true;
    for (const id of ["overlay", "window"]) find(id).hidden = false;
    describe(shown);
    const problems = panes.map(() => null);
    const readings = panes.map(() => null);
    const draw = () => find("readings").replaceChildren(element("h2", { textContent: "Prediction" }), ...cards(shown, readings, problems));
    for (const pane of panes) pane.show(shown);
    draw();
    say("");
    await Promise.all(
      panes.map(async (pane, i) => {
        try {
          readings[i] = await json(`api/images/${encodeURIComponent(key)}/reading?run=${i}`, { signal });
          pane.targets(readings[i].target);
        } catch (error) {
          if (signal.aborted) return;
          problems[i] = error;
        }
        if (signal.aborted) return;
        draw();
        await pane.update();
      }),
    );
  } catch (error) {
    if (!signal.aborted) complain(error);
  } finally {
    clearTimeout(timer);
    if (!signal.aborted) say("");
  }
}

function cards(shown, readings, problems) {
  return about.runs.map((run, i) =>
    card(run, readings[i], { name: about.runs.length > 1, problem: problems[i], sent: shown.case === null }),
  );
}

function describe(shown) {
  const size = `${shown.originalColumns} × ${shown.originalRows} pixels`;
  const stored = shown.columns === shown.originalColumns ? "" : `; here ${shown.columns} × ${shown.rows}`;
  const truth = shown.case === null ? "" : `True: ${shown.truth.join(", ") || "none"}`;
  const line = element("p", {}, element("strong", { textContent: truth }), truth ? " " : "");
  line.append(element("span", { className: "note", textContent: size + stored }));
  const lines = [line];
  if (shown.turned) lines.push(element("p", { className: "warn", textContent: "Turned upright, as the file asks." }));
  if (shown.burnedIn) {
    const words = "The file says that text is burnt into the image; it may name the patient.";
    lines.push(element("p", { className: "warn", textContent: words }));
  }
  find("about-image").replaceChildren(...lines);
  find("about-image").hidden = false;
  find("boxes-label").hidden = !shown.marks.some(({ finding }) => finding);
  find("organs-label").hidden = !shown.marks.some(({ finding }) => !finding);
  find("gaze-label").hidden = !shown.fixations.length;
}

async function open(files) {
  const chosen = [...files];
  for (const [i, file] of chosen.entries()) {
    say(chosen.length > 1 ? `Reading image ${i + 1} of ${chosen.length}…` : "Reading the image…");
    try {
      const { key } = await send(file, about.largest);
      picks.add(key);
      await show(key);
    } catch (error) {
      complain(error);
    }
  }
  say("");
}

async function remove(key) {
  try {
    await forget(key);
  } catch (error) {
    complain(error);
  }
  picks.drop(key);
  if (picks.current !== key) return;
  asked?.abort();
  for (const pane of panes) pane.clear();
  for (const id of ["overlay", "window", "about-image"]) find(id).hidden = true;
  find("readings").replaceChildren();
  find("welcome").hidden = false;
  history.replaceState(null, "", " ");
}

// The controls of the overlay and the window.
function settings() {
  const values = Object.fromEntries(MARKS.map((id) => [id, find(id).checked]));
  for (const id of ["opacity", "threshold"]) {
    values[id] = Number(find(id).value) / 100;
    document.querySelector(`output[for="${id}"]`).textContent = id === "opacity" ? `${find(id).value} %` : values[id].toFixed(2);
  }
  for (const pane of panes) pane.viewer.set(values);
  legend(values.threshold);
}

function remake() {
  for (const pane of panes) {
    pane.smoothed = find("smoothed").checked;
    pane.update();
  }
}

function legend(threshold) {
  const canvas = find("legend");
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, canvas.width, canvas.height);
  for (let x = 0; x < canvas.width; x += 1) {
    const value = x / (canvas.width - 1);
    if (value < threshold) continue;
    const [red, green, blue] = heatColour(value);
    context.fillStyle = `rgba(${red}, ${green}, ${blue}, ${value ** 0.6})`;
    context.fillRect(x, 0, 1, canvas.height);
  }
}

function fromSliders() {
  const width = (Number(find("width").value) / 100) * WHITE;
  const level = (Number(find("level").value) / 100) * WHITE;
  view.set({ low: level - width / 2, high: level + width / 2 });
}

function toSliders() {
  const width = (100 * (view.high - view.low)) / WHITE;
  const level = (50 * (view.high + view.low)) / WHITE;
  for (const [id, value] of [["width", width], ["level", level]]) {
    if (document.activeElement !== find(id)) find(id).value = value;
    document.querySelector(`output[for="${id}"]`).textContent = `${Math.round(value)} %`;
  }
  find("invert").setAttribute("aria-pressed", String(view.inverted));
  for (const pane of panes) pane.corner.textContent = `W ${Math.round(width)} %  L ${Math.round(level)} %  zoom ${view.zoom.toFixed(1)}×`;
}

function tool(next = null) {
  const chosen = next ?? (panes[0].viewer.tool === "window" ? "pan" : "window");
  for (const pane of panes) {
    pane.viewer.tool = chosen;
    pane.viewer.canvas.classList.toggle("pan", chosen === "pan");
  }
  find("tool").replaceChildren(chosen === "window" ? "Drag: window " : "Drag: move ", element("kbd", { textContent: "P" }));
}

const actions = {
  help: () => find("help").showModal(),
  close,
  step: (step) => {
    const key = picks.next(step);
    if (key !== null) show(key);
  },
  open: () => find("file").click(),
  find: () => {
    find("word").focus();
  },
  list: () => {
    const hidden = document.querySelector("main").classList.toggle("no-list");
    find("toggle-list").setAttribute("aria-expanded", String(!hidden));
  },
  target: (number) => {
    for (const pane of panes) {
      if (number >= pane.target.options.length || pane.target.disabled) continue;
      pane.target.selectedIndex = number;
      pane.update();
    }
  },
  method: (step) => {
    for (const pane of panes) {
      const { length } = pane.method.options;
      pane.method.selectedIndex = (pane.method.selectedIndex + step + length) % length;
      pane.update();
    }
  },
  flip: (id) => {
    if (find(`${id}-label`)?.hidden) return;
    find(id).checked = !find(id).checked;
    settings();
  },
  smooth: () => {
    find("smoothed").checked = !find("smoothed").checked;
    remake();
  },
  slide: (id, step) => {
    find(id).value = Number(find(id).value) + step;
    find(id).dispatchEvent(new Event("input"));
  },
  zoom: (factor) => view.set({ zoom: view.zoom * factor }),
  invert: () => view.set({ inverted: !view.inverted }),
  tool: () => tool(),
  fit: () => view.fit(),
  reset: () => view.reset(),
};

function listenToFiles() {
  find("file").addEventListener("change", async () => {
    const files = [...find("file").files];
    find("file").value = "";
    await open(files);
  });
  find("choose").addEventListener("keydown", (event) => {
    if (event.key === "Enter" || event.key === " ") find("file").click();
  });
  const holds = (event) => event.dataTransfer?.types.includes("Files");
  for (const name of ["dragenter", "dragover"]) {
    document.addEventListener(name, (event) => {
      if (!holds(event)) return;
      event.preventDefault();
      find("drop").hidden = false;
    });
  }
  document.addEventListener("dragleave", (event) => {
    if (event.relatedTarget === null) find("drop").hidden = true;
  });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    find("drop").hidden = true;
    open(event.dataTransfer.files);
  });
}

async function begin() {
  try {
    about = await json("api/about");
  } catch (error) {
    complain(error);
    return;
  }
  document.title = `${about.runs.map(({ name }) => name).join(" and ")} – radgaze view`;
  panes.push(...about.runs.map((_, i) => new Pane(about, i, view)));
  find("panes").replaceChildren(...panes.map(({ root }) => root));
  picks = new Picks(about, { pick: show, remove });
  for (const id of [...MARKS, "opacity", "threshold"]) find(id).addEventListener("input", settings);
  find("smoothed").addEventListener("input", remake);
  for (const id of ["width", "level"]) find(id).addEventListener("input", fromSliders);
  view.addEventListener("change", toSliders);
  const clicks = { tool: actions.tool, invert: actions.invert, reset: actions.reset, "toggle-list": actions.list, "open-help": actions.help, "message-close": close, "close-help": () => find("help").close() };
  for (const [id, act] of Object.entries(clicks)) find(id).addEventListener("click", act);
  listen(shortcuts(actions), actions);
  listenToFiles();
  settings();
  tool("window");
  toSliders();
  const wanted = decodeURIComponent(location.hash.slice(1));
  try {
    if (about.cases) await picks.list();
  } catch (error) {
    complain(error);
  }
  if (wanted.startsWith("image-")) picks.add(wanted);
  if (wanted) await show(wanted);
  document.body.dataset.ready = "true";
}

window.addEventListener("hashchange", () => {
  const key = decodeURIComponent(location.hash.slice(1));
  if (key && key !== picks?.current) show(key);
});

begin();
