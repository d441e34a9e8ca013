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
  const load = async (place) => {
    const link = place.querySelector("a");
    place.ariaBusy = "true";
    const answer = await fetch(link.href).catch(() => null);
    const page = new DOMParser().parseFromString((await answer?.text()) ?? "", "text/html");
    const panel = page.querySelector(".panel");
    if (!panel) {
      place.ariaBusy = null;
      place.classList.remove("waiting");
      link.before("This could not be loaded. ");
      return;
    }
    place.replaceWith(panel);
    const figures = JSON.parse(page.getElementById("figures")?.textContent ?? "{}");
    for (const chart of panel.querySelectorAll(".chart")) {
      chart.dispatchEvent(new CustomEvent("figure", { bubbles: true, detail: figures[chart.id] }));
    }
  };
  // Two at a time: the console has others to answer.
  const waiting = [...document.querySelectorAll(".panel.waiting")];
  const next = () => waiting.length && load(waiting.shift()).then(next);
  next();
  next();
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
