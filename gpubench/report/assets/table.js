// The table of cases: sorting, filters, details, links to a case, copying. Text is only ever
// set as text, never as markup.

(async () => {
  const STEP = 200;
  const packed = JSON.parse(await unpacked("gpubench-table"));
  const say = (index) => packed.strings[index];
  const make = (tag, className, text) => {
    const made = document.createElement(tag);
    if (className) made.className = className;
    if (text !== undefined) made.textContent = text;
    return made;
  };

  function unpackRow([anchor, status, benchmark, precision, tone, index, cells, details, unit]) {
    return {
      anchor, index, unit, details, status: say(status), benchmark: say(benchmark),
      precision: say(precision), tone: say(tone),
      cells: cells.map(([text, sub, sort]) => ({ text: say(text), sub: say(sub), sort })),
    };
  }

  class CaseTable {
    constructor(section, run) {
      this.section = section;
      this.run = Number(section.dataset.run);
      this.columns = run.columns;
      this.rows = run.rows.map(unpackRow);
      this.filters = {};
      this.order = null;
      this.limit = STEP;
      this.open = new Set();
      this.body = section.querySelector("tbody");
      this.output = section.querySelector("output");
      this.more = section.querySelector(".more");
      for (const field of section.querySelectorAll("[data-filter]")) {
        this.filters[field.dataset.filter] = field;
        field.addEventListener("input", () => { this.limit = STEP; this.render(); });
      }
      section.querySelector("form").addEventListener("submit", (e) => e.preventDefault());
      tabular.copies(section.querySelector(".copy"), () => this.csvLines());
      this.more.querySelector("button").addEventListener("click", () => {
        this.limit += STEP;
        this.render();
      });
      tabular.sortable(
        [...section.querySelectorAll("th[data-column]")],
        (column) => this.columns[column].numeric,
        (order) => { this.order = order; this.render(); },
      );
      if (!this.rows.some((r) => r.status !== "skipped")) this.filters.status.value = "";
      this.render();
    }

    matching() {
      const { status, precision, benchmark } = this.filters;
      const words = this.filters.text.value.toLowerCase().split(/\s+/).filter(Boolean);
      const kept = this.rows.filter((row) => {
        if (status.value === "ran" ? row.status === "skipped" : status.value && row.status !== status.value) {
          return false;
        }
        if (precision.value && row.precision !== precision.value) return false;
        if (benchmark.value && row.benchmark !== benchmark.value) return false;
        if (!words.length) return true;
        row.search ??= [row.status, row.benchmark, ...row.cells.flatMap((c) => [c.text, c.sub])]
          .join(" ").toLowerCase();
        return words.every((word) => row.search.includes(word));
      });
      if (!this.order) return kept;
      const { column, sign } = this.order;
      return kept.slice().sort((a, b) => {
        const [x, y] = [a.cells[column], b.cells[column]];
        if (x.sort === undefined && y.sort === undefined) return sign * tabular.compare(x.text, y.text);
        if (x.sort === undefined) return 1;  // what is not known stands last either way
        if (y.sort === undefined) return -1;
        return sign * (x.sort - y.sort);
      });
    }

    render() {
      const kept = this.matching();
      const shown = kept.slice(0, this.limit);
      this.body.replaceChildren(...shown.flatMap((row) => this.elements(row)));
      if (!kept.length) {
        const cell = make("td", "", "No case matches these filters.");
        cell.colSpan = this.columns.length;
        const line = make("tr");
        line.append(cell);
        this.body.append(line);
      }
      const total = this.rows.length;
      this.output.textContent = `${kept.length} of ${total} cases`
        + (shown.length < kept.length ? `, ${shown.length} shown` : "");
      this.more.hidden = shown.length >= kept.length;
      this.more.querySelector("button").textContent = `Show ${Math.min(STEP, kept.length - shown.length)} more`;
    }

    elements(row) {
      const line = make("tr", row.tone);
      line.id = row.anchor;
      row.cells.forEach((cell, i) => {
        const td = make("td", this.columns[i].numeric ? "num" : "");
        if (i === 0) td.append(this.expander(row));
        else td.textContent = cell.text;
        if (cell.sub) td.append(make("span", "sub", cell.sub));
        line.append(td);
      });
      if (!this.open.has(row.anchor)) return [line];
      line.classList.add("open");
      return [line, this.detailLine(row)];
    }

    expander(row) {
      const button = make("button", "expand", row.cells[0].text);
      button.type = "button";
      button.setAttribute("aria-expanded", String(this.open.has(row.anchor)));
      button.addEventListener("click", () => this.toggle(row));
      return button;
    }

    toggle(row) {
      if (this.open.has(row.anchor)) this.open.delete(row.anchor);
      else this.open.add(row.anchor);
      const line = document.getElementById(row.anchor);
      if (line.nextElementSibling?.dataset.of === row.anchor) line.nextElementSibling.remove();
      const fresh = this.elements(row);
      line.replaceWith(...fresh);
      fresh[0].querySelector(".expand").focus({ preventScroll: true });
    }

    detailLine(row) {
      const line = make("tr");
      line.dataset.of = row.anchor;
      const cell = make("td", "details");
      cell.colSpan = this.columns.length;
      const links = make("p", "detail-links");
      const here = make("a", "", "Link to this case");
      here.href = "#" + encodeURIComponent(row.anchor);
      links.append(here);
      if (row.status === "measured" && explorers[this.run]) {
        const chart = make("a", "", "See its samples");
        chart.href = "#" + samplesId(this.run);
        chart.addEventListener("click", () => explorers[this.run].choose(row));
        links.append(chart);
      }
      const grid = make("div", "detail-grid");
      for (const [title, facts] of row.details) {
        const group = make("section");
        const list = make("dl", "facts");
        for (const [label, value, why] of facts) {
          const fact = make("div", "fact");
          const given = make("dd", "", say(value));
          if (say(why)) given.append(" ", make("span", "why", say(why)));
          fact.append(make("dt", "", say(label)), given);
          list.append(fact);
        }
        group.append(make("h3", "", say(title)), list);
        grid.append(group);
      }
      cell.append(links, grid);
      line.append(cell);
      return line;
    }

    // Make sure a case is in the table, whatever the filters were, and open it.
    show(row) {
      if (!this.matching().includes(row)) {
        for (const field of Object.values(this.filters)) field.value = "";
      }
      const position = this.matching().indexOf(row);
      this.limit = Math.max(this.limit, Math.ceil((position + 1) / STEP) * STEP);
      this.open.add(row.anchor);
      this.render();
      const line = document.getElementById(row.anchor);
      line.scrollIntoView({ block: "start" });
      line.querySelector(".expand").focus({ preventScroll: true });
    }

    csvLines() {
      const heads = ["benchmark", "status", ...this.columns.map((c) => c.name)];
      return [heads, ...this.matching().map((row) => [row.benchmark, row.status,
        ...row.cells.map((c, i) => (this.columns[i].numeric ? String(c.sort ?? "") : c.text))])];
    }
  }

  // ---------------------------------------------------------------- samples of one case

  const samplesId = (run) => packed.runs[run].prefix + "samples";

  class Explorer {
    constructor(select, table) {
      const prefix = packed.runs[table.run].prefix;
      this.select = select;
      this.run = table.run;
      this.host = document.getElementById(prefix + "sample-chart");
      this.note = document.getElementById(prefix + "sample-note");
      this.rows = table.rows.filter((row) => row.status === "measured");
      this.rows.forEach((row, i) => {
        select.append(new Option(`${row.cells[0].text} · ${row.precision} · ${row.benchmark}`, String(i)));
      });
      select.addEventListener("change", () => this.draw());
      charts.whenSeen(this.host, () => this.draw());
    }

    choose(row) {
      this.select.value = String(this.rows.indexOf(row));
      this.draw();
    }

    draw() {
      const row = this.rows[Number(this.select.value)];
      if (row) charts.drawSamples(this.host, this.note, this.run, row);
    }
  }

  const tables = [...document.querySelectorAll(".cases")].map(
    (section) => new CaseTable(section, packed.runs[Number(section.dataset.run)]));
  const explorers = {};
  for (const select of document.querySelectorAll("[data-samples]")) {
    const run = Number(select.dataset.samples);
    explorers[run] = new Explorer(select, tables.find((t) => t.run === run));
  }

  function follow() {
    let anchor;
    try { anchor = decodeURIComponent(location.hash.slice(1)); } catch { return; }
    for (const table of tables) {
      const row = table.rows.find((r) => r.anchor === anchor);
      if (row) table.show(row);
    }
  }
  addEventListener("hashchange", follow);
  // A link to the case one is already at changes no hash.
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.("a[href^='#']");
    if (link && link.getAttribute("href") === location.hash) follow();
  });
  if (location.hash) follow();
  document.documentElement.dataset.ready = "yes";
})();
