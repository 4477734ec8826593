"use strict";
// Tables that sort, and a viewer of cases. Without this script a page shows the same numbers and pictures.
(() => {
  const make = (name, properties = {}, ...children) => {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(properties)) {
      if (key in element && key !== "role") element[key] = value;
      else element.setAttribute(key, value);
    }
    element.append(...children);
    return element;
  };

  // The value by which a cell is sorted: a number, or words; null where there is none.
  const keyOf = (cell) => {
    const text = cell ? cell.textContent.trim() : "";
    if (text === "" || text === "–") return null;
    const found = text.replace(/−/g, "-").replace(/(\d),(?=\d{3})/g, "$1").match(/^[≤≥<>±]?\s*([+-]?\d+(\.\d+)?)/);
    return found ? Number(found[1]) : text;
  };

  const compare = (a, b) =>
    typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true });

  const makeSortable = (table) => {
    const body = table.tBodies[0];
    const heads = table.tHead ? [...table.tHead.rows[0].cells] : [];
    if (!body || body.rows.length < 2 || table.hasAttribute("data-fixed")) return;
    const original = [...body.rows];
    const last = original.filter((row) => row.classList.contains("total"));
    const rows = original.filter((row) => !row.classList.contains("total"));
    heads.forEach((head, column) => {
      const keys = new Map(rows.map((row) => [row, keyOf(row.cells[column])]));
      const known = [...keys.values()].filter((key) => key !== null);
      if (known.length < 2 || !head.textContent.trim()) return;
      const first = known.every((key) => typeof key === "number") ? "descending" : "ascending";
      const second = first === "ascending" ? "descending" : "ascending";
      const button = make("button", { type: "button", className: "sort" });
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const next = { [first]: second, [second]: null }[head.getAttribute("aria-sort")];
        const order = next === undefined ? first : next;
        for (const each of heads) each.removeAttribute("aria-sort");
        if (order === null) return body.append(...original);
        head.setAttribute("aria-sort", order);
        const sign = order === "ascending" ? 1 : -1;
        const sorted = [...rows].sort((a, b) => {
          const [left, right] = [keys.get(a), keys.get(b)];
          if (left === null || right === null) return (left === null) - (right === null);
          return sign * compare(left, right);
        });
        body.append(...sorted, ...last);
      });
    });
  };
  document.querySelectorAll("main table").forEach(makeSortable);

  // Cases by their radiograph: each has its maps, in the order of the page.
  const cases = new Map();
  const idOf = (scan) => {
    const use = scan.querySelector("use");
    return use ? use.getAttribute("href").slice(1) : scan.querySelector("image").id;
  };
  for (const scan of document.querySelectorAll("svg.scan")) {
    const id = idOf(scan);
    const row = scan.closest("[data-case]");
    const title = row ? row.dataset.case : scan.getAttribute("aria-label").split(":")[0];
    if (!cases.has(id)) cases.set(id, { id, title, maps: [{ label: "No map", href: "" }] });
    const known = cases.get(id).maps;
    const map = scan.querySelector(".map");
    const href = map ? map.getAttribute("href") : "";
    const run = scan.closest("[data-run]");
    const caption = scan.closest("figure").querySelector("figcaption").textContent.trim();
    let place = known.findIndex((each) => each.href === href);
    if (place < 0) place = known.push({ label: run ? `${run.dataset.run} – ${caption}` : caption, href }) - 1;
    const button = make("button", { type: "button", className: "enlarge" });
    button.setAttribute("aria-label", `Enlarge: ${scan.getAttribute("aria-label")}`);
    scan.replaceWith(button);
    button.append(scan);
    button.addEventListener("click", () => open(id, place));
  }
  if (!cases.size || !window.HTMLDialogElement) return;

  const space = document.querySelector("svg.scan").namespaceURI;
  const drawn = (name) => document.createElementNS(space, name);
  const stage = drawn("svg");
  const radiograph = drawn("use");
  const map = drawn("image");
  stage.append(radiograph, map);
  stage.setAttribute("class", "stage");
  stage.setAttribute("tabindex", "0");
  stage.setAttribute("role", "img");
  stage.setAttribute("aria-describedby", "viewer-help");
  const button = (text, label, act) => {
    const element = make("button", { type: "button", textContent: text });
    if (label) element.setAttribute("aria-label", label);
    element.addEventListener("click", act);
    return element;
  };
  const heading = make("h2", { id: "viewer-title" });
  const choices = make("fieldset", { className: "maps" });
  const slider = make("input", { type: "range", min: "0", max: "100", step: "1", value: "100" });
  const share = make("output", { textContent: "100%" });
  const scale = make("output", { textContent: "1×" });
  const dialog = make(
    "dialog",
    { className: "viewer" },
    make(
      "div",
      { className: "bar" },
      heading,
      button("Previous case", "", () => step(-1)),
      button("Next case", "", () => step(1)),
      button("Close", "", () => dialog.close()),
    ),
    choices,
    make(
      "div",
      { className: "bar" },
      make("label", {}, "Opacity of the map ", slider, " ", share),
      make(
        "span",
        { className: "zoom" },
        button("−", "Zoom out", () => zoom(1 / 1.5)),
        scale,
        button("+", "Zoom in", () => zoom(1.5)),
        button("Whole image", "", () => fit()),
      ),
    ),
    stage,
    make("p", {
      id: "viewer-help",
      className: "note",
      textContent:
        "Wheel, or + and −: zoom. Drag, or arrow keys: move. 0: whole image. 1 to 9: choose a map. " +
        "[ and ]: opacity. N and P: next and previous case. Esc: close.",
    }),
  );
  dialog.setAttribute("aria-labelledby", "viewer-title");
  document.body.append(dialog);

  let shown = null;
  let size = [1, 1];
  let view = { x: 0, y: 0, zoom: 1 };
  const apply = () => {
    const [width, height] = [size[0] / view.zoom, size[1] / view.zoom];
    view.x = Math.min(Math.max(view.x, 0), size[0] - width);
    view.y = Math.min(Math.max(view.y, 0), size[1] - height);
    stage.setAttribute("viewBox", `${view.x} ${view.y} ${width} ${height}`);
    scale.textContent = `${Math.round(10 * view.zoom) / 10}×`;
  };
  const fit = () => {
    view = { x: 0, y: 0, zoom: 1 };
    apply();
  };
  // Zoom so that a point of the image, by default the middle of what is seen, stays where it is.
  const zoom = (factor, at = null) => {
    const point = at || [view.x + size[0] / view.zoom / 2, view.y + size[1] / view.zoom / 2];
    const next = Math.min(Math.max(view.zoom * factor, 1), 16);
    const ratio = view.zoom / next;
    view = { x: point[0] - (point[0] - view.x) * ratio, y: point[1] - (point[1] - view.y) * ratio, zoom: next };
    apply();
  };
  const place = (event) => {
    const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(stage.getScreenCTM().inverse());
    return [point.x, point.y];
  };
  const setOpacity = (value) => {
    slider.value = value;
    share.textContent = `${slider.value}%`;
    map.setAttribute("opacity", String(slider.value / 100));
  };
  const choose = (number) => {
    const each = shown.maps[number];
    if (!each) return;
    map.setAttribute("href", each.href || "data:,");
    map.style.display = each.href ? "" : "none";
    stage.setAttribute("aria-label", `${each.label}; ${shown.title}`);
    choices.querySelectorAll("input")[number].checked = true;
  };
  const open = (id, number) => {
    shown = cases.get(id);
    const original = document.getElementById(id);
    size = [Number(original.getAttribute("width")), Number(original.getAttribute("height"))];
    for (const name of ["width", "height"]) map.setAttribute(name, original.getAttribute(name));
    radiograph.setAttribute("href", `#${id}`);
    heading.textContent = shown.title;
    choices.replaceChildren(make("legend", { textContent: "Map" }));
    shown.maps.forEach((each, index) => {
      const input = make("input", { type: "radio", name: "viewer-map", value: String(index) });
      input.addEventListener("change", () => choose(index));
      choices.append(make("label", {}, input, ` ${each.label}`));
    });
    choose(number < shown.maps.length ? number : 0);
    fit();
    if (!dialog.open) dialog.showModal();
    stage.focus();
  };
  const step = (by) => {
    const ids = [...cases.keys()];
    const chosen = choices.querySelector("input:checked");
    open(ids[(ids.indexOf(shown.id) + by + ids.length) % ids.length], chosen ? Number(chosen.value) : 0);
  };
  slider.addEventListener("input", () => setOpacity(slider.value));
  stage.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      zoom(Math.exp(-event.deltaY / 400), place(event));
    },
    { passive: false },
  );
  // One pointer moves the image; two zoom it.
  const pointers = new Map();
  const apart = () => {
    const [a, b] = [...pointers.values()];
    return Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY) || 1;
  };
  stage.addEventListener("pointerdown", (event) => {
    pointers.set(event.pointerId, event);
    stage.setPointerCapture(event.pointerId);
  });
  stage.addEventListener("pointermove", (event) => {
    const before = pointers.get(event.pointerId);
    if (!before) return;
    const distance = pointers.size === 2 ? apart() : 0;
    pointers.set(event.pointerId, event);
    if (pointers.size === 2) {
      zoom(apart() / distance, place(event));
    } else {
      const [from, to] = [place(before), place(event)];
      view.x -= to[0] - from[0];
      view.y -= to[1] - from[1];
      apply();
    }
  });
  for (const name of ["pointerup", "pointercancel"]) {
    stage.addEventListener(name, (event) => pointers.delete(event.pointerId));
  }
  dialog.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const far = 40 / view.zoom;
    const moves = { ArrowLeft: [-far, 0], ArrowRight: [far, 0], ArrowUp: [0, -far], ArrowDown: [0, far] };
    const keys = {
      "+": () => zoom(1.25),
      "=": () => zoom(1.25),
      "-": () => zoom(1 / 1.25),
      0: fit,
      "[": () => setOpacity(Number(slider.value) - 10),
      "]": () => setOpacity(Number(slider.value) + 10),
      n: () => step(1),
      p: () => step(-1),
    };
    if (event.key in moves && document.activeElement === stage) {
      view.x += moves[event.key][0];
      view.y += moves[event.key][1];
      apply();
    } else if (/^[1-9]$/.test(event.key)) choose(Number(event.key) - 1);
    else if (event.key.toLowerCase() in keys) keys[event.key.toLowerCase()]();
    else return;
    event.preventDefault();
  });
  for (const legend of document.querySelectorAll("p.legend")) {
    if (document.querySelector("svg.scan")) {
      legend.append(make("span", { textContent: "Choose a picture to enlarge it, zoom and change the map’s opacity." }));
    }
  }
})();
