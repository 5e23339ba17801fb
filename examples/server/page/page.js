"use strict";
// The page: sends each image on its own, and shows what comes back.

const byId = (id) => document.getElementById(id);
const results = byId("results");

const percent = (share) => {
  const value = 100 * share;
  if (value > 0 && value < 0.1) return "< 0.1 %";
  if (value > 99.9 && value < 100) return "> 99.9 %";
  return `${value.toFixed(1)} %`;
};

function element(name, text, attributes = {}) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  for (const [key, value] of Object.entries(attributes))
    made.setAttribute(key, value);
  return made;
}

// A cell with a value and, by its style, a bar from 0 to 1.
function bar(share, kind) {
  const cell = element("td", percent(share), { class: kind });
  cell.style.setProperty("--share", `${100 * share}%`);
  return cell;
}

function row(name, ...cells) {
  const made = element("tr");
  made.append(element("th", name, { scope: "row" }), ...cells);
  return made;
}

// The image, in colour where the model sees it, and one of its masks on it.
async function showImage(article, file, answer, modules) {
  const view = article.querySelector(".view");
  const [whole, seen, mask] = view.children;
  whole.src = seen.src = URL.createObjectURL(file);
  await Promise.all([whole.decode(), seen.decode()]);
  URL.revokeObjectURL(whole.src);
  const shape = whole.naturalWidth / whole.naturalHeight;
  view.style.aspectRatio = shape;
  view.style.width = `min(100%, ${30 * shape}rem)`;
  const edges = [answer.seen[0], 1 - answer.seen[3], 1 - answer.seen[2],
    answer.seen[1]].map((share) => `${100 * share}%`);
  seen.style.clipPath = `inset(${edges.join(" ")})`;
  mask.style.inset = edges.join(" ");
  article.querySelector("figcaption").textContent = answer.seen[0] > 0.001
    || answer.seen[1] > 0.001 ? "The model sees the part in colour."
    : "The model sees all of it.";

  const layers = [["All modules", answer.masks[0]],
    ...modules.map((name, i) => [name, answer.masks[i + 1]])];
  const choices = article.querySelector(".choices");
  const choose = (name, source) => {
    mask.style.backgroundImage = source ? `url(${source})` : "none";
    view.setAttribute("aria-label", source
      ? `The image, bright where the model looked: ${name}.` : "The image.");
  };
  for (const [name, source] of [...layers, ["Image alone", undefined]]) {
    const label = element("label");
    const input = element("input", undefined, { type: "radio",
      name: `layer-${[...results.children].indexOf(article)}` });
    input.addEventListener("change", () => choose(name, source));
    label.append(input, element("span", name));
    choices.append(label);
  }
  article.querySelector(".layers").hidden = answer.masks.length === 0;
  choices.querySelector("input").checked = true;
  choose(...layers[0]);
  const strength = article.querySelector(".strength input");
  strength.addEventListener("input", () => {
    mask.style.setProperty("--strength", strength.value / 100);
  });
}

function showWords(article, answer) {
  const [best] = answer.classes;
  const said = answer.classes.find((c) => c.name === answer.backbone_class);
  article.querySelector(".prediction").textContent =
    `${best.name}, ${percent(best.model)}`
      + (answer.answered ? "" : " – not sure enough: better ask a person");
  article.querySelector(".changed").textContent = best === said
    ? `Attention keeps what the backbone alone says, and takes it from `
      + `${percent(best.backbone)} to ${percent(best.model)}.`
    : `Attention changes the prediction: the backbone alone says `
      + `${said.name}, ${percent(said.backbone)}, which attention takes to `
      + `${percent(said.model)}.`;
  article.querySelector(".classes tbody").append(...answer.classes.map((one) =>
    row(one.name, bar(one.backbone, "backbone"), bar(one.model, "attention"))));
}

function showGates(article, answer, modules) {
  const gates = article.querySelector(".gates");
  gates.hidden = answer.gates === null;
  (answer.gates ?? []).forEach((gate, i) => gates.tBodies[0].append(i
    ? row(modules[i - 1], bar(gate, "attention"))
    : row("Backbone", bar(gate, "backbone"))));
  const heads = article.querySelector(".heads tbody");
  article.querySelector("details").hidden = answer.head_gates.length === 0;
  answer.head_gates.forEach((module, i) => {
    const title = element("tr");
    title.append(element("th", modules[i], { scope: "rowgroup", colspan: 2 }));
    heads.append(title, ...module.map(
      (gate, k) => row(`Head ${k + 1}`, bar(gate, "attention"))));
  });
}

async function explain(article, file) {
  const response = await fetch("explain", { method: "POST", body: file });
  if (!response.ok) {
    const answer = await response.json().catch(() => ({}));
    throw new Error(answer.error ?? response.statusText);
  }
  const answer = await response.json();
  const count = Math.max(answer.masks.length - 1, answer.head_gates.length,
    (answer.gates ?? []).length - 1);
  const modules = Array.from({ length: count }, (_, i) => `Module ${i + 1}`);
  await showImage(article, file, answer, modules);
  showWords(article, answer);
  showGates(article, answer, modules);
}

function report() {
  const count = (kind) => results.getElementsByClassName(kind).length;
  const [waiting, failed] = [count("waiting"), count("failed")];
  const all = results.children.length;
  const fine = all - waiting - failed;
  const images = (n) => `${n} image${n === 1 ? "" : "s"}`;
  byId("status").textContent = all === 0 ? ""
    : waiting ? `${all - waiting} of ${images(all)} done …`
      : `${images(fine)} explained`
        + (failed ? `, ${failed} could not be.` : ".");
  byId("clear").hidden = all === 0;
}

async function take(file) {
  const article = byId("result").content.firstElementChild.cloneNode(true);
  article.querySelector(".file").textContent = file.name;
  results.append(article);
  report();
  try {
    await explain(article, file);
    article.className = "explained";
  } catch (error) {
    article.className = "failed";
    article.querySelector(".state").textContent = error instanceof TypeError
      ? "The server did not answer. Is it running?" : error.message;
  }
  report();
}

byId("files").addEventListener("change", (event) => {
  [...event.target.files].forEach(take);
  event.target.value = ""; // or the same image could not be chosen again
});
byId("clear").addEventListener("click", () => {
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
  [...event.dataTransfer.files].forEach(take);
});

(async () => {
  const about = await (await fetch("about")).json();
  byId("about").textContent = `${about.model}: ${about.classes} classes, `
    + `images of ${about.size[1]} × ${about.size[0]} pixels`;
  const most = Number((about.body_bytes / 2 ** 20).toPrecision(3));
  byId("rules").textContent =
    `JPEG or PNG, each of at most ${most} MiB. They are not kept.`;
})();
