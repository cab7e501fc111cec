// The two tables. Rows that stay are kept, so that what is selected or read aloud does not jump.

const find = (selector) => document.querySelector(selector);

export function bytes(count) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  while (count >= 1000 && unit < units.length - 1) {
    count /= 1000;
    unit += 1;
  }
  return `${count < 10 && unit > 0 ? count.toFixed(1) : Math.round(count)} ${units[unit]}`;
}

function time({ secs, nanos }) {
  if (secs < 10) return `${(secs + nanos / 1e9).toFixed(1)} s`;
  if (secs < 120) return `${secs} s`;
  if (secs < 7200) return `${Math.floor(secs / 60)} min`;
  return `${Math.floor(secs / 3600)} h ${Math.floor((secs % 3600) / 60)} min`;
}

const words = (name) => name.replaceAll("_", " ");

const COLUMNS = [
  ["Id", (row) => String(row.id), "right"],
  ["Peer", (row) => row.peer ?? "unknown", "code"],
  ["Name", (row) => row.server_name ?? "none", "code"],
  ["Protocol", (row) => (row.protocol ?? "not yet").replace("http", "HTTP")],
  ["State", (row) => words(row.state), "state"],
  ["Waits for", (row) => words(row.waits_for)],
  ["Idle, draining", (row) => (row.since ? time(row.since) : ""), "right"],
  ["Age", (row) => time(row.age), "right"],
  ["Requests", (row) => requests(row), "right"],
  ["Received", (row) => bytes(row.received), "right"],
  ["Sent", (row) => bytes(row.sent), "right"],
];

function requests({ requests, requests_in_flight: now }) {
  return now > 0 ? `${requests} (${now} now)` : String(requests);
}

function cell(tag, text, role, kind = "") {
  const made = document.createElement(tag);
  made.textContent = text;
  made.className = kind;
  made.setAttribute("role", role);
  if (role === "columnheader") made.scope = "col";
  return made;
}

// ---- connections ----

const body = find("#rows tbody");
find("#rows thead tr").append(...COLUMNS.map(([name, , kind]) => cell("th", name, "columnheader", kind)));
let kept = new Map();

export function showRows({ matching, rows }, open, all) {
  const news = new Map(rows.map((row) => [row.id, kept.get(row.id) ?? emptyRow()]));
  rows.forEach((row) => fill(news.get(row.id), row));
  for (const [id, line] of kept) if (!news.has(id)) line.remove();
  let place = body.firstChild;
  for (const line of news.values()) {
    if (line === place) place = place.nextSibling;
    else body.insertBefore(line, place);
  }
  kept = news;
  find("#count").textContent = count(rows.length, matching, open, all);
}

// What is open may have changed between two looks: where all are asked for, those that were found are all.
function count(shown, matching, open, all) {
  const [some, found, total] = [shown, matching, open].map((n) => n.toLocaleString("en"));
  if (all && matching === 0) return "No connection is open.";
  if (all) return shown === matching ? `All ${found}.` : `${some} of ${found}.`;
  return `${some} of ${found} that match, ${total} in all.`;
}

function emptyRow() {
  const line = document.createElement("tr");
  line.setAttribute("role", "row");
  for (const [name, , kind] of COLUMNS) {
    const made = cell("td", "", "cell", kind);
    made.dataset.label = name;
    line.append(made);
  }
  return line;
}

function fill(line, row) {
  line.className = row.state;
  COLUMNS.forEach(([, text], at) => {
    const now = text(row);
    if (line.cells[at].textContent !== now) line.cells[at].textContent = now;
  });
}

// ---- ends ----

export function showCauses(outcomes, ended) {
  const table = new Map();
  for (const { cause, outcome, connections } of ended) {
    table.set(cause, { ...table.get(cause), [outcome]: connections });
  }
  const heads = ["cause", ...outcomes].map((name) => cell("th", words(name), "columnheader"));
  find("#causes thead tr").replaceChildren(...heads);
  const lines = [...table].map(([cause, counts]) => {
    const line = document.createElement("tr");
    const name = document.createElement("th");
    name.scope = "row";
    name.textContent = words(cause);
    line.append(name, ...outcomes.map((outcome) => cell("td", shown(counts[outcome]), "cell", outcome)));
    return line;
  });
  find("#causes tbody").replaceChildren(...lines);
  find("#causes").hidden = lines.length === 0;
  find("#causes").parentElement.classList.toggle("none", lines.length === 0);
}

const shown = (count) => (count ?? 0).toLocaleString("en");
