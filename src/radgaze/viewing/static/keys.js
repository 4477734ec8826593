// Keyboard shortcuts, and the list of them.

import { element, find } from "./dom.js";

// Each: keys, what they do, and the function; keys are values of `KeyboardEvent.key`.
export function shortcuts(actions) {
  return [
    [["?"], "this list", actions.help],
    [["ArrowDown", "j"], "next image", () => actions.step(1)],
    [["ArrowUp", "k"], "previous image", () => actions.step(-1)],
    [["u"], "open an image", actions.open],
    [["/"], "find a case", actions.find],
    [["l"], "show or hide the list", actions.list],
    [["1…9"], "map of this class", null],
    [["0"], "map of the predicted class", () => actions.target(0)],
    [["m"], "next map method", () => actions.method(1)],
    [["M"], "previous map method", () => actions.method(-1)],
    [["o", " "], "map on or off", () => actions.flip("map")],
    [["h"], "heatmaps smoothed or not", actions.smooth],
    [["]"], "more opaque", () => actions.slide("opacity", 5)],
    [["["], "less opaque", () => actions.slide("opacity", -5)],
    [["."], "hide more of the map", () => actions.slide("threshold", 5)],
    [[","], "hide less of the map", () => actions.slide("threshold", -5)],
    [["b"], "boxes of findings", () => actions.flip("boxes")],
    [["n"], "boxes of organs", () => actions.flip("organs")],
    [["g"], "readers' fixations", () => actions.flip("gaze")],
    [["+", "="], "zoom in", () => actions.zoom(1.25)],
    [["-"], "zoom out", () => actions.zoom(0.8)],
    [["ArrowLeft"], "darker", () => actions.slide("level", 2)],
    [["ArrowRight"], "brighter", () => actions.slide("level", -2)],
    [["w"], "more contrast", () => actions.slide("width", -4)],
    [["s"], "less contrast", () => actions.slide("width", 4)],
    [["i"], "invert the greys", actions.invert],
    [["p"], "drag moves the image", actions.tool],
    [["f"], "whole image", actions.fit],
    [["r"], "reset window and zoom", actions.reset],
  ];
}

const NAMES = { M: "Shift M", ArrowDown: "↓", ArrowUp: "↑", ArrowLeft: "←", ArrowRight: "→", " ": "Space" };

export function listen(table, actions) {
  find("help-list").replaceChildren(
    ...table.flatMap(([keys, words]) => [
      element("dt", {}, ...keys.flatMap((key, i) => [i ? " " : "", element("kbd", { textContent: NAMES[key] ?? key.toUpperCase() })])),
      element("dd", { textContent: words }),
    ]),
  );
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || find("help").open) return;
    const { target, key } = event;
    if (key === "Escape") {
      actions.close();
      if (target instanceof HTMLElement) target.blur();
      return;
    }
    const types = target instanceof HTMLInputElement && (target.type === "search" || target.type === "text");
    if (types) return;
    const own = target instanceof HTMLSelectElement || target instanceof HTMLButtonElement || target.type === "range" || target.type === "checkbox";
    if (own && (key.startsWith("Arrow") || key === " " || (target instanceof HTMLSelectElement && key.length === 1))) return;
    if (/^[1-9]$/.test(key)) {
      actions.target(Number(key));
    } else {
      const row = table.find(([keys, , act]) => act && keys.includes(key));
      if (!row) return;
      row[2]();
    }
    event.preventDefault();
  });
}
