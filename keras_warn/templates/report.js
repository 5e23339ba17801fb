"use strict";
// All of the page can be read without this: it filters, sorts and unfolds.

const examples = document.getElementById("examples");
if (examples) {
  const cards = [...examples.querySelectorAll("article")];
  const buttons = [...examples.querySelectorAll("button[data-show]")];
  const status = examples.querySelector("[role=status]");
  for (const button of buttons) {
    button.addEventListener("click", () => {
      const shown = button.dataset.show;
      for (const other of buttons) {
        other.setAttribute("aria-pressed", String(other === button));
      }
      for (const card of cards) {
        card.hidden = shown !== "all" && card.dataset.outcome !== shown;
      }
      const count = cards.filter((card) => !card.hidden).length;
      status.textContent = `${count} of ${cards.length} examples are shown.`;
    });
  }
}

for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    if (!head.dataset.sort) return;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") === "descending";
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const value = (row) => row.cells[column].dataset.value;
      const compared =
        head.dataset.sort === "number"
          ? (a, b) => value(a) - value(b)
          : (a, b) => value(a).localeCompare(value(b), undefined, { numeric: true });
      const rows = [...table.tBodies[0].rows].sort(compared);
      table.tBodies[0].append(...(up ? rows : rows.reverse()));
    });
  });
}

for (const element of document.querySelectorAll(".needs-script")) {
  element.hidden = false;
}

// What is folded is printed, too.
addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details:not([open])")) {
    details.open = true;
    details.dataset.unfold = "";
  }
});
addEventListener("afterprint", () => {
  for (const details of document.querySelectorAll("details[data-unfold]")) {
    details.open = false;
    delete details.dataset.unfold;
  }
});
