"use strict";
// The page: sends each image on its own, and draws what comes back.

// Images on their way at a time, and the longest side that is drawn.
const AT_A_TIME = 2;
const LONGEST = 720;
const TYPES = ["image/jpeg", "image/png"];
// What is left of the image outside of a mask, and the light within: orange.
const DIMMED = 0.55;
const LIGHT = [230, 120, 0];

const byId = (id) => document.getElementById(id);
const results = byId("results");
const status = byId("status");
let about = null;
let asked = 0;
let answered = 0;
let refused = 0;
let generation = 0;
const queue = [];
let working = 0;

const percent = (share) => {
  const value = 100 * share;
  if (value > 0 && value < 0.1) return "< 0.1 %";
  if (value > 99.9 && value < 100) return "> 99.9 %";
  return `${value.toFixed(1)} %`;
};

const mebibytes = () => Number((about.body_bytes / 2 ** 20).toPrecision(3));

function element(name, text, attributes = {}) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  for (const [key, value] of Object.entries(attributes))
    made.setAttribute(key, value);
  return made;
}

// A cell with a value and a bar from 0 to 1.
function bar(share, kind) {
  const space = "http://www.w3.org/2000/svg";
  const cell = element("td", percent(share));
  const svg = document.createElementNS(space, "svg");
  svg.setAttribute("viewBox", "0 0 100 1");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  for (const [name, width] of [["track", 1], [kind, share]]) {
    const rectangle = document.createElementNS(space, "rect");
    rectangle.setAttribute("class", name);
    rectangle.setAttribute("width", 100 * Math.max(0, Math.min(1, width)));
    rectangle.setAttribute("height", 1);
    svg.append(rectangle);
  }
  cell.append(svg);
  return cell;
}

function row(name, cells) {
  const made = element("tr");
  made.append(element("th", name, { scope: "row" }), ...cells);
  return made;
}

async function loaded(source) {
  const image = new Image();
  image.src = source;
  await image.decode();
  return image;
}

// The image in a canvas, and masks on it. Where the model did not see it, it
// is dimmed and without colour.
class Overlay {
  constructor(canvas, image, masks, placement) {
    const shrink = LONGEST / Math.max(
      LONGEST, image.naturalWidth, image.naturalHeight);
    canvas.width = Math.max(1, Math.round(image.naturalWidth * shrink));
    canvas.height = Math.max(1, Math.round(image.naturalHeight * shrink));
    this.context = canvas.getContext("2d", { willReadFrequently: true });
    this.width = canvas.width;
    this.height = canvas.height;
    this.context.drawImage(image, 0, 0, this.width, this.height);
    this.pixels = this.context.getImageData(0, 0, this.width, this.height);
    const [top, left, bottom, right] = placement.image;
    this.box = [top * this.height, left * this.width, bottom * this.height,
      right * this.width].map(Math.round);
    this.masks = masks.map((mask) => this.placed(mask, placement.masks));
  }

  // A mask where it belongs in the image: a number from 0 to 255 a pixel.
  placed(mask, part) {
    const canvas = element("canvas");
    canvas.width = this.width;
    canvas.height = this.height;
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.imageSmoothingQuality = "high";
    const [top, left, bottom, right] = this.box;
    const [height, width] = [mask.naturalHeight, mask.naturalWidth];
    context.drawImage(
      mask, part[1] * width, part[0] * height, (part[3] - part[1]) * width,
      (part[2] - part[0]) * height, left, top, right - left, bottom - top);
    const { data } = context.getImageData(0, 0, this.width, this.height);
    return Uint8ClampedArray.from({ length: data.length / 4 },
      (_, i) => data[4 * i]);
  }

