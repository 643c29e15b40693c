// The hours page: a grid of tables by hours, drawn from api/grid. It stands in a frame of Airflow's page.

const STATUSES = {
  p: ["published", "✓"],
  i: ["gap", "◐"],
  s: ["stale", "≈"],
  q: ["queued", "…"],
  r: ["running", "▸"],
  m: ["missing", "○"],
  f: ["failed", "✕"],
  g: ["failed gate", "!"],
};
const SPANS = [
  { name: "2 days", hours: 48, width: 22 },
  { name: "1 week", hours: 168, width: 18 },
  { name: "1 month", hours: 720, width: 14 },
  { name: "1 year", hours: 8760, width: 18, byDay: true },
];
const MINUTES = ["complete", "empty", "gap", "open"];
const POLL_MS = 10_000;
const HOVER_MS = 80;
const HOUR_MS = 3_600_000;
const AIRFLOW = new URL("../", location.href).pathname;
const HOURLY = "trades_hourly";
const QUEUE = "rebuild_hours";

const at = (id) => document.getElementById(id);
const grid = at("grid");
const state = {
  span: SPANS[0],
  until: null, // the last hour shown; null: the newest
  told: null, // the newest answer of api/grid
  columns: [], // keys of what is shown: hours, or days
  cells: [], // by row and column
  focus: [0, 0],
  anchor: null, // the column from which a choice began
  chosen: null, // [first, last] column
  open: null, // the hour whose details are shown
  hours: new Map(), // what is known of single hours, for a while
};

// --- small things

function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key in made && key !== "style") made[key] = value;
    else made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

const startOf = (key) => new Date(key.length === 10 ? `${key}T00:00:00Z` : `${key}:00:00Z`);
const keyOf = (moment) => moment.toISOString().slice(0, 13);
const shifted = (key, hours) => keyOf(new Date(startOf(key).getTime() + hours * HOUR_MS));
const clock = (iso) => (iso ? `${iso.slice(0, 10)} ${iso.slice(11, 16)}` : "–");
const runPath = (dag, run) => `${AIRFLOW}dags/${dag}/runs/${encodeURIComponent(run)}`;

function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 90 * 60) return `${Math.round(seconds / 60)} min`;
  return seconds < 48 * 3600 ? `${(seconds / 3600).toFixed(1)} h` : `${Math.round(seconds / 86400)} d`;
}

function size(bytes) {
  if (bytes === undefined || bytes === null) return "–";
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  while (bytes >= 1000 && unit < units.length - 1) [bytes, unit] = [bytes / 1000, unit + 1];
  return `${unit ? bytes.toFixed(1) : bytes} ${units[unit]}`;
}

// Cut and never rounded up: 100 % is whole.
const share = (part) => (part === undefined || part === null ? "–" : `${Math.floor(part * 10_000) / 100} %`);

function linked(path, words) {
  const link = element("a", { href: path, textContent: words, target: "_top" });
  link.addEventListener("click", (event) => {
    if (window.parent === window) return;
    // Airflow's frame may not navigate its page by itself, but a link of that page may.
    event.preventDefault();
    const there = window.parent.document.createElement("a");
    there.href = path;
    if (event.ctrlKey || event.metaKey || event.button === 1) there.target = "_blank";
    there.click();
  });
  return link;
}

async function ask(path, request = {}) {
  const answer = await fetch(path, { credentials: "same-origin", ...request });
  if (answer.ok) return answer.status === 204 ? null : answer.json();
  if (answer.status === 401) throw new Error("You are not logged in any more: reload Airflow's page.");
  const told = await answer.json().catch(() => ({}));
  const detail = typeof told.detail === "string" ? told.detail : JSON.stringify(told.detail ?? answer.statusText);
  throw new Error(`${answer.status}: ${detail}`);
}

const tell = (method, path, body) =>
  ask(AIRFLOW + path, {
    method,
    headers: { "Content-Type": "application/json" },
    body: body && JSON.stringify(body),
  });

