/* Paints the report's charts in the reader's colours and at the page's width; repaints when either changes. */
"use strict";
(() => {
  const { charts, palettes } = JSON.parse(document.getElementById("chart-data").textContent);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const NARROW = 560, PRINTED = 690, SIZE = 12, GAP = 4;
  const FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Liberation Sans", sans-serif';
  const MARGIN = { l: 54, r: 14, t: 14, b: 48 };
  /* A percentage has a space, as in the text: Plotly's formats have none. */
  const SPACED = Object.fromEntries(Array.from({ length: 1001 }, (_, n) => [`${n / 10}%`, `${n / 10}\u00a0%`]));
  const pen = document.createElement("canvas").getContext("2d");
  let printing = false;

  /* Replaces colour names under keys that hold colours only: a model may be called "ink". */
  function painted(value, palette, key = "") {
    if (Array.isArray(value)) return value.map((entry) => painted(entry, palette, key));
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([name, entry]) => [name, painted(entry, palette, name)]));
    }
    return key.endsWith("color") && typeof value === "string" ? palette[value] || value : value;
  }

  const overlap = (a, b) => a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3];
  const spoken = (text) => text.replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&amp;", "&");

  /* Places labels, the most important first, where they cover no point and no other label; drops the rest. */
  function annotations(chart, width, height, palette) {
    const { xaxis, yaxis } = chart.layout;
    const [left, right, top, bottom] = [MARGIN.l, width - MARGIN.r, MARGIN.t, height - MARGIN.b];
    const along = (value, [low, high], from, to) => from + ((value - low) / (high - low)) * (to - from);
    const points = chart.labels.map((one) => ({
      ...one, px: along(one.x, xaxis.range, left, right), py: along(one.y, yaxis.range, bottom, top),
    }));
    const taken = points.map((one) => [one.px - 6, one.py - 6, one.px + 6, one.py + 6]);
    const lines = chart.data.filter((trace) => trace.mode === "lines" && !trace.fill).flatMap((trace) =>
      trace.x.map((cost, at) => [
        along(xaxis.type === "log" ? Math.log10(cost) : cost, xaxis.range, left, right),
        along(trace.y[at], yaxis.range, bottom, top),
      ]).map(([x, y]) => [x - 2, y - 2, x + 2, y + 2]));
    const arms = points.flatMap((one) => {
      const x = one.arms[0].map((end) => along(end, xaxis.range, left, right));
      const y = one.arms[1].map((end) => along(end, yaxis.range, bottom, top));
      return [[Math.min(...x), one.py - 1, Math.max(...x), one.py + 1], [one.px - 1, Math.min(...y), one.px + 1, Math.max(...y)]];
    });
    const placed = [];
    for (const one of points) {
      pen.font = `${one.bold ? "600 " : ""}${SIZE}px ${FONT}`;
      const wide = pen.measureText(spoken(one.text)).width + GAP, high = SIZE + 3, away = one.bold ? 11 : 8;
      const middle = Math.min(Math.max(one.px, left + wide / 2 + 2), right - wide / 2 - 2);
      const places = [
        [one.px + away + wide / 2, one.py], [one.px - away - wide / 2, one.py],
        [middle, one.py - away - high / 2], [middle, one.py + away + high / 2],
        [one.px + away + wide / 2 - 2, one.py - high], [one.px + away + wide / 2 - 2, one.py + high],
        [one.px - away - wide / 2 + 2, one.py - high], [one.px - away - wide / 2 + 2, one.py + high],
        [middle, one.py - away - high * 1.5], [middle, one.py + away + high * 1.5],
      ];
      const box = ([x, y]) => [x - wide / 2, y - high / 2, x + wide / 2, y + high / 2];
      const inside = ([l, t, r, b]) => l >= left && r <= right && t >= top - 6 && b <= bottom;
      const free = (others) => places.find((place) =>
        inside(box(place)) && !others.some((other) => overlap(box(place), other)));
      const place = free([...taken, ...arms, ...lines]) || free([...taken, ...arms]) || free(taken);
      if (!place) continue;
      taken.push(box(place));
      placed.push({
        xref: "paper", yref: "paper", xanchor: "center", yanchor: "middle", showarrow: false,
        x: (place[0] - left) / (right - left), y: (bottom - place[1]) / (bottom - top),
        text: one.bold ? `<b>${one.text}</b>` : one.text, font: { color: palette[one.color], size: SIZE },
        bgcolor: `${palette.card}b0`, borderpad: 0,
      });
    }
    return placed;
  }

  function draw(place) {
    const chart = charts[place.id];
    const palette = palettes[dark.matches && !printing ? "dark" : "light"];
    const width = printing ? Math.min(PRINTED, Number(place.dataset.printed)) : place.clientWidth;
    if (!width) return;
    const height = chart.heights[width < NARROW && !printing ? 1 : 0];
    const small = width < NARROW ? { nticks: 5 } : {};
    const layout = painted({
      ...chart.layout,
      xaxis: { ...small, labelalias: SPACED, ...chart.layout.xaxis },
      yaxis: { labelalias: SPACED, ...chart.layout.yaxis },
      width, height, margin: MARGIN, showlegend: false, dragmode: false, hovermode: "closest",
      paper_bgcolor: "card", plot_bgcolor: "card", font: { family: FONT, size: SIZE, color: "ink" },
      hoverlabel: { bgcolor: "card", bordercolor: "soft", font: { family: FONT, size: SIZE, color: "ink" }, align: "left" },
    }, palette);
    layout.annotations = annotations(chart, width, height, palette);
    place.classList.add("drawn");
    Plotly.react(place, painted(chart.data, palette), layout, { displayModeBar: false, responsive: false });
  }

  const places = Object.keys(charts).map((id) => document.getElementById(id)).filter(Boolean);
  const drawAll = () => places.forEach(draw);
  places.forEach((place) => place.replaceChildren());
  drawAll();
  dark.addEventListener("change", drawAll);

  let waiting = 0;
  const widths = new Map(places.map((place) => [place, place.clientWidth]));
  new ResizeObserver(() => {
    cancelAnimationFrame(waiting);
    waiting = requestAnimationFrame(() => {
      for (const place of places) {
        if (printing || widths.get(place) === place.clientWidth) continue;
        widths.set(place, place.clientWidth);
        draw(place);
      }
    });
  }).observe(document.querySelector("main"));

  const closed = new Set();
  addEventListener("beforeprint", () => {
    printing = true;
    document.querySelectorAll("details:not([open])").forEach((one) => { closed.add(one); one.open = true; });
    drawAll();
  });
  addEventListener("afterprint", () => {
    printing = false;
    closed.forEach((one) => { one.open = false; });
    closed.clear();
    drawAll();
  });
})();