  draw(which, strength) {
    const drawn = new ImageData(
      new Uint8ClampedArray(this.pixels.data), this.width, this.height);
    const { data } = drawn;
    const [top, left, bottom, right] = this.box;
    const mask = which === null ? null : this.masks[which];
    for (let y = 0, i = 0; y < this.height; y++)
      for (let x = 0; x < this.width; x++, i++) {
        const at = 4 * i;
        if (y < top || y >= bottom || x < left || x >= right) {
          const gray = 0.299 * data[at] + 0.587 * data[at + 1]
            + 0.114 * data[at + 2];
          data[at] = data[at + 1] = data[at + 2] = 0.35 * gray;
        } else if (mask !== null) {
          const share = mask[i] / 255;
          const kept = 1 - strength * (1 - DIMMED) * (1 - share)
            - strength * 0.35 * share;
          for (let c = 0; c < 3; c++)
            data[at + c] = kept * data[at + c]
              + 0.55 * strength * share * LIGHT[c];
        }
      }
    this.context.putImageData(drawn, 0, 0);
  }
}

let groups = 0;

function showMasks(article, overlay, modules, best) {
  const canvas = article.querySelector("canvas");
  const choices = article.querySelector(".choices");
  const strength = article.querySelector(".strength input");
  const group = `layer-${groups++}`;
  const layers = overlay.masks.length
    ? [["All modules", 0], ...modules.map((name, i) => [name, i + 1]),
      ["Image alone", null]]
    : [["Image alone", null]];
  let chosen = layers[0];
  const draw = () => {
    overlay.draw(chosen[1], strength.value / 100);
    strength.disabled = chosen[1] === null;
    canvas.setAttribute("aria-label", chosen[1] === null
      ? `The image, taken for ${best}.`
      : `The image, bright where the model looked: ${chosen[0]}.`);
  };
  for (const layer of layers) {
    const label = element("label");
    const input = element("input", undefined, { type: "radio", name: group });
    input.checked = layer === chosen;
    input.addEventListener("change", () => { chosen = layer; draw(); });
    label.append(input, element("span", layer[0]));
    choices.append(label);
  }
  article.querySelector(".layers").hidden = layers.length === 1;
  strength.addEventListener("input", draw);
  draw();
}

function showWords(article, answer) {
  const [best] = answer.classes;
  const said = answer.classes.find((c) => c.name === answer.backbone_class);
  article.querySelector(".prediction").textContent =
    `${best.name}, ${percent(best.attention)}`
      + (answer.answered ? "" : " – not sure enough: better ask a person");
  article.querySelector(".changed").textContent = best === said
    ? `Attention keeps what the backbone alone says, and takes it from `
      + `${percent(best.backbone)} to ${percent(best.attention)}.`
    : `Attention changes the prediction: the backbone alone says `
      + `${said.name}, ${percent(said.backbone)}, which attention takes to `
      + `${percent(said.attention)}.`;
  const classes = article.querySelector(".classes tbody");
  for (const one of answer.classes) {
    const made = row(one.name,
      [bar(one.backbone, "backbone"), bar(one.attention, "attention")]);
    made.classList.toggle("best", one === best);
    classes.append(made);
  }
}

function showGates(article, answer, modules) {
  const gates = article.querySelector(".gates");
  gates.hidden = answer.gates === null;
  (answer.gates ?? []).forEach((gate, i) => gates.tBodies[0].append(
    row(i ? modules[i - 1] : "Backbone",
      [bar(gate, i ? "attention" : "backbone")])));
  const heads = article.querySelector(".heads tbody");
  article.querySelector("details").hidden = answer.head_gates.length === 0;
  answer.head_gates.forEach((module, i) => {
    const title = element("tr");
    title.append(element("th", modules[i], { scope: "rowgroup", colspan: 2 }));
    heads.append(title, ...module.map(
      (gate, k) => row(`Head ${k + 1}`, [bar(gate, "attention")])));
  });
}

