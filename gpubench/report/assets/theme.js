"use strict";
// What only these scripts read is kept gzipped in base64, which keeps a large report small.

async function unpacked(id) {
  const packed = document.getElementById(id).textContent;
  const bytes = Uint8Array.from(atob(packed), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).text();
}

// Light and dark: the system's choice, unless the reader chose.

const theme = (() => {
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  const listeners = [];

  function stored() {
    try { return localStorage.getItem("gpubench-theme"); } catch { return null; }
  }
  function dark() {
    return root.dataset.theme ? root.dataset.theme === "dark" : system.matches;
  }
  function changed() {
    for (const listener of listeners) listener();
  }
  function toggle() {
    root.dataset.theme = dark() ? "light" : "dark";
    try { localStorage.setItem("gpubench-theme", root.dataset.theme); } catch { /* private mode */ }
    changed();
  }

  if (["light", "dark"].includes(stored())) root.dataset.theme = stored();
  const button = document.getElementById("theme");
  button.hidden = false;
  button.addEventListener("click", toggle);
  system.addEventListener("change", changed);

  let before = null;  // paper is white
  addEventListener("beforeprint", () => {
    before = root.dataset.theme ?? "";
    root.dataset.theme = "light";
    changed();
  });
  addEventListener("afterprint", () => {
    if (before) root.dataset.theme = before; else delete root.dataset.theme;
    changed();
  });

  return {
    onChange: (listener) => listeners.push(listener),
    color: (name) => getComputedStyle(root).getPropertyValue(name).trim(),
  };
})();