function trouble(error) {
  at("trouble").hidden = !error;
  at("trouble").textContent = error ? error.message : "";
}

// --- theme: Airflow's own, or the system's where the page stands alone

function followTheme() {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const host = window.parent === window ? null : window.parent.document.documentElement;
  const apply = () => {
    const dark = host ? host.classList.contains("dark") : system.matches;
    document.documentElement.dataset.theme = dark ? "dark" : "light";
  };
  system.addEventListener("change", apply);
  if (host) new MutationObserver(apply).observe(host, { attributeFilter: ["class"] });
  apply();
}

// --- the grid

async function load() {
  const query = wanted();
  try {
    const told = await ask(`api/grid?${query}`);
    if (query !== wanted()) return; // another span was chosen meanwhile
    show(told);
    trouble(null);
  } catch (error) {
    trouble(error);
  }
}

function wanted() {
  const query = new URLSearchParams({ hours: state.span.hours });
  if (state.until) query.set("until", state.until);
  return query.toString();
}

function show(told) {
  const columns = state.span.byDay ? [...new Set(told.hours.map((hour) => hour.slice(0, 10)))] : told.hours;
  const isSame =
    columns.join() === state.columns.join() &&
    state.told?.tables.map((table) => table.name).join() === told.tables.map((table) => table.name).join();
  state.told = told;
  state.hours.clear();
  if (isSame) refresh();
  else draw(columns);
  showQueue();
  showFreshness();
  at("newer").disabled = at("newest").disabled = !state.until;
  at("older").disabled = !told.hours.length || told.hours[0] <= told.first;
}

const letters = (table) => (state.span.byDay ? table.days : table.hours);

function draw(columns) {
  const kept = keysOfChoice();
  const focused = state.columns[state.focus[1]];
  state.columns = columns;
  state.cells = state.told.tables.map(() => []);
  grid.style.setProperty("--width", `${state.span.width}px`);
  const body = state.told.tables.map((table, row) => {
    const name = element("th", { scope: "row", title: table.description });
    name.append(element("span", { className: "fresh" }), table.name);
    const line = element("tr", {}, name);
    const status = letters(table);
    for (let column = 0; column < columns.length; column += 1) {
      const cell = document.createElement("td");
      cell.tabIndex = -1;
      cell.setAttribute("role", "gridcell");
      cell.dataset.row = row;
      cell.dataset.column = column;
      paint(cell, table, columns[column], status[column]);
      state.cells[row].push(cell);
      line.append(cell);
    }
    return line;
  });
  grid.replaceChildren(
    element(
      "colgroup",
      {},
      element("col", { className: "names" }),
      element("col", { className: "cells", span: Math.max(1, columns.length) }),
    ),
    element("thead", {}, ...heads(columns)),
    element("tbody", {}, ...body),
  );
  grid.setAttribute("aria-label", `Tables by ${state.span.byDay ? "day" : "hour"}, ${columns.length} columns`);
  grid.style.width = `${270 + columns.length * state.span.width}px`;
  const column = columns.indexOf(focused);
  place(Math.min(state.focus[0], state.cells.length - 1), column >= 0 ? column : columns.length - 1, false);
  choose(kept ? [columns.indexOf(kept[0]), columns.indexOf(kept[1])] : null);
  if (column < 0) at("scroller").scrollLeft = at("scroller").scrollWidth;
}

function heads(columns) {
  const outer = element("tr", {}, element("th", {}));
  const inner = element("tr", {}, element("th", { textContent: "UTC" }));
  const group = (key) => key.slice(0, state.span.byDay ? 7 : 10);
  for (let column = 0; column < columns.length; column += 1) {
    const key = columns[column];
    if (!column || group(key) !== group(columns[column - 1])) {
      const width = columns.filter((other) => group(other) === group(key)).length;
      outer.append(element("th", { className: "day", colSpan: width, textContent: group(key) }));
    }
    inner.append(element("th", { scope: "col", textContent: key.slice(-2), title: key }));
  }
  return [outer, inner];
}

