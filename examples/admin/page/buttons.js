// The phase of the shutdown, and the buttons that change it.

const find = (selector) => document.querySelector(selector);
const buttons = [...document.querySelectorAll("[data-press]")];
const phases = [...document.querySelectorAll("[data-phase]")];

// In which phases each is of use.
const USEFUL = {
  shutdown: ["serving"],
  handover: ["serving"],
  resume: ["lame_duck"],
  now: ["serving", "lame_duck", "draining"],
};

let shown;

export function showPhase(phase, { phase_seconds: seconds = 0, phase_limit: limit, report }) {
  const at = phases.findIndex((item) => item.dataset.phase === phase);
  phases.forEach((item, index) => {
    item.classList.toggle("past", index < at);
    if (index === at) item.setAttribute("aria-current", "step");
    else item.removeAttribute("aria-current");
    item.dataset.time = index === at && phase !== "closed" ? ` ${seconds}${limit ? ` of ${limit}` : ""} s` : "";
  });
  for (const button of buttons) button.disabled = !USEFUL[button.dataset.press].includes(phase);
  if (report) say(`The shutdown is over. It took ${report.replace(/^shutdown took /, "")}`);
  else if (shown !== undefined && shown !== phase) say(`Now: ${phases[at].textContent.toLowerCase()}.`);
  shown = phase;
}

function say(text, wrong = false) {
  find("#said").textContent = text;
  find("#said").classList.toggle("wrong", wrong);
}

async function press(name) {
  const token = find("#token").value;
  if (name === "now" && !confirm("What is in flight will be cut. End now?")) return;
  try {
    const answer = await fetch(`press/${name}`, {
      method: "POST",
      headers: { Authorization: `Bearer ${token}` },
    });
    if (answer.status === 409) say("It is too late for that.", true);
    else if (!answer.ok) say(`Refused: ${await answer.text()}`, true);
    else showPhase((await answer.json()).phase, {});
    if (answer.status === 401) find("#token").focus();
  } catch (error) {
    say(`Not sent: ${error.message}`, true);
  }
}

// The link that is printed at the start has the token behind the #, which no browser sends anywhere. It
// is kept for this tab, and taken off the address.
function token() {
  if (location.hash.length > 1) {
    sessionStorage.setItem("token", location.hash.slice(1));
    history.replaceState(null, "", location.pathname);
  }
  return sessionStorage.getItem("token") ?? "";
}

export function startButtons() {
  find("#token").value = token();
  find("#token").addEventListener("change", ({ target }) => sessionStorage.setItem("token", target.value));
  find("#buttons").addEventListener("submit", (event) => event.preventDefault());
  for (const button of buttons) button.addEventListener("click", () => press(button.dataset.press));
}
