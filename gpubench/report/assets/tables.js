// What the table of cases and every other table share: sorting by headings, CSV, copying.

const tabular = (() => {
  const collator = new Intl.Collator("en", { numeric: true });

  // Headings become buttons. `changed` is told {column, numeric, sign}, or null for the page's own order.
  function sortable(heads, isNumeric, changed) {
    let order = null;
    heads.forEach((head, column) => {
      const press = document.createElement("button");
      const mark = document.createElement("span");
      press.type = "button";
      press.textContent = head.textContent;
      mark.className = "order";
      press.append(mark);
      head.replaceChildren(press);
      press.addEventListener("click", () => {
        // First click: what a reader looks for on top; third click: the page's order again.
        const numeric = isNumeric(column);
        const first = numeric ? -1 : 1;
        if (order?.column !== column) order = { column, numeric, sign: first };
        else order = order.sign === first ? { column, numeric, sign: -first } : null;
        heads.forEach((other, i) => {
          const sign = order?.column === i ? order.sign : 0;
          if (sign) other.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
          else other.removeAttribute("aria-sort");
          other.querySelector(".order").textContent = sign ? (sign > 0 ? " ↑" : " ↓") : "";
        });
        changed(order);
      });
    });
  }

  function csv(lines) {
    const quote = (v) => (/[",\n]/.test(v) ? `"${v.replaceAll('"', '""')}"` : v);
    return lines.map((cells) => cells.map(quote).join(",")).join("\n") + "\n";
  }

  async function copied(text) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      const area = document.createElement("textarea");
      area.value = text;
      document.body.append(area);
      area.select();
      const done = document.execCommand("copy");
      area.remove();
      return done;
    }
  }

  // A button that copies lines of cells, and says so for a moment.
  function copies(button, lines) {
    const label = button.textContent;
    button.addEventListener("click", async () => {
      button.textContent = (await copied(csv(lines()))) ? "Copied" : "Copying is not allowed here";
      setTimeout(() => { button.textContent = label; }, 1600);
    });
  }

  return { compare: collator.compare, copies, sortable };
})();
