// Everything works without this: it keeps the page fresh, times local, and hands busy.
"use strict";
(() => {
  const LIVE_SECONDS = 5;
  const byId = (id) => document.getElementById(id);
  const all = (css, root = document) => [...root.querySelectorAll(css)];

  // Times: local, with UTC on hover.
  const localize = (root) => {
    for (const time of all("time[datetime]", root)) {
      const at = new Date(time.dateTime);
      time.title = time.dateTime;
      const today = at.toDateString() === new Date().toDateString();
      time.textContent = today ? at.toLocaleTimeString() : at.toLocaleString();
    }
  };

  // Selection: kept over a refresh, by id.
  const boxes = () => all("input[name=id][type=checkbox]");
  const chosen = () => new Set(boxes().filter((box) => box.checked).map((box) => box.value));
  const showSelection = () => {
    const count = chosen().size;
    for (const box of boxes()) box.closest("tr").setAttribute("aria-selected", box.checked);
    if (byId("selected")) byId("selected").textContent = count ? `${count} selected:` : "None selected:";
    for (const button of all("button[data-needs-selection]")) button.disabled = !count;
    const every = byId("all");
    if (!every) return;
    every.checked = count > 0 && count === boxes().length;
    every.indeterminate = count > 0 && !every.checked;
  };

  // Live: the same page is fetched again, and what is marked as live put in its place.
  let live = sessionStorage.getItem("live") !== "off";
  let failed = false;
  let held = false; // back, for what is selected
  const parts = () => ("still" in document.body.dataset ? [] : all("[data-live]"));
  const shown = parts().map((part) => part.outerHTML);
  const showLive = () => {
    const button = byId("live");
    if (!button) return;
    button.hidden = !parts().length;
    button.setAttribute("aria-pressed", live);
    button.classList.toggle("failed", failed && live);
    button.textContent = !live ? "Paused" : failed ? "No answer" : held ? "Selecting" : "Live";
  };
  // Nobody looks, or somebody types, reads a dialog or marks text that would go.
  const busy = () => {
    if (document.hidden || !document.hasFocus() || byId("help").open) return true;
    const active = document.activeElement, marked = getSelection();
    const typing = active && active.matches("input:not([type=checkbox]), textarea, select");
    return parts().some((part) => (typing && part.contains(active)) || (!marked.isCollapsed && part.contains(marked.anchorNode)));
  };
  // Rows that somebody has selected stay, though newer ones have taken their place.
  const loses = (fresh) => {
    const there = new Set(all("input[name=id]", fresh).map((box) => box.value));
    return [...chosen()].some((id) => !there.has(id));
  };
  const places = (root) => all("a, button, input, select, summary", root);
  const replace = (old, fresh) => {
    const kept = chosen(), active = document.activeElement, key = active?.dataset?.key;
    const inside = old.contains(active), at = places(old).indexOf(active);
    old.replaceWith(fresh);
    for (const box of boxes()) box.checked = kept.has(box.value);
    prepare(fresh); // what is hidden gets no focus
    if (inside) {
      const same = key ? `[data-key="${CSS.escape(key)}"]` : active.value && `input[value="${CSS.escape(active.value)}"]`;
      ((same && fresh.querySelector(same)) || (!same && places(fresh)[at]))?.focus?.();
    }
  };
  // With `shared`, what somebody else was just told will do.
  const refresh = async (shared) => {
    if (!parts().length || !live || busy()) return;
    try {
      const headers = shared === true ? { "X-Refresh": "1" } : {};
      const answer = await fetch(location.href, { headers });
      if (answer.redirected) { location.reload(); return; }
      if (!answer.ok) throw new Error(String(answer.status));
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      if (!live || busy()) return;
      const fresh = all("[data-live]", page);
      held = false;
      parts().forEach((old, at) => {
        if (!fresh[at] || fresh[at].outerHTML === shown[at]) return;
        if (boxes().some((box) => old.contains(box)) && loses(fresh[at])) { held = true; return; }
        shown[at] = fresh[at].outerHTML;
        replace(old, fresh[at]);
      });
      failed = false;
    } catch {
      failed = true;
    }
    showLive();
  };

  // Copy: also where the clipboard wants TLS.
  const copy = async (text) => {
    if (navigator.clipboard && window.isSecureContext) return navigator.clipboard.writeText(text);
    const area = document.createElement("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  };

  const prepare = (root) => {
    localize(root);
    for (const button of all("button[data-copy]", root)) button.hidden = false;
    showSelection();
  };

  document.addEventListener("change", (event) => {
    if (event.target.id === "all") for (const box of boxes()) box.checked = event.target.checked;
    showSelection();
  });
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    if (button.id === "live") {
      live = !live;
      sessionStorage.setItem("live", live ? "on" : "off");
      showLive();
      refresh();
    }
    if (button.id === "keys") byId("help").showModal();
    if (button.dataset.copy) {
      await copy(byId(button.dataset.copy).textContent);
      button.textContent = "Copied";
      button.focus();
    }
  });

  // Keys: j and k go through rows, x selects, Enter opens; g and a letter goes elsewhere.
  let pending = false;
  const step = (by) => {
    const links = all("tbody tr[data-row]").map((row) => row.querySelector("a"));
    const at = links.findIndex((link) => link.closest("tr").contains(document.activeElement));
    links[Math.min(links.length - 1, Math.max(0, at + by))]?.focus();
  };
  const keys = {
    "?": () => byId("help").showModal(),
    "/": () => byId("search")?.focus(),
    j: () => step(1),
    k: () => step(-1),
    p: () => byId("live")?.click(),
    x: () => document.activeElement.closest("tr")?.querySelector("input[name=id]")?.click(),
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || byId("help").open) return;
    if (event.target.matches("input:not([type=checkbox]), textarea, select")) return;
    const went = pending && document.querySelector(`nav a[data-go="${CSS.escape(event.key)}"]`);
    const act = went ? () => went.click() : !pending && keys[event.key];
    pending = !pending && event.key === "g";
    if (act) { event.preventDefault(); act(); }
  });

  byId("keys")?.removeAttribute("hidden");
  document.querySelector("nav a[aria-current]")?.scrollIntoView({ inline: "center", block: "nearest" });
  prepare(document);
  showLive();
  setTimeout(refresh, 1000); // what was just asked for is often done by then
  setInterval(() => refresh(true), LIVE_SECONDS * 1000);
  addEventListener("focus", refresh);
})();
