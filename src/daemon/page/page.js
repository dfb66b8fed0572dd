// Fills the page, again and again while somebody looks. Everything that comes from clients is set as text, never as HTML.
"use strict";

const every_ms = 1000;
const by_id = (id) => document.getElementById(id);
const words = { ok: "ok", error: "compile error", timeout: "too long", disconnected: "client left",
                bad_request: "no request", refused: "refused", failed: "failed" };
const bad = new Set(["error", "timeout", "failed"]);

function made(tag, kind, text) {
  const element = document.createElement(tag);
  if (kind) element.className = kind;
  if (text !== undefined) element.textContent = text;
  return element;
}

function time(ms) {
  if (ms === null || ms === undefined) return "–";
  if (ms < 1000) return ms + " ms";
  return ms < 100000 ? (ms / 1000).toFixed(1) + " s" : span(ms / 1000);
}

function span(seconds) {
  if (seconds < 100) return Math.round(seconds) + " s";
  const minutes = Math.floor(seconds / 60);
  if (minutes < 100) return minutes + " min";
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? hours + " h" : Math.floor(hours / 24) + " days";
}

function size(bytes) {
  if (bytes === null || bytes === undefined) return "–";
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  while (bytes >= 1000 && unit < units.length - 1) { bytes /= 1000; unit += 1; }
  return (unit === 0 || bytes >= 100 ? Math.round(bytes) : bytes.toFixed(1)) + " " + units[unit];
}

function ago(at_ms, now_ms) {
  return span(Math.max(0, (now_ms - at_ms) / 1000)) + " ago";
}

// A whole path without its folder.
const base = (path) => path.startsWith("/") ? path.slice(path.lastIndexOf("/") + 1) : path;

function badge(state) {
  const kind = state === "ok" ? "badge ok" : bad.has(state) ? "badge bad" : "badge";
  return made("span", kind, words[state] || state);
}

function figure(id, text, small) {
  const place = by_id(id);
  place.textContent = text;
  if (small) place.append(" ", made("small", "", small));
}

function show_figures(seen) {
  by_id("host").textContent = seen.host ? "on " + seen.host : "";
  document.title = seen.running.length + "/" + seen.slots + " – distccd" + (seen.host ? " on " + seen.host : "");
  by_id("about").textContent = "version " + seen.version + ", up " + span(seen.uptime_s)
    + ", " + seen.connections_total + " connections, " + seen.connections_refused + " refused, "
    + size(seen.received_bytes) + " in, " + size(seen.sent_bytes) + " out, confined by " + seen.sandbox;
  figure("busy", seen.running.length, "of " + seen.slots);
  figure("waiting", seen.waiting, seen.connections + " connected");
  figure("rate1", seen.compiles[0]);
  figure("rate5", seen.compiles[1]);
  figure("rate15", seen.compiles[2]);
  figure("load", seen.load ? seen.load[0].toFixed(1) : "–", seen.load ? seen.load[1].toFixed(1) + " " + seen.load[2].toFixed(1) : "");
  figure("memory", size(seen.memory_bytes));
  figure("disk", size(seen.disk_bytes));
}

function shape(name, attributes) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

// Bars of compiles that ended, before an area of slots that were busy.
function show_past(seen) {
  const [width, height] = [900, 120];
  const count = Math.round(900 / seen.moment_s);
  const ended = seen.ended.slice(-count);
  const busy = seen.busy_ms.slice(-count).map((ms) => ms / (seen.moment_s * 1000));
  // What still runs is in no past yet.
  for (const job of seen.running) {
    for (let back = 0, left = job.ms / (seen.moment_s * 1000); left > 0 && back < busy.length; back += 1, left -= 1) {
      busy[busy.length - 1 - back] += Math.min(1, left);
    }
  }
  const top = Math.max(5, ...ended);
  const step = width / count;
  const y = (share) => (height - 4) * (1 - Math.min(1, share)) + 3;
  const lines = [0.25, 0.5, 0.75].map((share) => shape("line", { class: "grid", x1: 0, x2: width, y1: y(share), y2: y(share) }));
  let area = "M0 " + height;
  busy.forEach((slots, at) => { area += " L" + (at * step).toFixed(1) + " " + y(slots / seen.slots).toFixed(1) + " h" + step.toFixed(1); });
  area += " L" + width + " " + height + " Z";
  const bars = ended.map((number, at) => number === 0 ? null : shape("rect", {
    class: "ended", x: (at * step).toFixed(1), width: Math.max(1, step - 0.6).toFixed(1),
    y: y(number / top).toFixed(1), height: (height - y(number / top)).toFixed(1) }));
  by_id("past").replaceChildren(...lines, shape("path", { class: "used", d: area }), ...bars.filter(Boolean));
  by_id("peak").textContent = "compiles, at most " + Math.max(0, ...ended) + " in " + seen.moment_s + " seconds";
  by_id("full").textContent = "busy slots, at most " + seen.slots;
}

