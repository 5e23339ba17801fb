"use strict";
// All of a page can be read without this: it sorts and unfolds.

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
      const rows = [...table.tBodies[0].rows];
      const known = rows.filter((row) => value(row) !== "").sort(compared);
      // What has no value stays below, in either direction.
      const others = rows.filter((row) => value(row) === "");
      table.tBodies[0].append(...(up ? known : known.reverse()), ...others);
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
