// Everything works without this: it keeps the page fresh, times local, and hands busy.
"use strict";
(() => {
  const LIVE_SECONDS = 5;
  const byId = (id) => document.getElementById(id);

  // Times: local, with UTC on hover.
  const localize = (root) => {
    for (const time of root.querySelectorAll("time[datetime]")) {
      const at = new Date(time.dateTime);
      time.title = time.dateTime;
      const day = at.toDateString() === new Date().toDateString();
      time.textContent = day ? at.toLocaleTimeString() : at.toLocaleString();
    }
  };

  // Selection: kept over a refresh, by id.
  const boxes = () => [...document.querySelectorAll("input[name=id]")];
  const chosen = () => new Set(boxes().filter((box) => box.checked).map((box) => box.value));
  const showSelection = () => {
    const count = chosen().size;
    for (const box of boxes()) box.closest("tr").setAttribute("aria-selected", box.checked);
    const said = byId("selected");
    if (said) said.textContent = count ? `${count} selected` : "none selected";
    for (const button of document.querySelectorAll("button[data-needs-selection]")) button.disabled = !count;
    const all = byId("all");
    if (all) {
      all.checked = count > 0 && count === boxes().length;
      all.indeterminate = count > 0 && count < boxes().length;
    }
  };

  // Live: the same page is fetched again, and what is marked as live put in its place.
  let live = sessionStorage.getItem("live") !== "off";
  let failed = false;
  const fragment = () => document.querySelector("[data-live]");
  const showLive = () => {
    const button = byId("live");
    if (!button) return;
    button.hidden = !fragment();
    button.setAttribute("aria-pressed", live);
    button.textContent = failed ? "No answer" : live ? "Live" : "Paused";
  };
  const busy = () => {
    const active = document.activeElement;
    const typing = active && active.matches("input:not([type=checkbox]), textarea, select");
    return document.hidden || !document.hasFocus() || (typing && fragment().contains(active));
  };
  const refresh = async () => {
    const old = fragment();
    if (!old || !live || busy()) return;
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
      if (answer.redirected) { location.reload(); return; }
      if (!answer.ok) throw new Error(String(answer.status));
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const fresh = page.querySelector("[data-live]");
      if (!fresh || !live || busy()) return;
      const kept = chosen();
      const active = document.activeElement;
      const mark = active && active.dataset ? active.dataset.key : undefined;
      const open = [...old.querySelectorAll("details[open]")].map((one) => one.id);
      old.replaceWith(fresh);
      for (const box of boxes()) box.checked = kept.has(box.value);
      for (const id of open) if (id && byId(id)) byId(id).open = true;
      if (mark) fresh.querySelector(`[data-key="${CSS.escape(mark)}"]`)?.focus();
      failed = false;
      prepare(fresh);
    } catch {
      failed = true;
    }
    showLive();
  };

  // Copy: also where the clipboard wants TLS.
  const copy = async (text) => {
    if (navigator.clipboard && window.isSecureContext) {
      await navigator.clipboard.writeText(text);
      return;
    }
    const area = document.createElement("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  };

  const prepare = (root) => {
    localize(root);
    for (const button of root.querySelectorAll("button[data-copy]")) button.hidden = false;
    showSelection();
  };

  document.addEventListener("change", (event) => {
    if (event.target.id === "all") for (const box of boxes()) box.checked = event.target.checked;
    if (event.target.name === "id" || event.target.id === "all") showSelection();
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
    }
  });

  // Keys: j and k go through rows, x selects, Enter opens; g and a letter goes elsewhere.
  let pending = "";
  const rows = () => [...document.querySelectorAll("tbody tr[data-row] a")];
  const step = (by) => {
    const links = rows();
    const at = links.indexOf(document.activeElement);
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
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.matches("input:not([type=checkbox]), textarea, select")) return;
    if (pending === "g") {
      pending = "";
      const link = document.querySelector(`nav a[data-go="${CSS.escape(event.key)}"]`);
      if (link) { event.preventDefault(); link.click(); }
      return;
    }
    if (event.key === "g") { pending = "g"; return; }
    if (keys[event.key]) { event.preventDefault(); keys[event.key](); }
  });

  byId("keys")?.removeAttribute("hidden");
  prepare(document);
  showLive();
  setInterval(refresh, LIVE_SECONDS * 1000);
})();
