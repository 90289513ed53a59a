// What scripts add: keys, a filter of the list, and rows that follow the reading pane. Each page works without.
"use strict";
(() => {
  document.documentElement.classList.add("js");

  const one = (selector, root = document) => root.querySelector(selector);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];

  // The rows that can be seen and opened.
  const rows = () => all(".rows .row:not([hidden])").filter((row) => one("a.row-link", row));
  const link = (row) => row && one("a.row-link", row);

  // current is the row that the keys move from: the one with the focus, else the one that is open.
  const current = (list) => {
    const focused = list.findIndex((row) => row.contains(document.activeElement));
    return focused >= 0 ? focused : list.findIndex((row) => row.classList.contains("open"));
  };

  const move = (by) => {
    const list = rows();
    if (!list.length) return;
    const at = current(list);
    const to = at < 0 ? 0 : Math.min(list.length - 1, Math.max(0, at + by));
    link(list[to]).focus();
    list[to].scrollIntoView({ block: "nearest" });
  };

  const follow = (selector) => {
    const target = one(selector);
    if (target) target.click();
    return Boolean(target);
  };

  const back = () => {
    const open = one(".row.open a.row-link");
    if (open && open.offsetParent) open.focus();
    else follow("a.back");
  };

  const filterBox = one("#filter"), searchBox = filterBox || one("#find");

  // Keys that are typed into something, or that make up Japanese text, are not commands.
  const typing = (event) =>
    event.isComposing || event.keyCode === 229 || event.ctrlKey || event.metaKey || event.altKey ||
    event.target.closest("input:not([type=checkbox]), textarea, select, [contenteditable]");

  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && event.target === filterBox && !event.isComposing) {
      filterBox.value = "";
      filter();
      filterBox.blur();
      return;
    }
    if (typing(event)) return;
    switch (event.key) {
      case "j": move(1); break;
      case "k": move(-1); break;
      case "u": back(); break;
      case "?": follow("#help-link"); break;
      case "/":
        if (!searchBox || !searchBox.offsetParent) return;
        searchBox.focus();
        break;
      default: return;
    }
    event.preventDefault();
  });

  // The filter looks at what the page shows; other pages are not searched.
  const filter = () => {
    const words = filterBox.value.normalize("NFKC").toLowerCase().split(/\s+/).filter(Boolean);
    let found = 0;
    for (const row of all(".rows .row")) {
      const text = row.textContent.normalize("NFKC").toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
      if (row.hidden) {
        const pick = one(".pick", row);
        if (pick) pick.checked = false; // what is not seen is not deleted
      } else found++;
    }
    one("#filter-none").hidden = found > 0 || !words.length;
  };
  if (filterBox && one(".rows .row")) {
    filterBox.hidden = false;
    filterBox.addEventListener("input", filter);
  }

  // A range of rows is ticked with the shift key.
  let lastPick = null;
  document.addEventListener("click", (event) => {
    const pick = event.target.closest && event.target.closest(".pick");
    if (!pick) return;
    const picks = all(".rows .row:not([hidden]) .pick");
    const from = picks.indexOf(lastPick);
    const to = picks.indexOf(pick);
    if (event.shiftKey && from >= 0 && to >= 0) {
      for (const other of picks.slice(Math.min(from, to), Math.max(from, to) + 1)) other.checked = pick.checked;
    }
    lastPick = pick;
  });

  // The open row is the one whose message is in the pane.
  const markOpen = () => {
    const message = one("#reading .message");
    for (const row of all(".rows .row")) {
      const open = Boolean(message) && row.id === "row-" + message.dataset.id;
      row.classList.toggle("open", open);
      const a = link(row);
      if (a && open) a.setAttribute("aria-current", "true");
      else if (a) a.removeAttribute("aria-current");
    }
  };

  const markRead = (id) => {
    const row = document.getElementById("row-" + id);
    if (!row) return;
    row.classList.remove("unread");
    for (const mark of all(".from > .dot, .from > .vh", row)) mark.remove();
  };

  // A new message begins at its top, and screen readers begin at its subject.
  document.addEventListener("htmx:after:swap", (event) => {
    const ctx = event.detail && event.detail.ctx;
    if (!ctx || !ctx.target || ctx.target.id !== "reading") return;
    markOpen();
    ctx.target.scrollTop = 0;
    const subject = one("#subject", ctx.target);
    const source = ctx.sourceElement;
    if (subject && !(source && source.isConnected && source.offsetParent)) subject.focus();
    if (subject) document.title = subject.textContent.trim() + " – MaiRust";
  });

  // The message was marked as read: the button for it has nothing left to do.
  document.addEventListener("htmx:finally:request", (event) => {
    const ctx = event.detail && event.detail.ctx;
    const form = ctx && ctx.sourceElement;
    if (!form || form.getAttribute("id") !== "mark-read" || // form.id is the field of that name
      !ctx.response || ctx.response.status !== 204) return;
    markRead(form.elements.id.value);
    form.hidden = true;
  });

  // What was opened closes when something else is touched.
  const drawer = one("#drawer");
  document.addEventListener("click", (event) => {
    if (drawer && drawer.checked && !event.target.closest(".rail, .drawer-switch, .drawer-label")) drawer.checked = false;
    for (const drop of all("details.drop[open]")) {
      if (!drop.contains(event.target)) drop.open = false;
    }
  });
})();
