// What the page shows, each time that the server says something.
//
// What comes from clients becomes text by `textContent` alone, never markup.

import { Chart } from "./chart.js";
import { showPhase, startButtons } from "./buttons.js";
import { bytes, showCauses, showRows } from "./table.js";

const find = (selector) => document.querySelector(selector);

const NUMBERS = [
  ["open", "open"],
  ["handshaking", "handshaking"],
  ["idle", "idle"],
  ["in_use", "in use"],
  ["half_closed", "half-closed"],
  ["draining", "draining"],
  ["http1", "HTTP/1"],
  ["http2", "HTTP/2"],
  ["requests_in_flight", "requests in flight"],
  ["requests", "requests"],
  ["accepted", "accepted"],
  ["received", "received", bytes],
  ["sent", "sent", bytes],
].map(([key, label, format]) => ({ key, format: format ?? ((n) => n.toLocaleString("en")), value: number(key, label) }));

const STATES = ["handshaking", "idle", "in_use", "half_closed", "draining"];
const wanted = find("#wanted");
const pause = find("#pause");
const openChart = new Chart(find("#open-chart"), 1);
const endedChart = new Chart(find("#ended-chart"), 5);

function number(key, label) {
  const box = document.createElement("div");
  box.className = `number ${key}`;
  const term = document.createElement("dt");
  term.textContent = label;
  const value = document.createElement("dd");
  box.append(term, value);
  find("#numbers").append(box);
  return value;
}

function show(snapshot) {
  const { stats, samples, samples_taken: taken, outcomes, connections } = snapshot;
  for (const { key, format, value } of NUMBERS) value.textContent = format(stats[key]);
  openChart.show(STATES, samples.map((sample) => sample.open), taken);
  endedChart.show(outcomes, samples.map((sample) => sample.ended), taken);
  const { state, find: part } = wanted.elements;
  showRows(connections, stats.open - stats.handshaking, state.value === "" && part.value === "");
  showCauses(outcomes, stats.ended);
}

// ---- what is listened to ----

let events;
let fresh;

function listen() {
  events?.close();
  fresh = true; // what was asked for is shown, even in a pause
  events = new EventSource(`events?${new URLSearchParams(new FormData(wanted))}`);
  events.onopen = () => link("live", "live");
  events.onerror = () => link("lost", "the server is gone, trying again");
  events.onmessage = ({ data }) => {
    const snapshot = JSON.parse(data);
    showPhase(snapshot.stats.phase, snapshot); // in a pause too: buttons act on what is so now
    if (snapshot.report !== null) {
      events.close();
      link("over", "over");
    } else if (paused() && !fresh) {
      return;
    }
    fresh = false;
    show(snapshot);
  };
}

const paused = () => pause.getAttribute("aria-pressed") === "true";

function link(kind, text) {
  find("#link").className = `link ${kind}`;
  find("#link").textContent = text;
}

pause.addEventListener("click", () => {
  pause.setAttribute("aria-pressed", String(!paused()));
  if (!paused()) listen();
});
wanted.addEventListener("input", listen);
wanted.addEventListener("submit", (event) => event.preventDefault());
startButtons();
listen();