function paint(cell, table, key, letter) {
  const [name, sign] = STATUSES[letter];
  cell.className = `cell ${letter}`;
  cell.textContent = sign;
  cell.setAttribute("aria-label", `${table.name} ${key}: ${name}`);
}

function refresh() {
  state.told.tables.forEach((table, row) => {
    const status = letters(table);
    state.cells[row].forEach((cell, column) => {
      if (cell.classList.contains(status[column])) return;
      const isChosen = cell.classList.contains("chosen");
      paint(cell, table, state.columns[column], status[column]);
      cell.classList.toggle("chosen", isChosen);
    });
  });
}

function showFreshness() {
  const lines = grid.querySelectorAll("tbody tr");
  state.told.tables.forEach((table, row) => {
    const sign = lines[row].querySelector(".fresh");
    const age = table.newest ? `${duration(table.age_seconds)} old` : "none yet";
    sign.textContent = table.is_fresh === false ? `⚠ ${age}` : age;
    sign.classList.toggle("late", table.is_fresh === false);
    sign.title = table.promised_seconds
      ? `Newest hour ${table.newest ?? "none"}; its contract promises at most ${duration(table.promised_seconds)}`
      : `Newest hour ${table.newest ?? "none"}; its contract promises nothing`;
  });
}

// --- where one is, and what is chosen

function place(row, column, isToFocus = true) {
  if (!state.columns.length) return;
  const [oldRow, oldColumn] = state.focus;
  const old = state.cells[oldRow]?.[oldColumn];
  if (old) old.tabIndex = -1;
  state.focus = [clamp(row, state.cells.length), clamp(column, state.columns.length)];
  const cell = state.cells[state.focus[0]][state.focus[1]];
  cell.tabIndex = 0;
  if (isToFocus) {
    cell.focus({ preventScroll: true });
    reveal(cell);
  }
}

function reveal(cell) {
  const box = at("scroller");
  const left = cell.offsetLeft - 270;
  if (left < box.scrollLeft) box.scrollLeft = left;
  const right = cell.offsetLeft + cell.offsetWidth - box.clientWidth;
  if (right > box.scrollLeft) box.scrollLeft = right;
  cell.scrollIntoView({ block: "nearest", inline: "nearest" });
}

const clamp = (value, length) => Math.max(0, Math.min(length - 1, value));

function keysOfChoice() {
  return state.chosen && state.chosen.map((column) => state.columns[column]);
}

function choose(range) {
  const isThere = range && range[0] >= 0 && range[1] >= 0;
  state.chosen = isThere ? [Math.min(...range), Math.max(...range)] : null;
  if (!state.chosen) state.anchor = null;
  const isIn = (column) => Boolean(state.chosen && column >= state.chosen[0] && column <= state.chosen[1]);
  grid.querySelectorAll(".chosen").forEach((cell) => {
    cell.classList.remove("chosen");
    cell.removeAttribute("aria-selected");
  });
  if (state.chosen) {
    const heads_ = grid.querySelectorAll("thead tr:last-child th");
    for (let column = state.chosen[0]; isIn(column); column += 1) {
      heads_[column + 1].classList.add("chosen");
      for (const row of state.cells) {
        row[column].classList.add("chosen");
        row[column].setAttribute("aria-selected", "true");
      }
    }
  }
  const hours = chosenHours();
  at("chosen").textContent = !hours
    ? "No hours chosen"
    : hours[0] === hours[1]
      ? `1 hour chosen: ${hours[0]}`
      : `${(startOf(hours[1]) - startOf(hours[0])) / HOUR_MS + 1} hours chosen: ${hours[0]} to ${hours[1]}`;
  at("rebuild").disabled = !hours;
}

function chosenHours() {
  const keys = keysOfChoice();
  if (!keys || !keys[0]) return null;
  if (!state.span.byDay) return keys;
  const shown = state.told.hours;
  const within = shown.filter((hour) => hour.slice(0, 10) >= keys[0] && hour.slice(0, 10) <= keys[1]);
  return [within[0], within.at(-1)];
}