function show_slots(seen) {
  const items = seen.running.map((job) => {
    const item = made("li", job.state);
    const file = made("div", "file");
    const name = made("span", "name", job.source || (job.compiler ? "" : "a job begins"));
    name.title = job.source;
    file.append(name, made("span", "", time(job.ms)));
    const by = made("div", "by", [base(job.compiler), "for " + job.peer.replace(/:[0-9]+$/, "")].filter(Boolean).join(" "));
    by.title = job.compiler + " for " + job.peer;
    item.append(file, by);
    return item;
  });
  const idle = seen.slots - seen.running.length;
  if (idle > 0) items.push(made("li", "idle", idle === 1 ? "1 slot is free" : idle + " slots are free"));
  by_id("slots").replaceChildren(...items);
}

function show_ended(seen) {
  const counts = seen.outcomes.filter(([, count]) => count > 0).map(([state, count]) => {
    const item = made("li");
    const mark = badge(state);
    mark.textContent = count + " " + mark.textContent;
    item.append(mark);
    return item;
  });
  by_id("outcomes").replaceChildren(...counts);
  const rows = seen.recent.map((job) => {
    const row = made("tr");
    const cell = (kind, text) => { const made_cell = made("td", kind, text); row.append(made_cell); return made_cell; };
    cell("when soft", ago(job.at_ms, seen.now_ms)).title = new Date(job.at_ms).toLocaleString();
    const mark = badge(job.state);
    mark.title = job.why;
    cell("state").append(mark);
    cell("file", job.source).title = job.source;
    cell("compiler", base(job.compiler)).title = job.compiler;
    cell("peer soft", job.peer);
    cell("number waited", time(job.waited_ms));
    cell("number compiled", time(job.compiled_ms));
    cell("number all", time(job.ms));
    cell("number in soft", size(job.received_bytes));
    cell("number out soft", size(job.sent_bytes));
    if (!job.why) return [row];
    const reason = made("tr", "why");
    const words = made("td", "", job.why);
    words.colSpan = 10;
    reason.append(words);
    return [row, reason];
  }).flat();
  by_id("recent").tBodies[0].replaceChildren(...rows);
  by_id("recent").hidden = rows.length === 0;
  by_id("none").hidden = rows.length !== 0;
}

function show_compilers(seen) {
  const items = seen.compilers.map((compiler) => {
    const item = made("li");
    const name = made("span", "name", compiler.name);
    name.title = compiler.name;
    const meter = made("meter");
    meter.max = compiler.all;
    meter.value = compiler.ok;
    meter.title = compiler.ok + " of " + compiler.all + " ok";
    item.append(name, meter, made("span", "number", compiler.all + (compiler.all === 1 ? " job" : " jobs")));
    return item;
  });
  by_id("compilers").hidden = items.length === 0;
  document.querySelector("#compilers ul").replaceChildren(...items);
}

async function refresh() {
  try {
    const answer = await fetch("page.json", { cache: "no-store" });
    if (!answer.ok) throw new Error(answer.status + " " + answer.statusText);
    const seen = await answer.json();
    for (const show of [show_figures, show_past, show_slots, show_ended, show_compilers]) show(seen);
    by_id("trouble").hidden = true;
  } catch (trouble) {
    by_id("trouble").textContent = "distccd does not answer (" + trouble.message + "); what is shown is old. Trying again.";
    by_id("trouble").hidden = false;
  }
}

async function keep_showing() {
  if (!document.hidden) await refresh();
  setTimeout(keep_showing, every_ms);
}

document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
keep_showing();
