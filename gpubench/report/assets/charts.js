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
      legend: { orientation: "h", x: 0, y: 1.01, yanchor: "bottom", xanchor: "left",
        itemwidth: 30, bgcolor: "rgba(0,0,0,0)" },
      showlegend: true,
    };
    const axes = {};
    for (const key of ["xaxis", "yaxis", "xaxis2", "yaxis2"]) {
      if (given[key] || !key.endsWith("2")) axes[key] = axis(given[key] ?? {}, narrow);
    }
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
    const low = Math.min(...values);
    const high = Math.max(...values);
    const count = Math.max(1, Math.min(40, Math.ceil(Math.sqrt(values.length) * 1.5)));
    const width = (high - low) / count || Math.abs(low) * 1e-3 || 1;
    const bins = new Array(count).fill(0);
    for (const v of values) bins[Math.min(count - 1, Math.floor((v - low) / width))] += 1;
    return { bins, centers: bins.map((_, i) => low + (i + 0.5) * width), width };
  }

  function samplesSpec(found, unit) {
    const factor = FACTORS[unit] ?? 1;
    const spoiled = found.samples?.spoiled ?? {};
    const all = found.times_s.map((t, i) => ({ i: i + 1, t: t * factor, why: spoiled[i] }));
    const good = all.filter((s) => s.why === undefined);
    const bad = all.filter((s) => s.why !== undefined);
    const { bins, centers, width } = histogram(all.map((s) => s.t));
    const hover = `sample %{x}: %{y:.4~g} ${unit}<extra></extra>`;
    const data = [{
      x: good.map((s) => s.i), y: good.map((s) => s.t), type: "scatter", mode: "markers",
      name: "sample", marker: { size: 5, color: "var(--strip)", opacity: 0.75 },
      hovertemplate: hover,
    }];
    if (bad.length) {
      data.push({
        x: bad.map((s) => s.i), y: bad.map((s) => s.t), type: "scatter", mode: "markers",
        name: "spoiled sample", text: bad.map((s) => s.why.replace(/[<>&]/g, " ")),
        marker: { symbol: "x-thin", size: 9, line: { width: 2, color: "var(--bad)" } },
        hovertemplate: `sample %{x}: %{y:.4~g} ${unit}<br>%{text}<extra></extra>`,
      });
    }
    data.push({
      x: bins, y: centers, width: bins.map(() => width * 0.92), type: "bar", orientation: "h",
      xaxis: "x2", showlegend: false, marker: { color: "var(--strip)", opacity: 0.6 },
      hovertemplate: "%{x} samples<extra></extra>",
    });
    const s = found.summary;
    const line = (y, dash) => ({ type: "line", xref: "paper", x0: 0, x1: 1, y0: y * factor,
      y1: y * factor, line: { color: "var(--ink)", width: 1.2, dash } });
    const spec = {
      data,
      layout: {
        xaxis: { domain: [0, 0.78], title: { text: "Sample, in the order taken" } },
        xaxis2: { domain: [0.8, 1], title: { text: "Count" }, anchor: "y" },
        yaxis: { title: { text: `Time per call (${unit})` } },
        bargap: 0,
        shapes: [line(s.median_s, "solid"), { type: "rect", xref: "paper", x0: 0, x1: 1,
          y0: s.ci_low_s * factor, y1: s.ci_high_s * factor, line: { width: 0 },
          fillcolor: "var(--ink)", opacity: 0.12 }],
      },
    };
    return spec;
  }

  function drawSamples(host, note, run, row) {
    const found = record(run, row.index);
    const from = found.samples?.thinned_from;
    note.textContent = from ? `Drawn: ${found.times_s.length} of ${from} samples.` : "";
    return plot(host, samplesSpec(found, row.unit));
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
