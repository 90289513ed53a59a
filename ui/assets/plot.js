// Draws a plot of what a table says. The table stays: it is the plot for those who cannot see one.
"use strict";
(() => {
  // A table is two columns of the plot's words: what stands in its cells as data, and what people read.
  const read = (figure) => {
    const table = figure.querySelector("table");
    const keys = [...table.querySelectorAll("thead th")].map((th) => ({ key: th.dataset.key, name: th.textContent.trim() }));
    const step = Number(figure.dataset.step) * 1000;
    const from = Number(figure.dataset.from);
    const rows = Array.from({ length: Number(figure.dataset.columns) }, (_, i) => ({ at: from + i * step, values: {}, places: [], events: [] }));
    for (const tr of table.tBodies[0].rows) {
      const row = rows[Math.floor((Number(tr.dataset.at) - from) / step)];
      if (!row) continue;
      [...tr.cells].forEach((cell, i) => {
        if (cell.dataset.v) row.values[keys[i].key] = Number(cell.dataset.v);
      });
      row.places.push(...[...tr.querySelectorAll("[data-place]")].map((e) => e.dataset.place));
      row.events.push(...[...tr.querySelectorAll("[data-event]")].map((e) => ({ kind: e.dataset.event, name: e.textContent.trim() })));
    }
    const name = (key) => (keys.find((k) => k.key === key) || { name: key }).name;
    return { rows, name, step, has: (key) => keys.some((k) => k.key === key) };
  };

  // The keys of the legend carry the colours, light or dark.
  const colours = (figure) => {
    const colour = (selector) => getComputedStyle(figure.querySelector(selector) || figure).color;
    const of = (key) => colour(`.plot-keys [data-series="${key}"] i`);
    return { of, text: getComputedStyle(figure).color, muted: colour(".plot-keys"), back: getComputedStyle(figure).backgroundColor };
  };

  const clock = (figure) => {
    const parts = { hour: "2-digit", minute: "2-digit", hourCycle: "h23", timeZone: figure.dataset.zone };
    const format = new Intl.DateTimeFormat(document.documentElement.lang, parts);
    return (at) => format.format(new Date(at));
  };

  // A stranger's word must not be taken for markup of the tooltip.
  const plain = (text) => text.replace(/[{}|]/g, " ").slice(0, 60);

  // nice is the top of an axis with four round intervals.
  const nice = (n) => {
    const unit = 10 ** Math.floor(Math.log10(n / 4));
    return 4 * unit * [1, 2, 2.5, 5, 10].find((f) => 4 * unit * f >= n);
  };

  const option = (figure) => {
    const { rows, name, step, has } = read(figure);
    const paint = colours(figure);
    const time = clock(figure);
    const narrow = figure.clientWidth < 560;
    const font = { color: paint.muted, fontSize: 12, fontFamily: getComputedStyle(figure).fontFamily };
    const places = [...new Set(rows.flatMap((r) => r.places))].slice(0, 8);
    const left = Math.min(narrow ? 124 : 170, Math.max(narrow ? 84 : 110, ...places.map((place) => place.length * 7 + 20)));
    const grids = [];
    let top = 26;
    const lane = (height) => {
      grids.push({ left, right: 14, top, height });
      top += height + 14;
      return grids.length - 1;
    };
    const main = lane(190);
    const fresh = has("new") ? lane(40) : -1;
    const signIn = places.length ? lane(places.length * 22) : -1;

    const every = Math.ceil((rows.length * step) / 3600e3 / (narrow ? 4 : 8)) * 3600e3;
    const labelled = rows.map((r) => new Date(r.at).getTime() % every === 0);
    const xAxis = grids.map((_, i) => ({
      type: "category", gridIndex: i, data: rows.map((r) => time(r.at)),
      axisLine: { lineStyle: { color: paint.muted } }, axisPointer: { label: { show: false } },
      axisTick: { show: i === grids.length - 1, interval: (at) => labelled[at] },
      axisLabel: { ...font, show: i === grids.length - 1, interval: (at) => labelled[at] },
    }));
    const value = (i, label, max) => ({
      type: "value", gridIndex: i, min: 0, max, interval: max && max / 4, splitLine: { show: i === main, lineStyle: { color: paint.muted, opacity: 0.25 } },
      name: label, nameLocation: "middle", nameGap: 12, nameRotate: 0, nameTextStyle: { ...font, align: "right", width: left - 20, overflow: "truncate" },
      axisLabel: { ...font, show: i === main },
    });
    const limit = Number(figure.dataset.limit) || 0;
    const usual = Number(figure.dataset.usual) || 0;
    const highest = Math.max(...rows.map((r) => (r.values.sent || 0) + (r.values.deferred || 0) + (r.values.refused || 0)));
    const yAxis = [value(main, "", nice(Math.max(highest, limit, usual, 4)))];
    if (fresh >= 0) yAxis.push(value(fresh, name("new")));
    if (signIn >= 0) {
      yAxis.push({
        type: "category", gridIndex: signIn, data: places.map(plain), inverse: true, axisTick: { show: false },
        axisLine: { lineStyle: { color: paint.muted } }, axisLabel: { ...font, width: left - 16, overflow: "truncate" },
      });
    }

    const bar = (key, axis, stack) => ({
      type: "bar", name: name(key), stack, xAxisIndex: axis, yAxisIndex: axis, barCategoryGap: "12%", barMaxWidth: 22,
      itemStyle: { color: paint.of(key), decal: key === "refused" ? { symbol: "rect", dashArrayX: [1, 0], dashArrayY: [1, 3], rotation: -0.8, color: paint.back } : undefined },
      barMinHeight: 2, data: rows.map((r) => r.values[key] || null),
    });
    const line = (text, colour, type) => ({ lineStyle: { color: colour, type, width: 1.5 }, label: { ...font, color: colour, position: "insideStartTop", formatter: plain(text) } });
    const edge = (i) => (i < rows.length * 0.08 ? "left" : i > rows.length * 0.92 ? "right" : "center");
    const events = rows.flatMap((r, i) => r.events.map((e) => ({
      xAxis: i, symbol: "none", lineStyle: { color: paint.text, type: "solid", width: 1 },
      label: { ...font, color: paint.text, position: "end", formatter: (e.kind === "release" ? "▲ " : "▼ ") + plain(e.name), align: edge(i) },
    })));
    const series = ["sent", "deferred", "refused"].map((key) => bar(key, main, "mail"));
    series[0].markLine = {
      silent: true, symbol: "none", animation: false,
      data: [...(limit ? [{ yAxis: limit, ...line(figure.dataset.limitText, paint.of("limit"), "dashed") }] : []), ...events],
    };
    if (usual) {
      series[0].markArea = { silent: true, itemStyle: { color: paint.of("usual"), opacity: 0.22 }, data: [[{ yAxis: 0 }, { yAxis: usual }]] };
    }
    if (fresh >= 0) series.push(bar("new", fresh));
    if (signIn >= 0) {
      for (const [at, place] of places.entries()) { // from the first time to the last
        series.push({
          type: "line", name: plain(place), xAxisIndex: signIn, yAxisIndex: signIn, symbol: "diamond", symbolSize: 9, color: paint.of("places"),
          data: rows.flatMap((r, i) => (r.places.includes(place) ? [[i, at]] : [])),
        });
      }
    }
    const tell = (at) => [`${time(rows[at].at)} – ${time(rows[at].at + step)}`,
      ...["sent", "deferred", "refused", "new"].filter(has).map((key) => `${name(key)}: ${rows[at].values[key] || 0}`),
      ...rows[at].places.map(plain), ...rows[at].events.map((e) => plain(e.name))].join("\n");
    return {
      height: top + 26,
      option: {
        animation: false, grid: grids, xAxis, yAxis, series, axisPointer: { link: [{ xAxisIndex: "all" }], lineStyle: { color: paint.muted } },
        aria: { enabled: true, label: { description: figure.dataset.summary } },
        tooltip: {
          trigger: "axis", renderMode: "richText", confine: true, backgroundColor: paint.back, borderColor: paint.muted, borderWidth: 1,
          textStyle: { ...font, color: paint.text }, formatter: (points) => tell((Array.isArray(points) ? points[0] : points).dataIndex),
        },
      },
    };
  };

  for (const figure of document.querySelectorAll("figure[data-plot]")) {
    const area = figure.querySelector(".plot-area");
    area.hidden = false;
    figure.querySelector("details").open = false;
    const chart = echarts.init(area, null, { renderer: "svg", height: 300 });
    const draw = () => {
      const plot = option(figure);
      chart.resize({ width: area.clientWidth, height: plot.height });
      chart.setOption(plot.option, true);
    };
    new ResizeObserver(draw).observe(figure);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
    new MutationObserver(draw).observe(document.documentElement, { attributeFilter: ["data-theme"] });
  }
})();