async function show(article, file, answer) {
  const address = URL.createObjectURL(file);
  const image = await loaded(address);
  const masks = await Promise.all(answer.masks.map(loaded));
  const overlay = new Overlay(
    article.querySelector("canvas"), image, masks, answer.placement);
  URL.revokeObjectURL(address);
  const count = Math.max(answer.masks.length - 1, answer.head_gates.length,
    (answer.gates ?? []).length - 1);
  const modules = Array.from(
    { length: count }, (_, i) => `Module ${i + 1}`);
  const [top, left, bottom, right] = answer.placement.image;
  article.querySelector("figcaption").textContent =
    top > 0.001 || left > 0.001 || bottom < 0.999 || right < 0.999
      ? "The model sees the part in colour." : "The model sees all of it.";
  showMasks(article, overlay, modules, answer.classes[0].name);
  showWords(article, answer);
  showGates(article, answer, modules);
  article.querySelector(".state").hidden = true;
  article.querySelector(".answer").hidden = false;
}

// The server's answer; where it has too much to do, a little later.
async function explained(file) {
  for (let tries = 5; ; tries--) {
    const response = await fetch("explain", {
      method: "POST",
      headers: { "Content-Type": file.type },
      body: file,
    });
    const answer = await response.json();
    if (response.ok) return answer;
    if (response.status !== 503 || tries === 0) throw new Error(answer.error);
    const seconds = Number(response.headers.get("Retry-After")) || 1;
    await new Promise((go) => setTimeout(go, 1000 * seconds));
  }
}

function problem(article, message) {
  const state = article.querySelector(".state");
  state.textContent = message;
  state.className = "state problem";
}

async function work() {
  if (working >= AT_A_TIME || queue.length === 0) return;
  working++;
  const { file, article, from } = queue.shift();
  article.querySelector(".state").textContent = "The model looks at it …";
  try {
    await show(article, file, await explained(file));
  } catch (error) {
    if (from === generation) refused++;
    problem(article, error instanceof TypeError
      ? "The server did not answer. Is it running?" : error.message);
  }
  working--;
  if (from === generation) {
    answered++;
    report();
  }
  work();
}

function report() {
  const fine = answered - refused;
  const images = (n) => `${n} image${n === 1 ? "" : "s"}`;
  status.textContent = asked === 0 ? ""
    : answered < asked ? `${answered} of ${images(asked)} done …`
      : `${images(fine)} explained`
        + (refused ? `, ${refused} could not be.` : ".");
  byId("clear").hidden = asked === 0;
}

function take(files) {
  const most = about?.images ?? 1;
  const taken = [...files].slice(0, most);
  for (const file of taken) {
    const article = byId("result").content.firstElementChild.cloneNode(true);
    article.querySelector(".file").textContent = file.name;
    results.append(article);
    asked++;
    const wrong = !TYPES.includes(file.type) ? "This is no JPEG or PNG file."
      : about && file.size > about.body_bytes
        ? `This file is too large: at most ${mebibytes()} MiB.` : null;
    if (wrong !== null) {
      refused++;
      answered++;
      problem(article, wrong);
      continue;
    }
    queue.push({ file, article, from: generation });
  }
  report();
  if (files.length > most)
    status.textContent = `Only the first ${most} of ${files.length} images `
      + "are taken at a time.";
  for (let i = 0; i < AT_A_TIME; i++) work();
}

byId("files").addEventListener("change", (event) => {
  take(event.target.files);
  event.target.value = ""; // or the same image could not be chosen again
});
byId("clear").addEventListener("click", () => {
  generation++;
  queue.length = asked = answered = refused = 0;
  results.replaceChildren();
  report();
  byId("files").focus();
});

// Wherever it is dropped: a browser would leave the page for the image.
const drop = byId("drop");
addEventListener("dragover", (event) => {
  event.preventDefault();
  drop.classList.add("over");
});
addEventListener("dragleave", (event) => {
  if (event.relatedTarget === null) drop.classList.remove("over");
});
addEventListener("drop", (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  if (event.dataTransfer.files.length) take(event.dataTransfer.files);
});

(async () => {
  about = await (await fetch("about")).json();
  byId("about").textContent = `${about.model}: ${about.classes} classes, `
    + `images of ${about.size[1]} × ${about.size[0]} pixels`;
  byId("rules").textContent = `JPEG or PNG, at most ${about.images} at a `
    + `time, each of at most ${mebibytes()} MiB. `
    + "They are not kept.";
})();
