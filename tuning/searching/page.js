// What a dot is about, below its plot: of a mouse, of a finger, by keyboard.
for (const plot of document.querySelectorAll(".plot")) {
  const readout = plot.querySelector(".readout");
  for (const point of plot.querySelectorAll(".point")) {
    const show = () => {
      readout.textContent = point.getAttribute("aria-label");
    };
    point.addEventListener("pointerenter", show);
    point.addEventListener("focus", show);
  }
}

for (const button of document.querySelectorAll("button[data-copy]")) {
  if (!navigator.clipboard) {
    button.hidden = true;
    continue;
  }
  const status = button.parentElement.querySelector("[role=status]");
  button.addEventListener("click", async () => {
    const text = document.getElementById(button.dataset.copy).textContent;
    try {
      await navigator.clipboard.writeText(text);
      status.textContent = "Copied.";
    } catch {
      status.textContent = "The browser does not allow it.";
    }
  });
}