function extendTo(column) {
  state.anchor ??= state.focus[1];
  choose([state.anchor, column]);
}

// --- the facts of a cell, shown beside it

let hovering = 0;

function hourOf(key) {
  if (!state.hours.has(key)) {
    const asked = ask(`api/hours/${key}`);
    asked.catch(() => state.hours.delete(key));
    state.hours.set(key, asked);
  }
  return state.hours.get(key);
}

function hover(cell) {
  clearTimeout(hovering);
  hovering = setTimeout(() => showFacts(cell), HOVER_MS);
}

function hideFacts() {
  clearTimeout(hovering);
  at("facts").hidden = true;
}

async function showFacts(cell) {
  const table = state.told.tables[cell.dataset.row];
  const key = state.columns[cell.dataset.column];
  if (!table || !key) return;
  const tip = at("facts");
  const head = element("strong", { textContent: `${table.name} ${key}: ${STATUSES[letters(table)[cell.dataset.column]][0]}` });
  tip.dataset.of = `${table.name} ${key}`;
  if (state.span.byDay) {
    tip.replaceChildren(head, definitions(countsOfDay(table, key)));
  } else {
    try {
      const hour = await hourOf(key);
      if (!cell.isConnected || !(cell.matches(":hover") || cell === document.activeElement)) return;
      tip.replaceChildren(head, definitions(factsOf(hour.tables[table.name])));
    } catch (error) {
      tip.replaceChildren(head, element("p", { textContent: error.message }));
    }
  }
  tip.hidden = false;
  const box = cell.getBoundingClientRect();
  const below = box.bottom + 8 + tip.offsetHeight < innerHeight;
  tip.style.top = `${below ? box.bottom + 6 : Math.max(4, box.top - tip.offsetHeight - 6)}px`;
  tip.style.left = `${Math.max(4, Math.min(box.left, innerWidth - tip.offsetWidth - 8))}px`;
}

function definitions(pairs) {
  const list = element("dl");
  for (const [name, value] of pairs) list.append(element("dt", { textContent: name }), element("dd", { textContent: value }));
  return list;
}

function countsOfDay(table, day) {
  const counts = {};
  state.told.hours.forEach((hour, index) => {
    if (hour.startsWith(day)) counts[table.hours[index]] = (counts[table.hours[index]] ?? 0) + 1;
  });
  return Object.entries(counts).map(([letter, count]) => [STATUSES[letter][0], `${count} hours`]);
}

function factsOf(published) {
  if (!published) return [["published", "never"]];
  const { facts } = published;
  const minutes = MINUTES.filter((status) => facts[`minutes_${status}`]).map((status) => `${facts[`minutes_${status}`]} ${status}`);
  const offsets = Object.entries(facts.bronze_offsets ?? {}).flatMap(([topic, parts]) => {
    const read = Object.entries(parts).filter(([, end]) => end > 0);
    return read.length ? [`${topic} ${read.map(([part, end]) => `${part}:${end}`).join(" ")}`] : [];
  });
  const warnings = facts.warnings?.length ? ` (${facts.warnings.join(", ")})` : "";
  return [
    ["rows", facts.rows?.toLocaleString("en") ?? "–"],
    ["hash of sorted rows", facts.content_hash?.slice(0, 16) ?? "–"],
    ["snapshot", facts.snapshot_id ?? "–"],
    ["Nessie before", facts.nessie_hash_before?.slice(0, 16) ?? "–"],
    ["Nessie after", facts.nessie_hash_after?.slice(0, 16) ?? "–"],
    ["Bronze up to", offsets.join("; ") || "–"],
    ["bytes", size(facts.bytes)],
    ["gate", `${facts.verdict ?? "–"}${warnings}`],
    ["complete", share(facts.completeness)],
    ["minutes", minutes.join(", ") || "–"],
    ["missing trades", facts.missing_trades?.toLocaleString("en") ?? "–"],
    ["published", `${clock(published.published_at)} UTC, in ${duration(facts.duration_s)}`],
  ];
}

// --- the details of an hour, below the grid

