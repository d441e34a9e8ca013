"use strict";
(() => {
  const SETTINGS = { displayModeBar: false, responsive: true, scrollZoom: false };
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const data = (id) => JSON.parse(document.getElementById(id)?.textContent ?? "{}");
  const figures = data("figures");
  const palette = data("palette");
  const drawn = new Set();

  const inColours = (figure, isDark) => {
    const text = JSON.stringify(figure);
    return JSON.parse(isDark ? text.replace(/#[0-9a-f]{6}/g, (hex) => palette[hex] ?? hex) : text);
  };

  // With a viewBox a chart can shrink in print, where nothing draws it anew.
  const scalable = (place) => {
    for (const svg of place.querySelectorAll(".main-svg")) {
      svg.setAttribute("viewBox", `0 0 ${svg.getAttribute("width")} ${svg.getAttribute("height")}`);
    }
  };

  let printing = false;
  const draw = (place) => {
    const { data: traces, layout } = inColours(figures[place.id], dark.matches && !printing);
    const width = printing && Number(place.dataset.print);
    Plotly.newPlot(place, traces, width ? { ...layout, width } : layout, SETTINGS);
    place.on("plotly_afterplot", () => scalable(place));
    drawn.add(place);
    scalable(place);
  };

  document.documentElement.classList.add("js");
  const places = [...document.querySelectorAll(".chart")];
  const near = new IntersectionObserver(
    (entries) => {
      for (const { target, isIntersecting } of entries) {
        if (isIntersecting) {
          near.unobserve(target);
          if (!drawn.has(target)) draw(target);
        }
      }
    },
    { rootMargin: "800px" },
  );
  const show = (place) => {
    place.style.height = `${figures[place.id].layout.height}px`;
    near.observe(place);
  };
  places.forEach(show);
  // A chart that came after its page.
  addEventListener("figure", ({ target, detail }) => {
    figures[target.id] = detail;
    places.push(target);
    show(target);
  });
  const print = (now) => {
    printing = now;
    places.forEach(draw);
  };
  dark.addEventListener("change", () => drawn.forEach(draw));
  addEventListener("beforeprint", () => print(true));
  addEventListener("afterprint", () => print(false));

  const order = (a, b) => (isNaN(a) || isNaN(b) ? String(a).localeCompare(b) : a - b);
  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = [...table.tHead.rows[table.tHead.rows.length - 1].cells];
    heads.forEach((head, column) => {
      head.querySelector("button")?.addEventListener("click", () => {
        const down = head.getAttribute("aria-sort") !== "descending";
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        const value = (row) => row.cells[column].dataset.value;
        const rows = [...table.tBodies[0].rows].sort((a, b) => order(value(a), value(b)));
        table.tBodies[0].append(...(down ? rows.reverse() : rows));
      });
    });
  }
})();
