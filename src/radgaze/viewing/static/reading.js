// What a run says about an image: probabilities, accept or refer, and how far it can be trusted.

import { element } from "./dom.js";

const percent = (p) => (p === null ? "?" : `${(100 * p).toFixed(p > 0.995 || p < 0.005 ? 1 : 0)} %`);

export function card(run, reading, { name, problem, sent }) {
  const made = element("article", { className: "card" });
  if (name) made.append(element("h3", { textContent: run.name, title: run.name }));
  if (problem) {
    made.append(element("p", { textContent: problem.wrong }), element("p", { className: "note", textContent: problem.advice }));
    return made;
  }
  if (!reading) {
    made.append(element("p", { className: "note", textContent: "Predicting…" }));
    return made;
  }
  if (reading.problem) made.append(element("p", { textContent: reading.problem }));
  made.append(...reading.classes.map(row));
  made.append(...verdict(run, reading), short(run), notes(run, reading, sent, !name || window.innerHeight > 1000));
  return made;
}

function row({ name, probability, low, high, calibrated, predicted }) {
  const fill = element("i");
  fill.style.width = `${100 * (probability ?? 0)}%`;
  const track = element("div", { className: "track" }, fill);
  let title = `${name}: ${percent(probability)}`;
  if (low !== null) {
    const span = element("i", { className: "span" });
    span.style.left = `${100 * low}%`;
    span.style.width = `${100 * (high - low)}%`;
    track.append(span);
    title += `; the voting runs: ${percent(low)} to ${percent(high)}`;
  }
  if (calibrated !== null) title += `; calibrated: ${percent(calibrated)}`;
  const value = low === null ? percent(probability) : `${percent(probability)} (${percent(low)}–${percent(high)})`;
  return element(
    "div",
    { className: predicted ? "class predicted" : "class", title },
    element("span", { className: "name", textContent: name }),
    track,
    element("span", { className: "value", textContent: value }),
  );
}

function verdict(run, { decision }) {
  if (!decision) {
    const words = run.rule
      ? "No decision: the rule cannot be used on this prediction."
      : "This run has no rule for when to refer a case.";
    return [element("p", { className: "verdict none", textContent: words })];
  }
  const words = decision.accept
    ? "certain enough for the run's rule"
    : "too uncertain: read the image without it";
  return [
    element(
      "p",
      { className: decision.accept ? "verdict" : "verdict refer" },
      element("b", { textContent: decision.accept ? "ACCEPT" : "REFER" }),
      element("span", { textContent: words }),
    ),
    element("p", { className: "note", textContent: `Reason: the uncertainty ${decision.reason}.` }),
  ];
}

// One line about the calibration, which always stands there.
function short({ calibration }) {
  return element("p", { className: "note", textContent: calibration });
}

function notes(run, reading, sent, open) {
  const calibrated = reading.classes.filter((each) => each.calibrated !== null);
  const words = [...run.notes];
  if (calibrated.length) {
    const figures = calibrated.map((each) => `${each.name} ${percent(each.calibrated)}`).join(", ");
    words.unshift(`Calibrated on validation cases (temperature): ${figures}.`);
  }
  if (run.rule) words.push(run.rule);
  if (run.voters > 1) words.push(`A vote of ${run.voters} runs; in brackets the lowest and highest of them.`);
  if (sent) words.push("A network gives probabilities for any picture, also for one that is no chest radiograph.");
  return element(
    "details",
    { open },
    element("summary", { textContent: "How far to trust this" }),
    ...words.map((each) => element("p", { textContent: each })),
  );
}