async function openDetails(row, column, isToFocus = false) {
  const key = state.columns[column];
  if (state.span.byDay) {
    state.until = [shifted(`${key}T00`, 23), state.told.newest].sort()[0];
    zoom(SPANS[0]);
    return;
  }
  hideFacts();
  state.open = key;
  const table = state.told.tables[row];
  const box = at("details");
  try {
    const hour = await hourOf(key);
    if (state.open !== key) return;
    const close = element("button", { type: "button", textContent: "Close (Esc)" });
    close.addEventListener("click", closeDetails);
    const published = hour.tables[table.name];
    const whole = published
      ? element("p", {}, "Rows hashed as ", element("code", { textContent: published.facts.content_hash ?? "–" }),
          " were published by the merge to ", element("code", { textContent: published.facts.nessie_hash_after ?? "–" }), ".")
      : element("p", { textContent: "This table has nothing published of this hour." });
    box.replaceChildren(
      element("h2", {}, close, `${table.name} ${key}: ${STATUSES[letters(table)[column]][0]}`),
      whole,
      runsTable(hour.runs),
      element("div", { id: "verdicts" }),
    );
    box.hidden = false;
    if (isToFocus) box.focus({ preventScroll: true });
    box.scrollIntoView({ block: "nearest" });
  } catch (error) {
    trouble(error);
  }
}

function runsTable(runs) {
  if (!runs.length) return element("p", { className: "quiet", textContent: "No run of this hour is known." });
  const head = ["run", "kind", "state", "began", "ended", "branch", "failed tasks", "gates"];
  return element(
    "table",
    { className: "runs" },
    element("thead", {}, element("tr", {}, ...head.map((name) => element("th", { textContent: name })))),
    element(
      "tbody",
      {},
      ...runs.map((run) => {
        const gates = element("button", { type: "button", textContent: "What the gates found" });
        gates.addEventListener("click", () => showVerdicts(run, gates));
        const failed = run.failed_tasks.flatMap((task) => [
          linked(`${runPath(HOURLY, run.run_id)}/tasks/${encodeURIComponent(task)}`, task), " ",
        ]);
        const kept = run.state === "failed" && run.branch ? `failed-${run.branch}` : run.branch;
        return element(
          "tr",
          {},
          element("td", {}, linked(runPath(HOURLY, run.run_id), run.run_id)),
          element("td", { textContent: run.kind }),
          element("td", { textContent: run.state }),
          element("td", { textContent: clock(run.began_at) }),
          element("td", { textContent: clock(run.ended_at) }),
          element("td", {}, element("code", { textContent: kept ?? "–" })),
          element("td", {}, ...(failed.length ? failed : ["–"])),
          element("td", {}, gates),
        );
      }),
    ),
  );
}

async function showVerdicts(run, button) {
  const box = at("verdicts");
  button.disabled = true;
  box.replaceChildren(element("p", { className: "quiet", textContent: "Reading ops.gate_results …" }));
  try {
    const found = await ask(`api/verdicts?${new URLSearchParams({ run_id: run.run_id })}`);
    const broken = found.filter((verdict) => verdict.verdict !== "pass");
    const rows = broken.map((one) =>
      element(
        "tr",
        {},
        ...[one.verdict, one.table_name, one.rule_id, `${one.failed_count} of ${one.checked_count}`, one.try_number].map(
          (value) => element("td", { textContent: value }),
        ),
        element("td", {}, element("code", { textContent: one.samples ?? "" })),
      ),
    );
    const head = ["verdict", "table", "rule", "rows that break it", "try", "samples"];
    box.replaceChildren(
      element("p", { textContent: `${found.length - broken.length} of ${found.length} rules hold in ${run.run_id}.` }),
      ...(rows.length
        ? [element("table", {}, element("thead", {}, element("tr", {}, ...head.map((name) => element("th", { textContent: name })))),
            element("tbody", {}, ...rows))]
        : []),
    );
  } catch (error) {
    box.replaceChildren(element("p", { textContent: error.message }));
  } finally {
    button.disabled = false;
  }
}

