"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  const ROWS = 60, COLUMNS = 24;
  const make = (tag, text, className) => {
    const node = document.createElement(tag);
    if (text !== undefined) node.textContent = text;
    if (className) node.className = className;
    return node;
  };

  // `*` does not cross `/` and `:`, `**` does: the policy's own patterns.
  const matcher = (pattern) => {
    if (!pattern.includes("*") && !pattern.includes("{")) return (text) => text === pattern;
    const source = pattern.split(/(\*\*|\*|\{[^{}]*\})/).map((part) => {
      if (part === "**") return "[^]*";
      if (part === "*") return "[^/:]*";
      if (part.startsWith("{")) return part.includes("|") ? "[^:]+" : "[^/:]+";
      return part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
    }).join("");
    const expression = new RegExp(`^${source}$`);
    return (text) => expression.test(text);
  };

  const columns = [], columnOf = new Map(), rows = [], rowOf = new Map();
  const whoOf = (entry) => `${entry.issuer}\n${entry.rule}`;
  for (const entry of data.entries) {
    const where = `${entry.registry}\n${entry.repository}`;
    if (!columnOf.has(where)) {
      columnOf.set(where, columns.length);
      columns.push({ registry: entry.registry, repository: entry.repository, covers: matcher(entry.repository) });
    }
    const who = whoOf(entry);
    if (!rowOf.has(who)) {
      rowOf.set(who, rows.length);
      rows.push({ rule: entry.rule, issuer: entry.issuer, caller: entry.caller, cells: new Map(),
        text: `${entry.rule} ${entry.issuer} ${entry.when} ${entry.caller}`.toLowerCase() });
    }
    const cells = rows[rowOf.get(who)].cells, column = columnOf.get(where);
    if (!cells.has(column)) cells.set(column, []);
    cells.get(column).push(entry);
  }
  const order = columns.map((_, index) => index).sort((a, b) =>
    columns[a].registry < columns[b].registry ? -1 : columns[a].registry > columns[b].registry ? 1
      : columns[a].repository < columns[b].repository ? -1 : columns[a].repository > columns[b].repository ? 1 : 0);

  const rank = [];
  order.forEach((index, position) => { rank[index] = position; });
  for (const row of rows) row.first = Math.min(...[...row.cells.keys()].map((index) => rank[index]));
  rows.sort((a, b) => a.first - b.first);

  const kinds = { all: "everything" };
  const has = (test) => data.entries.some(test);
  const tests = {
    all: () => true,
    grew: (entry) => entry.change === "grew" || entry.change === "shrank",
    audit: (entry) => entry.mode === "audit",
    expires: (entry) => Boolean(entry.expires),
    accepted: (entry) => entry.accepted && entry.accepted.length > 0,
    denied: (entry) => entry.denied_by.length > 0,
    unused: (entry) => entry.used === 0,
  };
  const labels = { grew: "what changed", audit: "audit mode only", expires: "what expires",
    accepted: "accepted warnings", denied: "what a deny touches", unused: "never used" };
  for (const [kind, label] of Object.entries(labels)) if (has(tests[kind])) kinds[kind] = label;
  for (const [kind, label] of Object.entries(kinds)) {
    const option = make("option", label);
    option.value = kind;
    byId("show").append(option);
  }
  const fill = (id, values) => { for (const value of values) { const option = make("option", value); option.value = value; byId(id).append(option); } };
  fill("registry", [...new Set(data.entries.map((entry) => entry.registry))].sort());
  fill("action", [...new Set(data.entries.flatMap((entry) => entry.actions))]);

  const marksOf = (entries) => {
    const marks = [];
    if (entries.every((entry) => entry.mode === "audit")) marks.push("audit mode");
    if (entries.some((entry) => entry.expires)) marks.push("expires");
    if (entries.some((entry) => entry.not_before)) marks.push("not yet or since");
    if (entries.some((entry) => entry.denied_by.length)) marks.push("denied in part");
    if (entries.some((entry) => entry.accepted && entry.accepted.length)) marks.push("accepted warning");
    if (entries.some((entry) => entry.change === "grew")) marks.push("new");
    if (entries.some((entry) => entry.change === "shrank")) marks.push("removed");
    if (entries.some((entry) => entry.used === 0)) marks.push("never used");
    return marks;
  };
  const classOf = (entries) => {
    const is = (name) => entries.some((entry) => entry.change === name);
    if (is("grew")) return "grew";
    if (is("shrank")) return "shrank";
    if (entries.every((entry) => entry.mode === "audit")) return "audit";
    return entries.every((entry) => entry.used === 0) ? "unused" : "";
  };

  let top = 0, left = 0, shownRows = [], shownColumns = [];
  const apply = () => {
    const repository = byId("repository").value.trim(), caller = byId("caller").value.trim().toLowerCase();
    const registry = byId("registry").value, action = byId("action").value, show = tests[byId("show").value];
    const wanted = (entry) => show(entry) && (!action || entry.actions.includes(action));
    const exact = repository ? columns.map((column) => column.covers(repository)) : null;
    const names = repository ? columns.map((column) => column.repository.includes(repository)) : null;
    const covering = repository !== "" && exact.some(Boolean);
    const column = columns.map((one, index) => (!registry || one.registry === registry) && (!repository || (covering ? exact : names)[index]));
    const words = caller.split(/\s+/).filter(Boolean);
    const used = new Set();
    shownRows = [];
    for (const row of rows) {
      if (!words.every((word) => row.text.includes(word))) continue;
      let visible = false;
      for (const [index, entries] of row.cells) {
        if (column[index] && entries.some(wanted)) { used.add(index); visible = true; }
      }
      if (visible) shownRows.push(row);
    }
    shownColumns = order.filter((index) => used.has(index));
    top = 0; left = 0;
    render(wanted);
  };

  const draw = (wanted) => {
    const head = make("tr");
    head.append(make("th", "Caller"));
    head.firstChild.scope = "col";
    const across = shownColumns.slice(left, left + COLUMNS);
    for (const index of across) {
      const cell = make("th");
      cell.scope = "col";
      cell.append(make("code", columns[index].repository), make("span", columns[index].registry, "registry"));
      head.append(cell);
    }
    byId("head").replaceChildren(head);
    const lines = [];
    for (const row of shownRows.slice(top, top + ROWS)) {
      const line = make("tr"), who = make("th");
      who.scope = "row";
      who.append(make("span", row.rule, "name"), make("span", `${row.issuer}: ${row.caller}`, "claims"));
      line.append(who);
      for (const index of across) {
        const cell = make("td"), entries = (row.cells.get(index) || []).filter(wanted);
        if (entries.length) {
          cell.className = "filled";
          const button = make("button", [...new Set(entries.flatMap((entry) => entry.actions))].join(" "), classOf(entries));
          button.type = "button";
          const marks = marksOf(entries);
          if (marks.length) button.append(make("span", marks.join(", "), "mark"));
          button.addEventListener("click", () => open(row, columns[index], entries));
          cell.append(button);
        }
        line.append(cell);
      }
      lines.push(line);
    }
    byId("body").replaceChildren(...lines);
  };

  let wantedNow = () => true;
  const render = (wanted) => {
    wantedNow = wanted || wantedNow;
    draw(wantedNow);
    const span = (first, size, total) => total ? `${first + 1}–${Math.min(first + size, total)} of ${total}` : "none";
    byId("status").textContent = shownRows.length
      ? `Callers ${span(top, ROWS, shownRows.length)}, repositories ${span(left, COLUMNS, shownColumns.length)}.`
      : "Nobody: no rule grants this.";
    byId("up").disabled = top === 0;
    byId("down").disabled = top + ROWS >= shownRows.length;
    byId("left").disabled = left === 0;
    byId("right").disabled = left + COLUMNS >= shownColumns.length;
    byId("row-pages").hidden = shownRows.length <= ROWS;
    byId("column-pages").hidden = shownColumns.length <= COLUMNS;
  };
  byId("up").addEventListener("click", () => { top = Math.max(0, top - ROWS); render(); });
  byId("down").addEventListener("click", () => { top += ROWS; render(); });
  byId("left").addEventListener("click", () => { left = Math.max(0, left - COLUMNS); render(); });
  byId("right").addEventListener("click", () => { left += COLUMNS; render(); });

  const details = byId("details");
  const describe = (pairs) => {
    const list = make("dl");
    for (const [name, value] of pairs) if (value !== null && value !== undefined && value !== "") list.append(make("dt", name), make("dd", String(value)));
    return list;
  };
  const open = (row, column, entries) => {
    byId("details-title").textContent = `${row.rule} on ${column.repository}`;
    byId("details-body").replaceChildren(...entries.map((entry) => describe([
      ["Rule", entry.rule], ["What for", entry.description], ["Where", entry.file ? `${entry.file}:${entry.line}` : `line ${entry.line}`],
      ["Issuer", entry.issuer], ["When", entry.when], ["Registry", entry.registry], ["Repository", entry.repository],
      ["Actions", entry.actions.join(", ")], ["Mode", entry.mode], ["Not before", entry.not_before], ["Expires", entry.expires],
      ["Denied by", entry.denied_by.join(", ")], ["Accepted", (entry.accepted || []).join("; ")],
      ["Change", entry.change === "grew" ? "new access" : entry.change === "shrank" ? "access removed" : ""],
      ["Used", entry.used === undefined || entry.used === null ? "" : entry.used === 0 ? "never" : `${entry.used} times, last ${entry.last}`],
    ])));
    details.showModal();
  };

  byId("access").addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
    const cell = step && event.target.closest ? event.target.closest("td") : null;
    if (!cell) return;
    const lines = [...byId("body").rows];
    let y = lines.indexOf(cell.parentNode), x = cell.cellIndex;
    for (;;) {
      y += step[0]; x += step[1];
      if (!lines[y] || x < 1 || !lines[y].cells[x]) return;
      const button = lines[y].cells[x].querySelector("button");
      if (button) { event.preventDefault(); button.focus(); return; }
    }
  });

  const denies = byId("denies"), labelsOfDenies = ["name", "kind", "issuer", "when", "registry", "repositories", "actions", "not_before", "expires", "where"];
  if (data.denies.length) {
    const head = make("tr");
    for (const label of labelsOfDenies) { const cell = make("th", label.replace("_", " ")); cell.scope = "col"; head.append(cell); }
    const section = make("thead"), rowsOfDenies = make("tbody");
    section.append(head);
    for (const entry of data.denies) {
      const line = make("tr");
      for (const label of labelsOfDenies) line.append(make("td", Array.isArray(entry[label]) ? entry[label].join(", ") : entry[label] ?? ""));
      rowsOfDenies.append(line);
    }
    denies.append(section, rowsOfDenies);
  } else denies.append(make("caption", "None."));

  const legend = [["granted", ""], ["audit mode: logged, grants nothing", "audit"]];
  if (has((entry) => entry.change)) legend.push(["new access", "grew"], ["access removed", "shrank"]);
  if (has((entry) => entry.used === 0)) legend.push(["never used in the recorded events", "unused"]);
  for (const [label, name] of legend) { const item = make("li", label); item.dataset.kind = name || "granted"; byId("legend").append(item); }

  byId("about").textContent = data.about;
  let waiting = 0;
  const later = () => { cancelAnimationFrame(waiting); waiting = requestAnimationFrame(apply); };
  byId("filters").addEventListener("input", later);
  byId("filters").addEventListener("submit", (event) => event.preventDefault());
  byId("filters").addEventListener("reset", () => setTimeout(apply));
  apply();
})();
