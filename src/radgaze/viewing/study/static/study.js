// The page of a reader study: one case at a time, and the next one only when the answer is on the server's disk.

import { Viewer } from "../static/viewer.js";
import { Clock } from "./clock.js";

const EVERY = 5000; // ms between two pieces that are sent while a case is read
const AGAIN = 2000; // ms until an answer that was not saved is sent again
const CODE = "radgaze-reader";

const at = (id) => document.getElementById(id);
const viewer = new Viewer(at("image"));
let about = null;
let reader = null;
let shown = null; // the case on the screen: { …, clock, unsent }
let saving = false;

async function ask(address, content) {
  const sent = content === undefined ? {} : { method: "POST", body: JSON.stringify(content) };
  const headers = content === undefined ? {} : { "content-type": "application/json" };
  const response = await fetch(address, { cache: "no-store", headers, ...sent });
  if (response.ok) return response;
  const said = await response.json().catch(() => ({ wrong: "The program refused.", advice: "Reload the page." }));
  throw Object.assign(new Error(`${said.wrong} ${said.advice}`), { status: response.status, reason: said.reason });
}

const json = async (address, content) => (await ask(address, content)).json();
const pause = (ms) => new Promise((done) => setTimeout(done, ms));

function only(id) {
  for (const each of ["start", "message", "case"]) at(each).hidden = each !== id;
}

function tell(title, text) {
  at("message-title").textContent = title;
  at("message-text").textContent = text;
  only("message");
}

async function begin() {
  about = await json("api/study");
  at("question").textContent = about.question;
  about.answers.forEach((text, k) => at("answers").append(choice("answer", text, text, k < 9 ? k + 1 : null)));
  const [low, high] = about.confidence;
  if (high === 5) {
    at("sureness").classList.add("scale");
    for (let k = low; k <= high; k += 1) at("sureness").append(choice("confidence", String(k), String(k), null));
    at("sureness").append(ends("guess", "certain"));
  } else {
    const input = document.createElement("input");
    Object.assign(input, { type: "number", name: "confidence", min: low, max: high, step: 1, required: true });
    input.setAttribute("aria-label", `Confidence from ${low} to ${high}`);
    at("sureness").append(input, ends(`${low}: guess`, `${high}: certain`));
  }
  reader = sessionStorage.getItem(CODE);
  if (reader === null) enter();
  else await next();
}

function enter(words = "") {
  only("start");
  at("start-said").textContent = words;
  at("reader").focus();
}

function choice(name, value, text, key) {
  const label = document.createElement("label");
  const input = document.createElement("input");
  Object.assign(input, { type: "radio", name, value, required: true });
  const words = document.createElement("span");
  words.textContent = text;
  label.append(input, words);
  if (key !== null) {
    const mark = document.createElement("kbd");
    mark.textContent = key;
    label.append(mark);
  }
  return label;
}

function ends(low, high) {
  const words = document.createElement("div");
  words.className = "ends";
  for (const text of [low, high]) {
    const span = document.createElement("span");
    span.textContent = text;
    words.append(span);
  }
  return words;
}

async function next() {
  shown?.clock.stop();
  shown = null;
  viewer.clear();
  at("panel").reset();
  at("said").textContent = "";
  at("loading").hidden = false;
  at("cover").hidden = true;
  let state;
  try {
    state = await json("api/study/next", { reader });
  } catch (error) {
    if (error.reason === "no_reader") {
      sessionStorage.removeItem(CODE);
      reader = null;
      enter(error.message);
      return;
    }
    tell("The program does not answer", "Nothing that was saved is lost. The page goes on when the program runs again.");
    await pause(AGAIN);
    await next();
    return;
  }
  if (state.state === "finished") {
    tell("That was the last case", "All your answers are saved. Thank you.");
  } else if (state.state === "waiting") {
    const day = new Date(state.until * 1000).toLocaleString();
    tell(`Session ${state.session - 1} is finished`, `All your answers are saved. The next session can begin on ${day}.`);
  } else {
    await show(state);
  }
}

async function show(state) {
  only("case");
  describe(state);
  const [pixels, map] = await Promise.all([
    ask(`api/study/${state.view}/pixels`).then((response) => response.arrayBuffer()),
    state.map ? ask(`api/study/${state.view}/map`).then(mapOf) : null,
  ]);
  const { rows, columns, window: greys } = state.image;
  viewer.show({ values: new Uint16Array(pixels), rows, columns, window: greys });
  viewer.set({ opacity: Number(at("opacity").value) / 100, map: true });
  viewer.overlay(map);
  await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  at("loading").hidden = true;
  shown = { ...state, clock: new Clock(state.view, () => place(state.image.scale), at("image")), unsent: [], over: false };
  shown.clock.start();
  at("answers").querySelector("input").focus();
  check();
}

async function mapOf(response) {
  const values = new Uint16Array(await response.arrayBuffer());
  const edges = response.headers.get("x-place").split(" ").map(Number);
  return { values, side: Number(response.headers.get("x-side")), place: edges };
}

// Where the original image lies in the window, in CSS pixels; null while it is covered.
function place(scale) {
  if (!viewer.shown || !at("cover").hidden) return null;
  const [from, to] = [viewer.toImage({ clientX: 0, clientY: 0 }), viewer.toImage({ clientX: 1000, clientY: 1000 })];
  const css = 1000 / (to.x - from.x);
  return { scale: css * scale, left: -from.x * css, top: -from.y * css };
}

