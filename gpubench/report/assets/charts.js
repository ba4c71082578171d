// Charts: drawn by Plotly when they come into view, from specs that hold no decisions.

const charts = (() => {
  const FACTORS = { s: 1, ms: 1e3, "µs": 1e6, ns: 1e9, ps: 1e12 };
  const drawn = new Map();
  let specs = null;  // a promise
  let documents = null;
  let loading = null;

  // The page's policy admits exactly this script by its hash.
  async function unpack() {
    const script = document.createElement("script");
    script.textContent = await unpacked("plotly-gzip");
    document.head.append(script);
    if (!window.Plotly) throw new Error("the chart library did not start");
  }
  const library = () => (loading ??= unpack());

  // "var(--x)" -> the colour it has in the theme of the moment.
  function themed(value) {
    if (typeof value === "string") {
      const name = /^var\((--[\w-]+)\)$/.exec(value);
      return name ? theme.color(name[1]) || theme.color("--c-other") : value;
    }
    if (Array.isArray(value)) return value.map(themed);
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, themed(v)]));
    }
    return value;
  }

  function axis(given, narrow) {
    return {
      gridcolor: theme.color("--grid"), linecolor: theme.color("--line-strong"),
      zerolinecolor: theme.color("--line-strong"), zeroline: false, automargin: true,
      ticks: "outside", tickcolor: theme.color("--line-strong"), ticklen: 4,
      fixedrange: narrow, ...given,
      ...(given.title ? { title: { ...given.title, standoff: 8 } } : {}),
    };
  }

  function layout(given, host) {
    const narrow = host.clientWidth < 520;
    const base = {
      autosize: true, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: getComputedStyle(document.body).fontFamily, size: narrow ? 11 : 12,
        color: theme.color("--ink") },
      margin: { l: 8, r: 12, t: 34, b: 8 }, hovermode: "closest", dragmode: narrow ? false : "zoom",
      hoverlabel: { bgcolor: theme.color("--panel"), bordercolor: theme.color("--line-strong"),
        font: { color: theme.color("--ink") }, align: "left" },
      legend: { orientation: "h", traceorder: "normal", x: 0, y: 1.01, yanchor: "bottom", xanchor: "left",
        itemwidth: 30, bgcolor: "rgba(0,0,0,0)" },
      showlegend: true,
    };
    const axes = {};
    const more = Object.keys(given).filter((key) => /^[xy]axis\d+$/.test(key));
    for (const key of ["xaxis", "yaxis", ...more]) axes[key] = axis(given[key] ?? {}, narrow);
    return { ...base, ...given, ...axes };
  }

  async function plot(host, spec) {
    drawn.set(host, spec);
    try {
      await library();
      const made = themed(spec);
      await Plotly.react(host, made.data, layout(made.layout, host), {
        responsive: true, displaylogo: false, displayModeBar: "hover",
        modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d", "zoomIn2d", "zoomOut2d"],
      });
      host.dataset.drawn = "yes";
      if (!host.dataset.clicks) {
        host.dataset.clicks = "on";
        host.on("plotly_click", (event) => {
          const anchor = event.points[0]?.customdata;
          if (typeof anchor === "string") location.hash = "#" + encodeURIComponent(anchor);
        });
      }
    } catch (error) {
      host.textContent = "This chart could not be drawn: " + error.message
        + ". The table of cases holds the same numbers.";
    }
  }

  async function draw(host) {
    specs ??= unpacked("gpubench-figures").then(JSON.parse);
    return plot(host, (await specs)[host.dataset.figure]);
  }

  // ---------------------------------------------------------------- samples of one case

  function record(run, index) {
    documents ??= [JSON.parse(document.getElementById("gpubench-data").textContent)].flat();
    return documents[run].records[index];
  }

  function histogram(values) {
    const low = values.reduce((a, b) => Math.min(a, b), Infinity);
    const high = values.reduce((a, b) => Math.max(a, b), -Infinity);
    const count = Math.max(1, Math.min(40, Math.ceil(Math.sqrt(values.length) * 1.5)));
    const width = (high - low) / count || Math.abs(low) * 1e-3 || 1;
    const bins = new Array(count).fill(0);
    for (const v of values) bins[Math.min(count - 1, Math.floor((v - low) / width))] += 1;
    return { bins, centers: bins.map((_, i) => low + (i + 0.5) * width), width };
  }

  // A few far samples would squash all others: they are drawn at the edge, and counted.
  function edgeOf(times, median) {
    const ordered = times.slice().sort((a, b) => a - b);
    const high = ordered[Math.floor(0.98 * (ordered.length - 1))];
    const edge = high + 0.5 * (high - ordered[0]);
    return ordered.at(-1) > high + 2 * (high - ordered[0]) && high > median ? edge : Infinity;
  }

  function points(samples, name, marker, unit, place) {
    return {
      x: samples.map((s) => s.i), y: samples.map(place), type: "scatter", mode: "markers", name,
      marker, text: samples.map((s) => `sample ${s.i}: ${Number(s.t.toPrecision(4))} ${unit}`
        + (s.why === undefined ? "" : "<br>" + s.why.replace(/[<>&]/g, " "))),
      hovertemplate: "%{text}<extra></extra>",
    };
  }

  function samplesSpec(found, unit) {
    const factor = FACTORS[unit] ?? 1;
    const spoiled = found.samples?.spoiled ?? {};
    const all = found.times_s.map((t, i) => ({ i: i + 1, t: t * factor, why: spoiled[i] }));
    const s = found.summary;
    const edge = edgeOf(all.map((p) => p.t), s.median_s * factor);
    const near = all.filter((p) => p.t <= edge);
    const far = all.filter((p) => p.t > edge);
    const { bins, centers, width } = histogram(near.map((p) => p.t));
    const good = near.filter((p) => p.why === undefined);
    const bad = near.filter((p) => p.why !== undefined);
    const exact = (p) => p.t;
    const dot = { size: 5, color: "var(--strip)", opacity: 0.75 };
    const cross = { symbol: "x-thin", size: 9, line: { width: 2, color: "var(--bad)" } };
    const arrow = { symbol: "triangle-up", size: 9, color: "var(--strip)" };
    const data = [points(good, "sample", dot, unit, exact)];
    if (bad.length) data.push(points(bad, "spoiled sample", cross, unit, exact));
    if (far.length) data.push(points(far, "sample beyond the edge", arrow, unit, () => edge));
    data.push({
      x: bins, y: centers, width: bins.map(() => width * 0.92), type: "bar", orientation: "h",
      xaxis: "x2", showlegend: false, marker: { color: "var(--strip)", opacity: 0.6 },
      hovertemplate: "%{x} samples<extra></extra>",
    });
    const middle = { type: "line", xref: "paper", x0: 0, x1: 1, y0: s.median_s * factor,
      y1: s.median_s * factor, line: { color: "var(--ink)", width: 1.2 } };
    const interval = { type: "rect", xref: "paper", x0: 0, x1: 1, y0: s.ci_low_s * factor,
      y1: s.ci_high_s * factor, line: { width: 0 }, fillcolor: "var(--ink)", opacity: 0.12 };
    const layout = {
      xaxis: { domain: [0, 0.78], title: { text: "Sample, in the order taken" } },
      xaxis2: { domain: [0.8, 1], title: { text: "Count" }, anchor: "y" },
      yaxis: { title: { text: `Time per call (${unit})` } },
      bargap: 0,
      shapes: [middle, interval],
    };
    const slowest = Math.max(...far.map((p) => p.t));
    const note = far.length
      ? `${far.length} of ${all.length} samples lie beyond the edge, the slowest at`
        + ` ${Number(slowest.toPrecision(3))} ${unit}.`
      : "";
    return [{ data, layout }, note];
  }

  function drawSamples(host, note, run, row) {
    const found = record(run, row.index);
    const from = found.samples?.thinned_from;
    const [spec, beyond] = samplesSpec(found, row.unit);
    const thinned = from ? `Drawn: ${found.times_s.length} of ${from} samples.` : "";
    note.textContent = [thinned, beyond].filter(Boolean).join(" ");
    return plot(host, spec);
  }

  // ---------------------------------------------------------------- when

  const hosts = [...document.querySelectorAll("[data-figure]")];
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      seen.unobserve(entry.target);
      (entry.target.redraw ?? draw)(entry.target);
    }
  }, { rootMargin: "300px 0px" });
  for (const host of hosts) {
    const waiting = document.createElement("p");
    waiting.className = "waiting";
    waiting.textContent = "Drawing…";
    waiting.setAttribute("aria-hidden", "true");
    host.append(waiting);
    seen.observe(host);
  }
  theme.onChange(() => { for (const [host, spec] of drawn) plot(host, spec); });
  addEventListener("beforeprint", () => {
    if (!window.Plotly) return;
    for (const host of document.querySelectorAll(".chart")) {
      if (!drawn.has(host)) (host.redraw ?? draw)(host);
    }
  });
  // So that the first chart scrolled to, or a print, need not wait for the library.
  (window.requestIdleCallback ?? setTimeout)(() => library().catch(() => {}));

  return { drawSamples, whenSeen: (host, redraw) => { host.redraw = redraw; seen.observe(host); } };
})();