function closeDetails() {
  state.open = null;
  at("details").hidden = true;
  place(...state.focus);
}

// --- rebuilding

async function rebuild(event) {
  event.preventDefault();
  const hours = chosenHours();
  if (!hours) return;
  at("rebuild").disabled = true;
  const conf = {
    first_hour: `${hours[0]}:00:00Z`,
    last_hour: `${hours[1]}:00:00Z`,
    backwards: at("backwards").checked,
  };
  try {
    await tell("POST", `api/v2/dags/${QUEUE}/dagRuns`, { logical_date: null, conf });
    choose(null);
    trouble(null);
    await load();
    at("queue").scrollIntoView({ block: "nearest" });
  } catch (error) {
    trouble(error);
    at("rebuild").disabled = false;
  }
}

function showQueue() {
  const { requests, backfills } = state.told.queue;
  const ours = new Set(requests.map((request) => request.run_id));
  const rows = requests.map((request) => requestRow(request, backfills.find((one) => one.asked_by === request.run_id)));
  const others = backfills.filter((one) => !ours.has(one.asked_by)).map((one) => backfillRow(one));
  const head = ["hours", "order", "state", "progress", "asked for", "by", "note", ""];
  const title = element("h2", {}, "Rebuilding");
  if (!rows.length && !others.length) {
    at("queue").replaceChildren(title, element("p", { className: "quiet", textContent: "Nothing was asked for." }));
    return;
  }
  at("queue").replaceChildren(
    title,
    element(
      "table",
      {},
      element("thead", {}, element("tr", {}, ...head.map((name) => element("th", { textContent: name })))),
      element("tbody", {}, ...others, ...rows),
    ),
  );
}

const spanOf = (first, last) => {
  const [from, to] = [first, last].map((moment) => (moment ?? "").slice(0, 13));
  return from === to ? from : `${from} to ${to}`;
};

function progress(backfill) {
  if (!backfill) return "–";
  const all = Object.values(backfill.runs).reduce((sum, count) => sum + count, 0);
  const failed = backfill.runs.failed ? `, ${backfill.runs.failed} failed` : "";
  return `${backfill.runs.success ?? 0} of ${all} built${failed}${backfill.is_paused ? ", paused" : ""}`;
}

function cancelling(words, act) {
  const button = element("button", { type: "button", textContent: words });
  button.addEventListener("click", async () => {
    button.disabled = true;
    try {
      await act();
      await load();
    } catch (error) {
      trouble(error);
    }
  });
  return button;
}

const cancelBackfill = (backfill) =>
  cancelling("Cancel", () => tell("PUT", `api/v2/backfills/${backfill.id}/cancel`));

function requestRow(request, backfill) {
  const isWaiting = request.state === "queued" || (request.state === "running" && !backfill);
  const path = `api/v2/dags/${QUEUE}/dagRuns/${encodeURIComponent(request.run_id)}`;
  const cancel = backfill
    ? cancelBackfill(backfill)
    : isWaiting
      ? cancelling("Cancel", () => tell("PATCH", path, { state: "failed", note: "Cancelled while it waited" }))
      : null;
  return element(
    "tr",
    {},
    element("td", {}, linked(runPath(QUEUE, request.run_id), spanOf(request.first_hour, request.last_hour))),
    element("td", { textContent: request.backwards ? "newest first" : "oldest first" }),
    element("td", { textContent: isWaiting && request.state === "running" ? "waiting" : request.state }),
    element("td", { textContent: progress(backfill) }),
    element("td", { textContent: clock(request.asked_at) }),
    element("td", { textContent: request.by ?? "–" }),
    element("td", { textContent: request.note ?? "" }),
    element("td", {}, cancel),
  );
}

function backfillRow(backfill) {
  return element(
    "tr",
    {},
    element("td", {}, linked(`${AIRFLOW}dags/${HOURLY}/backfills`, spanOf(backfill.first_hour, backfill.last_hour))),
    element("td", { textContent: "–" }),
    element("td", { textContent: "running" }),
    element("td", { textContent: progress(backfill) }),
    element("td", { textContent: "–" }),
    element("td", { textContent: "a backfill by hand" }),
    element("td", {}),
    element("td", {}, cancelBackfill(backfill)),
  );
}

