document.addEventListener("click", (event) => {
  const row = event.target.closest("tr.scenario");
  if (!row || event.target.closest("summary, a") || String(getSelection())) return;
  const details = row.querySelector("details");
  details.open = !details.open;
});
