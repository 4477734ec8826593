// Requests to the server. A refusal is an error with `wrong` (what is wrong) and `advice` (what to do).

export class Refused extends Error {
  constructor({ reason = "error", wrong, advice = "" }) {
    super(wrong);
    Object.assign(this, { reason, wrong, advice });
  }
}

const AWAY = {
  reason: "away",
  wrong: "The program does not answer.",
  advice: "See whether it still runs in the terminal, and reload the page.",
};

async function ask(address, options = {}) {
  let response;
  try {
    response = await fetch(address, { cache: "no-store", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(AWAY);
  }
  if (response.ok) return response;
  let said = null;
  try {
    said = await response.json();
  } catch {
    said = { wrong: `The program refused (${response.status}).`, advice: "Open the address that it printed." };
  }
  throw new Refused(said);
}

export async function json(address, options) {
  return (await ask(address, options)).json();
}

// Greys of 16 bits, with the headers of the response.
export async function greys(address, options) {
  const response = await ask(address, options);
  return { values: new Uint16Array(await response.arrayBuffer()), headers: response.headers };
}

export async function image(key, options) {
  const address = `api/images/${encodeURIComponent(key)}`;
  const [about, pixels] = await Promise.all([json(address, options), greys(`${address}/pixels`, options)]);
  return { ...about, values: pixels.values };
}

export async function map(key, query, options) {
  const words = new URLSearchParams(query);
  const { values, headers } = await greys(`api/images/${encodeURIComponent(key)}/map?${words}`, options);
  return { values, side: Number(headers.get("x-side")), place: headers.get("x-place").split(" ").map(Number) };
}

export async function send(file, largest) {
  if (file.size > largest * 2 ** 20) {
    throw new Refused({
      wrong: `The file is larger than ${largest} MB, the most that this page accepts.`,
      advice: "Export the image with fewer pixels or with compression.",
    });
  }
  return json("api/images", { method: "POST", body: file, headers: { "content-type": "application/octet-stream" } });
}

export async function forget(key) {
  await ask(`api/images/${encodeURIComponent(key)}`, { method: "DELETE" });
}