function describe(state) {
  const session = state.sessions > 1 ? `Session ${state.session} of ${state.sessions}, case` : "Case";
  at("progress").textContent = `${state.reader}: ${session} ${state.place} of ${state.cases}`;
  at("done").style.width = `${(100 * (state.place - 1)) / state.cases}%`;
  at("practice").hidden = !state.practice;
  at("model").hidden = state.prediction === null && !state.map;
  at("prediction").hidden = at("probabilities").hidden = state.prediction === null;
  at("prediction").textContent = state.prediction?.answer ?? "";
  at("probabilities").replaceChildren(...(state.prediction?.probabilities ?? []).map(([name, p]) => chance(name, p)));
  at("overlay").hidden = !state.map;
  at("show-map").checked = true;
}

function chance(name, p) {
  const item = document.createElement("li");
  const [word, number, meter] = ["span", "span", "meter"].map((tag) => document.createElement(tag));
  word.textContent = name;
  number.textContent = p.toFixed(2);
  meter.value = p;
  item.append(word, number, meter);
  return item;
}

function given() {
  const answer = at("panel").elements.answer.value;
  const text = at("panel").elements.confidence.value;
  const [low, high] = about.confidence;
  const confidence = text === "" ? NaN : Number(text);
  const valid = answer !== "" && Number.isInteger(confidence) && low <= confidence && confidence <= high;
  return valid ? { answer, confidence } : null;
}

function check() {
  at("save").disabled = saving || shown === null || given() === null;
}

// A repeated request changes nothing: the server knows the view. It is repeated until an answer comes.
async function save() {
  const answered = given();
  if (saving || shown === null || answered === null) return;
  saving = true;
  check();
  const { clock, view, over } = shown;
  clock.stop();
  shown.unsent.push(clock.piece());
  const content = { view, ...answered, over_time: over, pieces: shown.unsent };
  for (;;) {
    try {
      const { outcome } = await json("api/study/answer", content);
      saving = false;
      await next();
      if (outcome === "refused") at("said").textContent = "The case before was answered in another window; that answer counts.";
      return;
    } catch (error) {
      if (error.status !== undefined && error.status < 500) {
        saving = false;
        at("said").textContent = error.message;
        if (error.status === 404 || error.status === 409) await next();
        return;
      }
      at("said").textContent = "Not saved yet: the program does not answer. It is tried again; please leave this page open.";
      await pause(AGAIN);
    }
  }
}

// Pieces are kept until the server has them.
async function report() {
  if (shown === null || saving) return;
  const { unsent, clock } = shown;
  unsent.push(clock.piece());
  const sent = unsent.slice();
  try {
    await ask("api/study/pieces", { pieces: sent });
    unsent.splice(0, unsent.length, ...unsent.filter((each) => !sent.includes(each)));
  } catch {
    // They are sent with the next ones.
  }
}

function tick() {
  if (shown === null || about.time_limit === null) {
    at("clock").hidden = true;
    return;
  }
  const left = about.time_limit - shown.spent - shown.clock.active();
  at("clock").hidden = false;
  at("clock").textContent = left > 0 ? `${Math.ceil(left)} s left` : "The time is over";
  if (left <= 0 && !shown.over) {
    shown.over = true;
    at("cover").hidden = false;
  }
}

function key(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || at("case").hidden || shown === null) return;
  const typing = event.target.type === "number";
  const inConfidence = at("sureness").contains(document.activeElement);
  if (event.key === "Enter" && event.target.id !== "save" && event.target.tagName !== "SUMMARY") {
    event.preventDefault();
    save();
  } else if (event.key === "Backspace" && !(typing && event.target.value)) {
    event.preventDefault();
    first(at("answers")).focus();
  } else if (/^[0-9]$/.test(event.key) && !typing) {
    event.preventDefault();
    const number = Number(event.key);
    if (inConfidence) {
      const input = at("sureness").querySelector(`input[value="${number}"]`);
      if (input) pick(input);
    } else if (number >= 1 && number <= about.answers.length) {
      pick(at("answers").querySelectorAll("input")[number - 1]);
      first(at("sureness")).focus();
    }
  } else if (!typing || !/^[0-9]$/.test(event.key)) {
    image(event);
  }
}

// The chosen one of a group, or its first one.
function first(group) {
  return group.querySelector("input:checked") ?? group.querySelector("input");
}

function pick(input) {
  input.checked = true;
  input.focus();
  check();
}

function image(event) {
  const middle = at("image").getBoundingClientRect();
  const centre = { clientX: middle.left + middle.width / 2, clientY: middle.top + middle.height / 2 };
  const does = {
    h: () => shown.map && at("show-map").click(),
    i: () => viewer.view.set({ inverted: !viewer.view.inverted }),
    r: () => viewer.view.reset(),
    "+": () => viewer.zoomAt(centre, 1.25),
    "=": () => viewer.zoomAt(centre, 1.25),
    "-": () => viewer.zoomAt(centre, 0.8),
  }[event.key.toLowerCase()];
  if (does === undefined) return;
  event.preventDefault();
  does();
}

at("code").addEventListener("submit", (event) => {
  event.preventDefault();
  reader = at("reader").value.trim();
  sessionStorage.setItem(CODE, reader);
  next();
});
at("panel").addEventListener("submit", (event) => {
  event.preventDefault();
  save();
});
at("panel").addEventListener("input", check);
at("show-map").addEventListener("change", (event) => viewer.set({ map: event.target.checked }));
at("opacity").addEventListener("input", (event) => viewer.set({ opacity: Number(event.target.value) / 100 }));
document.addEventListener("keydown", key);
setInterval(report, EVERY);
setInterval(tick, 250);
window.addEventListener("pagehide", () => {
  if (shown === null || saving) return;
  const pieces = [...shown.unsent, shown.clock.piece()];
  navigator.sendBeacon("api/study/pieces", new Blob([JSON.stringify({ pieces })], { type: "application/json" }));
});
window.addEventListener("pageshow", (event) => event.persisted && location.reload()); // back to a kept page
begin().catch((error) => tell("The page could not be opened", error.message));
