// Every other table: sorting by a click on a heading, and for long ones a filter and a copy as
// CSV. What the page says without scripts is what these tables hold.

(() => {
  const LONG = 6;  // rows from which on a table can be copied
  const SEARCHED = 16;  // and from which on it can be filtered
  const FACTORS = { p: 1e-12, n: 1e-9, "µ": 1e-6, m: 1e-3, k: 1e3, K: 1e3, M: 1e6, G: 1e9, T: 1e12, P: 1e15, E: 1e18 };

  // What a cell says itself, without the smaller line below it.
  function said(cell) {
    const copy = cell.cloneNode(true);
    for (const sub of copy.querySelectorAll(".sub, [aria-hidden=true]")) sub.remove();
    return copy.textContent.trim().replace(/\s+/g, " ");
  }

  // The number that a cell begins with, its SI prefix counted; NaN for text.
  function amount(text) {
    if (/^\d{4}-\d\d-\d\d/.test(text)) return NaN;  // dates sort as text
    const found = /^[^\p{L}\d]*?([−-]?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?)\s*(.*)$/u.exec(text);
    if (!found) return NaN;
    const [, digits, unit] = found;
    const value = Number(digits.replace("−", "-").replaceAll(",", ""));
    const prefixed = /^([pnµmkKMGTPE])(i?)(s|J|W|B|Hz|FLOP|b)\b/u.exec(unit);
    if (!prefixed) return value;
    const [, prefix, binary] = prefixed;
    return value * (binary ? 1024 ** " KMGTPE".indexOf(prefix) : FACTORS[prefix]);
  }

  function sortable(table, rows) {
    let texts, values;
    const read = (column) => {
      texts = new Map(rows.map((row) => [row, row.cells[column] ? said(row.cells[column]) : ""]));
      values = new Map(rows.map((row) => [row, amount(texts.get(row))]));
      return [...values.values()].filter((v) => !Number.isNaN(v)).length * 2 > rows.length;
    };
    tabular.sortable([...table.tHead.rows[0].cells], read, (order) => {
      const sorted = order === null ? rows : rows.slice().sort((a, b) => {
        if (!order.numeric) return order.sign * tabular.compare(texts.get(a), texts.get(b));
        const [x, y] = [values.get(a), values.get(b)];
        if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y);
        return order.sign * (x - y);
      });
      table.tBodies[0].append(...sorted);
    });
  }

  function tools(table, rows, titles) {
    const bar = document.createElement("div");
    bar.className = "table-tools";
    const label = document.createElement("label");
    const field = document.createElement("input");
    field.type = "search";
    label.append("Find ", field);
    const output = document.createElement("output");
    output.setAttribute("aria-live", "polite");
    field.addEventListener("input", () => {
      const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
      for (const row of rows) {
        const text = row.textContent.toLowerCase();
        row.hidden = !words.every((word) => text.includes(word));
      }
      const kept = rows.filter((row) => !row.hidden).length;
      output.textContent = kept < rows.length ? `${kept} of ${rows.length}` : "";
    });
    const copy = document.createElement("button");
    copy.type = "button";
    copy.className = "quiet copy";
    copy.textContent = "Copy as CSV";
    tabular.copies(copy, () => {
      const shown = [...table.tBodies[0].rows].filter((row) => !row.hidden);
      return [titles, ...shown.map((row) => [...row.cells].map(said))];
    });
    if (rows.length >= SEARCHED) bar.append(label, output);
    bar.append(copy);
    (table.closest(".scroll") ?? table).before(bar);
  }

  for (const table of document.querySelectorAll("main table:not(.case-table)")) {
    const rows = table.tHead && table.tBodies.length ? [...table.tBodies[0].rows] : [];
    if (rows.length < 2) continue;
    const titles = [...table.tHead.rows[0].cells].map((head) => head.textContent.trim());
    sortable(table, rows);
    if (rows.length >= LONG) tools(table, rows, titles);
  }
  document.documentElement.dataset.tables = "yes";
})();