// --- what a person does

function zoom(span) {
  state.span = span;
  state.columns = [];
  choose(null);
  document.querySelectorAll("#spans button").forEach((button) => {
    button.setAttribute("aria-pressed", String(button.textContent === span.name));
  });
  load();
}

function turnPage(direction) {
  const last = state.told?.hours.at(-1);
  if (!last) return;
  const until = shifted(last, direction * Math.floor(state.span.hours / 2));
  state.until = until >= state.told.newest ? null : until;
  load();
}

function onKey(event) {
  const cell = event.target.closest?.("td.cell");
  if (event.key === "Escape") {
    hideFacts();
    if (state.open) closeDetails();
    else choose(null);
    return;
  }
  if (!cell || event.altKey || event.ctrlKey || event.metaKey) return;
  const [row, column] = state.focus;
  const group = state.span.byDay ? 7 : 24;
  const moves = {
    ArrowLeft: [row, column - 1],
    ArrowRight: [row, column + 1],
    ArrowUp: [row - 1, column],
    ArrowDown: [row + 1, column],
    Home: [row, 0],
    End: [row, state.columns.length - 1],
    PageUp: [row, column - group],
    PageDown: [row, column + group],
  };
  if (event.key in moves) {
    const to = moves[event.key];
    if (event.shiftKey) extendTo(clamp(to[1], state.columns.length));
    else state.anchor = null;
    place(...to);
  } else if (event.key === " ") {
    state.anchor = column;
    choose([column, column]);
  } else if (event.key === "Enter") {
    openDetails(row, column, true);
  } else {
    return;
  }
  event.preventDefault();
}

let dragging = false;

grid.addEventListener("pointerdown", (event) => {
  const cell = event.target.closest("td.cell");
  if (!cell || event.button !== 0) return;
  const column = Number(cell.dataset.column);
  if (event.shiftKey) {
    extendTo(column);
  } else {
    state.anchor = column;
    dragging = true;
    choose([column, column]);
  }
  place(Number(cell.dataset.row), column);
  event.preventDefault();
});
grid.addEventListener("pointerover", (event) => {
  const cell = event.target.closest("td.cell");
  if (!cell) return;
  if (dragging) extendTo(Number(cell.dataset.column));
  hover(cell);
});
addEventListener("pointerup", () => {
  dragging = false;
});
grid.addEventListener("click", (event) => {
  const cell = event.target.closest("td.cell");
  const isOne = state.chosen && state.chosen[0] === state.chosen[1];
  if (cell && !event.shiftKey && isOne) openDetails(Number(cell.dataset.row), Number(cell.dataset.column));
});
grid.addEventListener("focusin", (event) => {
  const cell = event.target.closest("td.cell");
  if (!cell) return;
  place(Number(cell.dataset.row), Number(cell.dataset.column), false);
  hover(cell);
});
grid.addEventListener("pointerleave", hideFacts);
grid.addEventListener("focusout", hideFacts);
document.addEventListener("keydown", onKey);
at("choice").addEventListener("submit", rebuild);
at("older").addEventListener("click", () => turnPage(-1));
at("newer").addEventListener("click", () => turnPage(1));
at("newest").addEventListener("click", () => {
  state.until = null;
  load();
});

at("spans").append(
  ...SPANS.map((span) => {
    const button = element("button", { type: "button", textContent: span.name, ariaPressed: "false" });
    button.addEventListener("click", () => zoom(span));
    return button;
  }),
);
at("legend").append(
  ...Object.entries(STATUSES).map(([letter, [name, sign]]) =>
    element("li", {}, element("span", { className: `cell ${letter}`, textContent: sign, ariaHidden: "true" }), name),
  ),
);
followTheme();
zoom(SPANS[0]);
setInterval(() => {
  if (document.visibilityState === "visible") load();
}, POLL_MS);
