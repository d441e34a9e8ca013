"use strict";
// All of this is comfort: without it every page can be read, and every form sent.
(() => {
  const live = document.getElementById("live");
  if (live) {
    const changed = new Set();
    const source = new EventSource(`/api/v1/events?after=${live.dataset.after}`);
    source.addEventListener("alert", (event) => {
      changed.add(JSON.parse(event.data).alert_id);
      const alerts = changed.size === 1 ? "1 alert" : `${changed.size} alerts`;
      live.querySelector("span").textContent = `${alerts} changed since this page was made.`;
      live.hidden = false;
    });
    addEventListener("pagehide", () => source.close());
  }
  for (const select of document.querySelectorAll("form.filters[method=get] select")) {
    select.addEventListener("change", () => select.form.requestSubmit());
  }
  for (const button of document.querySelectorAll("button[data-copy]")) {
    button.hidden = false;
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
      button.textContent = "Copied";
    });
  }
})();
