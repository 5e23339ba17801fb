// Examples are chosen by what attention made of them.
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
